//! `bootmae export`: a checkpoint's weights for this program or for others.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    checkpoint::CheckpointArguments,
    numbers::{MOST, whole},
    output::Output,
};
use crate::{
    checkpoint::{Model, weights},
    error::{Error, Result},
    formats::tensors::Precision,
    interop::export::{
        Source,
        onnx::{self, Answer, Features},
    },
    model::{Pool, Whose},
    text::shown,
};

/// Write a checkpoint's weights into a file: for `reconstruct`, `--init-from` and the page, or for other programs.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    checkpoint: CheckpointArguments,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
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
    /// What the file is for: features of images, or the classes that a network was fine-tuned for. Without it classes, if
    /// there are any.
    #[arg(long, value_name = "TASK")]
    task: Option<Task>,
    /// What an ONNX file makes one vector of an image's tokens, as `embed` does: the mean of the patches', or the class token
    /// after the final norm.
    #[arg(long, value_name = "POOL")]
    pool: Option<Pooling>,
    /// How an ONNX file normalises features, as `embed` does.
    #[arg(long, value_name = "NORM")]
    norm: Option<Norm>,
    /// Blocks of the encoder that an ONNX file runs for features, all without it.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    blocks: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// This program: student and teacher in one safetensors file.
    Own,
    /// ONNX Runtime and others: a graph with its weights.
    Onnx,
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
enum Task {
    Features,
    Classes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
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
    let out = Output::new("--out", &arguments.out, &[&arguments.checkpoint.checkpoint])?;
    let model = arguments.checkpoint.open()?;
    let precision = match arguments.precision {
        Kept::F32 => Precision::F32,
        Kept::F16 => Precision::F16,
    };
    let what = match arguments.format {
        Format::Own => {
            out.write(|to| weights(&model, precision, to))?;
            if model.teacher.is_some() { "student and teacher".into() } else { "the student alone".into() }
        }
        Format::Onnx => {
            let (source, answer) = (arguments.source(&model)?, arguments.answer(&model)?);
            let file = onnx::file(&source, answer, precision)?;
            out.write(|to| file.write(to))?;
            let of = match answer {
                Answer::Features(_) => format!("features of {} values", model.config.model.width),
                Answer::Classes => "probabilities of classes".into(),
            };
            format!("an ONNX file of {of}, {} weights", source.weights())
        }
    };
    out.say(&format!("{}: {what} after step {}", shown(&arguments.out.display().to_string()), model.step));
    Ok(())
}

impl Arguments {
    /// Refuses settings that mean nothing beside others.
    fn check(&self) -> Result<()> {
        let given = [
            ("--weights", self.weights.is_some(), self.format == Format::Own, "--format own, which holds all"),
            ("--task", self.task.is_some(), self.format == Format::Own, "--format own, which holds all"),
            ("--pool", self.pool.is_some(), self.format != Format::Onnx, "a file of weights; --format onnx takes it"),
            ("--norm", self.norm.is_some(), self.format != Format::Onnx, "a file of weights; --format onnx takes it"),
            (
                "--blocks",
                self.blocks.is_some(),
                self.format != Format::Onnx,
                "a file of weights; --format onnx takes it",
            ),
        ];
        match given.into_iter().find(|(_, given, refused, _)| *given && *refused) {
            Some((flag, _, _, why)) => Err(Error::Config(format!("{flag} says nothing of {why}"))),
            None => Ok(()),
        }
    }

    fn source<'m>(&self, model: &'m Model) -> Result<Source<'m>> {
        let whose = match self.weights {
            Some(Weights::Teacher) => Whose::Teacher,
            _ => Whose::Student,
        };
        Source::new(model, whose)
    }

    fn answer(&self, model: &Model) -> Result<Answer> {
        let of_features = [self.pool.is_some(), self.norm.is_some(), self.blocks.is_some()].contains(&true);
        let classes = match self.task {
            Some(task) => task == Task::Classes,
            None => model.config.classifier.is_some() && !of_features,
        };
        if classes && of_features {
            return Err(Error::Config("--pool, --norm and --blocks say how features are made, not classes".into()));
        }
        if classes {
            return Ok(Answer::Classes);
        }
        let depth = model.config.model.depth;
        let blocks = self.blocks.unwrap_or(depth);
        if blocks > depth {
            return Err(Error::Config(format!("--blocks {blocks} of an encoder that has {depth}")));
        }
        let cls = matches!(self.pool, Some(Pooling::Cls));
        Ok(Answer::Features(Features {
            blocks,
            final_norm: cls || self.norm == Some(Norm::Final),
            pool: if cls { Pool::Cls } else { Pool::Mean },
            plain_norm: self.norm == Some(Norm::Plain),
        }))
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
        assert!(check("--pool cls").contains("--format onnx takes it"));
        assert_eq!(check("--format onnx --pool cls --norm plain --blocks 3 --weights average"), "");
    }
}
