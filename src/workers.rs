//! A few threads with one queue of jobs: for what waits for a disk, or computes for long, off the threads that serve
//! connections.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, MutexGuard};

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
    name: String,
    most: usize,
    /// The first is started at once, each other when a job comes while all are busy.
    threads: Mutex<Vec<JoinHandle<()>>>,
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
    threads: usize,
    stop: bool,
}

/// As many jobs wait as may.
#[derive(Debug)]
pub struct Full;

impl Workers {
    /// Up to `most` threads, called `name` with their number. An idle thread takes memory, so that there are only as many
    /// as had to do at the same time, and at least one.
    ///
    /// # Errors
    /// If the operating system has no thread for the first.
    pub fn start(name: &str, most: usize, on_panic: OnPanic) -> io::Result<Self> {
        let (jobs, changed, idle) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { on_panic, jobs, changed, idle });
        let workers = Self { shared, name: name.to_owned(), most, threads: Mutex::default() };
        workers.start_another()?;
        Ok(workers)
    }

    fn start_another(&self) -> io::Result<()> {
        let mut threads = self.threads.lock();
        if threads.len() >= self.most {
            return Ok(());
        }
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(format!("{}-{}", self.name, threads.len()));
        threads.push(thread.spawn(move || shared.work())?);
        self.shared.jobs.lock().threads = threads.len();
        Ok(())
    }

    /// Has a job done soon. Does not block.
    pub fn submit(&self, job: Job) {
        self.submitted(self.shared.jobs.lock(), job);
    }

    fn submitted(&self, mut jobs: MutexGuard<'_, Jobs>, job: Job) {
        jobs.waiting.push_back(job);
        let all_are_busy = jobs.running + jobs.waiting.len() > jobs.threads && jobs.threads < self.most;
        drop(jobs);
        self.shared.changed.notify_one();
        if all_are_busy && let Err(error) = self.start_another() {
            tracing::warn!(%error, name = self.name, "no further thread; those that run do the work");
        }
    }

    /// As [`submit`](Self::submit), unless `most` others wait already.
    ///
    /// # Errors
    /// If they do.
    pub fn submit_among(&self, job: Job, most: usize) -> Result<(), Full> {
        let jobs = self.shared.jobs.lock();
        if jobs.waiting.len() >= most {
            return Err(Full);
        }
        self.submitted(jobs, job);
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
        for thread in self.threads.get_mut().drain(..) {
            // The last job may be the last to hold what owns us.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("name", &self.name).field("most", &self.most).finish_non_exhaustive()
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
    fn a_thread_is_started_for_each_that_has_to_wait() {
        let workers = Workers::start("test", 3, OnPanic::Abort).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let releases: Vec<_> = (0..4)
            .map(|_| {
                let (release, released) = std::sync::mpsc::channel::<()>();
                let begun = sender.clone();
                workers.submit(Box::new(move || {
                    begun.send(()).unwrap();
                    released.recv().unwrap();
                }));
                release
            })
            .collect();
        // The fourth waits for one of the three.
        (0..3).for_each(|_| receiver.recv().unwrap());
        assert!(receiver.try_recv().is_err());
        releases.iter().for_each(|release| release.send(()).unwrap());
        workers.finish();
        receiver.try_recv().unwrap();
        assert_eq!(workers.threads.lock().len(), 3);

        workers.submit(Box::new(|| {}));
        workers.finish();
        assert_eq!(workers.threads.lock().len(), 3);
    }

    #[test]
    fn one_thread_does_what_comes_one_after_another() {
        let workers = Workers::start("test", 3, OnPanic::Abort).unwrap();
        for _ in 0..10 {
            workers.submit(Box::new(|| {}));
            workers.finish();
        }
        assert_eq!(workers.threads.lock().len(), 1);
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
