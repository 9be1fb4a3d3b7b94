//! The threads that check credentials.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::storage::readers::{Job, Readers};

/// Logins that may wait. Each of them is a connection in its handshake.
const MOST_WAITING: usize = 4096;

/// A few threads with a bounded queue. Dropping it lets them finish what was submitted.
#[derive(Debug)]
pub(in crate::broker) struct Threads {
    threads: Readers,
    waiting: Arc<AtomicUsize>,
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
        Ok(Self { threads: Readers::start("login", count)?, waiting: Arc::default() })
    }

    /// Has a job done soon.
    pub(super) fn submit(&self, job: Job) -> Result<(), Full> {
        if self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return Err(Full);
        }
        self.submit_always(job);
        Ok(())
    }

    /// Has a job done soon that nobody from outside asked for.
    pub(super) fn submit_always(&self, job: Job) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.clone();
        self.threads.submit(Box::new(move || {
            job();
            waiting.fetch_sub(1, Ordering::Relaxed);
        }));
    }
}
