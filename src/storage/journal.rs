//! The journal: the one way by which durable state changes.
//!
//! [`Journal::append`] numbers a batch of records and never waits. Two positions follow: *written* survives a kill
//! of the process, *durable* a power cut. Whoever promised something waits for the one it needs by
//! [`Journal::wake_at`].
//!
//! This journal keeps nothing: it holds the place of the one on disk. Its records are written and durable at once,
//! or, in a [stepped](Journal::stepped) journal, when a test says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::ids::{Lsn, Progress};
use crate::lock::{Rank, RankedMutex};
use crate::storage::record::Record;

/// See the module.
#[derive(Debug)]
pub struct Journal {
    inner: RankedMutex<Inner>,
    written: AtomicU64,
    durable: AtomicU64,
    stepped: bool,
}

#[derive(Debug, Default)]
struct Inner {
    end: u64,
    waiters: Vec<(Progress, Waker)>,
}

/// A batch being appended, under the journal's lock.
pub struct Append<'a> {
    end: &'a mut u64,
}

impl Append<'_> {
    /// Adds a record to the batch.
    #[inline]
    pub fn record(&mut self, _record: &Record<'_>) {
        *self.end += 1;
    }
}

impl Journal {
    /// A journal whose records are written and durable as soon as they are appended.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(false)
    }

    /// A journal whose positions move only by [`advance`](Self::advance), for tests and simulations of what waits.
    #[must_use]
    pub fn stepped() -> Self {
        Self::new(true)
    }

    fn new(stepped: bool) -> Self {
        Self {
            inner: RankedMutex::new(Rank::Journal, Inner::default()),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            stepped,
        }
    }

    /// Appends what `batch` records, in one piece, and returns the position behind it.
    #[inline]
    pub fn append(&self, batch: impl FnOnce(&mut Append<'_>)) -> Lsn {
        let mut inner = self.inner.lock();
        batch(&mut Append { end: &mut inner.end });
        let end = inner.end;
        if !self.stepped {
            self.written.store(end, Ordering::Release);
            self.durable.store(end, Ordering::Release);
        }
        Lsn(end)
    }

    /// The position behind everything appended so far.
    #[must_use]
    pub fn end(&self) -> Lsn {
        Lsn(self.inner.lock().end)
    }

    /// How far the journal has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        // Durable first: it must not be ahead of the written position read after it.
        let durable = Lsn(self.durable.load(Ordering::Acquire));
        Progress { written: Lsn(self.written.load(Ordering::Acquire)), durable }
    }

    /// Wakes `waker` once when both positions of `at` are reached; at once if they are.
    pub fn wake_at(&self, at: Progress, waker: &Waker) {
        let mut inner = self.inner.lock();
        if reached(self.progress(), at) {
            drop(inner);
            waker.wake_by_ref();
            return;
        }
        inner.waiters.push((at, waker.clone()));
    }

    /// Moves a stepped journal's positions, at most to its end, and wakes who waited for them.
    pub fn advance(&self, to: Progress) {
        let due: Vec<Waker> = {
            let mut inner = self.inner.lock();
            let end = inner.end;
            self.written.fetch_max(to.written.0.min(end), Ordering::AcqRel);
            self.durable.fetch_max(to.durable.0.min(end), Ordering::AcqRel);
            let progress = self.progress();
            inner.waiters.extract_if(.., |(at, _)| reached(progress, *at)).map(|(_, waker)| waker).collect()
        };
        due.iter().for_each(Waker::wake_by_ref);
    }
}

fn reached(progress: Progress, at: Progress) -> bool {
    at.written <= progress.written && at.durable <= progress.durable
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;
    use crate::ids::{Position, QueueId};

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn append(journal: &Journal) -> Lsn {
        journal.append(|batch| batch.record(&Record::Removed { queue: QueueId(1), position: Position(1) }))
    }

    #[test]
    fn in_memory_everything_is_durable_at_once() {
        let journal = Journal::in_memory();
        let lsn = append(&journal);
        assert_eq!(journal.progress(), Progress { written: lsn, durable: lsn });
    }

    #[test]
    fn waiters_are_woken_once_when_both_positions_are_there() {
        let journal = Journal::stepped();
        let (first, second) = (append(&journal), append(&journal));
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(counter.clone());
        let woken = || counter.0.load(Ordering::Relaxed);
        journal.wake_at(Progress { written: second, durable: first }, &waker);
        journal.advance(Progress { written: second, durable: Lsn::ZERO });
        assert_eq!(woken(), 0);
        journal.advance(Progress { written: second, durable: second });
        assert_eq!(woken(), 1);
        journal.advance(Progress { written: Lsn(99), durable: Lsn(99) });
        assert_eq!((woken(), journal.progress().durable), (1, second));
        journal.wake_at(Progress { written: first, durable: first }, &waker);
        assert_eq!(woken(), 2);
    }
}
