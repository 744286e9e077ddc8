//! Who does the loader's work: threads natively, in a browser whoever asks for the outcome.

pub(super) use held::Makers;

#[cfg(not(target_arch = "wasm32"))]
mod held {
    use std::any::Any;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{self, JoinHandle};

    use crossbeam_channel::{Receiver, Sender, unbounded};

    use super::super::allocator::keep_freed_blocks;
    use super::super::worker::{Job, Outcome, Worker};
    use crate::error::{Error, Result};

    /// Threads that do jobs as they come. Dropping them ends them.
    pub(in super::super) struct Makers {
        stop: Arc<AtomicBool>,
        jobs: Option<Sender<Job>>,
        outcomes: Receiver<(u64, Outcome)>,
        threads: Vec<JoinHandle<()>>,
    }

    impl Makers {
        /// Starts `threads` threads, or as many as the machine has processors for 0.
        pub(in super::super) fn start(worker: &Worker, threads: usize) -> Result<Makers> {
            keep_freed_blocks();
            let (jobs, work) = unbounded();
            let (results, outcomes) = unbounded();
            let mut makers =
                Makers { stop: Arc::default(), jobs: Some(jobs), outcomes, threads: Vec::with_capacity(threads) };
            let threads = match threads {
                0 => thread::available_parallelism().map_or(1, usize::from),
                threads => threads,
            };
            for number in 0..threads {
                let (worker, stop, work, results) =
                    (worker.clone(), makers.stop.clone(), work.clone(), results.clone());
                let thread = thread::Builder::new().name(format!("images {number}"));
                let thread = thread.spawn(move || run(&worker, &stop, &work, &results));
                let failed = |error| Error::Images(format!("no thread to read images: {error}"));
                makers.threads.push(thread.map_err(failed)?);
            }
            Ok(makers)
        }

        /// Sets a thread to work on a job.
        pub(in super::super) fn request(&mut self, job: Job) {
            let jobs = self.jobs.as_ref().expect("present until dropped");
            // Fails when all threads have ended, which receiving an outcome then reports.
            let _ = jobs.send(job);
        }

        /// Waits for the outcome of any job, and gives its position too.
        pub(in super::super) fn outcome(&mut self) -> Result<(u64, Outcome), String> {
            self.outcomes.recv().map_err(|_| "all threads that read images have ended".into())
        }
    }

    impl Drop for Makers {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Relaxed);
            self.jobs = None;
            for thread in self.threads.drain(..) {
                // A panic in a worker was caught and reported as an outcome.
                let _ = thread.join();
            }
        }
    }

    /// Does jobs until there are no more or `stop` is set. A panic in a job becomes its outcome.
    fn run(worker: &Worker, stop: &AtomicBool, work: &Receiver<Job>, results: &Sender<(u64, Outcome)>) {
        for job in work {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let made = catch_unwind(AssertUnwindSafe(|| worker.make(&job)));
            let panicked = |panic: Box<dyn Any + Send>| {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
                Outcome::Panicked(format!("reading sample {} of epoch {} panicked: {words}", job.sample, job.epoch))
            };
            if results.send((job.position, made.unwrap_or_else(panicked))).is_err() {
                return;
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod held {
    use std::collections::VecDeque;

    use super::super::worker::{Job, Outcome, Worker};
    use crate::error::Result;

    /// Jobs that wait until their outcome is asked for.
    pub(in super::super) struct Makers {
        worker: Worker,
        waiting: VecDeque<Job>,
    }

    impl Makers {
        pub(in super::super) fn start(worker: &Worker, _threads: usize) -> Result<Makers> {
            Ok(Makers { worker: worker.clone(), waiting: VecDeque::new() })
        }

        pub(in super::super) fn request(&mut self, job: Job) {
            self.waiting.push_back(job);
        }

        /// Does the oldest job.
        pub(in super::super) fn outcome(&mut self) -> Result<(u64, Outcome), String> {
            let job = self.waiting.pop_front().ok_or("no image was asked for")?;
            Ok((job.position, self.worker.make(&job)))
        }
    }
}
