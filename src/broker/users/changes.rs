//! Changes of users while the broker runs. Each is durable when its gate is open.

use std::sync::Arc;

use super::start::end_first_start;
use super::user::Secret;
use super::{COMPONENT, Details, User, UserLimits, Users};
use crate::broker::events::Event;
use crate::channel::gates::Gate;
use crate::identity::password::{HashError, PasswordHash};
use crate::identity::tags::Tags;

/// The longest name in bytes.
const LONGEST_NAME: usize = 255;

/// Why a user is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is one of this name.
    #[error("User \"{0}\" already exists")]
    Exists(String),
    /// There is none of this name.
    #[error("User \"{0}\" does not exist")]
    Missing(String),
    /// The name cannot be one.
    #[error("a user name should be 1 to {LONGEST_NAME} bytes of text without control characters")]
    BadName,
    /// The password is shorter than it has to be.
    #[error("minimum required password length: {0}")]
    ShortPassword(usize),
    /// The password is empty, and would never log in.
    #[error("the password is empty; use clear_password for a user who has none")]
    EmptyPassword,
    /// The hash is not taken.
    #[error("{0}")]
    Hash(#[from] HashError),
}

impl Users {
    /// Adds a user without tags and limits.
    ///
    /// # Errors
    /// If there is one of this name, or it cannot be one.
    pub fn add(&self, name: &str, hash: PasswordHash, by: &str) -> Result<Gate, UserError> {
        check_name(name)?;
        let _events = self.events.after();
        let _changing = self.changing.lock();
        if self.find(name).is_some() {
            return Err(UserError::Exists(name.to_owned()));
        }
        let details = Details { secret: Secret::Hash(hash), ..Details::default() };
        let gate = self.store(name, &details);
        let user = self.make(name, details);
        self.replace(|users| {
            users.insert(user.name.clone(), user);
        });
        self.events.note(|| Event::user_created(name, by));
        Ok(gate)
    }

    /// Adds a user, or changes one who is there, in one step: all of `change` is kept, or nothing. Returns whether the user is
    /// new, and when it is durable.
    ///
    /// # Errors
    /// If there is none of this name, and there cannot be one.
    pub fn put(
        &self,
        name: &str,
        change: impl FnOnce(&mut Details),
        by: &str,
    ) -> Result<(bool, Gate), UserError> {
        let _events = self.events.after();
        let _changing = self.changing.lock();
        let user = self.find(name);
        if user.is_none() {
            check_name(name)?;
        }
        let mut details = user.as_ref().map(|user| Details::clone(&user.details())).unwrap_or_default();
        change(&mut details);
        let details = self.hashed(&details)?;
        let gate = self.store(name, &details);
        let is_new = user.is_none();
        self.note_put(name, user.as_ref().map(|user| user.details()).as_deref(), &details, by);
        match user {
            Some(user) => user.set_details(details),
            None => self.publish(vec![(name.to_owned(), details)]),
        }
        Ok((is_new, gate))
    }

    /// Notes that a user is made, or what becomes different about one. The caller has events be published.
    pub(in crate::broker) fn note_put(&self, name: &str, before: Option<&Details>, now: &Details, by: &str) {
        let events = &self.events;
        let nothing = Details::default();
        match before {
            None => events.note(|| Event::user_created(name, by)),
            Some(before) if before.hash() != now.hash() => {
                let has_one = now.hash().is_some_and(|hash| !hash.is_none());
                events.note(|| Event::password(name, has_one, by));
            }
            Some(_) => {}
        }
        let before = before.unwrap_or(&nothing);
        if before.tags != now.tags {
            events.note(|| Event::tags_set(name, &now.tags, by));
        }
        if before.limits != now.limits {
            events.note(|| Event::user_limits(name, &now.limits.value(), by));
        }
    }

    /// Hashes a password that somebody wants to have. Takes tens of milliseconds.
    ///
    /// # Errors
    /// If it is empty or too short.
    pub fn hash_new(&self, password: &[u8]) -> Result<PasswordHash, UserError> {
        if password.is_empty() {
            return Err(UserError::EmptyPassword);
        }
        // As RabbitMQ counts: letters, where they are some.
        let length = std::str::from_utf8(password).map_or(password.len(), |text| text.chars().count());
        if length < self.options.min_length {
            return Err(UserError::ShortPassword(self.options.min_length));
        }
        Ok(self.hash(password)?)
    }

    /// Gives a user another password, or none.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn set_password(&self, name: &str, hash: PasswordHash, by: &str) -> Result<Gate, UserError> {
        let has_one = !hash.is_none();
        let event = |_: &Details| Event::password(name, has_one, by);
        self.change(name, |details| details.secret = Secret::Hash(hash), event)
    }

    /// Gives a user other tags.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn set_tags(&self, name: &str, tags: Tags, by: &str) -> Result<Gate, UserError> {
        let event = |now: &Details| Event::tags_set(name, &now.tags, by);
        self.change(name, |details| details.tags = tags, event)
    }

    /// Changes the limits of a user. What is open stays.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn set_limits(
        &self,
        name: &str,
        change: impl FnOnce(&mut UserLimits),
        by: &str,
    ) -> Result<Gate, UserError> {
        let event = |now: &Details| Event::user_limits(name, &now.limits.value(), by);
        self.change(name, |details| change(&mut details.limits), event)
    }

    /// Does something about a user while nobody deletes them.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn with_existing<T>(&self, name: &str, act: impl FnOnce() -> T) -> Result<T, UserError> {
        let _changing = self.changing.lock();
        match self.find(name) {
            Some(_) => Ok(act()),
            None => Err(UserError::Missing(name.to_owned())),
        }
    }

    /// Takes a user away, after `forget` has let go of what belongs to the user. Whoever holds it learns that it
    /// [is deleted](User::is_deleted). The caller has events be published.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(in crate::broker) fn remove(
        &self,
        name: &str,
        forget: impl FnOnce(),
        by: &str,
    ) -> Result<(Arc<User>, Gate), UserError> {
        let _changing = self.changing.lock();
        let user = self.find(name).ok_or_else(|| UserError::Missing(name.to_owned()))?;
        // First, so that a crash in between leaves nothing for another user of this name.
        forget();
        end_first_start(&self.globals);
        // One whose hash is not made yet is not stored either.
        let gate = self.globals.clear(COMPONENT, name).unwrap_or(Gate::OPEN);
        self.replace(|users| {
            users.remove(name);
        });
        user.set_deleted();
        self.events.note(|| Event::user_deleted(name, by));
        Ok((user, gate))
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut Details),
        event: impl FnOnce(&Details) -> Event,
    ) -> Result<Gate, UserError> {
        let _events = self.events.after();
        let _changing = self.changing.lock();
        let user = self.find(name).ok_or_else(|| UserError::Missing(name.to_owned()))?;
        let mut details = Details::clone(&user.details());
        change(&mut details);
        let details = self.hashed(&details)?;
        let gate = self.store(name, &details);
        self.events.note(|| event(&details));
        user.set_details(details);
        Ok(gate)
    }

    /// The same with a hash of the password, if that is in clear. Takes tens of milliseconds then.
    pub(in crate::broker) fn hashed(&self, details: &Details) -> Result<Details, HashError> {
        let mut details = details.clone();
        if let Secret::Clear(clear) = &details.secret {
            details.secret = Secret::Hash(self.hash(clear)?);
        }
        Ok(details)
    }

    /// Stores a user whose hash is made.
    pub(super) fn store(&self, name: &str, details: &Details) -> Gate {
        details.value().map_or(Gate::OPEN, |value| self.globals.set(COMPONENT, name, value.to_string()))
    }
}

/// Checks that a user may have this name.
///
/// # Errors
/// [`UserError::BadName`].
pub(in crate::broker) fn check_name(name: &str) -> Result<(), UserError> {
    let is_one = !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    if is_one { Ok(()) } else { Err(UserError::BadName) }
}
