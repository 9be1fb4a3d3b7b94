//! One user: who they are, what they log in with, and how much they use now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::broker::limits::Quota;
use crate::identity::oauth::Token;
use crate::identity::password::PasswordHash;
use crate::identity::tags::{MOST_TAGS, Tag, Tags};
use crate::lock::{Rank, RankedRwLock};
use crate::time::Moment;

/// A user. Connections share it, and it stays the same when it is changed.
#[derive(Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// Refused from any peer that is not on this machine.
    pub(super) loopback_only: bool,
    details: RankedRwLock<Arc<Details>>,
    /// May publish in the name of others. Read for messages, so without a lock.
    impersonates: AtomicBool,
    deleted: AtomicBool,
    /// Counts changes of the password.
    passwords: AtomicU64,
    /// Open connections.
    pub(in crate::broker) connections: Quota,
    /// Channels of these.
    pub(in crate::broker) channels: Quota,
}

/// What can change of a user. Another one is another value, so that who has checked a password can tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    pub(super) secret: Secret,
    /// What the user may do beside using vhosts.
    pub tags: Tags,
    /// How much the user may have.
    pub limits: UserLimits,
    /// What an access token says, if the user came with one: then no permissions are looked for.
    pub token: Option<Arc<Vouched>>,
}

/// An access token that was believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Vouched {
    /// What it says.
    pub token: Token,
    /// When it is not good any more.
    pub ends: Option<Moment>,
}

/// What a user logs in with.
#[derive(Clone, PartialEq)]
pub(super) enum Secret {
    Hash(PasswordHash),
    /// A password from the configuration whose hash is still to be made.
    Clear(Zeroizing<Vec<u8>>),
}

impl Default for Secret {
    fn default() -> Self {
        Self::Hash(PasswordHash::none())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hash(hash) => hash.fmt(f),
            Self::Clear(_) => f.write_str("***"),
        }
    }
}

impl Secret {
    /// Whether this is the password. `dummy` is checked too where that would show least of the difference to a user who
    /// does not exist.
    pub(super) fn verify(&self, password: &[u8], dummy: &PasswordHash) -> bool {
        match self {
            Self::Hash(hash) if hash.is_none() => dummy.verify(password),
            Self::Hash(hash) => {
                let costs_less = hash.algorithm() != dummy.algorithm() && hash.is_cheap();
                let no = costs_less && dummy.verify(password);
                hash.verify(password) && !no
            }
            Self::Clear(clear) => !dummy.verify(password) && bool::from(clear.ct_eq(password)),
        }
    }
}

/// How much a user may have; any number if `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Most open connections.
    pub max_connections: Option<u32>,
    /// Most channels.
    pub max_channels: Option<u32>,
}

impl UserLimits {
    const NAMES: [&str; 2] = ["max-connections", "max-channels"];

    /// Limits from RabbitMQ's object; -1 is no limit.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("the limits should be an object")?;
        if let Some(key) = object.keys().find(|key| !Self::NAMES.contains(&key.as_str())) {
            return Err(format!("there is no limit {key}; there are {}", Self::NAMES.join(" and ")));
        }
        let number = |name: &str| match object.get(name).map(Value::as_i64) {
            None | Some(Some(-1)) => Ok(None),
            Some(number) => number
                .and_then(|number| u32::try_from(number).ok())
                .map(Some)
                .ok_or_else(|| format!("{name} should be a number, and at least 0, or -1 for no limit")),
        };
        Ok(Self { max_connections: number(Self::NAMES[0])?, max_channels: number(Self::NAMES[1])? })
    }

    /// RabbitMQ's object, of the limits there are.
    #[must_use]
    pub fn value(self) -> Value {
        let limits = Self::NAMES.into_iter().zip([self.max_connections, self.max_channels]);
        Value::Object(Map::from_iter(
            limits.filter_map(|(name, limit)| Some((name.to_owned(), limit?.into()))),
        ))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Details {
    /// The hash of the password. `None` while it is not made.
    #[must_use]
    pub fn hash(&self) -> Option<&PasswordHash> {
        match &self.secret {
            Secret::Hash(hash) => Some(hash),
            Secret::Clear(_) => None,
        }
    }

    /// Gives the user another password, or none.
    pub fn set_hash(&mut self, hash: PasswordHash) {
        self.secret = Secret::Hash(hash);
    }

    /// As it is stored. `None` while the hash of the password is not made.
    pub(in crate::broker) fn value(&self) -> Option<Value> {
        let Secret::Hash(hash) = &self.secret else { return None };
        let tags: Vec<&str> = self.tags.iter().map(Tag::name).collect();
        Some(json!({
            "password_hash": hash.text(),
            "hashing_algorithm": hash.algorithm(),
            "tags": tags,
            "limits": self.limits.value(),
        }))
    }

    /// What was stored.
    pub(super) fn from_value(value: &Value) -> Result<Self, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let hash = PasswordHash::parse(text("password_hash").unwrap_or_default(), text("hashing_algorithm"));
        let tags = value.get("tags").and_then(Value::as_array).into_iter().flatten();
        let tags = Tags::parse(tags.filter_map(Value::as_str)).map_err(|error| error.to_string())?;
        let limits = value.get("limits").map_or(Ok(UserLimits::default()), UserLimits::from_value)?;
        Ok(Self { secret: Secret::Hash(hash.map_err(|error| error.to_string())?), tags, limits, token: None })
    }
}

impl User {
    pub(super) fn new(name: &str, loopback_only: bool, details: Details) -> Arc<Self> {
        let user = Self {
            name: name.to_owned(),
            loopback_only,
            details: RankedRwLock::new(Rank::Outlet, Arc::default()),
            impersonates: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            passwords: AtomicU64::new(0),
            connections: Quota::new(None),
            channels: Quota::new(None),
        };
        user.set_details(details);
        Arc::new(user)
    }

    /// A user whom another backend vouches for, and who is kept nowhere.
    #[must_use]
    pub fn foreign(name: &str, tags: Tags) -> Arc<Self> {
        Self::new(name, false, Details { tags, ..Details::default() })
    }

    /// The user of an access token, who is kept nowhere. Tags that cannot be tags are left out.
    #[must_use]
    pub fn with_token(token: Token, ends: Option<Moment>) -> Arc<Self> {
        let tags = token.tags.iter().map(String::as_str).filter(|name| Tag::parse(name).is_ok());
        let tags = Tags::parse(tags.take(MOST_TAGS)).unwrap_or_default();
        let name = token.user.clone();
        let token = Some(Arc::new(Vouched { token, ends }));
        Self::new(&name, false, Details { tags, token, ..Details::default() })
    }

    /// Whether they are the same user. Who came with an access token is not the one of that name who is kept here.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.token().is_some() == other.token().is_some()
    }

    /// Takes over what holds for the same user by a newer token.
    pub fn renew(&self, newer: &Self) {
        self.set_details(Details::clone(&newer.details()));
    }

    /// The access token that the user came with.
    #[must_use]
    pub fn token(&self) -> Option<Arc<Vouched>> {
        self.details.read().token.clone()
    }

    /// What holds for the user now.
    #[must_use]
    pub fn details(&self) -> Arc<Details> {
        self.details.read().clone()
    }

    /// Which password the user has, as a number that grows when another one is set. Whoever logged in by one can tell by it.
    #[must_use]
    pub fn password_version(&self) -> u64 {
        self.passwords.load(Ordering::SeqCst)
    }

    /// Changes what holds, by whoever keeps others from doing so.
    pub(in crate::broker) fn set_details(&self, details: Details) {
        if self.details().secret != details.secret {
            self.passwords.fetch_add(1, Ordering::SeqCst);
        }
        self.put_details(details);
    }

    /// As [`set_details`](Self::set_details), with the same password, whose hash may be made only now.
    pub(super) fn put_details(&self, details: Details) {
        self.impersonates.store(details.tags.has(&Tag::Impersonator), Ordering::Relaxed);
        self.connections.set_limit(details.limits.max_connections);
        self.channels.set_limit(details.limits.max_channels);
        *self.details.write() = Arc::new(details);
    }

    /// Whether the user may publish in the name of `other`.
    #[must_use]
    pub fn may_publish_as(&self, other: &[u8]) -> bool {
        other == self.name.as_bytes() || self.impersonates.load(Ordering::Relaxed)
    }

    /// Whether the user was deleted: then none of this name exists, or another one.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::SeqCst)
    }

    pub(super) fn set_deleted(&self) {
        self.deleted.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let limits = UserLimits { max_connections: Some(0), max_channels: None };
        let hash = PasswordHash::parse("+pHuxkR9fCyrrwXjOD4BP4XbzO3l8LJr8YkThMgJ0yVHFRE+", None).unwrap();
        let tags = Tags::parse(["administrator", "x"]).unwrap();
        let details = Details { secret: Secret::Hash(hash), tags, limits, token: None };
        let value = details.value().unwrap();
        assert_eq!(value["limits"], json!({"max-connections": 0}));
        assert_eq!(Details::from_value(&value).unwrap(), details);
        assert_eq!(Details::from_value(&json!({})).unwrap(), Details::default());
        for wrong in [
            json!({"password_hash": "secret"}),
            json!({"tags": [" "]}),
            json!({"limits": {"max-queues": 1}}),
            json!({"limits": {"max-channels": -2}}),
        ] {
            let error = Details::from_value(&wrong).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn nothing_of_a_password_shows() {
        let clear = Secret::Clear(Zeroizing::new(b"s3cret".to_vec()));
        let details = Details { secret: clear, ..Details::default() };
        assert!(details.value().is_none());
        let user = User::new("u", false, details);
        let shown = format!("{user:?}");
        assert!(shown.contains("***") && !shown.contains("s3cret") && !shown.contains("115, 51"), "{shown}");
    }

    #[test]
    fn another_password_has_another_version() {
        let user = User::new("u", false, Details::default());
        let version = user.password_version();
        user.set_details(Details { tags: Tags::parse(["x"]).unwrap(), ..Details::default() });
        assert_eq!(user.password_version(), version);
        let clear = |text: &str| Secret::Clear(Zeroizing::new(text.into()));
        user.set_details(Details { secret: clear("a"), ..Details::default() });
        user.set_details(Details { secret: clear("b"), ..Details::default() });
        user.set_details(Details { secret: clear("a"), ..Details::default() });
        assert_eq!(user.password_version(), version + 3, "also if it is the same again");
    }

    #[test]
    fn a_change_reaches_who_holds_the_user() {
        let user = User::foreign("u", Tags::default());
        assert!(user.may_publish_as(b"u") && !user.may_publish_as(b"v"));
        assert_eq!((user.connections.take(), user.channels.take()), (Ok(()), Ok(())));
        let limits = UserLimits { max_connections: Some(1), max_channels: Some(2) };
        let tags = Tags::parse(["impersonator"]).unwrap();
        user.set_details(Details { tags, limits, ..Details::default() });
        assert!(user.may_publish_as(b"v"));
        assert_eq!((user.connections.take(), user.channels.take()), (Err(1), Ok(())));
    }
}
