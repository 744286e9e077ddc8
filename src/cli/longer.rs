//! What to do for a longer run: a command that begins one from the weights of another.

use std::path::Path;

use crate::{checkpoint::names::CONFIG_FILE, error::Error, run::run_folder::Resumed, train::config::RunConfig};

/// Adds to the refusal of a length of more steps what a person wants who has that in mind.
pub(super) fn longer(error: Error, from: &Resumed, wanted: &RunConfig, out: &Path) -> Error {
    let steps = wanted.training.steps;
    match error {
        Error::Checkpoint { path, reason } if steps > from.snapshot.config.training.steps => {
            let command = from_weights(wanted, out, &format!(" --steps {steps}"));
            let reason = format!("{reason}. To train longer, begin a run from its weights: {command}");
            Error::Checkpoint { path, reason }
        }
        other => other,
    }
}

/// The command that begins a run with the settings, `config`, and weights of the one in `out`, in a folder beside it.
pub(super) fn from_weights(config: &RunConfig, out: &Path, more: &str) -> String {
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+:@\\".contains(c));
        if plain && !text.is_empty() { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    let mut name = out.file_name().unwrap_or_else(|| "run".as_ref()).to_owned();
    name.push("-longer");
    format!(
        "bootmae {} {} --config {}{more} --out {}",
        if config.finetune.is_some() { "finetune --checkpoint" } else { "pretrain --init-from" },
        quoted(out),
        quoted(&out.join(CONFIG_FILE)),
        quoted(&out.with_file_name(name))
    )
}
