//! `bootmae export`: a checkpoint's weights for this program or for others.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    checkpoint::CheckpointArguments,
    numbers::{MOST, whole},
    output::{Output, folder},
    terminal::{errln, outln},
};
use crate::{
    checkpoint::{Model, weights},
    error::{Error, Result},
    formats::tensors::Precision,
    interop::export::{self, Features, Source, Task, onnx},
    model::{Pool, Whose, config::Kind},
    text::shown,
};

/// Write a checkpoint's weights into a file: for `reconstruct`, `--init-from` and the page, or for other programs.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    checkpoint: CheckpointArguments,
    /// The file to write; for timm and hf a new folder.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Who is to read it.
    #[arg(long, default_value = "own")]
    format: Format,
    /// How values are kept. An ONNX file also computes in this precision.
    #[arg(long, default_value = "f32")]
    precision: Kept,
    /// Whose weights, where the format holds one network: the trained ones, or their moving average's.
    #[arg(long, value_name = "WHOSE")]
    weights: Option<Weights>,
    /// What the file is for: features of images, the classes that a network was fine-tuned for, or pretraining, with decoders.
    /// Without it what the checkpoint has: classes, decoders where the format has a place for them, or features.
    #[arg(long, value_name = "TASK")]
    task: Option<Purpose>,
    /// What onnx and timm make one vector of an image's tokens, as `embed` does: the mean of the patches', or the class token
    /// after the final norm.
    #[arg(long, value_name = "POOL")]
    pool: Option<Pooling>,
    /// How onnx and timm normalise features, as `embed` does.
    #[arg(long, value_name = "NORM")]
    norm: Option<Norm>,
    /// Blocks of the encoder that onnx and timm run for features, all without it.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    blocks: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// This program: student and teacher in one safetensors file.
    Own,
    /// ONNX Runtime and others: a graph with its weights.
    Onnx,
    /// timm: a folder as it is on the hub.
    Timm,
    /// Transformers: a folder for ViTModel, ViTForImageClassification or ViTMAEForPreTraining.
    Hf,
    /// The scripts of facebookresearch/mae: a .pth file.
    Mae,
    /// The scripts of LightDXY/BootMAE: a .pth file, with the momentum encoder as model_ema.
    Bootmae,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kept {
    /// As they are.
    F32,
    /// Rounded to half precision, at half the length.
    F16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Weights {
    #[value(alias = "trained")]
    Student,
    #[value(alias = "average")]
    Teacher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Purpose {
    Features,
    Classes,
    Pretraining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pooling {
    Mean,
    Cls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Norm {
    None,
    Final,
    Plain,
}

/// Reads, writes and says what was written.
pub fn run(arguments: &Arguments) -> Result<()> {
    arguments.check()?;
    let out = match arguments.is_folder() {
        true => None,
        false => Some(Output::new("--out", &arguments.out, &[&arguments.checkpoint.checkpoint])?),
    };
    let model = arguments.checkpoint.open()?;
    let precision = match arguments.precision {
        Kept::F32 => Precision::F32,
        Kept::F16 => Precision::F16,
    };
    let path = arguments.out.display().to_string();
    let name = shown(&path);
    let say = |line: String| match &out {
        Some(out) => out.say(&line),
        None => outln!("{line}"),
    };
    if let (Format::Own, Some(out)) = (arguments.format, &out) {
        let all = model.tensors.iter().chain(model.teacher.iter().flatten());
        all.filter(|_| precision == Precision::F16)
            .try_for_each(|tensor| export::fits_half(&tensor.name, &tensor.data))?;
        out.write(|to| weights(&model, precision, to))?;
        let what = if model.teacher.is_some() { "student and teacher" } else { "the student alone" };
        say(format!("{name}: {what} after step {}", model.step));
        return Ok(());
    }
    let (source, task) = (arguments.source(&model)?, arguments.purpose(&model)?);
    let of = match task {
        Task::Features(_) => format!("an encoder of {} features", model.config.model.width),
        Task::Classes => "a classifier".into(),
        Task::Pretraining => "encoder and decoders".into(),
    };
    let said = format!("{name}: {of}, {} weights after step {}", source.weights(), model.step);
    let package = match arguments.format {
        Format::Own | Format::Onnx => {
            let file = onnx::file(&source, task, precision)?;
            out.iter().try_for_each(|out| out.write(|to| file.write(to)))?;
            say(said);
            return Ok(());
        }
        Format::Timm => export::timm(&source, task)?,
        Format::Hf => export::hugging_face(&source, task)?,
        Format::Mae => export::mae(&source, task)?,
        Format::Bootmae => export::bootmae(&source, task)?,
    };
    match &out {
        None => package.write_folder(precision, &folder("--out", &arguments.out)?)?,
        Some(out) => {
            package.check(precision)?;
            out.write(|to| package.write_torch(precision, to))?;
        }
    }
    package.notes.iter().for_each(|note| errln!("{note}"));
    say(said);
    say(format!("It opens with: {}", package.load.replace("{}", &name)));
    Ok(())
}

impl Arguments {
    /// Refuses settings that mean nothing beside others.
    fn check(&self) -> Result<()> {
        let (own, graph) = (self.format == Format::Own, [Format::Onnx, Format::Timm].contains(&self.format));
        let given = [
            ("--weights", self.weights.is_some() && own, "--format own, which holds all of them"),
            ("--task", self.task.is_some() && own, "--format own, which holds everything"),
            ("--pool", self.pool.is_some() && !graph, "this format; onnx and timm take it"),
            ("--norm", self.norm.is_some() && !graph, "this format; onnx and timm take it"),
            ("--blocks", self.blocks.is_some() && !graph, "this format; onnx and timm take it"),
        ];
        match given.into_iter().find(|(_, refused, _)| *refused) {
            Some((flag, _, why)) => Err(Error::Config(format!("{flag} says nothing to {why}"))),
            None => Ok(()),
        }
    }

    fn is_folder(&self) -> bool {
        [Format::Timm, Format::Hf].contains(&self.format)
    }

    fn source<'m>(&self, model: &'m Model) -> Result<Source<'m>> {
        let whose = match self.weights {
            Some(Weights::Teacher) => Whose::Teacher,
            _ => Whose::Student,
        };
        Source::new(model, whose)
    }

    fn purpose(&self, model: &Model) -> Result<Task> {
        let of_features = [self.pool.is_some(), self.norm.is_some(), self.blocks.is_some()].contains(&true);
        let config = &model.config.model;
        let decoder = model.tensors.iter().any(|tensor| tensor.name == "pixel_decoder.mask_token");
        let with_decoder = match self.format {
            Format::Hf | Format::Mae => config.kind == Kind::Mae,
            Format::Bootmae => config.feature_branch && config.cross_attention,
            _ => false,
        };
        let purpose = self.task.unwrap_or(match model.config.classifier {
            _ if of_features => Purpose::Features,
            Some(_) => Purpose::Classes,
            None if decoder && with_decoder => Purpose::Pretraining,
            None => Purpose::Features,
        });
        match purpose {
            Purpose::Features => self.features(model).map(Task::Features),
            _ if of_features => Err(Error::Config("--pool, --norm and --blocks say how features are made".into())),
            Purpose::Classes => Ok(Task::Classes),
            Purpose::Pretraining if decoder => Ok(Task::Pretraining),
            Purpose::Pretraining => {
                Err(Error::checkpoint(&self.checkpoint.checkpoint, "it has no decoders; --task features needs none"))
            }
        }
    }

    fn features(&self, model: &Model) -> Result<Features> {
        let depth = model.config.model.depth;
        let blocks = self.blocks.unwrap_or(depth);
        if blocks > depth {
            return Err(Error::Config(format!("--blocks {blocks} of an encoder that has {depth}")));
        }
        let cls = self.pool == Some(Pooling::Cls);
        let normed = match self.format {
            Format::Onnx | Format::Timm => cls || self.norm == Some(Norm::Final),
            // Weights alone: the norm goes with them where there is one.
            _ => model.tensors.iter().any(|tensor| tensor.name == "norm.weight"),
        };
        Ok(Features {
            blocks,
            final_norm: normed,
            pool: if cls { Pool::Cls } else { Pool::Mean },
            plain_norm: self.norm == Some(Norm::Plain),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn settings_that_a_format_cannot_take_are_refused() {
        let check = |words: &str| {
            let line = format!("export --checkpoint a --out b {words}");
            let message = Line::parse_from(line.split(' ')).arguments.check().map_err(|e| e.to_string());
            message.err().unwrap_or_default()
        };
        assert!(check("--weights teacher").contains("--weights says nothing"));
        assert!(check("--format hf --pool cls").contains("onnx and timm take it"));
        assert_eq!(check("--format onnx --pool cls --norm plain --blocks 3 --weights average"), "");
    }
}
