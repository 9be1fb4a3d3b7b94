//! The backend of access tokens: whoever issued one says who the client is, and what they may do.

use std::sync::Arc;

use super::Attempt;
use super::backend::{Backend, Verdict};
use crate::broker::key_ring::{Job, KeyRing};
use crate::broker::options::TokenOptions;
use crate::broker::users::{LoginError, User};
use crate::identity::oauth::keys::{KeySet, Keys};
use crate::identity::oauth::{Refusal, TokenRules, verify};
use crate::time::{Clock, Now};

/// See the module.
#[derive(Debug)]
pub(super) struct Tokens {
    rules: TokenRules,
    ring: Arc<KeyRing>,
    /// The time as others have it, who made the token. [`Now`] only counts from what it was at the start.
    clock: Clock,
}

impl Tokens {
    pub(super) fn new(options: &TokenOptions) -> Self {
        let keys = options.keys.iter().filter_map(|(id, key)| Some((id.clone(), key.parse().ok()?)));
        let mut configured = KeySet::default();
        keys.for_each(|(id, key)| configured.insert(id, key));
        Self {
            rules: options.rules.clone(),
            ring: Arc::new(KeyRing::new(configured, options.are_fetched)),
            clock: options.clock.clone(),
        }
    }

    pub(super) fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Who a token is for.
    fn user(&self, token: &[u8], now: Now) -> Result<Arc<User>, Refusal> {
        let token = std::str::from_utf8(token).map_err(|_| Refusal::NoToken)?;
        let seconds = self.clock.unix_ms() / 1000;
        let fetched = self.ring.fetched();
        let keys = Keys { configured: self.ring.configured(), fetched: &fetched };
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
        match self.user(&attempt.password, attempt.now) {
            Ok(user) => Some(Verdict::Accept(user)),
            Err(Refusal::NoToken) => Some(Verdict::NotMine),
            Err(_) => None,
        }
    }

    fn verify(&self, attempt: &Attempt) -> Verdict {
        // Looked at before, so that keys which come meanwhile are not missed.
        let has_keys = !self.ring.configured().is_empty() || !self.ring.fetched().is_empty();
        match self.user(&attempt.password, attempt.now) {
            Ok(user) => Verdict::Accept(user),
            Err(Refusal::NoToken) => Verdict::NotMine,
            Err(unknown @ Refusal::UnknownKey(_)) => Verdict::NotYet(LoginError::Token(unknown)),
            // It may be signed with the only key there will be.
            Err(unknown @ Refusal::NoKey) if !has_keys => Verdict::NotYet(LoginError::Token(unknown)),
            Err(refusal) => Verdict::Refuse(LoginError::Token(refusal)),
        }
    }

    fn when_known(&self, job: Job) -> Result<(), Job> {
        self.ring.after_fetch(job)
    }
}

#[cfg(test)]
mod tests {
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
}
