//! The backend of access tokens: whoever issued one says who the client is, and what they may do.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Attempt;
use super::backend::{Backend, Verdict};
use crate::broker::key_ring::{Fetched, Job, KeyRing};
use crate::broker::options::TokenOptions;
use crate::broker::users::{LoginError, User};
use crate::identity::oauth::keys::{KeySet, Keys};
use crate::identity::oauth::{Refusal, TokenRules, verify};
use crate::time::{Clock, Now};

/// See the module.
#[derive(Debug)]
pub(super) struct Tokens {
    judge: Mutex<Arc<Judge>>,
}

/// What tokens are judged by, until that is replaced.
#[derive(Debug)]
struct Judge {
    rules: TokenRules,
    /// The keys of the configuration.
    configured: KeySet,
    /// Those that are fetched.
    ring: Arc<KeyRing>,
    /// The time as others have it, who made the token. [`Now`] only counts from what it was at the start.
    clock: Clock,
}

impl Tokens {
    pub(super) fn new(options: &TokenOptions) -> Self {
        let ring = Arc::new(KeyRing::new(options.are_fetched));
        Self { judge: Mutex::new(Arc::new(Judge::new(options, ring))) }
    }

    fn judge(&self) -> Arc<Judge> {
        self.judge.lock().clone()
    }

    /// Where fetched keys are put.
    pub(super) fn ring(&self) -> Arc<KeyRing> {
        self.judge().ring.clone()
    }

    /// Judges by something else from now on. Unless the fetched keys just stay there is another place for them, where
    /// somebody has to put them, and those who wait for keys of the old one are told.
    pub(super) fn follow(&self, options: &TokenOptions, fetched: Fetched) {
        let old = self.judge();
        let ring = match fetched {
            Fetched::Stay => old.ring.clone(),
            Fetched::StayForNow => Arc::new(old.ring.successor()),
            Fetched::Go => Arc::new(KeyRing::new(options.are_fetched)),
        };
        *self.judge.lock() = Arc::new(Judge::new(options, ring));
        if fetched != Fetched::Stay {
            old.ring.close();
        }
    }
}

impl Judge {
    fn new(options: &TokenOptions, ring: Arc<KeyRing>) -> Self {
        let keys = options.keys.iter().filter_map(|(id, key)| Some((id.clone(), key.parse().ok()?)));
        let mut configured = KeySet::default();
        keys.for_each(|(id, key)| configured.insert(id, key));
        Self { rules: options.rules.clone(), configured, ring, clock: options.clock.clone() }
    }

    /// Who a token is for.
    fn user(&self, token: &[u8], now: Now) -> Result<Arc<User>, Refusal> {
        let token = std::str::from_utf8(token).map_err(|_| Refusal::NoToken)?;
        let seconds = self.clock.unix_ms() / 1000;
        let fetched = self.ring.fetched();
        let keys = Keys { configured: &self.configured, fetched: &fetched };
        let token = verify(token, &self.rules, keys, seconds)?;
        let ends = token.expires.map(|expires| {
            let left = std::time::Duration::from_secs(expires - seconds);
            now.moment.after(left)
        });
        Ok(User::with_token(token, ends))
    }
}

impl Backend for Tokens {
    fn recall(&self, attempt: &Attempt) -> Option<Verdict> {
        // A signature is checked in less time than it takes to ask another thread for it.
        match self.judge().user(&attempt.password, attempt.now) {
            Ok(user) => Some(Verdict::Accept(user)),
            Err(Refusal::NoToken) => Some(Verdict::NotMine),
            Err(_) => None,
        }
    }

    fn verify(&self, attempt: &Attempt) -> Verdict {
        // Looked at before, so that keys which come meanwhile are not missed.
        let judge = self.judge();
        let has_keys = !judge.configured.is_empty() || !judge.ring.fetched().is_empty();
        match judge.user(&attempt.password, attempt.now) {
            Ok(user) => Verdict::Accept(user),
            Err(Refusal::NoToken) => Verdict::NotMine,
            Err(unknown @ Refusal::UnknownKey(_)) => Verdict::NotYet(LoginError::Token(unknown)),
            // It may be signed with the only key there will be.
            Err(unknown @ Refusal::NoKey) if !has_keys => Verdict::NotYet(LoginError::Token(unknown)),
            Err(refusal) => Verdict::Refuse(LoginError::Token(refusal)),
        }
    }

    fn when_known(&self, job: Job) -> Result<(), Job> {
        self.ring().after_fetch(job)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;
    use crate::identity::oauth::keys::ConfiguredKey;

    #[test]
    fn a_token_that_names_no_key_waits_for_the_first_ones() {
        // {"alg":"HS256"}, {} and a signature of nobody's.
        let token = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
        let attempt = Attempt {
            user: String::new(),
            password: Zeroizing::new(token.as_bytes().to_vec()),
            from_loopback: true,
            now: Now::at(0),
        };
        let key = |fill| ConfiguredKey::secret(&String::from_utf8(vec![fill; 32]).unwrap());
        let named = |id: &str, fill| (id.to_owned(), key(fill));
        let no_key = LoginError::Token(Refusal::NoKey);
        for (keys, waits) in [(vec![], true), (vec![named("a", b'a'), named("b", b'b')], false)] {
            let options = TokenOptions {
                rules: TokenRules::new("rabbitmq"),
                keys: keys.into_iter().collect(),
                are_fetched: true,
                clock: Clock::Read(|| 0),
            };
            match Tokens::new(&options).verify(&attempt) {
                Verdict::NotYet(why) => assert!(waits && why == no_key, "{why}"),
                Verdict::Refuse(why) => assert!(!waits && why == no_key, "{why}"),
                _ => panic!("it is good for nothing"),
            }
        }
    }

    #[test]
    fn what_is_judged_by_can_be_replaced_and_keys_of_another_place_go() {
        let named = |audience: &str| TokenOptions {
            rules: TokenRules::new(audience),
            keys: [("k".to_owned(), ConfiguredKey::secret(&"k".repeat(32)))].into(),
            are_fetched: true,
            clock: Clock::Read(|| 0),
        };
        let tokens = Tokens::new(&named("one"));
        let ring = tokens.ring();
        let mut keys = KeySet::default();
        keys.insert("f".to_owned(), ConfiguredKey::secret(&"f".repeat(32)).parse().unwrap());
        ring.put(Some(keys));
        assert!(ring.rest(Duration::ZERO));
        tokens.follow(&named("another"), Fetched::Stay);
        assert!(Arc::ptr_eq(&ring, &tokens.ring()));
        assert_eq!(tokens.judge().rules.server.id, "another");
        let (sender, receiver) = std::sync::mpsc::channel();
        let told = move || sender.send(()).unwrap();
        assert!(tokens.when_known(Box::new(told)).is_ok(), "keys are being fetched");
        tokens.follow(&named("another"), Fetched::StayForNow);
        assert!(receiver.try_recv().is_ok(), "nobody waits for ever");
        assert!(!ring.rest(Duration::from_secs(60)), "nobody fetches for it any more");
        assert_eq!(tokens.ring().fetched().len(), 1, "what was known is");
        tokens.follow(&named("another"), Fetched::Go);
        assert!(tokens.ring().fetched().is_empty());
        assert!(tokens.when_known(Box::new(|| {})).is_ok(), "the new ones are being fetched");
        tokens.follow(&TokenOptions { are_fetched: false, ..named("another") }, Fetched::Go);
        assert!(tokens.when_known(Box::new(|| {})).is_err());
    }
}
