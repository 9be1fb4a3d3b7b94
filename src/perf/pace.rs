//! When messages are due at a fixed rate.

use std::time::Duration;

use super::clock::nanos;

const NANOS_PER_SECOND: f64 = 1e9;

/// A schedule of messages at a fixed rate. When a message is due does not depend on when those before it were sent: after a
/// stall the ones that were due meanwhile are sent at once, and their latency counts from when they were due. That is what
/// corrects the percentiles for coordinated omission.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    start: u64,
    /// Nanoseconds between two messages.
    step: f64,
}

impl Pace {
    /// So many messages a second, which is over 0, the first of them at `start`.
    #[must_use]
    pub fn new(start: Duration, rate: f64) -> Self {
        Self { start: nanos(start), step: NANOS_PER_SECOND / rate }
    }

    /// The share of one of several publishers that together have the rate: their messages come in turn.
    #[must_use]
    pub fn share(start: Duration, rate: f64, publisher: usize, publishers: usize) -> Self {
        let whole = Self::new(start, rate);
        Self { start: whole.due(publisher as u64), step: whole.step * publishers as f64 }
    }

    /// When a message is due, the first of which is 0, in nanoseconds.
    #[inline]
    #[must_use]
    pub fn due(&self, message: u64) -> u64 {
        self.start.saturating_add((message as f64 * self.step) as u64)
    }

    /// How many messages are due at a moment, from the beginning on.
    #[inline]
    #[must_use]
    pub fn due_until(&self, now: u64) -> u64 {
        if now < self.start {
            return 0;
        }
        let mut count = ((now - self.start) as f64 / self.step) as u64;
        // Rounding must not let a message go before it is due, nor keep one that is.
        while count > 0 && self.due(count - 1) > now {
            count -= 1;
        }
        while self.due(count) <= now {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::perf::percentiles::Times;

    #[test]
    fn messages_are_due_at_even_steps() {
        let pace = Pace::new(Duration::from_nanos(500), 1e6);
        assert_eq!((pace.due(0), pace.due(1), pace.due(1000)), (500, 1500, 1_000_500));
        assert_eq!([499, 500, 1499, 1500].map(|now| pace.due_until(now)), [0, 1, 1, 2]);
    }

    #[test]
    fn publishers_take_turns() {
        let shares = [0, 1, 2].map(|i| Pace::share(Duration::ZERO, 1000.0, i, 3));
        let due = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)].map(|(i, n): (usize, u64)| shares[i].due(n));
        assert_eq!(due, [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]);
    }

    /// A broker that takes nothing for 100 ms and answers at once otherwise. Who measures from when messages were sent
    /// sees one slow message; here all that were due meanwhile are slow.
    #[test]
    fn a_stall_counts_for_every_message_that_was_due_meanwhile() {
        let pace = Pace::new(Duration::ZERO, 1000.0);
        let (stall, end) = (500_000_000..600_000_000, 1_000_000_000);
        let mut times = Times::new().expect("a histogram");
        let (mut now, mut sent) = (0, 0);
        while now < end {
            now = pace.due(sent).max(now);
            if stall.contains(&now) {
                now = stall.end;
            }
            for message in sent..pace.due_until(now) {
                times.record(now - pace.due(message));
            }
            sent = pace.due_until(now);
        }
        let told = times.percentiles();
        assert!((1000..=1001).contains(&told.count), "{told:?}");
        assert!((99_000.0..=100_100.0).contains(&told.max_us), "{told:?}");
        assert!(told.p50_us < 1.0, "{told:?}");
        // 100 of 1,000 were due in the stall, evenly: a tenth of these waited for over 90 ms.
        assert!((88_000.0..=92_000.0).contains(&told.p99_us), "{told:?}");
    }

    proptest! {
        #[test]
        fn due_until_and_due_agree(rate in 0.1f64..1e7, start in 0u64..1_000_000_000, now in 0u64..10_000_000_000) {
            let pace = Pace::new(Duration::from_nanos(start), rate);
            let count = pace.due_until(now);
            prop_assert!(count == 0 || pace.due(count - 1) <= now);
            prop_assert!(pace.due(count) > now);
        }
    }
}
