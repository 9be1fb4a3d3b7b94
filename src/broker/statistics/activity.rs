//! Which queues of a vhost had something happen to them since somebody looked, and what all its queues hold together.
//!
//! A queue is listed once, whatever happens to it, and taken off the list by the next sample. So neither a sample nor a
//! sum looks at queues that are idle.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lock::{Rank, RankedMutex};

/// Queues up to which those that are gone do not matter.
const FEW: usize = 1024;

/// What is summed up over queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Booked {
    /// Now: ready messages.
    pub ready: u64,
    /// Now: messages that are delivered and not settled, with those on their way to consumers that do not acknowledge.
    pub unacked: u64,
    /// Messages that were read from the disk again.
    pub disk_reads: u64,
    /// Messages that got a record in the journal.
    pub disk_writes: u64,
    /// Messages that left memory and were on disk only.
    pub paged_out: u64,
    /// Times that a consumer was passed over since its connection had no room.
    pub parked: u64,
}

impl Booked {
    /// Adds what another one has counted. What there is now stays.
    pub fn count(&mut self, other: Self) {
        self.disk_reads += other.disk_reads;
        self.disk_writes += other.disk_writes;
        self.paged_out += other.paged_out;
        self.parked += other.parked;
    }

    fn numbers(self) -> [u64; 6] {
        let Self { ready, unacked, disk_reads, disk_writes, paged_out, parked } = self;
        [ready, unacked, disk_reads, disk_writes, paged_out, parked]
    }
}

/// See the module. `T` is the queue.
#[derive(Debug)]
pub struct Activity<T> {
    changed: RankedMutex<Changed<T>>,
    sums: [AtomicU64; 6],
}

#[derive(Debug)]
struct Changed<T> {
    queues: Vec<Weak<T>>,
    /// So many are looked through for queues that are gone.
    clean_at: usize,
}

impl<T> Default for Activity<T> {
    fn default() -> Self {
        let changed = Changed { queues: Vec::new(), clean_at: FEW };
        Self { changed: RankedMutex::new(Rank::Outlet, changed), sums: Default::default() }
    }
}

impl<T> Activity<T> {
    /// Lists a queue that is not listed.
    pub fn list(&self, queue: &Weak<T>) {
        let mut changed = self.changed.lock();
        let Changed { queues, clean_at } = &mut *changed;
        if queues.len() >= *clean_at {
            // Nobody may be taking samples.
            queues.retain(|queue| queue.strong_count() > 0);
            *clean_at = FEW.max(2 * queues.len());
        }
        queues.push(queue.clone());
    }

    /// Takes all queues off the list.
    #[must_use]
    pub fn take(&self) -> Vec<Weak<T>> {
        let mut changed = self.changed.lock();
        changed.clean_at = FEW;
        std::mem::take(&mut changed.queues)
    }

    /// The queues that are listed.
    #[must_use]
    pub fn listed(&self) -> Vec<Weak<T>> {
        self.changed.lock().queues.clone()
    }

    /// A queue that had `before` in the sums has `now` in them.
    pub fn book(&self, before: Booked, now: Booked) {
        for ((sum, before), now) in self.sums.iter().zip(before.numbers()).zip(now.numbers()) {
            if before != now {
                sum.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
            }
        }
    }

    /// What all queues have together, as of when each was booked last.
    #[must_use]
    pub fn sums(&self) -> Booked {
        let [ready, unacked, disk_reads, disk_writes, paged_out, parked] =
            std::array::from_fn(|at| self.sums[at].load(Ordering::Relaxed));
        Booked { ready, unacked, disk_reads, disk_writes, paged_out, parked }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn queues_that_are_gone_do_not_gather() {
        let activity = Activity::default();
        let kept: Vec<Arc<u32>> = (0..3 * FEW as u32).map(Arc::new).collect();
        kept.iter().for_each(|queue| activity.list(&Arc::downgrade(queue)));
        for number in 0..10 * FEW as u32 {
            activity.list(&Arc::downgrade(&Arc::new(number)));
        }
        assert!(activity.listed().len() <= 6 * FEW + 1, "{}", activity.listed().len());
        assert_eq!(activity.take().iter().filter_map(Weak::upgrade).count(), kept.len());
        assert!(activity.take().is_empty());
    }

    #[test]
    fn only_counts_are_added() {
        let mut sums = Booked { ready: 1, parked: 2, ..Booked::default() };
        sums.count(Booked { ready: 3, unacked: 4, disk_reads: 5, disk_writes: 6, paged_out: 7, parked: 8 });
        assert_eq!(
            sums,
            Booked { ready: 1, unacked: 0, disk_reads: 5, disk_writes: 6, paged_out: 7, parked: 10 }
        );
    }

    #[test]
    fn sums_follow_what_is_booked() {
        let activity = Activity::<()>::default();
        let (few, many) =
            (Booked { ready: 1, ..Booked::default() }, Booked { ready: 5, parked: 2, ..Booked::default() });
        activity.book(Booked::default(), many);
        activity.book(Booked::default(), few);
        activity.book(many, few);
        assert_eq!(activity.sums(), Booked { ready: 2, ..Booked::default() });
    }
}
