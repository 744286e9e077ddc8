//! The name of this machine.

/// What the machine calls itself; `localhost` where it does not say.
pub(super) fn name() -> String {
    system().filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

#[cfg(unix)]
fn system() -> Option<String> {
    let mut name = [0_u8; 256];
    // SAFETY: the call writes at most as many bytes as it is told.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) } != 0;
    let end = name.iter().position(|byte| *byte == 0)?;
    (!failed).then(|| String::from_utf8_lossy(&name[..end]).into_owned())
}

#[cfg(not(unix))]
fn system() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}
