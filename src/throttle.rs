//! Log lines that strangers can cause, held to a bearable number.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

use crate::time::Moment;

/// Lets a burst of lines pass, and after it one in each interval, and counts the others.
#[derive(Debug)]
pub struct Throttle {
    burst: u32,
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the whole burst is there again: an interval later with each line.
    rested: Moment,
    unsaid: u64,
}

/// Ten lines at once, then one each second.
impl Default for Throttle {
    fn default() -> Self {
        Self::new(10, Duration::from_secs(1))
    }
}

impl Throttle {
    /// `burst` lines at once, then one in each `interval`.
    #[must_use]
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, state: Mutex::new(State { rested: Moment(0), unsaid: 0 }) }
    }

    /// Whether a line may be said now; with it goes how many were not since the last that was.
    pub fn admit(&self, now: Moment) -> Option<u64> {
        let mut state = self.state.lock();
        let rested = state.rested.max(now).after(self.interval);
        if rested.since(now) > self.interval * self.burst {
            state.unsaid += 1;
            return None;
        }
        state.rested = rested;
        Some(std::mem::take(&mut state.unsaid))
    }
}

/// How many throttles share the sources among them.
const SHARES: usize = 16;

/// A throttle for each of a few groups of sources, so that a flood from one hides the lines of hardly any other. Which
/// sources are in a group together differs from process to process and is nobody's choice.
///
/// A group has 100 lines at once, then ten a minute: whoever sets a client up sees each of its failures, and all groups
/// together write less than 3 lines a second in the long run.
#[derive(Debug)]
pub struct SharedThrottle {
    groups: [Throttle; SHARES],
    hasher: RandomState,
}

impl Default for SharedThrottle {
    fn default() -> Self {
        let group = |_| Throttle::new(100, Duration::from_secs(6));
        Self { groups: std::array::from_fn(group), hasher: RandomState::new() }
    }
}

impl SharedThrottle {
    /// As [`Throttle::admit`], for a line about this source. What was not said may have been about others.
    pub fn admit(&self, source: impl Hash, now: Moment) -> Option<u64> {
        let share = self.hasher.hash_one(source) % SHARES as u64;
        // It is below `SHARES`.
        self.groups.get(usize::try_from(share).ok()?)?.admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval_that_tells_how_many_did_not() {
        let throttle = Throttle::default();
        for _ in 0..10 {
            assert_eq!(throttle.admit(Moment(5000)), Some(0));
        }
        assert_eq!((throttle.admit(Moment(5001)), throttle.admit(Moment(5999))), (None, None));
        assert_eq!(throttle.admit(Moment(6000)), Some(2));
        assert_eq!(throttle.admit(Moment(6000)), None);
        for _ in 0..10 {
            assert!(throttle.admit(Moment(60_000)).is_some(), "after a rest the burst is there again");
        }
        assert_eq!(throttle.admit(Moment(60_000)), None);
    }

    #[test]
    fn a_flood_is_bounded_in_the_long_run() {
        let throttle = SharedThrottle::default();
        let admitted =
            |source: u64| (0..60_000).filter(|&ms| throttle.admit(source, Moment(ms)).is_some()).count();
        assert_eq!(admitted(1), 109, "a minute of one source");
        let all = (0..10_000).filter(|&source| throttle.admit(source, Moment(60_000)).is_some()).count();
        assert!((1000..=1600).contains(&all), "{all} lines about many sources");
    }

    #[test]
    fn a_flood_from_one_source_hides_few_others() {
        let throttle = SharedThrottle::default();
        for _ in 0..1000 {
            let _ = throttle.admit(0, Moment(0));
        }
        let heard = (1..1000).filter(|&source| throttle.admit(source, Moment(0)).is_some()).count();
        assert!(heard > 700, "{heard} of 999");
    }
}
