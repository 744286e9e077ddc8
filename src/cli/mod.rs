//! The command `bootmae`: one file per verb.

mod arguments;
mod bench;
mod checkpoint;
mod data;
mod doctor;
mod dry_run;
mod embed;
mod export;
mod features;
mod finetune;
mod http;
mod init_from;
mod inspect;
mod knn;
mod longer;
mod memory;
mod numbers;
mod output;
mod plan;
mod predict;
mod prediction;
mod pretrain;
mod probe;
pub mod progress;
mod ranks;
mod reconstruct;
mod report;
mod results;
mod run_arguments;
mod serve;
mod sets;
mod signals;
mod site;
pub mod terminal;
mod training;
mod tuning;
mod verify;

use clap::{
    ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{error::Result, train::config::words};

/// Pretrain vision transformers with bootstrapped masked autoencoders (BootMAE) on any GPU.
#[derive(Parser, Debug)]
#[command(name = "bootmae", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Doctor(doctor::Arguments),
    Plan(plan::Arguments),
    Pretrain(Box<pretrain::Arguments>),
    Finetune(Box<finetune::Arguments>),
    Predict(predict::Arguments),
    Reconstruct(reconstruct::Arguments),
    Export(export::Arguments),
    Inspect(inspect::Arguments),
    Embed(embed::Arguments),
    Knn(knn::Arguments),
    Probe(probe::Arguments),
    Report(report::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Data(data::Arguments),
    Serve(serve::Arguments),
}

/// The command line, or the end of the process with a word on what is wrong with it.
pub fn parse() -> Cli {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        if let Some(message) = advice(&error) {
            terminal::err(format_args!("bootmae: {message}\n"));
            std::process::exit(2);
        }
        error.exit()
    })
}

/// The command line's grammar. What looks like a negative number is one, and refused with what is allowed.
fn command() -> Command {
    fn with_numbers(command: Command) -> Command {
        let command = command.mut_args(|arg| match arg.get_num_args() {
            Some(count) if !count.takes_values() => arg,
            _ if matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) => arg.allow_negative_numbers(true),
            _ => arg,
        });
        command.mut_subcommands(with_numbers)
    }
    with_numbers(Cli::command())
}

/// What to say of a flag that is another program's word for something here.
fn advice(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let verb = std::env::args().skip(1).find(|word| !word.starts_with('-'))?;
    let command = command();
    let known = |flag: &str| command.find_subcommand(&verb)?.get_arguments().find(|a| a.get_long() == flag.get(2..));
    // Only verbs that train have settings in a file.
    let fits =
        ["pretrain", "finetune"].contains(&&*verb) || words::flag_of(flag).is_some_and(|flag| known(flag).is_some());
    words::for_flag(flag).filter(|_| fits).map(|what| format!("`{verb}` has no {flag}; {what}"))
}

/// Runs the verb that the command line names. `Ok(false)` is a check that failed without an error.
pub fn run(cli: Cli) -> Result<bool> {
    match cli.verb {
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Plan(arguments) => plan::run(&arguments),
        Verb::Pretrain(arguments) => pretrain::run(&arguments).map(|()| true),
        Verb::Finetune(arguments) => finetune::run(&arguments).map(|()| true),
        Verb::Predict(arguments) => predict::run(&arguments).map(|()| true),
        Verb::Reconstruct(arguments) => reconstruct::run(&arguments).map(|()| true),
        Verb::Export(arguments) => export::run(&arguments).map(|()| true),
        Verb::Inspect(arguments) => inspect::run(&arguments).map(|()| true),
        Verb::Embed(arguments) => embed::run(&arguments).map(|()| true),
        Verb::Knn(arguments) => knn::run(&arguments).map(|()| true),
        Verb::Probe(arguments) => probe::run(&arguments).map(|()| true),
        Verb::Report(arguments) => report::run(&arguments).map(|()| true),
        Verb::Verify(arguments) => verify::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments).map(|()| true),
        Verb::Data(arguments) => data::run(&arguments),
        Verb::Serve(arguments) => serve::run(&arguments).map(|()| true),
    }
}
