//! What answers whether credentials are somebody's.

use std::fmt;
use std::sync::Arc;

use crate::broker::key_ring::Job;
use crate::broker::login::Attempt;
use crate::broker::users::{LoginError, User};

/// What a backend says.
#[derive(Debug)]
pub enum Verdict {
    /// They are this user's.
    Accept(Arc<User>),
    /// They are nobody's. Others are asked all the same.
    Refuse(LoginError),
    /// They are not of the kind that is known here.
    NotMine,
    /// It cannot be said yet, see [`Backend::when_known`]. After that, or if it cannot be waited for, it is this refusal.
    NotYet(LoginError),
}

/// One way to know users.
pub trait Backend: fmt::Debug + Send + Sync {
    /// What is known at once. `None` if it has to be verified. It is called on threads that serve connections, so it may
    /// neither wait nor calculate for long.
    fn recall(&self, attempt: &Attempt) -> Option<Verdict>;

    /// Checks the credentials. It may take its time, but has to come to an end.
    fn verify(&self, attempt: &Attempt) -> Verdict;

    /// After [`Verdict::NotYet`]: has the job done when it is worth to verify once more.
    ///
    /// # Errors
    /// The job, if that will not be.
    fn when_known(&self, job: Job) -> Result<(), Job> {
        Err(job)
    }
}
