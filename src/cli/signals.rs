//! Requests to stop: Ctrl-C, the request to terminate, a terminal that closes, and the warnings of cluster schedulers.
//! Once to finish the step and save; Ctrl-C or the request to terminate twice to leave at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::terminal::errln;
use crate::error::{Error, Result};

/// The exit code of a run that a signal stopped.
pub const EXIT_CODE: u8 = 130;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// By a person, or by who runs the machine: a second one does not wait.
    Stop,
    #[cfg_attr(windows, allow(dead_code))]
    /// By a scheduler or a terminal, which may say so more than once, and then asks to stop.
    Warning,
}

/// From now on the first signal sets the flag that is returned. A second request to stop ends the process; whenever that
/// is, complete checkpoints stay complete.
pub fn install() -> Result<Arc<AtomicBool>> {
    let (flag, asked) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let set = flag.clone();
    listen(move |request| {
        if request == Request::Stop && asked.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        if !set.swap(true, Ordering::Relaxed) {
            errln!("\nstopping after the steps in flight, with a checkpoint; Ctrl-C or SIGTERM then leaves at once");
        }
    })?;
    Ok(flag)
}

/// From now on a request to stop ends the process as a success.
pub fn end_quietly() -> Result<()> {
    listen(|_| std::process::exit(0))
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Config(format!("signals cannot be handled: {error}"))
}

#[cfg(unix)]
fn listen(mut on: impl FnMut(Request) + Send + 'static) -> Result<()> {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
        iterator::Signals,
    };

    // A process that was started with `nohup` is to outlive its terminal.
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let warnings = [SIGUSR1, SIGUSR2, libc::SIGXCPU];
    let all = [SIGINT, SIGTERM, SIGQUIT].into_iter().chain(warnings).chain(hangup);
    let mut signals = Signals::new(all).map_err(refused)?;
    // A file that grows beyond the limit of the system's `ulimit -f` is then an error like a full disk.
    signal_hook::flag::register(libc::SIGXFSZ, Arc::default()).map_err(refused)?;
    let work = move || {
        for signal in signals.forever() {
            on(if [SIGINT, SIGTERM, SIGQUIT].contains(&signal) { Request::Stop } else { Request::Warning });
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(work).map(drop).map_err(refused)
}

/// Whether the process was started with a signal ignored.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: nothing is changed; the system fills in the structure that it is given.
    unsafe {
        let mut held: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut held) == 0 && held.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(windows)]
fn listen(mut on: impl FnMut(Request) + Send + 'static) -> Result<()> {
    ctrlc::set_handler(move || on(Request::Stop)).map_err(refused)
}
