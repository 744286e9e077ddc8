#!/usr/bin/env bash
# What did it learn? Pretrains BootMAE and MAE alike, evaluates their features after some epochs, and fine-tunes the last ones
# beside a network from scratch. Prints Markdown tables; progress goes to standard error. Hours on a GPU, days on processors; it
# goes on where it was stopped.
#
#   DATA=SOURCE       labelled images with a side to test on (default cifar10:runs/cifar10, of examples/fetch-cifar10.sh)
#   MODEL=nano        the encoder
#   EPOCHS="2 5 10"   evaluated after these; the last is the length of the run
#   TUNED=10          epochs of fine-tuning; below 30 without mixing and strong augmentation, which pay in longer runs
#   TUNE_DATA=SOURCE  labelled images to fine-tune on, where not those of DATA
#   BATCH=64 RATE=1e-3 SEEDS="0"
#   OUT=runs/learn    the folder for runs, features and results
#   BOOTMAE=PROGRAM   another program than the one built here
#
# Both have the same images, crops, normalisation, batch, epochs, warm-up, schedule and floor of the rate, share of patches
# hidden, and seed; masks, target, positions, decoder and starting values are each method's own.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/common.sh
build_bootmae

data=${DATA:-cifar10:runs/cifar10} model=${MODEL:-nano} epochs=${EPOCHS:-2 5 10} tuned=${TUNED:-10}
batch=${BATCH:-64} rate=${RATE:-1e-3} seeds=${SEEDS:-0} out=${OUT:-runs/learn}
labelled=${TUNE_DATA:-$data}
last=${epochs##* }
mkdir -p "$out"
light=$([ "$tuned" -ge 30 ] || echo --light)

# top1 FOLDER: the share of test images told right in results.json, in per cent.
top1() { json top1 <"$1/results.json" | awk '{ printf "%.1f", 100 * $1 }'; }

# probe_of KIND EPOCH SEED METHOD…: results of one method on the features of a checkpoint.
probe_of() {
    local place=$out/$1-$3-epoch-$2 verb=$4
    shift 4
    [ -f "$place-$verb/results.json" ] ||
        "$bootmae" "$verb" --features "$place.train.safetensors" --test-features "$place.test.safetensors" \
            --out "$place-$verb" "$@" >&2
}

for seed in $seeds; do
    for kind in bootmae mae; do
        cat >"$out/$kind-$seed.toml" <<TOML
[model]
kind = "$kind"
normalise = "inception"

[training]
schedule = "bootmae"
peak_learning_rate = $rate
TOML
    done
    # Both methods to an epoch before either goes on, so that a run that is cut short has a table of what is there.
    for epoch in $epochs; do
        for kind in bootmae mae; do
            run=$out/$kind-$seed place=$out/$kind-$seed-epoch-$epoch
            if [ ! -f "$place.test.safetensors" ]; then
                settings="--model $model --config $run.toml --epochs $last --batch-size $batch --seed $seed"
                steps=$("$bootmae" pretrain --data "$data" $settings --out "$run-none" --dry-run |
                    sed -n 's/^steps  *\([0-9]*\),.*/\1/p')
                stop=$(awk -v e="$epoch" -v last="$last" -v n="$steps" 'BEGIN { printf "%d", e / last * n + 0.5 }')
                say "$kind, seed $seed: training to epoch $epoch, step $stop of $steps"
                "$bootmae" pretrain --data "$data" $settings --stop-after "$stop" --out "$run" --resume >&2
                for side in train test; do
                    "$bootmae" embed --checkpoint "$run" --data "$data" --split "$side" --out "$place.$side.safetensors" >&2
                done
            fi
            probe_of "$kind" "$epoch" "$seed" knn
            probe_of "$kind" "$epoch" "$seed" probe
        done
    done
done

echo "Top-1 of $model on $data, %: nearest neighbours (20), logistic regression"
echo
echo "| epochs | seed | BootMAE: kNN | logistic | MAE: kNN | logistic |"
echo "|---|---|---|---|---|---|"
for epoch in $epochs; do
    for seed in $seeds; do
        line="| $epoch | $seed |"
        for kind in bootmae mae; do
            for verb in knn probe; do line="$line $(top1 "$out/$kind-$seed-epoch-$epoch-$verb") |"; done
        done
        echo "$line"
    done
done

echo
echo "Fine-tuned for $tuned epochs on $labelled, the same from scratch, top-1, %"
echo
echo "| seed | BootMAE | MAE | scratch |"
echo "|---|---|---|---|"
for seed in $seeds; do
    line="| $seed |"
    for kind in bootmae mae scratch; do
        run=$out/$kind-$seed-tuned
        from="--checkpoint $out/$kind-$seed"
        [ "$kind" != scratch ] || from="--model $model"
        "$bootmae" finetune $from --preset finetune-small-pictures $light --data "$labelled" \
            --epochs "$tuned" --seed "$seed" --out "$run" --resume >&2
        line="$line $(sed -n 's/.*"validation_accuracy": *\([0-9.]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1 |
            awk '{ printf "%.1f", 100 * $1 }') |"
    done
    echo "$line"
done
echo
echo "- $("$bootmae" --version) ($(revision)); processor: $(cpu_model)"
