//! Browsers that were sent to the provider and have not come back.
//!
//! Two secrets tell that one which comes back is one that was sent: the state, which the provider gives back, and a cookie. Of
//! both only digests are kept, in memory, for a while. Each can be used once.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::broker::sources::Source;
use crate::time::Moment;

/// How long somebody may take to log in at the provider.
pub(super) const LASTING: Duration = Duration::from_secs(10 * 60);

/// Most of one address; the oldest makes room.
const MOST_OF_SOURCE: usize = 100;

/// Most of all.
const MOST: usize = 1000;

type Key = [u8; 32];

/// Secrets of one who is about to be sent.
pub(super) struct Fresh {
    /// For the provider, which gives it back.
    pub(super) state: String,
    /// For a cookie of the browser.
    pub(super) browser: String,
    /// For nobody but the provider, with the code.
    verifier: Zeroizing<String>,
}

impl Fresh {
    /// Three times 256 random bits.
    pub(super) fn new() -> Self {
        Self { state: random(), browser: random(), verifier: Zeroizing::new(random()) }
    }

    /// What the provider is told before, so that nobody else can use the code (RFC 7636).
    pub(super) fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(key(&self.verifier))
    }
}

fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn key(secret: &str) -> Key {
    Sha256::digest(secret).into()
}

/// What is needed to have a token for the code of one who came back.
pub(super) struct Attempt {
    pub(super) redirect_uri: String,
    pub(super) verifier: Zeroizing<String>,
}

struct Sent {
    attempt: Attempt,
    browser: Key,
    source: Source,
    /// In the order in which they were sent.
    number: u64,
    ends: Moment,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_state: HashMap<Key, Sent>,
    sent: u64,
}

impl Open {
    /// Drops the oldest of those that are meant, if there are as many as may be.
    fn make_room(&mut self, most: usize, is_meant: impl Fn(&Sent) -> bool) {
        let meant = || self.by_state.iter().filter(|(_, sent)| is_meant(sent));
        if meant().count() < most {
            return;
        }
        let oldest = meant().min_by_key(|(_, sent)| sent.number).map(|(state, _)| *state);
        oldest.map(|state| self.by_state.remove(&state));
    }
}

impl Attempts {
    /// One is sent, from this source.
    pub(super) fn put(&self, fresh: Fresh, redirect_uri: String, source: Source, now: Moment) {
        let mut open = self.0.lock();
        open.by_state.retain(|_, sent| now < sent.ends);
        open.make_room(MOST_OF_SOURCE, |sent| sent.source == source);
        open.make_room(MOST, |_| true);
        open.sent += 1;
        let sent = Sent {
            attempt: Attempt { redirect_uri, verifier: fresh.verifier },
            browser: key(&fresh.browser),
            source,
            number: open.sent,
            ends: now.after(LASTING),
        };
        open.by_state.insert(key(&fresh.state), sent);
    }

    /// One comes back with a state and a cookie. Whoever has only one of them takes nothing away.
    pub(super) fn take(&self, state: &str, browser: &str, now: Moment) -> Option<Attempt> {
        let (mut open, state) = (self.0.lock(), key(state));
        let sent = open.by_state.get(&state)?;
        if now >= sent.ends || !bool::from(sent.browser.ct_eq(&key(browser))) {
            return None;
        }
        open.by_state.remove(&state).map(|sent| sent.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1000);

    fn source(last: u8) -> Source {
        Source::from(std::net::IpAddr::from([10, 0, 0, last]))
    }

    /// The state and the cookie of one that was sent.
    fn sent(attempts: &Attempts, from: u8) -> (String, String) {
        let fresh = Fresh::new();
        let secrets = (fresh.state.clone(), fresh.browser.clone());
        attempts.put(fresh, "http://mq/back".to_owned(), source(from), NOW);
        secrets
    }

    #[test]
    fn who_was_sent_comes_back_once() {
        let attempts = Attempts::default();
        let ((state, browser), (other_state, other_browser)) = (sent(&attempts, 1), sent(&attempts, 1));
        for (state, browser) in
            [(&*state, &*other_browser), (&other_state, &browser), (&state, ""), ("", &browser), ("", "")]
        {
            assert!(attempts.take(state, browser, NOW).is_none());
        }
        let attempt = attempts.take(&state, &browser, NOW).unwrap();
        assert_eq!((&*attempt.redirect_uri, attempt.verifier.len()), ("http://mq/back", 43));
        assert!(attempts.take(&state, &browser, NOW).is_none(), "it was done before");
        assert!(attempts.take(&other_state, &other_browser, NOW.after(LASTING)).is_none(), "it is too late");
        assert!(attempts.take(&other_state, &other_browser, Moment(NOW.0 + 599_999)).is_some());
    }

    #[test]
    fn the_challenge_is_the_digest_of_the_verifier() {
        // RFC 7636, appendix B.
        let verifier = Zeroizing::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        let fresh = Fresh { verifier, ..Fresh::new() };
        assert_eq!(fresh.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn there_are_not_more_and_more_of_them() {
        let attempts = Attempts::default();
        let other = sent(&attempts, 2);
        let own: Vec<_> = (0..=MOST_OF_SOURCE).map(|_| sent(&attempts, 1)).collect();
        let take = |(state, browser): &(String, String)| attempts.take(state, browser, NOW).is_some();
        assert!(!take(&own[0]) && take(&own[1]) && take(&other), "the source's oldest makes room");
        let first = sent(&attempts, 3);
        for number in 0..MOST {
            sent(&attempts, 4 + u8::try_from(number / MOST_OF_SOURCE).unwrap());
        }
        assert_eq!(attempts.0.lock().by_state.len(), MOST);
        assert!(!take(&first) && !take(&own[2]), "and else the oldest of all");
        attempts.put(Fresh::new(), String::new(), source(1), NOW.after(LASTING));
        assert_eq!(attempts.0.lock().by_state.len(), 1, "those that took too long are dropped");
    }
}
