//! `bootmae export`: a checkpoint's weights in one file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{checkpoint::CheckpointArguments, output::Output};
use crate::{checkpoint::weights, error::Result, formats::tensors::Precision};

/// Write the weights of student and teacher into one safetensors file: what `reconstruct`, `--init-from` and the page take.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    checkpoint: CheckpointArguments,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How values are kept.
    #[arg(long, default_value = "f32")]
    precision: Kept,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kept {
    /// As they are.
    F32,
    /// Rounded to half precision, at half the length.
    F16,
}

/// Reads, writes and says what was written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let out = Output::new("--out", &arguments.out, &[&arguments.checkpoint.checkpoint])?;
    let model = arguments.checkpoint.open()?;
    let precision = match arguments.precision {
        Kept::F32 => Precision::F32,
        Kept::F16 => Precision::F16,
    };
    out.write(|to| weights(&model, precision, to))?;
    let teacher = if model.teacher.is_some() { "student and teacher" } else { "the student alone" };
    out.say(&format!("{}: {teacher} after step {}", arguments.out.display(), model.step));
    Ok(())
}
