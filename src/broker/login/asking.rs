//! One login under way: the backends are asked one after the other, and some of them more than once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use super::backend::{Backend, Verdict};
use super::{Answer, Attempt};
use crate::broker::users::LoginError;
use crate::workers::{Full, Workers};

/// Logins that may wait. Each of them is a connection in its handshake.
const MOST_WAITING: usize = 4096;

/// See the module.
pub(super) struct Asking {
    backends: Arc<[Arc<dyn Backend>]>,
    attempt: Attempt,
    threads: Weak<Workers>,
    told: Box<dyn FnOnce(Answer) + Send>,
    /// Whether anybody waits for the answer still.
    is_wanted: Box<dyn Fn() -> bool + Send>,
    /// The place of the backend that is to be asked.
    next: usize,
    /// It said that it did not know yet, and what it waited for has been.
    has_waited: bool,
    /// What was refused before.
    refused: Option<LoginError>,
}

impl Asking {
    /// Has `told` called with what the backends say, by one of the threads or, without any, by whoever goes on.
    pub(super) fn new(
        backends: Arc<[Arc<dyn Backend>]>,
        attempt: Attempt,
        threads: Option<&Arc<Workers>>,
        told: impl FnOnce(Answer) + Send + 'static,
        is_wanted: impl Fn() -> bool + Send + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            backends,
            attempt,
            threads: threads.map_or_else(Weak::new, Arc::downgrade),
            told: Box::new(told),
            is_wanted: Box::new(is_wanted),
            next: 0,
            has_waited: false,
            refused: None,
        })
    }

    /// Begins, unless too many others wait.
    pub(super) fn begin(self: Box<Self>) -> Result<(), Full> {
        match self.threads.upgrade() {
            Some(threads) => threads.submit_among(Box::new(|| self.go_on()), MOST_WAITING),
            None => {
                self.go_on();
                Ok(())
            }
        }
    }

    /// Asks on, which may take its time. The first backend that accepts counts. If none does, the first refusal that says
    /// more than that the credentials are wrong is what is told. Nothing is done for somebody who has gone.
    pub(super) fn go_on(mut self: Box<Self>) {
        if !(self.is_wanted)() {
            // Its connection has ended. Others wait.
            return;
        }
        while let Some(backend) = self.backends.get(self.next).cloned() {
            // A backend that panics refuses; the hook has logged it.
            let verdict = catch_unwind(AssertUnwindSafe(|| backend.verify(&self.attempt)));
            match verdict.unwrap_or(Verdict::Refuse(LoginError::Credentials)) {
                Verdict::Accept(user) => return (self.told)(Ok(user)),
                Verdict::NotYet(_) if !self.has_waited => {
                    self.has_waited = true;
                    // Without anything to wait for it is as if that had been.
                    return backend.when_known(Box::new(|| self.resume())).unwrap_or_else(|job| job());
                }
                Verdict::Refuse(error) | Verdict::NotYet(error) => {
                    let says_little = matches!(self.refused, None | Some(LoginError::Credentials));
                    if says_little {
                        self.refused = Some(error);
                    }
                }
                Verdict::NotMine => {}
            }
            self.next += 1;
            self.has_waited = false;
        }
        (self.told)(Err(self.refused.unwrap_or(LoginError::Credentials)));
    }

    /// Goes on where it waited.
    fn resume(self: Box<Self>) {
        match self.threads.upgrade() {
            Some(threads) => threads.submit(Box::new(|| self.go_on())),
            None => self.go_on(),
        }
    }
}
