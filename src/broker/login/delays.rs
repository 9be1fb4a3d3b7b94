//! How long the answers to failed logins are held back.
//!
//! Whoever guesses one user's password from one address waits longer each time. Nobody is locked out: a right password
//! is answered at once, and others are none the slower.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::broker::sources::Source;
use crate::lock::{Rank, RankedMutex};
use crate::time::Moment;

/// How often a delay doubles.
const DOUBLINGS: u32 = 3;

/// After so long without a failure all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Most pairs of address and user that are remembered.
const MOST: usize = 8192;

/// See the module.
#[derive(Debug)]
pub(super) struct Delays {
    /// By a digest of address and user, so that long names take no room. Those that share one share their fate.
    failures: RankedMutex<HashMap<u64, Failures>>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Moment,
}

impl Default for Delays {
    fn default() -> Self {
        Self { failures: RankedMutex::new(Rank::Outlet, HashMap::new()), hasher: RandomState::new() }
    }
}

impl Delays {
    /// Counts a failure, and returns how long its answer is held back.
    pub(super) fn after_failure(
        &self,
        source: Option<Source>,
        user: &str,
        first: Duration,
        now: Moment,
    ) -> Duration {
        let key = self.hasher.hash_one((source, user));
        let mut failures = self.failures.lock();
        if failures.len() >= MOST && !failures.contains_key(&key) {
            failures.retain(|_, known| now.since(known.last) < FORGOTTEN);
            if failures.len() >= MOST {
                // So many at once: each of them waits at least the first delay.
                return first;
            }
        }
        let known = failures.entry(key).or_insert(Failures { count: 0, last: now });
        if now.since(known.last) >= FORGOTTEN {
            known.count = 0;
        }
        let delay = first.saturating_mul(1 << known.count.min(DOUBLINGS));
        *known = Failures { count: known.count.saturating_add(1), last: now };
        delay
    }

    /// Forgets the failures.
    pub(super) fn forget(&self, source: Option<Source>, user: &str) {
        let key = self.hasher.hash_one((source, user));
        self.failures.lock().remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    /// An address that is called by a letter.
    fn from(letter: &str) -> Option<Source> {
        let last = letter.bytes().next().unwrap();
        Some(std::net::IpAddr::from([192, 0, 2, last]).into())
    }

    fn fail(delays: &Delays, letter: &str, user: &str, at: u64) -> u64 {
        delays.after_failure(from(letter), user, FIRST, Moment(at)).as_secs()
    }

    #[test]
    fn it_grows_for_one_user_from_one_address_until_it_is_right_or_forgotten() {
        let delays = Delays::default();
        let grown: Vec<u64> = (0..6).map(|_| fail(&delays, "a", "u", 0)).collect();
        assert_eq!(grown, [1, 2, 4, 8, 8, 8]);
        assert_eq!((fail(&delays, "b", "u", 0), fail(&delays, "a", "v", 0)), (1, 1));
        delays.forget(from("a"), "u");
        assert_eq!((fail(&delays, "a", "u", 0), fail(&delays, "b", "u", 0)), (1, 2));
        assert_eq!(fail(&delays, "b", "u", 59_999), 4);
        assert_eq!(fail(&delays, "b", "u", 59_999 + 60_000), 1);
        assert_eq!(delays.after_failure(from("a"), "u", Duration::ZERO, Moment(0)), Duration::ZERO);
    }

    #[test]
    fn guessers_with_many_names_take_no_more_room() {
        let delays = Delays::default();
        for number in 0..2 * MOST {
            assert_eq!(fail(&delays, "a", &format!("u{number}"), 0), 1);
        }
        assert!(delays.failures.lock().len() <= MOST);
        assert_eq!(fail(&delays, "a", "u0", 0), 2, "who was known stays so");
        assert_eq!(fail(&delays, "a", "new", 60_000), 1);
        assert_eq!(delays.failures.lock().len(), 1, "there is room again");
    }
}
