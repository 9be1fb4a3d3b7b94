//! Logins: credentials go in, and an answer comes when somebody has had the time to check them.
//!
//! Checking a password takes tens of milliseconds on purpose, and asking others may take longer. So it is done by
//! threads of its own, and the connection sleeps meanwhile. A password that was right lately is known again at once.

pub mod backend;
mod cache;
mod delays;
mod internal;
#[cfg(test)]
mod tests;
mod threads;

pub(super) use threads::Threads;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::broker::login::backend::{Backend, Verdict};
use crate::broker::login::delays::Delays;
use crate::broker::login::internal::Internal;
use crate::broker::options::BackendKind;
use crate::broker::outlet::Outlet;
use crate::broker::users::{LoginError, User, Users};
use crate::lock::{Rank, RankedMutex};
use crate::time::{Moment, Now};

/// What somebody presents to log in.
pub struct Attempt {
    /// The user's name; access tokens come without.
    pub user: String,
    /// The password.
    pub password: Zeroizing<Vec<u8>>,
    /// The peer is on this machine.
    pub from_loopback: bool,
    /// When it came.
    pub now: Now,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a login comes to.
pub type Answer = Result<Arc<User>, LoginError>;

/// A login that is being checked. The outlet of the connection is woken when there is an answer.
#[derive(Debug)]
pub struct Ticket(Arc<RankedMutex<Option<Answer>>>);

impl Ticket {
    fn new(answer: Option<Answer>) -> Self {
        Self(Arc::new(RankedMutex::new(Rank::Outlet, answer)))
    }

    /// The answer, if there is one by now. It is there once.
    #[must_use]
    pub fn take(&self) -> Option<Answer> {
        self.0.lock().take()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Logins {
    backends: Arc<[Box<dyn Backend>]>,
    delays: Delays,
    threads: Option<Threads>,
}

impl Logins {
    /// Asks these backends in this order. Without threads answers come at once.
    pub(super) fn new(kinds: &[BackendKind], users: &Arc<Users>, threads: Option<Threads>) -> Self {
        let backend = |kind: &BackendKind| -> Box<dyn Backend> {
            match kind {
                BackendKind::Internal => Box::new(Internal::new(users.clone())),
            }
        };
        Self { backends: kinds.iter().map(backend).collect(), delays: Delays::default(), threads }
    }

    /// Begins to check credentials. The outlet is woken when the ticket has the answer, unless it has it already.
    #[must_use]
    pub fn begin(&self, attempt: Attempt, outlet: &Arc<Outlet>) -> Ticket {
        if let Some(answer) = known(&self.backends, &attempt) {
            return Ticket::new(Some(answer));
        }
        let Some(threads) = &self.threads else {
            return Ticket::new(Some(ask(&self.backends, &attempt)));
        };
        let ticket = Ticket::new(None);
        let (place, outlet, backends) = (ticket.0.clone(), outlet.clone(), self.backends.clone());
        let job = move || {
            // A backend that panics refuses; the hook has logged it.
            let answer = catch_unwind(AssertUnwindSafe(|| ask(&backends, &attempt)));
            *place.lock() = Some(answer.unwrap_or(Err(LoginError::Credentials)));
            outlet.wake();
        };
        if threads.submit(Box::new(job)).is_err() {
            return Ticket::new(Some(Err(LoginError::Busy)));
        }
        ticket
    }

    /// Checks credentials and waits for the answer. For threads that may block.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn check(&self, attempt: &Attempt) -> Answer {
        known(&self.backends, attempt).unwrap_or_else(|| ask(&self.backends, attempt))
    }

    /// Has something done by the threads that check credentials, or at once if there are none.
    pub(super) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        match &self.threads {
            Some(threads) => threads.submit_always(Box::new(job)),
            None => job(),
        }
    }

    /// A login of `user` from `host` failed: how long the answer is to be held back. It is `first`, and twice as long
    /// each time that it happens again soon, up to eight times `first`.
    #[must_use]
    pub fn delay_after_failure(&self, host: &str, user: &str, first: Duration, now: Moment) -> Duration {
        self.delays.after_failure(host, user, first, now)
    }

    /// A login of `user` from `host` succeeded: failures before do not count any more.
    pub fn note_success(&self, host: &str, user: &str) {
        self.delays.forget(host, user);
    }
}

/// The answer, as far as it needs no work.
fn known(backends: &[Box<dyn Backend>], attempt: &Attempt) -> Option<Answer> {
    for backend in backends {
        match backend.recall(attempt)? {
            Verdict::Accept(user) => return Some(Ok(user)),
            Verdict::Refuse(error) => return Some(Err(error)),
            Verdict::NotMine => {}
        }
    }
    None
}

/// Asks one backend after the other: the first that accepts counts. If none does the first refusal is what is told.
fn ask(backends: &[Box<dyn Backend>], attempt: &Attempt) -> Answer {
    let mut refused = None;
    for backend in backends {
        match backend.verify(attempt) {
            Verdict::Accept(user) => return Ok(user),
            Verdict::Refuse(error) => {
                refused.get_or_insert(error);
            }
            Verdict::NotMine => {}
        }
    }
    Err(refused.unwrap_or(LoginError::Credentials))
}
