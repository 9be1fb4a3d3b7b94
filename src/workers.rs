//! A few threads with one queue of jobs: for what waits for a disk, or computes for long, off the threads that serve
//! connections.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

/// What a thread does. It may block, and take locks.
pub type Job = Box<dyn FnOnce() + Send>;

/// What a job that panics means. The hook has logged it in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// Somebody would wait for ever: the process ends.
    Abort,
    /// Whoever waits for the job has a deadline: the thread takes the next one.
    GoOn,
}

/// See the module. Dropping it lets the threads finish what was submitted.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    on_panic: OnPanic,
    jobs: Mutex<Jobs>,
    changed: Condvar,
    /// Nothing is left to do.
    idle: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    running: usize,
    stop: bool,
}

/// As many jobs wait as may.
#[derive(Debug)]
pub struct Full;

impl Workers {
    /// Starts `count` threads, called `name` with their number.
    ///
    /// # Errors
    /// If the operating system has no more threads.
    pub fn start(name: &str, count: usize, on_panic: OnPanic) -> io::Result<Self> {
        let (jobs, changed, idle) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { on_panic, jobs, changed, idle });
        let mut workers = Self { shared, threads: Vec::new() };
        for number in 0..count {
            let shared = workers.shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            workers.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(workers)
    }

    /// Has a job done soon. Does not block.
    pub fn submit(&self, job: Job) {
        self.shared.jobs.lock().waiting.push_back(job);
        self.shared.changed.notify_one();
    }

    /// As [`submit`](Self::submit), unless `most` others wait already.
    ///
    /// # Errors
    /// If they do.
    pub fn submit_among(&self, job: Job, most: usize) -> Result<(), Full> {
        {
            let mut jobs = self.shared.jobs.lock();
            if jobs.waiting.len() >= most {
                return Err(Full);
            }
            jobs.waiting.push_back(job);
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Waits until everything that was submitted is done.
    pub fn finish(&self) {
        let mut jobs = self.shared.jobs.lock();
        while jobs.running > 0 || !jobs.waiting.is_empty() {
            self.shared.idle.wait(&mut jobs);
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            if catch_unwind(AssertUnwindSafe(job)).is_err() && self.on_panic == OnPanic::Abort {
                std::process::abort();
            }
            let mut jobs = self.jobs.lock();
            jobs.running -= 1;
            if jobs.running == 0 && jobs.waiting.is_empty() {
                self.idle.notify_all();
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                jobs.running += 1;
                return Some(job);
            }
            if jobs.stop {
                return None;
            }
            self.changed.wait(&mut jobs);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.jobs.lock().stop = true;
        self.shared.changed.notify_all();
        let own = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last job may be the last to hold what owns us.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_that_was_submitted_is_done_before_the_end() {
        let done = Arc::new(AtomicUsize::new(0));
        let workers = Workers::start("test", 2, OnPanic::Abort).unwrap();
        for _ in 0..100 {
            let done = done.clone();
            workers.submit(Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
            }));
        }
        drop(workers);
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn a_job_may_be_the_last_owner() {
        let workers = Arc::new(Workers::start("test", 1, OnPanic::Abort).unwrap());
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (own, told) = (workers.clone(), sender.clone());
        workers.submit(Box::new(move || {
            receiver.recv().unwrap();
            drop(own);
            drop(told);
        }));
        drop(workers);
        sender.send(()).unwrap();
    }

    #[test]
    fn who_goes_on_after_a_panic_takes_the_next_job() {
        let workers = Workers::start("test", 1, OnPanic::GoOn).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let told = done.clone();
        workers.submit(Box::new(|| std::panic::resume_unwind(Box::new(()))));
        workers.submit(Box::new(move || {
            told.fetch_add(1, Ordering::Relaxed);
        }));
        workers.finish();
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn only_so_many_wait() {
        let workers = Workers::start("test", 1, OnPanic::Abort).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel::<()>();
        workers.submit(Box::new(move || {
            begun.send(()).unwrap();
            receiver.recv().unwrap();
        }));
        has_begun.recv().unwrap();
        assert!(workers.submit_among(Box::new(|| {}), 1).is_ok());
        assert!(workers.submit_among(Box::new(|| {}), 1).is_err());
        sender.send(()).unwrap();
        workers.finish();
        assert!(workers.submit_among(Box::new(|| {}), 1).is_ok());
    }
}
