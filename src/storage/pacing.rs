//! Whether the writer waits for those whom a sync has just served, before it begins the next group.
//!
//! A connection that keeps a window of unconfirmed messages sends the next ones when it hears of the last. While it waits
//! alone, a group that is begun before they are there gets one part of the window and the next group the other: twice the
//! syncs, writes and wake-ups for as many messages. Where several wait, what the others send meanwhile fills the groups,
//! and to wait would only take time from them.

use std::task::Waker;
use std::time::{Duration, Instant};

/// The longest wait. What comes back at all comes back within a turn of two connections.
const LONGEST: Duration = Duration::from_millis(1);

/// After so many waits in vain, one after the other, the pauses do not get longer any more.
const MOST_MISSES: u32 = 6;

/// After so many syncs for the same one in a row it is taken to be alone. Of several that send by turns, one sync often
/// serves just one.
const ALONE: u32 = 16;

/// Whom a sync was for.
#[derive(Debug)]
pub(super) enum Served {
    Nobody,
    /// One task, perhaps more than once.
    One(Waker),
    Several,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// Who was served last, if it was one.
    last: Option<Waker>,
    /// Syncs in a row that served only that one.
    alone: u32,
    expected: Option<Expected>,
    /// Waits in vain since the last one that was not.
    misses: u32,
    /// Syncs after which nothing is expected, since too often nothing came.
    pause: u32,
}

/// What is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Bytes of the next group.
    pub(super) bytes: u64,
    /// Not longer than this.
    pub(super) until: Instant,
}

impl Pacing {
    /// A sync that took so long was for `whom`. So many bytes were in the group, and so many `gathered` meanwhile:
    /// together the window of who is alone.
    pub(super) fn served(&mut self, whom: Served, group: u64, gathered: u64, took: Duration, now: Instant) {
        self.expected = None;
        if !self.is_alone(whom) {
            return;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let window = group.saturating_add(gathered);
        // Not quite all of it: one acknowledgement more or less is nothing to wait for.
        let bytes = window - window.div_ceil(8);
        // Waiting costs at most as much as a sync, which is what it may save.
        let until = now + took.min(LONGEST);
        self.expected = (bytes > gathered).then_some(Expected { bytes, until });
    }

    fn is_alone(&mut self, whom: Served) -> bool {
        match whom {
            // What nobody waited for was synced in time.
            Served::Nobody => return false,
            Served::One(waker) => {
                let is_same = self.last.as_ref().is_some_and(|last| last.will_wake(&waker));
                self.alone = if is_same { (self.alone + 1).min(ALONE) } else { 1 };
                self.last = Some(waker);
            }
            Served::Several => (self.last, self.alone) = (None, 0),
        }
        self.alone == ALONE
    }

    /// What is worth waiting for now.
    pub(super) fn expected(&self) -> Option<Expected> {
        self.expected
    }

    /// The next group begins, with so many bytes; now, if there was a wait for them.
    pub(super) fn begin(&mut self, bytes: u64, waited: Option<Instant>) {
        let (Some(expected), Some(now)) = (self.expected.take(), waited) else { return };
        if bytes >= expected.bytes {
            self.misses = 0;
        } else if now >= expected.until {
            self.misses = (self.misses + 1).min(MOST_MISSES);
            self.pause = (1 << self.misses) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    const SYNC: Duration = Duration::from_micros(200);

    struct Sleeper;

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {}
    }

    fn waker() -> Waker {
        Waker::from(Arc::new(Sleeper))
    }

    #[allow(clippy::disallowed_methods, reason = "only a beginning to count from")]
    fn begun() -> Instant {
        Instant::now()
    }

    /// With one who was alone for long enough.
    fn pacing(waker: &Waker) -> Pacing {
        let mut pacing = Pacing::default();
        for _ in 1..ALONE {
            assert_eq!(after(&mut pacing, Served::One(waker.clone()), 80, 0), None);
        }
        pacing
    }

    /// What is expected after a sync.
    fn after(pacing: &mut Pacing, whom: Served, group: u64, gathered: u64) -> Option<u64> {
        pacing.served(whom, group, gathered, SYNC, begun());
        pacing.expected().map(|expected| expected.bytes)
    }

    #[test]
    fn who_is_alone_is_waited_for_as_long_as_a_sync_takes() {
        let (waker, now) = (waker(), begun());
        let mut pacing = pacing(&waker);
        pacing.served(Served::One(waker.clone()), 40, 40, SYNC, now);
        assert_eq!(pacing.expected(), Some(Expected { bytes: 70, until: now + SYNC }));
        pacing.served(Served::One(waker), 80, 0, Duration::from_secs(1), now);
        assert_eq!(pacing.expected(), Some(Expected { bytes: 70, until: now + LONGEST }));
    }

    #[test]
    fn in_company_nobody_is_waited_for() {
        let (one, other) = (waker(), waker());
        let mut pacing = pacing(&one);
        assert_eq!(after(&mut pacing, Served::One(one.clone()), 80, 0), Some(70));
        assert_eq!(after(&mut pacing, Served::Nobody, 80, 0), None);
        assert_eq!(after(&mut pacing, Served::One(one.clone()), 80, 0), Some(70));
        assert_eq!(after(&mut pacing, Served::Several, 80, 0), None);
        for _ in 0..3 * ALONE {
            assert_eq!(after(&mut pacing, Served::One(one.clone()), 80, 0), None);
            assert_eq!(after(&mut pacing, Served::One(other.clone()), 80, 0), None);
        }
    }

    #[test]
    fn nothing_is_waited_for_that_is_there_or_next_to_nothing() {
        let waker = waker();
        let mut pacing = pacing(&waker);
        for (group, gathered) in [(10, 90), (1, 0), (0, 0), (u64::MAX, u64::MAX - 1)] {
            assert_eq!(after(&mut pacing, Served::One(waker.clone()), group, gathered), None);
        }
    }

    #[test]
    fn after_waits_in_vain_come_ever_longer_pauses_and_one_that_was_not_ends_them() {
        let waker = waker();
        let mut pacing = pacing(&waker);
        let next = |pacing: &mut Pacing| after(pacing, Served::One(waker.clone()), 80, 0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(next(&mut pacing), Some(70));
            // What is there without a wait says nothing, nor does a wait that was cut short.
            pacing.begin(99, None);
            next(&mut pacing);
            pacing.begin(3, Some(begun() - LONGEST));
            next(&mut pacing);
            pacing.begin(3, Some(begun() + LONGEST));
            let mut pause = 0;
            while next(&mut pacing).is_none() {
                pause += 1;
            }
            pauses.push(pause);
        }
        assert_eq!(pauses, [1, 3, 7, 15, 31, 63, 63, 63]);
        pacing.begin(70, Some(begun()));
        assert_eq!(next(&mut pacing), Some(70));
        pacing.begin(69, Some(begun() + LONGEST));
        assert_eq!(pacing.pause, 1);
    }

    #[test]
    fn a_group_that_nothing_was_expected_of_counts_neither_way() {
        let mut pacing = Pacing::default();
        pacing.begin(1, Some(begun()));
        assert_eq!((pacing.misses, pacing.pause), (0, 0));
    }
}
