//! What storage counts: how often it reads, writes and syncs, how much, and how long that takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of durations, in microseconds; beyond the last there is one more.
pub const DURATION_BOUNDS: [u64; 12] =
    [100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// Operations of one kind.
#[derive(Debug, Default)]
pub struct Meter {
    count: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
    durations: [AtomicU64; DURATION_BOUNDS.len() + 1],
}

/// What a [`Meter`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// Operations.
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// How long all of them took.
    pub time: Duration,
    /// How many took so long, not counting those in lower buckets. The bounds are [`DURATION_BOUNDS`], and the last one
    /// is for all beyond.
    pub durations: [u64; DURATION_BOUNDS.len() + 1],
}

impl Meter {
    /// Begins to measure an operation.
    #[must_use]
    pub fn begin(&self) -> Timing<'_> {
        Timing { meter: self, began: now() }
    }

    /// Notes an operation.
    pub(super) fn note(&self, bytes: u64, took: Duration) {
        let microseconds = took.as_micros();
        let bucket = DURATION_BOUNDS.iter().position(|bound| microseconds <= u128::from(*bound));
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.durations[bucket.unwrap_or(DURATION_BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn metered(&self) -> Metered {
        Metered {
            count: self.count.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
            durations: std::array::from_fn(|at| self.durations[at].load(Ordering::Relaxed)),
        }
    }
}

/// An operation under way.
#[derive(Debug)]
pub struct Timing<'a> {
    meter: &'a Meter,
    began: Instant,
}

impl Timing<'_> {
    /// It is done, and was about so many bytes. One that failed is not told. Returns how long it took.
    pub fn end(self, bytes: u64) -> Duration {
        let took = self.began.elapsed();
        self.meter.note(bytes, took);
        took
    }
}

/// What a broker's storage counts.
#[derive(Debug, Default)]
pub struct Meters {
    /// Groups written to the journal.
    pub writes: Meter,
    /// Syncs of the journal.
    pub syncs: Meter,
    /// Reads of stored messages. Bytes are those of messages that were read.
    pub reads: Meter,
    /// Checkpoints that did something, in bytes of segments that they wrote.
    pub checkpoints: Meter,
    /// Messages that were moved out of memory since all together took too much, in bytes that were freed.
    pub relief: Meter,
}

#[allow(clippy::disallowed_methods, reason = "how long the disk takes is what is measured here")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_add_up_and_fall_into_buckets() {
        let meter = Meter::default();
        for (bytes, microseconds) in [(10, 100), (20, 101), (30, 3_000_000)] {
            meter.note(bytes, Duration::from_micros(microseconds));
        }
        let metered = meter.metered();
        assert_eq!((metered.count, metered.bytes, metered.time.as_micros()), (3, 60, 3_000_201));
        let full: Vec<usize> =
            (0..metered.durations.len()).filter(|at| metered.durations[*at] == 1).collect();
        assert_eq!(full, [0, 1, DURATION_BOUNDS.len()]);
        meter.begin().end(1);
        assert_eq!(meter.metered().count, 4);
    }
}
