//! Logins: credentials go in, and an answer comes when somebody has had the time to check them.
//!
//! Checking a password takes tens of milliseconds on purpose, and asking others may take longer. So it is done by
//! threads of its own, and the connection sleeps meanwhile. A password that was right lately is known again at once.

mod asking;
pub mod backend;
mod cache;
mod delays;
mod internal;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::broker::key_ring::{Fetched, KeyRing};
use crate::broker::login::asking::Asking;
use crate::broker::login::backend::{Backend, Verdict};
use crate::broker::login::delays::Delays;
use crate::broker::login::internal::Internal;
use crate::broker::login::tokens::Tokens;
use crate::broker::options::{BackendKind, BrokerOptions, TokenOptions};
use crate::broker::outlet::Outlet;
use crate::broker::sources::Source;
use crate::broker::users::{LoginError, User, Users};
use crate::lock::{Rank, RankedMutex};
use crate::time::{Moment, Now};
use crate::workers::{Full, Workers};

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
    backends: Arc<[Arc<dyn Backend>]>,
    /// Those that renew what they know of a user.
    renewing: Arc<[Arc<dyn Backend>]>,
    tokens: Option<Arc<Tokens>>,
    delays: Delays,
    threads: Option<Arc<Workers>>,
}

impl Logins {
    /// Asks the backends in their order. Without threads answers come at once.
    pub(super) fn new(options: &BrokerOptions, users: &Arc<Users>, threads: Option<Workers>) -> Self {
        let tokens = options.tokens.as_ref().map(|tokens| Arc::new(Tokens::new(tokens)));
        let backend = |kind: &BackendKind| -> Option<Arc<dyn Backend>> {
            match kind {
                BackendKind::Internal => Some(Arc::new(Internal::new(users.clone()))),
                BackendKind::OAuth2 => tokens.clone().map(|tokens| tokens as Arc<dyn Backend>),
            }
        };
        Self {
            backends: options.backends.iter().filter_map(backend).collect(),
            renewing: tokens.iter().map(|tokens| tokens.clone() as Arc<dyn Backend>).collect(),
            tokens,
            delays: Delays::default(),
            threads: threads.map(Arc::new),
        }
    }

    /// Where fetched keys of access tokens are put, if these are taken.
    #[must_use]
    pub fn key_ring(&self) -> Option<Arc<KeyRing>> {
        self.tokens.as_ref().map(|tokens| tokens.ring())
    }

    /// Access tokens are judged by something else from now on, if they are taken. Unless the `fetched` keys just stay, they
    /// have to be put into another [`key_ring`](Self::key_ring). Connections that are open stay so until their tokens expire.
    pub fn follow_tokens(&self, options: &TokenOptions, fetched: Fetched) {
        if let Some(tokens) = &self.tokens {
            tokens.follow(options, fetched);
        }
    }

    /// Begins to check credentials. The outlet is woken when the ticket has the answer, unless it has it already.
    #[must_use]
    pub fn begin(&self, attempt: Attempt, outlet: &Arc<Outlet>) -> Ticket {
        self.ask(&self.backends, attempt, outlet)
    }

    /// As [`begin`](Self::begin), for a secret that is to take the place of the one a user came with. Whose it is has to be
    /// looked at then. Passwords are not asked for.
    #[must_use]
    pub fn begin_renewal(&self, attempt: Attempt, outlet: &Arc<Outlet>) -> Ticket {
        self.ask(&self.renewing, attempt, outlet)
    }

    fn ask(&self, backends: &Arc<[Arc<dyn Backend>]>, attempt: Attempt, outlet: &Arc<Outlet>) -> Ticket {
        if let Some(answer) = known(backends, &attempt) {
            return Ticket::new(Some(answer));
        }
        let ticket = Ticket::new(None);
        let (place, outlet) = (Arc::downgrade(&ticket.0), outlet.clone());
        let is_wanted = {
            let place = place.clone();
            move || place.strong_count() > 0
        };
        let told = move |answer| {
            if let Some(place) = place.upgrade() {
                *place.lock() = Some(answer);
                outlet.wake();
            }
        };
        let asking = Asking::new(backends.clone(), attempt, self.threads.as_ref(), told, is_wanted);
        match asking.begin() {
            Ok(()) => ticket,
            Err(Full) => Ticket::new(Some(Err(LoginError::Busy))),
        }
    }

    /// The answer to credentials, as far as it needs no work and no waiting.
    #[must_use]
    pub fn recall(&self, attempt: &Attempt) -> Option<Answer> {
        known(&self.backends, attempt)
    }

    /// Checks credentials and waits for the answer. For threads that may block.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn check(&self, attempt: Attempt) -> Answer {
        if let Some(answer) = known(&self.backends, &attempt) {
            return answer;
        }
        let (sender, receiver) = sync_channel(1);
        let told = move |answer| {
            // Nobody waits who does not exist.
            let _ = sender.send(answer);
        };
        Asking::new(self.backends.clone(), attempt, None, told, || true).go_on();
        receiver.recv().unwrap_or(Err(LoginError::Credentials))
    }

    /// Has something done by the threads that check credentials, or at once if there are none.
    pub(super) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        match &self.threads {
            Some(threads) => threads.submit(Box::new(job)),
            None => job(),
        }
    }

    /// Waits until everything that was begun is done.
    pub(super) fn finish(&self) {
        if let Some(threads) = &self.threads {
            threads.finish();
        }
    }

    /// A login of `user` from `source` failed: how long the answer is to be held back. It is `first`, and twice as long
    /// each time that it happens again soon, up to eight times `first`.
    #[must_use]
    pub fn delay_after_failure(
        &self,
        source: Option<Source>,
        user: &str,
        first: Duration,
        now: Moment,
    ) -> Duration {
        self.delays.after_failure(source, user, first, now)
    }

    /// A login of `user` from `source` succeeded: failures before do not count any more.
    pub fn note_success(&self, source: Option<Source>, user: &str) {
        self.delays.forget(source, user);
    }
}

/// The answer, as far as it needs no work.
fn known(backends: &[Arc<dyn Backend>], attempt: &Attempt) -> Option<Answer> {
    for backend in backends {
        match backend.recall(attempt)? {
            Verdict::Accept(user) => return Some(Ok(user)),
            Verdict::Refuse(error) => return Some(Err(error)),
            Verdict::NotMine => {}
            Verdict::NotYet(_) => return None,
        }
    }
    None
}
