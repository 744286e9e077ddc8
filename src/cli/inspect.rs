//! `bootmae inspect`: what a file of weights holds.

use std::path::PathBuf;

use clap::Args;

use super::{checkpoint::AskedArguments, terminal::outln};
use crate::{
    error::{Error, Result},
    interop::{
        self, About,
        about::{Network, Set},
    },
    model::{Pool, config::Kind},
    nn::PositionOrder,
    text::shown,
};

/// Say what a checkpoint holds, of this program or another, and which commands take it. Nothing in it is run.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A checkpoint, as the other commands take it.
    #[arg(value_name = "PATH")]
    file: PathBuf,
    #[command(flatten)]
    asked: AskedArguments,
    /// List the tensors, and what is made of each.
    #[arg(long)]
    tensors: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints, also of a file that cannot be read as a network; that is an error in the end.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.file;
    let mut about = interop::about(path, &arguments.asked.asked())?;
    if arguments.json {
        if !arguments.tensors {
            about.tensors.clear();
        }
        outln!("{}", serde_json::to_string_pretty(&about).expect("numbers and texts are JSON"));
    } else {
        lines(&about).iter().for_each(|(what, line)| outln!("{what:<12}{}", shown(line)));
        if arguments.tensors {
            tensors(&about);
        }
    }
    match about.refused {
        Some(reason) => Err(Error::checkpoint(path, reason)),
        None => Ok(()),
    }
}

/// What a person is told, each with what it is of.
fn lines(about: &About) -> Vec<(&'static str, String)> {
    let names = match about.world {
        Some(world) => format!("{}, with the names of {}", about.file, world.title()),
        None if about.file == "bootmae" => "a checkpoint of this program".into(),
        None => about.file.clone(),
    };
    let mut lines = vec![("file", names)];
    lines.extend(about.sets.iter().map(|set| ("weights", told(set, about.key.as_ref()))));
    if let Some(network) = &about.network {
        of_network(network, &mut lines);
    }
    let said = |(key, text): (&String, &String)| ("says", format!("{key} = {text}"));
    lines.extend(about.said.iter().map(said));
    if !about.passed_over.is_empty() {
        lines.push(("passed over", about.passed_over.join(", ")));
    }
    lines.extend(about.notes.iter().map(|note| ("note", note.clone())));
    if !about.commands.is_empty() {
        lines.push(("taken by", about.commands.join(", ")));
    }
    lines
}

fn told(set: &Set, read: Option<&String>) -> String {
    let key = if set.key.is_empty() { "at the root".into() } else { format!("under {}", set.key) };
    let mark = if read == Some(&set.key) { "; these are read" } else { "" };
    format!("{} tensors, {} {key}{mark}", set.tensors, values(set.values))
}

fn of_network(network: &Network, lines: &mut Vec<(&'static str, String)>) {
    let kind = if network.kind == Kind::Mae { "MAE" } else { "BootMAE" };
    lines.push((
        "encoder",
        format!(
            "{} wide, {} blocks, {} heads; trained as {kind}, {} steps of it here",
            network.width, network.depth, network.heads, network.step
        ),
    ));
    lines.push((
        "images",
        format!(
            "{} × {} pixels of {} channels, in patches of {}",
            network.image_height, network.image_width, network.channels, network.patch_size
        ),
    ));
    let pixels = match network.normalise.name() {
        Some(name) => name.to_owned(),
        None => format!("mean {:?}, deviation {:?}", network.normalise.mean, network.normalise.std),
    };
    lines.push(("pixels", format!("normalised by {pixels}")));
    let positions = match network.positions {
        Some(PositionOrder::Rows) => "sine-cosine, rows first",
        Some(PositionOrder::Columns) => "sine-cosine, columns first",
        None => "a table of its own",
    };
    lines.push(("positions", positions.into()));
    let last = if network.norm { "with a final norm" } else { "without a final norm" };
    lines.push(("norms", format!("epsilon {:e}, {last}", network.layer_norm_eps)));
    let decoder = network.decoder.map_or("none".into(), |[width, depth]| format!("{width} wide, {depth} blocks"));
    let average = if network.average { "; with the moving average beside it" } else { "" };
    lines.push(("decoder", format!("{decoder}{average}")));
    if let Some(pool) = network.pool {
        let pool = if pool == Pool::Mean { "the mean of the patch tokens" } else { "the class token" };
        let first: Vec<_> = network.classes.iter().take(4).map(String::as_str).collect();
        let more = if network.classes.len() > 4 { ", …" } else { "" };
        lines.push(("head", format!("{} classes of {pool}: {}{more}", network.classes.len(), first.join(", "))));
    }
    lines.push(("parameters", values(network.parameters)));
}

/// A number of values.
fn values(count: usize) -> String {
    if count < 1_000_000 { format!("{count} values") } else { format!("{:.1} million values", count as f64 / 1e6) }
}

fn tensors(about: &About) {
    for tensor in &about.tensors {
        let name =
            if tensor.set.is_empty() { tensor.name.clone() } else { format!("{} / {}", tensor.set, tensor.name) };
        let fills = if tensor.fills.is_empty() { "-".into() } else { tensor.fills.join(", ") };
        outln!("{} {:?} {} -> {}", tensor.dtype, tensor.shape, shown(&name), shown(&fills));
    }
}
