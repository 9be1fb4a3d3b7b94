//! Threads for what takes its time, off the threads that serve connections: whatever waits for a disk, first of all.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

/// What a thread does. It may block, and take locks.
pub type Job = Box<dyn FnOnce() + Send>;

/// A few threads with one queue of jobs. Dropping it lets them finish what was submitted.
pub struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    stop: bool,
}

impl Readers {
    /// Starts `count` threads, called by this name and a number.
    ///
    /// # Errors
    /// If the operating system has no more threads.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let mut readers = Self { shared: Arc::default(), threads: Vec::new() };
        for number in 0..count {
            let shared = readers.shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            readers.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(readers)
    }

    /// Has a job done soon. Does not block.
    pub fn submit(&self, job: Job) {
        self.shared.jobs.lock().waiting.push_back(job);
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let job = {
                let mut jobs = self.jobs.lock();
                loop {
                    match jobs.waiting.pop_front() {
                        Some(job) => break job,
                        None if jobs.stop => return,
                        None => self.changed.wait(&mut jobs),
                    }
                }
            };
            // The hook has logged it. A queue that waits for what was to be read would wait for ever.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                std::process::abort();
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.jobs.lock().stop = true;
        self.shared.changed.notify_all();
        let own = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last job may be the last to hold what owns us.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a reading thread panicked");
            }
        }
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_that_was_submitted_is_done_before_the_end() {
        let done = Arc::new(AtomicUsize::new(0));
        let readers = Readers::start("reader", 2).unwrap();
        for _ in 0..100 {
            let done = done.clone();
            readers.submit(Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
            }));
        }
        drop(readers);
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn a_job_may_be_the_last_owner() {
        let readers = Arc::new(Readers::start("reader", 1).unwrap());
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (own, told) = (readers.clone(), sender.clone());
        readers.submit(Box::new(move || {
            receiver.recv().unwrap();
            drop(own);
            drop(told);
        }));
        drop(readers);
        sender.send(()).unwrap();
    }
}
