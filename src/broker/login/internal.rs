//! The backend of the broker's own users.

use std::sync::Arc;

use super::backend::{Backend, Verdict};
use super::cache::Cache;
use super::{Answer, Attempt};
use crate::broker::users::{Users, allowed_from};

/// See the module.
#[derive(Debug)]
pub(super) struct Internal {
    users: Arc<Users>,
    cache: Cache,
}

impl Internal {
    pub(super) fn new(users: Arc<Users>) -> Self {
        Self { users, cache: Cache::default() }
    }
}

impl Backend for Internal {
    fn recall(&self, attempt: &Attempt) -> Option<Verdict> {
        let details = self.cache.find(&attempt.user, &attempt.password, attempt.now.moment)?;
        // Whatever has changed of the user: the password is checked again.
        let user = self.users.find(&attempt.user).filter(|user| Arc::ptr_eq(&user.details(), &details))?;
        Some(verdict(allowed_from(user, attempt.from_loopback)))
    }

    fn verify(&self, attempt: &Attempt) -> Verdict {
        let Attempt { user, password, from_loopback, now } = attempt;
        let checked = self.users.check(user, password).map(|(found, details)| {
            self.cache.note(user, password, details, now.moment);
            found
        });
        verdict(checked.and_then(|user| allowed_from(user, *from_loopback)))
    }
}

fn verdict(answer: Answer) -> Verdict {
    match answer {
        Ok(user) => Verdict::Accept(user),
        Err(error) => Verdict::Refuse(error),
    }
}
