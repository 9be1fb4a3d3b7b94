//! What the queues of a vhost want to have done later: to be looked at when a moment has come, and dead letters moved.
//!
//! A queue has at most a few entries here, however many messages with deadlines it holds: one for the first of them. An
//! entry that came too early, since its message is gone, costs one look.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use crate::broker::statistics::activity::Activity;
use crate::lock::{Rank, RankedMutex};
use crate::time::Clock;

/// Entries up to which those of queues that are gone do not matter.
const FEW: usize = 1024;

/// See the module. `T` is the queue.
#[derive(Debug)]
pub struct Agenda<T> {
    clock: Clock,
    state: RankedMutex<State<T>>,
    /// Queues to which something happened since the last sample.
    pub(super) activity: Activity<T>,
    /// There are dead letters. Written under the lock; read without it after each batch of work.
    has_letters: AtomicBool,
}

#[derive(Debug)]
struct State<T> {
    due: BinaryHeap<Reverse<Due<T>>>,
    letters: VecDeque<Weak<T>>,
    waker: Option<Waker>,
    /// So many entries are looked through for queues that are gone.
    clean_at: usize,
}

/// A queue and when it is to be looked at.
#[derive(Debug)]
struct Due<T> {
    at: u64,
    queue: Weak<T>,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl<T> Agenda<T> {
    /// An empty agenda.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let state = State { due: BinaryHeap::new(), letters: VecDeque::new(), waker: None, clean_at: FEW };
        let state = RankedMutex::new(Rank::Outlet, state);
        Self { clock, state, activity: Activity::default(), has_letters: AtomicBool::new(false) }
    }

    /// The time, in milliseconds since 1970.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// Names the task to wake when something has to be done earlier than it knew.
    pub fn register(&self, waker: &Waker) {
        self.state.lock().waker = Some(waker.clone());
    }

    /// The queue is to be looked at when it is `at`, in milliseconds since 1970.
    pub fn arm(&self, at: u64, queue: &Weak<T>) {
        let waker = {
            let mut state = self.state.lock();
            let is_first = state.due.peek().is_none_or(|Reverse(first)| at < first.at);
            if state.due.len() >= state.clean_at {
                // An entry keeps the memory of a queue that was deleted, until a moment that may be far away.
                state.due.retain(|Reverse(due)| due.queue.strong_count() > 0);
                state.clean_at = FEW.max(state.due.len() * 2);
            }
            state.due.push(Reverse(Due { at, queue: queue.clone() }));
            if is_first { state.waker.clone() } else { None }
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// The queue has dead letters.
    pub fn add_letters(&self, queue: &Weak<T>) {
        let mut state = self.state.lock();
        state.letters.push_back(queue.clone());
        self.has_letters.store(true, Ordering::Release);
    }

    /// Whether there are dead letters to be moved.
    #[inline]
    #[must_use]
    pub fn has_letters(&self) -> bool {
        self.has_letters.load(Ordering::Acquire)
    }

    /// Has the task look at the dead letters.
    pub fn wake(&self) {
        let waker = self.state.lock().waker.clone();
        waker.into_iter().for_each(Waker::wake);
    }

    /// The next queue with dead letters.
    #[must_use]
    pub fn take_letters(&self) -> Option<Arc<T>> {
        let mut state = self.state.lock();
        loop {
            let Some(queue) = state.letters.pop_front() else {
                self.has_letters.store(false, Ordering::Release);
                return None;
            };
            if let Some(queue) = queue.upgrade() {
                return Some(queue);
            }
        }
    }

    /// Up to `most` queues whose moment has come at `now`.
    #[must_use]
    pub fn take_due(&self, now: u64, most: usize) -> Vec<Arc<T>> {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some(first) = state.due.peek_mut().filter(|first| first.0.at <= now)
        {
            due.extend(std::collections::binary_heap::PeekMut::pop(first).0.queue.upgrade());
        }
        due
    }

    /// When the next queue has to be looked at, in milliseconds since 1970.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.state.lock().due.peek().map(|Reverse(first)| first.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_come_when_their_moment_does_and_only_while_they_are_there() {
        let agenda = Agenda::new(Clock::default());
        let queues: Vec<Arc<u32>> = (0..4).map(Arc::new).collect();
        for (at, queue) in [(30, &queues[0]), (10, &queues[1]), (20, &queues[2]), (10, &queues[3])] {
            agenda.arm(at, &Arc::downgrade(queue));
        }
        assert_eq!((agenda.next_at(), agenda.take_due(9, 9).len()), (Some(10), 0));
        assert_eq!(agenda.take_due(20, 2).len(), 2);
        assert_eq!(agenda.take_due(20, 2), [queues[2].clone()]);
        drop(queues);
        assert_eq!((agenda.next_at(), agenda.take_due(99, 9).len(), agenda.next_at()), (Some(30), 0, None));
    }

    #[test]
    fn queues_that_are_gone_leave_before_their_moment() {
        let agenda = Agenda::new(Clock::default());
        let stays = Arc::new(0);
        agenda.arm(u64::MAX, &Arc::downgrade(&stays));
        for _ in 0..10 * FEW {
            agenda.arm(u64::MAX, &Arc::downgrade(&Arc::new(1)));
        }
        assert!(agenda.state.lock().due.len() <= 2 * FEW);
        assert_eq!(agenda.take_due(u64::MAX, 20 * FEW), [stays]);
    }

    #[test]
    fn letters_are_taken_in_the_order_of_their_coming() {
        let agenda = Agenda::new(Clock::default());
        let (a, b) = (Arc::new('a'), Arc::new('b'));
        [&a, &b, &a].into_iter().for_each(|queue| agenda.add_letters(&Arc::downgrade(queue)));
        assert!(agenda.has_letters());
        drop(b);
        assert_eq!([agenda.take_letters(), agenda.take_letters()], [Some(a.clone()), Some(a)]);
        assert!(agenda.has_letters() && agenda.take_letters().is_none() && !agenda.has_letters());
    }
}
