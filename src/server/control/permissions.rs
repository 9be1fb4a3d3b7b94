//! What can be set and asked of the permissions of users.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::steer::{found, refused, settled};
use super::told;
use crate::broker::Broker;
use crate::broker::events::CLI;
use crate::broker::permissions::TopicRow;
use crate::broker::vhost::VHost;
use crate::identity::access::{Permissions, Right};

/// The longest name that an exchange can have, in bytes.
const LONGEST_NAME: usize = 255;

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Permit {
    /// Sets a user's permissions in a vhost, in the place of those there were.
    Set {
        /// The vhost.
        vhost: String,
        /// The user.
        user: String,
        /// A pattern of names to configure.
        configure: String,
        /// A pattern of names to write to.
        write: String,
        /// A pattern of names to read from.
        read: String,
    },
    /// Takes a user's permissions in a vhost away.
    Clear {
        /// The vhost.
        vhost: String,
        /// The user.
        user: String,
    },
    /// The permissions in a vhost, or of a user in all of them, as objects of RabbitMQ's API.
    List(Whom),
    /// Sets what a user may do with the routing keys of a topic exchange.
    SetTopic {
        /// The vhost.
        vhost: String,
        /// The user.
        user: String,
        /// The exchange, which need not exist.
        exchange: String,
        /// A pattern of routing keys to publish with.
        write: String,
        /// A pattern of routing keys to bind with.
        read: String,
    },
    /// Takes that away again, of one exchange or of all.
    ClearTopic {
        /// The vhost.
        vhost: String,
        /// The user.
        user: String,
        /// The exchange; all if not given.
        exchange: Option<String>,
    },
    /// The permissions on topic exchanges in a vhost, or of a user in all of them, as objects of RabbitMQ's API.
    ListTopic(Whom),
}

/// Whose permissions are listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Whom {
    /// Everybody's in this vhost.
    Vhost(String),
    /// This user's in all vhosts.
    User(String),
}

impl Permit {
    /// Does it, and waits until it is durable. For threads that may block.
    pub(super) fn carry_out(self, broker: &Broker) -> io::Result<Value> {
        match self {
            Self::Set { vhost, user, configure, write, read } => {
                let place = place(broker, &vhost, &user)?;
                let permissions = Permissions::new(&configure, &write, &read).map_err(refused)?;
                let set = || place.set_permissions(&user, permissions, CLI);
                let gate = broker.users.with_existing(&user, set).map_err(refused)?;
                broker.recheck_access();
                settled(broker, gate)?;
                tracing::info!(?vhost, ?user, ?configure, ?write, ?read, "permissions set");
                Ok(json!({}))
            }
            Self::Clear { vhost, user } => {
                let gate = place(broker, &vhost, &user)?.clear_permissions(&user, CLI);
                broker.recheck_access();
                settled(broker, gate)?;
                tracing::info!(?vhost, ?user, "permissions cleared");
                Ok(json!({}))
            }
            Self::List(whom) => listed(broker, &whom, |vhost, wanted| {
                let rows = vhost.permissions().into_iter();
                let rows = rows.filter(|(user, _)| wanted.is_none_or(|wanted| wanted == user));
                rows.map(|(user, permissions)| described(&vhost.name, &user, &permissions)).collect()
            }),
            Self::SetTopic { vhost, user, exchange, write, read } => {
                let place = place(broker, &vhost, &user)?;
                if exchange.len() > LONGEST_NAME {
                    return Err(told(&format!("an exchange has a name of at most {LONGEST_NAME} bytes")));
                }
                let row = TopicRow { user, exchange, write, read };
                let TopicRow { user, exchange, write, read } = row.clone();
                let set = || place.set_topic_permission(row, CLI);
                let gate = broker.users.with_existing(&user, set).map_err(refused)?.map_err(refused)?;
                settled(broker, gate)?;
                tracing::info!(?vhost, ?user, ?exchange, ?write, ?read, "topic permissions set");
                Ok(json!({}))
            }
            Self::ClearTopic { vhost, user, exchange } => {
                let place = place(broker, &vhost, &user)?;
                settled(broker, place.clear_topic_permissions(&user, exchange.as_deref(), CLI))?;
                tracing::info!(?vhost, ?user, ?exchange, "topic permissions cleared");
                Ok(json!({}))
            }
            Self::ListTopic(whom) => listed(broker, &whom, |vhost, wanted| {
                let rows = vhost.topic_permissions().into_iter();
                let rows = rows.filter(|row| wanted.is_none_or(|wanted| *wanted == row.user));
                rows.map(|row| described_topic(&vhost.name, &row)).collect()
            }),
        }
    }
}

/// The vhost, if there is the user too.
fn place(broker: &Broker, vhost: &str, user: &str) -> io::Result<Arc<VHost>> {
    let vhost = found(broker, vhost)?;
    known(broker, user)?;
    Ok(vhost)
}

fn known(broker: &Broker, user: &str) -> io::Result<()> {
    if broker.users.find(user).is_some() {
        return Ok(());
    }
    Err(told(&format!("there is no user {user:?}")))
}

fn listed(
    broker: &Broker,
    whom: &Whom,
    rows: impl Fn(&VHost, Option<&String>) -> Vec<Value>,
) -> io::Result<Value> {
    match whom {
        Whom::Vhost(vhost) => {
            let vhost = found(broker, vhost)?;
            Ok(rows(&vhost, None).into())
        }
        Whom::User(user) => {
            known(broker, user)?;
            let vhosts = broker.vhost_names().into_iter().filter_map(|name| broker.vhost(&name));
            Ok(vhosts.flat_map(|vhost| rows(&vhost, Some(user))).collect())
        }
    }
}

fn described(vhost: &str, user: &str, permissions: &Permissions) -> Value {
    let [configure, write, read] =
        [Right::Configure, Right::Write, Right::Read].map(|right| permissions.pattern(right));
    json!({ "vhost": vhost, "user": user, "configure": configure, "write": write, "read": read })
}

fn described_topic(vhost: &str, row: &TopicRow) -> Value {
    let TopicRow { user, exchange, write, read } = row;
    json!({ "vhost": vhost, "user": user, "exchange": exchange, "write": write, "read": read })
}
