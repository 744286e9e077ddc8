//! `bootmae serve`: the page for a browser on this computer.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use clap::Args;

use super::terminal::{errln, outln};
use super::{http, numbers::whole, signals, site::Site};
use crate::error::{Error, Result};

/// Serve the browser page to this computer alone, on 127.0.0.1. Ctrl-C ends it.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The port; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = whole::<u16>(0, 65_535))]
    port: u16,
    /// Open the page in the default browser.
    #[arg(long)]
    open: bool,
    /// Serve this folder, as `make web` assembles it in web/dist [default: the page within the program]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Returns only with an error; Ctrl-C ends the process, as a success.
pub fn run(arguments: &Arguments) -> Result<()> {
    let site = match &arguments.folder {
        Some(folder) => Site::folder(folder)?,
        None => built_in()?,
    };
    let io = |e: std::io::Error| Error::Config(format!("port {} on 127.0.0.1: {e}", arguments.port));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port)).map_err(|e| refused(arguments.port, &e))?;
    let address = format!("http://127.0.0.1:{}", listener.local_addr().map_err(io)?.port());
    signals::end_quietly()?;
    outln!("serving on {address} (Ctrl-C ends it)");
    if arguments.open {
        open(&address);
    }
    http::serve(&listener, &site);
    Ok(())
}

/// What is served without `--folder`: the page within the program, or for a debug build that of its repository.
fn built_in() -> Result<Site> {
    match Site::held() {
        Some(site) => Ok(site),
        None if cfg!(debug_assertions) => Site::folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("web/dist")),
        None => Err(Error::Config(
            "this program was built before the page was: run `make web` and build it again, or name the \
             page's folder with --folder"
                .into(),
        )),
    }
}

fn refused(port: u16, error: &std::io::Error) -> Error {
    let what = match error.kind() {
        std::io::ErrorKind::AddrInUse => "is taken by another program".to_owned(),
        std::io::ErrorKind::PermissionDenied => "is not for this user to take".to_owned(),
        _ => format!("cannot be taken ({error})"),
    };
    Error::Config(format!("port {port} on 127.0.0.1 {what}: choose another with --port N (0 takes a free one)"))
}

/// Asks the system to show `address`, which this program made itself. Without a browser, serving goes on.
fn open(address: &str) {
    let words: &[&str] = match std::env::consts::OS {
        "macos" => &["open", address],
        "windows" => &["cmd", "/C", "start", "", address],
        _ => &["xdg-open", address],
    };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => drop(thread::spawn(move || child.wait())),
        Err(e) => errln!("no browser opened ({}: {e}): open {address} yourself", words[0]),
    }
}
