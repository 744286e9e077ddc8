//! The program `bootmae`.

use std::process::ExitCode;

use bootmae::{
    cli::{self, terminal},
    error::{Error, Result},
};

fn main() -> ExitCode {
    give_runtime_folder();
    tracing_subscriber::fmt()
        .with_writer(|| terminal::Stderr)
        .with_max_level(tracing::Level::WARN)
        .without_time()
        .with_target(false)
        .init();
    match cli::run(cli::parse()).and_then(printed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal::err(format_args!("bootmae: {}\n", bootmae::text::shown_lines(&error.to_string())));
            ExitCode::from(error.exit_code())
        }
    }
}

/// What a verb found, if it could be printed.
fn printed(found: bool) -> Result<bool> {
    terminal::failure().map_or(Ok(found), |source| Err(Error::io("standard output")(source)))
}

/// Gives what looks for adapters the folder of a session, where the system gave this process none, as in a container or a
/// scheduler's job: libraries of Vulkan drivers complain on standard error without it. The folder need not be there. It is
/// where systemd makes it, and nobody but the system can.
fn give_runtime_folder() {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        const NAME: &str = "XDG_RUNTIME_DIR";
        if std::env::var_os(NAME).is_none_or(|folder| folder.is_empty())
            && let Ok(process) = std::fs::metadata("/proc/self")
        {
            // SAFETY: this is the first thing that the program does, while it has one thread.
            unsafe { std::env::set_var(NAME, format!("/run/user/{}", process.uid())) };
        }
    }
}
