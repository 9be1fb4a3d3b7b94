//! What the threads of a run have done so far.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one connection. Its thread alone writes them; they do not share a cache line with another's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    published: AtomicU64,
    confirmed: AtomicU64,
    nacked: AtomicU64,
    consumed: AtomicU64,
    unsent: AtomicU64,
    blocked: OnceLock<String>,
}

/// Counts of one connection, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Messages that were written to the socket whole.
    pub published: u64,
    /// Messages the broker has confirmed.
    pub confirmed: u64,
    /// Messages the broker has refused by basic.nack.
    pub nacked: u64,
    /// Messages that were delivered whole.
    pub consumed: u64,
}

impl Counters {
    /// Sets the number of messages published.
    pub fn set_published(&self, count: u64) {
        self.published.store(count, Ordering::Relaxed);
    }

    /// Sets the numbers of messages confirmed and refused.
    pub fn set_settled(&self, confirmed: u64, nacked: u64) {
        self.confirmed.store(confirmed, Ordering::Relaxed);
        self.nacked.store(nacked, Ordering::Relaxed);
    }

    /// Sets the number of messages consumed.
    pub fn set_consumed(&self, count: u64) {
        self.consumed.store(count, Ordering::Relaxed);
    }

    /// Sets the number of messages that were due and were not sent.
    pub fn set_unsent(&self, count: u64) {
        self.unsent.store(count, Ordering::Relaxed);
    }

    /// Messages that were due and were not sent.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Notes that the broker has blocked the connection, and why.
    pub fn set_blocked(&self, reason: &str) {
        // The first reason is the one that is told.
        let _ = self.blocked.set(reason.to_owned());
    }

    /// Why the broker blocked the connection, if it ever did.
    pub fn blocked(&self) -> Option<&str> {
        self.blocked.get().map(String::as_str)
    }

    /// The numbers now.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            published: read(&self.published),
            confirmed: read(&self.confirmed),
            nacked: read(&self.nacked),
            consumed: read(&self.consumed),
        }
    }
}

impl Counts {
    /// What came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            published: self.published.saturating_sub(before.published),
            confirmed: self.confirmed.saturating_sub(before.confirmed),
            nacked: self.nacked.saturating_sub(before.nacked),
            consumed: self.consumed.saturating_sub(before.consumed),
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, next| Self {
            published: sum.published + next.published,
            confirmed: sum.confirmed + next.confirmed,
            nacked: sum.nacked + next.nacked,
            consumed: sum.consumed + next.consumed,
        })
    }
}
