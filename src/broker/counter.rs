//! Numbers that one task writes and others read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number with one writer: the task of the connection that it belongs to. It writes with a plain load and store, so
/// that counting costs no more than it would without readers; a reader may see a number that is a moment old.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more. For the one writer only: of two at once one would be lost.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Says how much it is now. For the one writer only.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// How much it is.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_was_written() {
        let counter = Counter::default();
        counter.add(2);
        counter.add(3);
        assert_eq!(counter.get(), 5);
        counter.set(1);
        assert_eq!(counter.get(), 1);
    }
}
