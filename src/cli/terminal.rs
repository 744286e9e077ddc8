//! What the program prints. The reader of a pipe may end, a terminal close and a disk be full: none of this stops the
//! program, least of all a run.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Whether the reader of standard output went away.
static GONE: AtomicBool = AtomicBool::new(false);

/// Why standard output could not be written, where that is no reader's doing.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a line on standard output.
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::terminal::out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line on standard error.
macro_rules! errln {
    ($($text:tt)*) => { $crate::cli::terminal::err(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {errln, outln};

/// Prints on standard output. What has no reader any more is dropped; another failure is kept for [`failure`].
pub fn out(text: Arguments) {
    if reader_is_gone() {
        return;
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => GONE.store(true, Ordering::Relaxed),
        Err(e) => {
            if let Ok(mut first) = FAILURE.lock() {
                first.get_or_insert(e);
            }
        }
        Ok(()) => {}
    }
}

/// Prints on standard error, if that is possible.
pub fn err(text: Arguments) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Whether nothing reads standard output any more, so that work for it alone is in vain.
pub fn reader_is_gone() -> bool {
    GONE.load(Ordering::Relaxed)
}

/// The first failure of standard output, a full disk for instance.
pub fn failure() -> Option<io::Error> {
    FAILURE.lock().ok()?.take()
}

/// Standard error for a writer that would rather panic than miss a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}
