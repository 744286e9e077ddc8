//! Doing something with every image of a collection on several threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::bounded;

/// How far threads may be ahead of what is taken in order.
const AHEAD: usize = 64;

/// Computes `make` for 0 to `len` on `threads` threads (0 for as many as there are processors) and gives the results to
/// `take` in order, until it says false. A few results a thread are in memory at a time.
pub(crate) fn each<T: Send>(
    len: usize,
    threads: usize,
    make: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> bool,
) {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (next, taken, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (results, made) = bounded(AHEAD);
        for _ in 0..threads {
            let (results, make, next, taken, stop) = (results.clone(), &make, &next, &taken, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    // One slow image must not let the others run far ahead.
                    while index > taken.load(Ordering::Relaxed) + AHEAD && !stop.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                    if index >= len || results.send((index, make(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let (mut waiting, mut wanted) = (BTreeMap::new(), 0);
        'all: for (index, result) in &made {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&wanted) {
                if !take(wanted, result) {
                    stop.store(true, Ordering::Relaxed);
                    break 'all;
                }
                wanted += 1;
                taken.store(wanted, Ordering::Relaxed);
            }
        }
        // Threads that wait to send then end.
        drop(made);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_until_no_more_are_wanted() {
        for threads in [1, 2, 5] {
            let mut taken = Vec::new();
            each(
                1000,
                threads,
                |index| index * 3,
                |index, value| {
                    taken.push(value);
                    assert_eq!(value, index * 3);
                    true
                },
            );
            assert_eq!(taken.len(), 1000);
            let mut few = 0;
            each(
                1_000_000,
                threads,
                |index| index,
                |_, _| {
                    few += 1;
                    few < 10
                },
            );
            assert_eq!(few, 10);
        }
    }
}
