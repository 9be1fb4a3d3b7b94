//! Users at the start: those that are stored, and what the configuration says about them.
//!
//! A password from the configuration holds from the first moment, in clear. Its hash is compared with the stored one,
//! or made and stored, when somebody has the time for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use super::user::Secret;
use super::{COMPONENT, Details, User, Users};
use crate::broker::events::Events;
use crate::broker::globals::Globals;
use crate::broker::options::{BrokerOptions, UserOptions};
use crate::identity::password::PasswordHash;

/// The component and the name of the parameter that says that there have been users: the first start is over.
const FIRST_START: (&str, &str) = ("first_start", "users");

/// A user with a password whose hash is to be made or compared.
#[derive(Debug)]
pub(in crate::broker) struct Pending {
    user: Arc<User>,
    stored: PasswordHash,
}

/// Users at the start.
#[derive(Debug)]
pub(in crate::broker) struct Start {
    /// All of them.
    pub(in crate::broker) users: Users,
    /// Those that are to be [settled](Users::settle).
    pub(in crate::broker) pending: Vec<Pending>,
    /// There have never been any on this data directory, and none come otherwise.
    pub(in crate::broker) is_first: bool,
}

/// Those that are stored, with what the configuration says.
pub(in crate::broker) fn restored(
    globals: Arc<Globals>,
    options: &BrokerOptions,
    events: Arc<Events>,
    seed: Option<u64>,
) -> Start {
    let mut known = stored(&globals);
    let was_over = globals.get(FIRST_START.0, FIRST_START.1).is_some();
    let is_first = known.is_empty() && !was_over && !options.brings_users;
    if !known.is_empty() && !was_over {
        end_first_start(&globals);
    }
    let said = options.users.iter().filter(|user| !user.only_first || is_first);
    let users = Users::new(globals, events, options.passwords, options.loopback_users.clone(), seed);
    let mut pending = Vec::new();
    for user in said {
        let mut details = known.remove(&user.name).unwrap_or_default();
        let stored = apply(user, &mut details);
        let made = users.make(&user.name, details);
        pending.push(Pending { user: made.clone(), stored });
        users.replace(|all| {
            all.insert(made.name.clone(), made);
        });
    }
    users.replace(|all| {
        all.extend(known.into_iter().map(|(name, details)| (name.clone(), users.make(&name, details))));
    });
    Start { users, pending, is_first }
}

/// From now on nobody is made for want of users, also if all are deleted.
pub(super) fn end_first_start(globals: &Globals) {
    globals.set(FIRST_START.0, FIRST_START.1, "true".to_owned());
}

/// What is stored; what is not valid is told in the log, and kept.
fn stored(globals: &Globals) -> BTreeMap<String, Details> {
    let read = |value: &str| {
        let value: Value = serde_json::from_str(value).map_err(|error| error.to_string())?;
        Details::from_value(&value)
    };
    let user = |(name, value): (String, String)| match read(&value) {
        Ok(details) => Some((name, details)),
        Err(error) => {
            tracing::error!(user = ?name, %error, "a stored user is not understood and cannot log in");
            Some((name, Details::default()))
        }
    };
    globals.all(COMPONENT).into_iter().filter_map(user).collect()
}

/// Does what the configuration says about a user. Returns the hash that was stored.
fn apply(said: &UserOptions, details: &mut Details) -> PasswordHash {
    let clear = Secret::Clear(Zeroizing::new(said.password.as_bytes().to_vec()));
    let stored = match std::mem::replace(&mut details.secret, clear) {
        Secret::Hash(hash) => hash,
        Secret::Clear(_) => PasswordHash::none(),
    };
    if let Some(tags) = &said.tags {
        details.tags = tags.clone();
    }
    let limits = &mut details.limits;
    limits.max_connections = said.max_connections.or(limits.max_connections);
    limits.max_channels = said.max_channels.or(limits.max_channels);
    stored
}

impl Users {
    /// Makes the hash of a password from the configuration, unless the one that is stored is its, and stores what has
    /// changed. Takes tens of milliseconds.
    pub(in crate::broker) fn settle(&self, pending: Pending) {
        let Pending { user, stored } = pending;
        let before = user.details();
        let Secret::Clear(clear) = &before.secret else { return };
        // An empty one never logs in, which is what no hash says.
        let hash = match () {
            () if clear.is_empty() => PasswordHash::none(),
            () if stored.verify(clear) => stored,
            () => match self.hash(clear) {
                Ok(hash) => hash,
                Err(error) => {
                    tracing::error!(user = ?user.name, %error, "the user's password stays in memory only");
                    return;
                }
            },
        };
        let _changing = self.changing.lock();
        // Somebody else may have been faster.
        if user.is_deleted() || !Arc::ptr_eq(&before, &user.details()) {
            return;
        }
        let details = Details { secret: Secret::Hash(hash), ..Details::clone(&before) };
        let value = details.value().map(|value| value.to_string());
        if value != self.globals.get(COMPONENT, &user.name) {
            self.store(&user.name, &details);
        }
        if self.globals.get(FIRST_START.0, FIRST_START.1).is_none() {
            // After the user, so that a crash in between makes the next start the first one again.
            end_first_start(&self.globals);
        }
        user.put_details(details);
    }
}
