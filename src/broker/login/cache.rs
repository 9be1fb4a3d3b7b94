//! Passwords that were right lately, so that clients which come back all at once need not wait for each other.
//!
//! Neither the passwords nor anything they could be guessed by is kept: only digests under a key that goes with the
//! process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::broker::users::Details;
use crate::lock::{Rank, RankedMutex};
use crate::time::Moment;

/// How long a password is known.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Most passwords that are known at a time.
const MOST: usize = 4096;

type Key = [u8; 32];

/// See the module.
pub(super) struct Cache {
    key: Zeroizing<Key>,
    known: RankedMutex<HashMap<Key, Known>>,
}

struct Known {
    /// What held for the user as the password was checked.
    details: Arc<Details>,
    until: Moment,
}

impl Default for Cache {
    fn default() -> Self {
        let known = RankedMutex::new(Rank::Outlet, HashMap::new());
        Self { key: Zeroizing::new(rand::random()), known }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// What held for the user when this password was last found right, if that is not long ago.
    pub(super) fn find(&self, user: &str, password: &[u8], now: Moment) -> Option<Arc<Details>> {
        let digest = self.digest(user, password);
        let known = self.known.lock();
        known.get(&digest).filter(|known| now < known.until).map(|known| known.details.clone())
    }

    /// Notes that a password is right for a user for whom `details` hold.
    pub(super) fn note(&self, user: &str, password: &[u8], details: Arc<Details>, now: Moment) {
        let digest = self.digest(user, password);
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.retain(|_, known| now < known.until);
        }
        if known.len() >= MOST {
            // So many at once are no storm of reconnects; to check them again does no harm.
            known.clear();
        }
        known.insert(digest, Known { details, until: now.after(KEPT) });
    }

    fn digest(&self, user: &str, password: &[u8]) -> Key {
        let length = (user.len() as u64).to_be_bytes();
        // The key comes first and nobody sees the digest, so nothing can be added to it.
        let digest = Sha256::new().chain_update(*self.key).chain_update(length).chain_update(user);
        digest.chain_update(password).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_for_its_user_and_a_while() {
        let cache = Cache::default();
        let details = Arc::new(Details::default());
        let now = Moment(1000);
        cache.note("alice", b"secret", details.clone(), now);
        let late = now.after(KEPT);
        let found = |user, password: &[u8], at| cache.find(user, password, at).is_some();
        assert!(found("alice", b"secret", now) && found("alice", b"secret", Moment(late.0 - 1)));
        assert!(!found("alice", b"secret", late));
        assert!(
            !found("alice", b"Secret", now)
                && !found("alic", b"esecret", now)
                && !found("bob", b"secret", now)
        );
        assert!(Arc::ptr_eq(&cache.find("alice", b"secret", now).unwrap(), &details));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let cache = Cache::default();
        let details = Arc::new(Details::default());
        for number in 0..3 * MOST as u64 {
            cache.note("alice", &number.to_be_bytes(), details.clone(), Moment(number));
        }
        assert!(cache.known.lock().len() <= MOST);
    }
}
