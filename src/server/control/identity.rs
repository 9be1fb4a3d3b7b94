//! What can be set and asked of users and vhosts.

use std::fmt;
use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::steer::settled;
use super::told;
use crate::broker::Broker;
use crate::broker::events::CLI;
use crate::broker::login::Attempt;
use crate::broker::users::{User, UserError, UserLimits};
use crate::broker::vhosts::{Metadata, QueueType, VHostError};
use crate::identity::password::PasswordHash;
use crate::identity::tags::{Tag, Tags};
use crate::server::clock;

/// Text that does not show itself, and does not stay in memory.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Hidden(Zeroizing<String>);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<Hidden> for String {
    fn from(hidden: Hidden) -> Self {
        Self::clone(&hidden.0)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What somebody is to log in with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Secret {
    /// A password.
    Password(Hidden),
    /// The hash of one.
    Hash {
        /// As in definitions.
        hash: Hidden,
        /// Its algorithm; what the hash looks like if not given.
        algorithm: Option<String>,
    },
    /// No password lets the user in.
    None,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Identify {
    /// Adds a user.
    AddUser {
        /// The name.
        user: String,
        /// What the user logs in with.
        secret: Secret,
    },
    /// Deletes a user and closes their connections.
    DeleteUser {
        /// The name.
        user: String,
    },
    /// Changes what a user logs in with.
    SetSecret {
        /// The name.
        user: String,
        /// What the user logs in with.
        secret: Secret,
    },
    /// Checks a password as if somebody logged in from this machine.
    Authenticate {
        /// The name.
        user: String,
        /// The password.
        password: Hidden,
    },
    /// Gives a user these tags and no others.
    SetTags {
        /// The name.
        user: String,
        /// The tags.
        tags: Vec<String>,
    },
    /// All users with their tags.
    ListUsers,
    /// Sets some limits of a user.
    SetUserLimits {
        /// The name.
        user: String,
        /// Those that are set, as in RabbitMQ's API.
        value: Value,
    },
    /// Takes limits of a user away.
    ClearUserLimits {
        /// The name.
        user: String,
        /// One of them; all of them if not given.
        limit: Option<String>,
    },
    /// The limits of a user, or of all users that have some.
    ListUserLimits {
        /// The name.
        user: Option<String>,
    },
    /// Adds a vhost.
    AddVhost {
        /// The name.
        vhost: String,
        /// What it is for.
        description: String,
        /// Words to find it by.
        tags: Vec<String>,
        /// The type of queues that are declared without one.
        default_queue_type: String,
    },
    /// Deletes a vhost with all that is in it, and closes its connections.
    DeleteVhost {
        /// The name.
        vhost: String,
    },
    /// All vhosts.
    ListVhosts,
}

impl Identify {
    /// Does it, and waits until it is durable. For threads that may block.
    pub(super) fn carry_out(self, broker: &Broker) -> io::Result<Value> {
        let users = &broker.users;
        match self {
            Self::AddUser { user, secret } => {
                // Before the work of a hash.
                if users.find(&user).is_some() {
                    return Err(of_user(UserError::Exists(user)));
                }
                let gate = users.add(&user, secret.hash(broker)?, CLI).map_err(of_user)?;
                settled(broker, gate)?;
                tracing::info!(?user, "user added");
            }
            Self::DeleteUser { user } => {
                settled(broker, broker.delete_user(&user, CLI).map_err(of_user)?)?;
                tracing::info!(?user, "user deleted");
            }
            Self::SetSecret { user, secret } => {
                found(broker, &user)?;
                let gate = users.set_password(&user, secret.hash(broker)?, CLI).map_err(of_user)?;
                settled(broker, gate)?;
                let what = if secret == Secret::None { "cleared" } else { "changed" };
                tracing::info!(?user, "password {what}");
            }
            Self::Authenticate { user, password } => return authenticate(broker, user, &password),
            Self::SetTags { user, tags } => {
                let tags =
                    Tags::parse(tags.iter().map(String::as_str)).map_err(|error| told(&error.to_string()))?;
                let shown: Vec<&str> = tags.iter().map(Tag::name).collect();
                let shown = shown.join(", ");
                settled(broker, users.set_tags(&user, tags, CLI).map_err(of_user)?)?;
                tracing::info!(?user, tags = shown, "user tags set");
            }
            Self::ListUsers => return Ok(users.all().iter().map(|user| described(user)).collect()),
            Self::SetUserLimits { user, value } => {
                let set = value.as_object().ok_or_else(|| told("the limits should be an object"))?.clone();
                UserLimits::from_value(&value).map_err(|error| told(&error))?;
                // Those that are not named stay; what is named was looked at.
                set_limits(broker, &user, |limits| {
                    let mut all = limits.value();
                    all.as_object_mut().into_iter().for_each(|all| all.extend(set.clone()));
                    *limits = UserLimits::from_value(&all).unwrap_or(*limits);
                })?;
            }
            Self::ClearUserLimits { user, limit } => {
                let clear: fn(&mut UserLimits) = match limit.as_deref() {
                    None | Some("all") => |limits| *limits = UserLimits::default(),
                    Some("max-connections") => |limits| limits.max_connections = None,
                    Some("max-channels") => |limits| limits.max_channels = None,
                    Some(other) => return Err(told(&format!("there is no limit {other:?}"))),
                };
                set_limits(broker, &user, clear)?;
            }
            Self::ListUserLimits { user } => {
                let wanted = user.map_or_else(
                    || Ok(users.all()),
                    |user| Ok::<_, io::Error>(vec![found(broker, &user)?]),
                )?;
                let limits = wanted.iter().map(|user| (&user.name, user.details().limits));
                let limited = limits.filter(|(_, limits)| !limits.is_empty());
                return Ok(limited
                    .map(|(user, limits)| json!({ "user": user, "value": limits.value() }))
                    .collect());
            }
            Self::AddVhost { vhost, description, tags, default_queue_type } => {
                let default_queue_type = QueueType::parse(&default_queue_type)
                    .ok_or_else(|| told("the default queue type should be classic or quorum"))?;
                let metadata = Metadata { description, tags, default_queue_type, ..Metadata::default() };
                settled(broker, broker.add_vhost(&vhost, &metadata, CLI).map_err(of_vhost)?)?;
                tracing::info!(?vhost, "vhost added");
            }
            Self::DeleteVhost { vhost } => {
                settled(broker, broker.delete_vhost(&vhost, CLI).map_err(of_vhost)?)?;
                tracing::info!(?vhost, "vhost deleted");
            }
            Self::ListVhosts => return Ok(vhosts(broker)),
        }
        Ok(json!({}))
    }
}

impl Secret {
    /// What is to be stored. Takes tens of milliseconds for a password.
    fn hash(&self, broker: &Broker) -> io::Result<PasswordHash> {
        match self {
            Self::Password(password) => broker.users.hash_new(password.0.as_bytes()).map_err(of_user),
            Self::Hash { hash, algorithm } => {
                let hash = PasswordHash::parse(&hash.0, algorithm.as_deref());
                hash.map_err(|error| told(&error.to_string()))
            }
            Self::None => Ok(PasswordHash::none()),
        }
    }
}

fn authenticate(broker: &Broker, user: String, password: &Hidden) -> io::Result<Value> {
    let password = Zeroizing::new(password.0.as_bytes().to_vec());
    let attempt = Attempt { user, password, from_loopback: true, now: clock::now() };
    broker
        .logins
        .check(attempt)
        .map(|_| json!({}))
        .map_err(|error| told(&format!("failed to authenticate user: {error}")))
}

fn set_limits(broker: &Broker, user: &str, change: impl FnOnce(&mut UserLimits)) -> io::Result<()> {
    let mut set = UserLimits::default();
    let change = |limits: &mut UserLimits| {
        change(limits);
        set = *limits;
    };
    settled(broker, broker.users.set_limits(user, change, CLI).map_err(of_user)?)?;
    tracing::info!(?user, limits = %set.value(), "user limits set");
    Ok(())
}

fn found(broker: &Broker, user: &str) -> io::Result<std::sync::Arc<User>> {
    broker.users.find(user).ok_or_else(|| of_user(UserError::Missing(user.to_owned())))
}

fn described(user: &User) -> Value {
    let details = user.details();
    let tags: Vec<&str> = details.tags.iter().map(Tag::name).collect();
    json!({ "user": user.name, "tags": tags })
}

fn vhosts(broker: &Broker) -> Value {
    let names = broker.vhost_names().into_iter();
    let described = |name: String| {
        let mut described = broker.vhost_metadata(&name)?.value();
        described.as_object_mut()?.insert("name".to_owned(), name.into());
        Some(described)
    };
    names.filter_map(described).collect()
}

/// An error whose kind says what exit code RabbitMQ's tool has for it.
fn of_user(error: UserError) -> io::Error {
    let kind = match &error {
        UserError::Missing(_) => ErrorKind::NotFound,
        UserError::Exists(_) => ErrorKind::AlreadyExists,
        _ => ErrorKind::InvalidInput,
    };
    io::Error::new(kind, error)
}

fn of_vhost(error: VHostError) -> io::Error {
    let kind = match &error {
        VHostError::Exists(_) => ErrorKind::AlreadyExists,
        VHostError::Missing(_) | VHostError::BadName | VHostError::Protected(_) => ErrorKind::InvalidInput,
    };
    io::Error::new(kind, error)
}
