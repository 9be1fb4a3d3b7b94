//! How the journal's writer wakes connections whose confirms or replies are durable now.
//!
//! A task that is woken from another thread than a worker of its runtime is not taken by the worker that watches the
//! sockets only: that one wakes a second worker to look for more, which finds nothing. When all of them sleep, the writer
//! rings a bell in place of that, which is a pipe watched like the sockets; whoever hears it wakes the tasks as if bytes
//! had come. That saves a wake-up of a thread for each sync, and the first worker need not give one.

use std::io::{self, PipeWriter, Write as _};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use rustix::io::ioctl_fionbio;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::{Handle, RuntimeMetrics};

use crate::storage::journal::WakeTasks;

/// What ringer and listener share.
#[derive(Debug)]
struct Bell {
    pipe: PipeWriter,
    runtime: RuntimeMetrics,
    /// Whom to wake; None when nobody listens.
    due: Mutex<Option<Vec<Waker>>>,
}

impl Bell {
    /// Whether all workers sleep. One of them watches the sockets then.
    fn all_sleep(&self) -> bool {
        (0..self.runtime.num_workers()).all(|worker| self.runtime.worker_park_unpark_count(worker) % 2 == 1)
    }

    /// Rings for these. Returns those that it could not ring for.
    fn ring(&self, tasks: Vec<Waker>) -> Vec<Waker> {
        {
            let mut due = self.due.lock();
            let Some(due) = due.as_mut() else { return tasks };
            due.extend(tasks);
        }
        match (&self.pipe).write(&[1]) {
            Ok(_) => Vec::new(),
            // So many rings are unheard that this one need not be.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
            Err(_) => self.take(),
        }
    }

    fn take(&self) -> Vec<Waker> {
        self.due.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Rings, or wakes itself if a worker is awake or nobody listens.
#[derive(Debug)]
pub(super) struct Ringer(Arc<Bell>);

impl WakeTasks for Ringer {
    fn wake(&self, tasks: Vec<Waker>) {
        let left = if self.0.all_sleep() { self.0.ring(tasks) } else { tasks };
        left.into_iter().for_each(Waker::wake);
    }
}

/// Nobody listens any more when it is dropped.
struct Listening(Arc<Bell>);

impl Drop for Listening {
    fn drop(&mut self) {
        let left = self.0.due.lock().take();
        left.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A bell for the runtime it is called within: who rings, and the task that listens for as long as it runs.
///
/// # Errors
/// If the operating system has no more files.
pub(super) fn hang() -> io::Result<(Ringer, impl Future<Output = ()>)> {
    let (ear, pipe) = io::pipe()?;
    ioctl_fionbio(&pipe, true)?;
    let ear = Receiver::from_owned_fd(ear.into())?;
    let bell = Bell { pipe, runtime: Handle::current().metrics(), due: Mutex::new(Some(Vec::new())) };
    let listening = Listening(Arc::new(bell));
    let ringer = Ringer(listening.0.clone());
    Ok((ringer, listen(listening, ear)))
}

async fn listen(listening: Listening, mut ear: Receiver) {
    // Rarely more than one. A read that does not fill it needs no second one to see that there are no more.
    let mut rings = [0; 64];
    // Read first, so that whoever rings meanwhile is heard again.
    while ear.read(&mut rings).await.is_ok() {
        listening.0.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Poll, Wake};
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    /// A waker that counts.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Counter {
        fn is_at(&self, count: usize) -> bool {
            self.0.load(Ordering::SeqCst) == count
        }
    }

    fn wait_until(so: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if so() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("it did not come to that");
    }

    #[test]
    fn each_ring_is_heard() {
        let runtime = runtime();
        let (ringer, listening) = runtime.block_on(async { hang() }).unwrap();
        runtime.spawn(listening);
        wait_until(|| ringer.0.all_sleep());
        let counter = Arc::new(Counter::default());
        for round in 1..=1000 {
            let tasks = vec![Waker::from(counter.clone()), Waker::from(counter.clone())];
            assert!(ringer.0.ring(tasks).is_empty());
            wait_until(|| counter.is_at(2 * round));
        }
    }

    #[test]
    fn tasks_are_woken_whether_workers_sleep_or_not() {
        let runtime = runtime();
        let (ringer, listening) = runtime.block_on(async { hang() }).unwrap();
        runtime.spawn(listening);
        let (sender, wakers) = mpsc::channel();
        let rounds = 1000;
        let task = runtime.spawn(async move {
            for round in 0..rounds {
                let mut first = true;
                std::future::poll_fn(|cx| {
                    if std::mem::take(&mut first) {
                        sender.send(cx.waker().clone()).unwrap();
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
                // Sometimes it is busy when it is to be woken, and sometimes not.
                for _ in 0..round % 7 {
                    tokio::task::yield_now().await;
                }
            }
        });
        for waker in wakers {
            ringer.wake(vec![waker]);
        }
        runtime.block_on(task).unwrap();
    }

    #[test]
    fn a_worker_that_is_awake_is_not_rung_for() {
        let runtime = runtime();
        let (ringer, listening) = runtime.block_on(async { hang() }).unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let (told, awake) = mpsc::channel();
        runtime.spawn(async move {
            told.send(()).unwrap();
            // A worker that is busy for long.
            let _ = wait.recv();
        });
        awake.recv().unwrap();
        assert!(!ringer.0.all_sleep());
        let counter = Arc::new(Counter::default());
        // Nobody listens yet, and nothing is left to them.
        ringer.wake(vec![Waker::from(counter.clone())]);
        assert!(counter.is_at(1));
        drop(go);
        drop(listening);
    }

    #[test]
    fn when_nobody_listens_any_more_tasks_are_woken_all_the_same() {
        let runtime = runtime();
        let (ringer, listening) = runtime.block_on(async { hang() }).unwrap();
        let counter = Arc::new(Counter::default());
        assert!(ringer.0.ring(vec![Waker::from(counter.clone())]).is_empty());
        assert!(counter.is_at(0));
        drop(listening);
        assert!(counter.is_at(1));
        wait_until(|| ringer.0.all_sleep());
        ringer.wake(vec![Waker::from(counter.clone())]);
        assert!(counter.is_at(2));
    }
}
