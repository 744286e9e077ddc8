//! Faults for tests: the n-th act of this thread fails.

use super::act::Act;
use std::{cell::RefCell, io};

/// What happens at the act that is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails for want of space; later acts succeed.
    DiskFull,
    /// It and everything after it do not happen, as when the process is killed.
    Kill,
}

#[derive(Default)]
struct Plan {
    fault: Option<(usize, Fault)>,
    refused: Option<(Act, i32)>,
    acts: Vec<Act>,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// Runs `work` with the act numbered `at` struck (none: nothing is), and returns its result and the acts it did.
pub fn with<T>(fault: Option<(usize, Fault)>, work: impl FnOnce() -> T) -> (T, Vec<Act>) {
    PLAN.with_borrow_mut(|plan| *plan = Plan { fault, ..Plan::default() });
    let result = work();
    (result, PLAN.take().acts)
}

/// Runs `work` on a file system that answers every act of a kind with this error of the system.
pub fn refusing<T>(what: Act, code: i32, work: impl FnOnce() -> T) -> T {
    PLAN.with_borrow_mut(|plan| *plan = Plan { refused: Some((what, code)), ..Plan::default() });
    let result = work();
    PLAN.take();
    result
}

pub(super) fn strike(what: Act) -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        let number = plan.acts.len();
        plan.acts.push(what);
        match plan.fault {
            Some((at, Fault::DiskFull)) if at == number => return Err(io::ErrorKind::StorageFull.into()),
            Some((at, Fault::Kill)) if at <= number => return Err(io::Error::other("killed")),
            _ => {}
        }
        match plan.refused {
            Some((refused, code)) if refused == what => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(()),
        }
    })
}
