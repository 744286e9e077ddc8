//! Ctrl-C and the request to terminate: once to finish the step and save, twice to leave at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::error::{Error, Result};

/// The exit code of a run that a signal stopped.
pub const EXIT_CODE: u8 = 130;

/// From now on a first signal sets the flag that is returned, a second one ends the process. Whenever that is, complete
/// checkpoints stay complete.
pub fn install() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        eprintln!("\nstopping after the steps in flight, with a checkpoint; once more leaves at once");
    })
    .map_err(|e| Error::Config(format!("signals cannot be handled: {e}")))?;
    Ok(flag)
}
