//! The threads that check credentials.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::storage::readers::Job;

/// Logins that may wait. Each of them is a connection in its handshake.
const MOST_WAITING: usize = 4096;

/// A few threads with a bounded queue. Dropping it lets them finish what was submitted.
pub(in crate::broker) struct Threads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
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

/// There is no room for another job.
#[derive(Debug)]
pub(super) struct Full;

impl Threads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// If the operating system has no more threads.
    pub(in crate::broker) fn start(count: usize) -> io::Result<Self> {
        let mut threads = Self { shared: Arc::default(), threads: Vec::new() };
        for number in 0..count {
            let shared = threads.shared.clone();
            let thread = std::thread::Builder::new().name(format!("login-{number}"));
            threads.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(threads)
    }

    /// Has a job done soon.
    pub(super) fn submit(&self, job: Job) -> Result<(), Full> {
        if self.shared.jobs.lock().waiting.len() >= MOST_WAITING {
            return Err(Full);
        }
        self.submit_always(job);
        Ok(())
    }

    /// Has a job done soon that nobody from outside asked for.
    pub(super) fn submit_always(&self, job: Job) {
        self.shared.jobs.lock().waiting.push_back(job);
        self.shared.changed.notify_one();
    }

    /// Waits until everything that was submitted is done.
    pub(super) fn finish(&self) {
        let mut jobs = self.shared.jobs.lock();
        while jobs.running > 0 || !jobs.waiting.is_empty() {
            self.shared.idle.wait(&mut jobs);
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            // The hook has logged it, and whoever waits for the answer has a deadline.
            let _ = catch_unwind(AssertUnwindSafe(job));
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

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.jobs.lock().stop = true;
        self.shared.changed.notify_all();
        let own = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last job may be the last to hold what owns us.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a thread for logins panicked");
            }
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}
