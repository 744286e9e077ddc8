//! What settings are called elsewhere (MAE, BEiT, DINO, timm, Hugging Face), and what they are called here.

/// A setting of other programs.
struct Word {
    /// Its names there, between spaces, with `_` between words.
    names: &'static str,
    /// Its section and key here; empty where there is no such key.
    key: &'static str,
    /// Its flag here; empty where there is none.
    flag: &'static str,
    /// How the two differ; may be empty where a key or flag says all.
    note: &'static str,
}

const fn word(names: &'static str, key: &'static str, flag: &'static str, note: &'static str) -> Word {
    Word { names, key, flag, note }
}

#[rustfmt::skip]
const WORDS: &[Word] = &[
    // Rates and the optimiser.
    word("lr learning_rate peak_lr max_lr learning_rate_max lr_max", "training.peak_learning_rate", "",
        "the highest rate, which the warm-up reaches; for the whole batch"),
    word("blr base_lr base_learning_rate lr_base", "training.peak_learning_rate", "",
        "for the whole batch, so blr × batch_size / 256"),
    word("min_lr lr_min eta_min final_lr end_lr lr_end warmup_min_lr cosine_min_lr", "training.min_learning_rate", "",
        "the rate at the end"),
    word("warmup warmup_steps warmup_iters warmup_iterations num_warmup_steps lr_warmup_epochs \
          lr_warmup_steps warmup_t", "training.warmup_steps", "",
        "in steps, so epochs × images / batch_size; 5 % of the run if not given"),
    word("warmup_epochs", "training.warmup_epochs", "", "passes over the images"),
    word("warmup_ratio warmup_fraction warmup_pct", "training.warmup_steps", "", "in steps, so ratio × steps"),
    word("wd weight_decay l2 weight_decay_rate", "training.weight_decay", "", ""),
    word("weight_decay_end wd_end final_weight_decay", "training.weight_decay", "", "it stays the same over the run"),
    word("betas opt_betas opt_beta adam_betas optimizer_betas", "training.beta1", "",
        "two keys, beta1 and beta2: 0.9 and 0.95"),
    word("adam_beta1 opt_beta1 b1", "training.beta1", "", ""),
    word("adam_beta2 opt_beta2 b2", "training.beta2", "", ""),
    word("opt_eps adam_epsilon optimizer_eps epsilon eps adamw_eps", "training.adam_eps", "", ""),
    word("clip_grad grad_clip gradient_clip clip_grad_norm max_grad_norm grad_norm_clip gradient_clip_val \
          gradient_clipping clip max_norm clip_norm", "training.gradient_norm_limit", "",
        "not the same: longer gradients are not shortened, their update is refused"),
    word("opt optim optimizer optimiser optimizer_name", "", "", "the optimiser is AdamW and no other"),
    word("sched scheduler lr_scheduler lr_schedule lr_scheduler_type lr_policy lr_decay decay_epochs decay_rate", "", "",
        "the schedule is a linear warm-up and half a cosine, and no other"),
    word("layer_wise_lr_decay llrd", "finetune.layer_decay", "", "of `bootmae finetune`"),
    // Length and batches.
    word("epochs num_epochs num_train_epochs max_epochs n_epochs total_epochs nepochs train_epochs", "training.epochs",
        "--epochs", "passes over the collection"),
    word("max_steps total_steps num_steps train_steps iterations iters max_iters num_iterations n_iters max_iter n_steps \
          num_training_steps training_steps max_train_steps updates", "training.steps", "--steps",
        "updates of the weights"),
    word("batch batch_size bs batchsize train_batch_size batch_size_per_gpu per_gpu_batch_size per_device_batch_size \
          per_device_train_batch_size samples_per_gpu total_batch_size global_batch_size effective_batch_size \
          mini_batch_size", "training.batch_size", "--batch-size",
        "the images of an update over all its parts, so per-GPU batch × GPUs × accum_iter"),
    word("accum_iter grad_accum grad_accum_steps accum_steps accumulation_steps gradient_accumulation \
          gradient_accumulation_steps accumulate_grad_batches update_freq iter_size", "training.micro_batches",
        "--micro-batch", "batch_size counts the images of all parts of an update: micro_batches is their number, \
        --micro-batch the images of one"),
    word("start_epoch start_step initial_epoch", "", "--resume", "a checkpoint knows its step"),
    word("random_seed manual_seed rng_seed global_seed seed", "training.seed", "--seed", ""),
    word("dtype torch_dtype amp use_amp fp16 bf16 half mixed_precision use_fp16 use_bf16 amp_dtype no_amp precision",
        "training.precision", "--precision", "f32 or f16; there is no bf16"),
    word("use_checkpoint gradient_checkpointing grad_checkpointing activation_checkpointing checkpoint_activations \
          use_checkpointing remat", "training.recompute", "--recompute", "none, attention or blocks"),
    // The network and its task.
    word("model_name arch architecture model_type variant backbone model_size encoder", "model.preset", "--model",
        "nano, tiny, small, base or large, with mae- before it for MAE"),
    word("img_size input_size image_size imagesize resolution image_resolution size crop_size res input_resolution imgsz",
        "model.image_size", "--image-size", "a side in pixels"),
    word("patch patch_size patchsize vit_patch_size", "model.patch_size", "--patch-size", "a side in pixels"),
    word("embed_dim emb_dim dim hidden_size hidden_dim encoder_embed_dim encoder_dim d_model n_embd", "model.width", "", ""),
    word("num_layers n_layers num_hidden_layers layers encoder_depth n_layer num_blocks encoder_layers", "model.depth", "",
        ""),
    word("num_heads n_heads num_attention_heads nhead n_head encoder_num_heads num_head", "model.heads", "",
        "of the encoder, and of decoders that do not set theirs"),
    word("decoder_embed_dim decoder_dim decoder_width decoder_hidden_size decoder_emb_dim", "model.pixel_decoder_width", "",
        "of the pixel decoder; that for features is as wide as the encoder"),
    word("decoder_num_layers decoder_num_hidden_layers decoder_layers decoder_blocks", "model.decoder_depth", "",
        "of both decoders"),
    word("decoder_num_heads decoder_num_attention_heads", "model.decoder_heads", "",
        "of the pixel decoder; that for features has as many as the encoder"),
    word("intermediate_size mlp_dim ffn_dim mlp_hidden_dim decoder_intermediate_size", "model.mlp_ratio", "",
        "a whole multiple of the width, so intermediate_size / width"),
    word("in_chans num_channels in_channels input_channels n_channels in_chan", "model.channels", "", "1 to 4"),
    word("norm_eps ln_eps layernorm_eps", "model.layer_norm_eps", "", ""),
    word("mask_ratio masking_ratio mask_rate mask_prob mask_fraction pred_ratio", "model.masked", "",
        "a count of patches, so ratio × patches: 0.75 of 14 × 14 patches is 147"),
    word("num_mask_patches num_masking_patches num_masked mask_patches n_masked num_mask", "model.masked", "",
        "a count of patches"),
    word("max_mask_patches_per_block max_mask_patches", "model.block_max", "", "in patches"),
    word("min_mask_patches_per_block min_mask_patches", "model.block_min", "", "in patches"),
    word("mask_type masking_mode mask_mode mask_generator mask_strategy masking_type mask", "model.masking", "",
        "\"block\" or \"random\""),
    word("norm_pix_loss norm_pix norm_pixel_loss norm_pix_target normalize_target normlize_target normalize_targets \
          norm_target", "model.pixel_target", "",
        "\"patch\" normalises as MAE's norm_pix_loss does, \"patch_channel\" each channel by itself, \"raw\" not at all"),
    word("ema_decay model_ema_decay momentum model_ema ema_momentum momentum_teacher teacher_momentum ema_rate tau \
          ema_start_decay moving_average_decay model_ema_force_cpu ema_beta", "training.ema", "",
        "how the teacher follows: \"scaled\", or { fixed = { decay = 0.996 } } for one decay throughout"),
    word("loss_weight feature_loss_weight feat_loss_weight lambda_feature loss_lambda", "training.feature_weight", "",
        "of the feature loss; that of pixels is 1"),
    word("drop drop_rate dropout drop_path_rate attn_drop attn_drop_rate hidden_dropout_prob \
          attention_probs_dropout_prob stochastic_depth", "classifier.drop_path", "",
        "stochastic depth of `bootmae finetune`; there is no dropout"),
    word("num_classes nb_classes", "classifier.classes", "", "of `bootmae finetune`, which finds them in the data"),
    word("global_pool cls_token pooling", "classifier.pool", "", "of `bootmae finetune`: \"mean\" or \"cls\""),
    word("smoothing", "finetune.label_smoothing", "", "of `bootmae finetune`"),
    word("mixup mixup_alpha cutmix cutmix_alpha mixup_prob mixup_switch_prob mixup_mode", "finetune.mixing", "",
        "a table of mixup, cutmix, probability and switch, of `bootmae finetune`"),
    word("aa auto_augment reprob random_erase color_jitter", "finetune.augmentation", "",
        "a table with auto_augment, erase, color_jitter and area_min, of `bootmae finetune`; pretraining crops 20 to 100 % of \
         the area, mirrors half of the views, and no more"),
    // Images.
    word("data_path data_dir data_root dataset dataset_dir dataset_path dataset_name data_location data_set train_dir \
          train_path train_data train_data_dir imagenet_dir imagenet_path image_dir images image_folder imagefolder root \
          root_dir path", "data.source", "--data", "a folder, archives or tables"),
    word("workers num_workers dataloader_num_workers num_threads n_workers data_workers nworkers", "data.loader_threads", "",
        "threads; 0 is one per processor"),
    word("pin_mem pin_memory no_pin_mem prefetch_factor persistent_workers", "", "", "nothing of the kind is needed"),
    word("crop_pct", "model.crop_share", "", "of evaluation"),
    word("remode recount transform scale crop_scale ratio \
          hflip train_interpolation interpolation", "", "",
        "views are random crops of 20 to 100 % of the area, mirrored half of the time, scaled bicubically, and no others"),
    // Where a run is, and how it is saved.
    word("output_dir out_dir output outdir save_dir save_path log_dir logdir logging_dir exp_dir work_dir checkpoint_dir \
          ckpt_dir default_root_dir run_dir run_name experiment exp_name", "", "--out", "the run's folder"),
    word("auto_resume resume_from resume_from_checkpoint resume_path resume checkpoint ckpt ckpt_path", "", "--resume",
        "of the run in --out, or --resume PATH"),
    word("finetune pretrained init_checkpoint pretrained_weights weights model_path load_from model_name_or_path \
          init_weights init_ckpt", "training.init_from", "--init-from", "a run, checkpoint or model file, also of another program"),
    word("save_freq save_steps save_interval save_ckpt_freq saveckp_freq checkpoint_interval checkpoint_every \
          save_every_n_steps save_every save_period save_epochs ckpt_interval", "training.save_every_steps", "--save-every",
        "in steps"),
    word("save_total_limit keep_last save_top_k max_checkpoints checkpoint_hist keep", "training.keep_checkpoints", "--keep",
        ""),
    word("print_freq log_interval log_freq logging_steps log_every log_every_n_steps log_steps report_to", "", "",
        "every step is in the run folder's metrics.jsonl, and in events/ for TensorBoard"),
    word("device gpu gpus cuda device_id gpu_id gpu_ids accelerator", "", "--adapter", "an index of `bootmae doctor`, or \
        part of a name"),
    word("world_size local_rank local-rank rank dist_url dist_backend dist_on_itp nproc_per_node num_gpus ddp devices \
          num_nodes", "", "", "`mpirun -np N bootmae …` trains on N GPUs, one process each; see docs/scale.md"),
];

/// Names of sections elsewhere.
#[rustfmt::skip]
const SECTIONS: &[(&str, &str)] = &[
    ("train trainer training_args optim optimizer optimiser solver schedule scheduler lr_scheduler run trainer_args hparams \
      hyperparameters params", "training"),
    ("dataset datasets dataloader loader data_config input datamodule", "data"),
    ("network net arch architecture encoder backbone vit decoder model_config mae", "model"),
];

/// What a setting called `name` elsewhere is here, to stand behind a message that there is no such key.
pub fn for_key(name: &str) -> Option<String> {
    let Word { key, flag, note, .. } = find(name)?;
    let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
    Some(match (key.split_once('.'), flag.is_empty()) {
        (Some((section, key)), _) => format!("here it is `{key}` in [{section}]{note}"),
        (None, false) => format!("give {flag} on the command line{note}"),
        (None, true) => note.trim_matches([' ', '(', ')']).to_owned(),
    })
}

/// What a flag called `name` elsewhere is here, to stand behind a message that there is no such flag.
pub fn for_flag(name: &str) -> Option<String> {
    let Word { key, flag, note, .. } = find(name)?;
    let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
    Some(match (key.split_once('.'), flag.is_empty()) {
        (_, false) => format!("here it is {flag}{note}"),
        (Some((section, key)), true) => format!("here it is `{key}` in [{section}] of a file for --config{note}"),
        (None, true) => note.trim_matches([' ', '(', ')']).to_owned(),
    })
}

/// The flag here that stands for a flag elsewhere.
pub fn flag_of(name: &str) -> Option<&'static str> {
    find(name).map(|word| word.flag).filter(|flag| !flag.is_empty())
}

/// The section here that a section elsewhere stands for.
pub(super) fn for_section(name: &str) -> Option<&'static str> {
    let name = plain(name);
    SECTIONS.iter().find(|(names, _)| names.split_whitespace().any(|known| known == name)).map(|(_, section)| *section)
}

fn find(name: &str) -> Option<&'static Word> {
    let name = plain(name);
    WORDS.iter().find(|word| word.names.split_whitespace().any(|known| known == name))
}

/// `--Mask-Ratio=0.6` and `model.mask_ratio` are both `mask_ratio`.
fn plain(name: &str) -> String {
    let name = name.split('=').next().unwrap_or_default().trim_start_matches('-');
    name.rsplit('.').next().unwrap_or_default().to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::{super::layers::keys, *};

    #[test]
    fn every_word_stands_once_and_leads_to_a_key_that_there_is() {
        let mut seen = std::collections::BTreeSet::new();
        for word in WORDS {
            if let Some((section, key)) = word.key.split_once('.') {
                assert!(keys(section).contains(&key), "{}", word.key);
            }
            assert!(word.key.len() + word.flag.len() + word.note.len() > 0, "{}", word.names);
            for name in word.names.split_whitespace() {
                assert!(seen.insert(name), "{name} stands twice");
            }
        }
    }

    #[test]
    fn words_of_other_programs_lead_to_the_right_setting() {
        for (name, key) in [
            ("lr", "`peak_learning_rate` in [training]"),
            ("blr", "`peak_learning_rate` in [training] (for the whole batch, so blr × batch_size / 256)"),
            ("learning_rate", "`peak_learning_rate`"),
            ("min_lr", "`min_learning_rate`"),
            ("warmup_iters", "`warmup_steps` in [training] (in steps, so epochs"),
            ("opt_betas", "beta1 and beta2"),
            ("clip_grad", "`gradient_norm_limit`"),
            ("mask_ratio", "`masked` in [model] (a count of patches, so ratio × patches"),
            ("num_mask_patches", "`masked`"),
            ("norm_pix_loss", "`pixel_target`"),
            ("accum_iter", "`micro_batches`"),
            ("input_size", "`image_size` in [model]"),
            ("embed_dim", "`width`"),
            ("num_heads", "`heads`"),
            ("decoder_embed_dim", "`pixel_decoder_width`"),
            ("in_chans", "`channels`"),
            ("model_ema", "`ema`"),
            ("momentum", "`ema`"),
            ("drop_path_rate", "`drop_path` in [classifier] (stochastic depth of `bootmae finetune`"),
            ("mixup", "`mixing` in [finetune]"),
            ("data_path", "`source` in [data]"),
            ("num_workers", "`loader_threads`"),
            ("output_dir", "--out on the command line"),
            ("start_epoch", "--resume on the command line"),
        ] {
            assert!(for_key(name).unwrap().contains(key), "{name}: {}", for_key(name).unwrap());
        }
        for (name, flag) in [
            ("--img-size", "here it is --image-size"),
            ("--Input_Size=224", "here it is --image-size"),
            ("--data-path", "here it is --data"),
            ("--output_dir", "here it is --out"),
            ("--mask-ratio", "here it is `masked` in [model] of a file for --config"),
            ("--lr", "here it is `peak_learning_rate` in [training] of a file for --config"),
            ("--opt", "the optimiser is AdamW"),
        ] {
            assert!(for_flag(name).unwrap().starts_with(flag), "{name}: {}", for_flag(name).unwrap());
        }
        assert_eq!(
            (for_key("batchsise"), for_flag("--frobnicate"), for_section("optimizer")),
            (None, None, Some("training"))
        );
    }
}
