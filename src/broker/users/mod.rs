//! Users: who there is, kept durably; and whether a password is theirs.
//!
//! Lookups take a snapshot of the list and then no lock. Changes come one at a time, and are in the journal before
//! anybody sees them. No hash is made under a lock that a lookup needs.

mod changes;
mod start;
#[cfg(test)]
mod tests;
mod user;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use zeroize::Zeroizing;

pub use changes::UserError;
pub(super) use changes::check_name;
pub(super) use start::{Start, restored};
pub use user::{Details, User, UserLimits, Vouched};

use crate::broker::events::Events;
use crate::broker::globals::Globals;
use crate::broker::options::PasswordOptions;
use crate::identity::oauth::Refusal;
use crate::identity::password::{HashError, PasswordHash, SALT};
use crate::lock::{Rank, RankedRwLock};

/// The component of the parameters that users are stored as.
pub(super) const COMPONENT: &str = "user";

/// Why a login was refused. For the log; clients are not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or the wrong password.
    #[error("invalid credentials")]
    Credentials,
    /// No user is called what the client's certificate says.
    #[error("no user has the name in the client's certificate")]
    Certificate,
    /// The user may only come from the loopback interface.
    #[error("the user can only connect via localhost")]
    NotLoopback,
    /// So many others want to log in that it would take too long.
    #[error("too many logins are waiting")]
    Busy,
    /// The access token is not to be believed.
    #[error("{0}")]
    Token(Refusal),
}

/// All users.
#[derive(Debug)]
pub struct Users {
    by_name: RankedRwLock<Arc<HashMap<String, Arc<User>>>>,
    /// Held by whoever changes something. Taken before all other locks.
    changing: Mutex<()>,
    globals: Arc<Globals>,
    events: Arc<Events>,
    options: PasswordOptions,
    /// Is no user's, and costs as much to check.
    dummy: PasswordHash,
    /// Who may only come from this machine.
    loopback_only: Vec<String>,
    salts: Mutex<StdRng>,
}

impl Users {
    fn new(
        globals: Arc<Globals>,
        events: Arc<Events>,
        options: PasswordOptions,
        loopback_only: Vec<String>,
        seed: Option<u64>,
    ) -> Self {
        let salts = seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        Self {
            by_name: RankedRwLock::new(Rank::Registry, Arc::default()),
            changing: Mutex::new(()),
            globals,
            events,
            options,
            dummy: PasswordHash::dummy(options.scheme),
            loopback_only,
            salts: Mutex::new(salts),
        }
    }

    /// The user of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<User>> {
        self.by_name.read().get(name).cloned()
    }

    /// All users by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<User>> {
        let mut all: Vec<_> = self.by_name.read().values().cloned().collect();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Checks a password. The work done does not depend on whether the user exists, and is tens of milliseconds: not for
    /// threads that serve connections. An empty password is always refused.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn login(&self, name: &str, password: &[u8], from_loopback: bool) -> Result<Arc<User>, LoginError> {
        self.check(name, password).and_then(|(user, _)| allowed_from(user, from_loopback))
    }

    /// The user whose name, letter by letter, a client showed by its certificate. Its password does not matter.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn by_certificate(&self, name: &str, from_loopback: bool) -> Result<Arc<User>, LoginError> {
        let user = self.find(name).filter(|_| !name.is_empty()).ok_or(LoginError::Certificate)?;
        allowed_from(user, from_loopback)
    }

    /// Checks a password, wherever it comes from. Returns what held for the user as well.
    pub(super) fn check(&self, name: &str, password: &[u8]) -> Result<(Arc<User>, Arc<Details>), LoginError> {
        if password.is_empty() {
            return Err(LoginError::Credentials);
        }
        let Some(user) = self.find(name) else {
            // The same work as for one who exists.
            let _ = self.dummy.verify(password);
            return Err(LoginError::Credentials);
        };
        let details = user.details();
        if details.secret.verify(password, &self.dummy) {
            Ok((user, details))
        } else {
            Err(LoginError::Credentials)
        }
    }

    /// Hashes a password as new ones are. Takes tens of milliseconds.
    ///
    /// # Errors
    /// If it cannot be hashed.
    pub fn hash(&self, password: &[u8]) -> Result<PasswordHash, HashError> {
        let salt: Zeroizing<[u8; SALT]> = Zeroizing::new(self.salts.lock().random());
        PasswordHash::new(self.options.scheme, password, &salt)
    }

    /// Keeps users from being added, changed and deleted. Taken before all other locks.
    pub(super) fn hold(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }

    /// Adds users whom whoever [holds](Self::hold) them has stored.
    pub(super) fn publish(&self, users: Vec<(String, Details)>) {
        self.replace(|all| {
            all.extend(users.into_iter().map(|(name, details)| (name.clone(), self.make(&name, details))));
        });
    }

    fn make(&self, name: &str, details: Details) -> Arc<User> {
        let loopback_only = self.loopback_only.iter().any(|known| known == name);
        User::new(name, loopback_only, details)
    }

    /// Changes the list.
    fn replace(&self, change: impl FnOnce(&mut HashMap<String, Arc<User>>)) {
        let mut by_name = self.by_name.write();
        change(Arc::make_mut(&mut by_name));
    }
}

/// The user, unless they have to come from this machine and do not.
///
/// # Errors
/// [`LoginError::NotLoopback`].
pub fn allowed_from(user: Arc<User>, from_loopback: bool) -> Result<Arc<User>, LoginError> {
    if user.loopback_only && !from_loopback { Err(LoginError::NotLoopback) } else { Ok(user) }
}
