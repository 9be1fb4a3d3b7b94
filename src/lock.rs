//! Mutexes and read-write locks with a rank, so that the order in which locks are taken is a rule and not a hope.
//!
//! Debug builds keep each thread's held ranks and panic when a lock of the same or a lower rank is taken. In every
//! build a panic while one of the state locks is held aborts the process: what it guards may be half changed, and
//! the journal makes stopping safe where going on is not.

use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Where a lock stands in the order. A thread takes locks only in rising rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Who publishes events. Taken before all others.
    Events = 0,
    /// Vhosts, users and connections of the broker.
    Registry = 1,
    /// One vhost's exchanges, bindings and queue names. Several only through [`RankedRwLock::write_also`], in the order
    /// of the vhosts' names.
    Topology = 2,
    /// One queue. Several only through [`RankedMutex::lock_also`], in the order of their ids.
    Queue = 3,
    /// The journal's append buffer. A leaf.
    Journal = 4,
    /// One connection's outlet. A leaf.
    Outlet = 5,
    /// What wakes one connection. A leaf.
    Seat = 6,
}

impl Rank {
    /// Whether a panic under a lock of this rank may leave state behind that nobody must go on with.
    const fn aborts_on_panic(self) -> bool {
        matches!(self, Self::Topology | Self::Queue | Self::Journal)
    }
}

#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    use super::Rank;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn take(rank: Rank, same_rank_allowed: bool) {
        HELD.with_borrow_mut(|held| {
            if let Some(&top) = held.iter().max() {
                let in_order = top < rank || (same_rank_allowed && top == rank);
                assert!(in_order, "lock order: {rank:?} is taken while {top:?} is held");
            }
            held.push(rank);
        });
    }

    pub(super) fn give(rank: Rank) {
        HELD.with_borrow_mut(|held| {
            if let Some(at) = held.iter().rposition(|&r| r == rank) {
                held.remove(at);
            }
        });
    }
}

/// Notes the release of a rank when a guard goes, and aborts if it goes because of a panic.
struct Hold {
    rank: Rank,
    /// The lock was taken to clean up after a panic that began elsewhere.
    in_cleanup: bool,
}

impl Hold {
    #[inline]
    fn new(rank: Rank, same_rank_allowed: bool) -> Self {
        #[cfg(debug_assertions)]
        held::take(rank, same_rank_allowed);
        #[cfg(not(debug_assertions))]
        let _ = same_rank_allowed;
        Self { rank, in_cleanup: std::thread::panicking() }
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        if !self.in_cleanup && std::thread::panicking() && self.rank.aborts_on_panic() {
            std::process::abort();
        }
        #[cfg(debug_assertions)]
        held::give(self.rank);
    }
}

/// A mutex with a [`Rank`].
#[derive(Debug)]
pub struct RankedMutex<T> {
    rank: Rank,
    inner: Mutex<T>,
}

/// Access to what a [`RankedMutex`] guards, until dropped.
pub struct RankedMutexGuard<'a, T> {
    _hold: Hold,
    guard: MutexGuard<'a, T>,
}

impl<T> RankedMutex<T> {
    /// Guards `value` at `rank`.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: Mutex::new(value) }
    }

    /// Waits for the lock. Panics in debug builds if the thread holds one of the same or a higher rank.
    #[inline]
    pub fn lock(&self) -> RankedMutexGuard<'_, T> {
        let hold = Hold::new(self.rank, false);
        RankedMutexGuard { _hold: hold, guard: self.inner.lock() }
    }

    /// As [`lock`](Self::lock), but others of the same rank may be held. The caller has to take them in one
    /// order everywhere; queues are taken by rising id.
    #[inline]
    pub fn lock_also(&self) -> RankedMutexGuard<'_, T> {
        let hold = Hold::new(self.rank, true);
        RankedMutexGuard { _hold: hold, guard: self.inner.lock() }
    }
}

impl<T> Deref for RankedMutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for RankedMutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// A read-write lock with a [`Rank`].
#[derive(Debug)]
pub struct RankedRwLock<T> {
    rank: Rank,
    inner: RwLock<T>,
}

/// Shared access to what a [`RankedRwLock`] guards, until dropped.
pub struct RankedReadGuard<'a, T> {
    _hold: Hold,
    guard: RwLockReadGuard<'a, T>,
}

/// Sole access to what a [`RankedRwLock`] guards, until dropped.
pub struct RankedWriteGuard<'a, T> {
    _hold: Hold,
    guard: RwLockWriteGuard<'a, T>,
}

impl<T> RankedRwLock<T> {
    /// Guards `value` at `rank`.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: RwLock::new(value) }
    }

    /// Waits for shared access; same order rule as [`RankedMutex::lock`].
    pub fn read(&self) -> RankedReadGuard<'_, T> {
        let hold = Hold::new(self.rank, false);
        RankedReadGuard { _hold: hold, guard: self.inner.read() }
    }

    /// Waits for sole access; same order rule as [`RankedMutex::lock`].
    pub fn write(&self) -> RankedWriteGuard<'_, T> {
        let hold = Hold::new(self.rank, false);
        RankedWriteGuard { _hold: hold, guard: self.inner.write() }
    }

    /// As [`write`](Self::write), but others of the same rank may be held. The caller has to take them in one order
    /// everywhere; vhosts are taken by rising name.
    pub fn write_also(&self) -> RankedWriteGuard<'_, T> {
        let hold = Hold::new(self.rank, true);
        RankedWriteGuard { _hold: hold, guard: self.inner.write() }
    }
}

impl<T> Deref for RankedReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> Deref for RankedWriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for RankedWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn rising_ranks_are_fine_and_released_ones_forgotten() {
        let topology = RankedRwLock::new(Rank::Topology, 1);
        let queue = RankedMutex::new(Rank::Queue, 2);
        let journal = RankedMutex::new(Rank::Journal, 3);
        {
            let _t = topology.read();
            let _q = queue.lock();
            let _j = journal.lock();
        }
        let _t = topology.write();
    }

    #[test]
    fn queues_are_held_together_only_on_request() {
        let (a, b) = (RankedMutex::new(Rank::Queue, ()), RankedMutex::new(Rank::Queue, ()));
        let _a = a.lock_also();
        let _b = b.lock_also();
    }

    #[test]
    #[should_panic(expected = "lock order")]
    fn a_lower_rank_after_a_higher_one_is_caught() {
        let registry = RankedMutex::new(Rank::Registry, ());
        let outlet = RankedMutex::new(Rank::Outlet, ());
        let _outlet = outlet.lock();
        let _registry = registry.lock();
    }
}
