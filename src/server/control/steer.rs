//! What can be set and asked by a line of JSON: users, vhosts, permissions, policies, limits, and whether anybody is there.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::identity::Identify;
use super::permissions::Permit;
use super::told;
use crate::broker::Broker;
use crate::broker::events::CLI;
use crate::broker::limits::VHostLimits;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::vhost::VHost;
use crate::channel::gates::Gate;

/// Whose policy is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// A user's.
    User,
    /// An operator's.
    Operator,
}

impl Whose {
    fn kind(self) -> PolicyKind {
        match self {
            Self::User => PolicyKind::User,
            Self::Operator => PolicyKind::Operator,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator policy",
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Steer {
    /// Nothing: the answer shows that the broker is there.
    Ping {},
    /// Sets a policy. The answer names the keys that make no difference, as `unheeded`.
    SetPolicy {
        /// Whose.
        whose: Whose,
        /// The vhost.
        vhost: String,
        /// Its name.
        name: String,
        /// Pattern, definition, priority and apply-to, as in RabbitMQ's API.
        value: Value,
    },
    /// Takes a policy away.
    ClearPolicy {
        /// Whose.
        whose: Whose,
        /// The vhost.
        vhost: String,
        /// Its name.
        name: String,
    },
    /// The policies of a vhost, as objects of RabbitMQ's API.
    ListPolicies {
        /// Whose.
        whose: Whose,
        /// The vhost.
        vhost: String,
    },
    /// Sets the limits of a vhost: those that are not named are none from then on.
    SetVhostLimits {
        /// The vhost.
        vhost: String,
        /// The limits, as in RabbitMQ's API.
        value: Value,
    },
    /// The limits of all vhosts that have some.
    ListVhostLimits {},
    /// Something about permissions.
    Permissions {
        /// What.
        permit: Permit,
    },
    /// Something about users or vhosts themselves.
    Identity {
        /// What.
        identify: Identify,
    },
}

impl Steer {
    /// Does it, and waits until it is durable. For threads that may block.
    pub(super) fn carry_out(self, broker: &Broker) -> io::Result<Value> {
        match self {
            Self::Ping {} => {
                if broker.journal.has_failed() {
                    return Err(io::Error::other("storage has failed"));
                }
                Ok(json!({ "connections": broker.registry.len() }))
            }
            Self::SetPolicy { whose, vhost, name, value } => {
                let policy = Policy::from_value(&name, &value, whose.kind()).map_err(refused)?;
                let unheeded: Vec<String> =
                    policy.definition.unheeded().into_iter().map(str::to_owned).collect();
                let (what, value) = (whose.noun(), policy.value());
                settled(broker, found(broker, &vhost)?.set_policy(whose.kind(), policy, CLI))?;
                tracing::info!(?vhost, ?name, %value, "{what} set");
                if !unheeded.is_empty() {
                    tracing::warn!(
                        ?vhost,
                        ?name,
                        keys = unheeded.join(", "),
                        "keys of a {what} have no effect"
                    );
                }
                Ok(json!({ "unheeded": unheeded }))
            }
            Self::ClearPolicy { whose, vhost, name } => {
                let what = whose.noun();
                let gate = found(broker, &vhost)?.clear_policy(whose.kind(), &name, CLI);
                let gate =
                    gate.ok_or_else(|| refused(format!("there is no {what} {name:?} that was set")))?;
                settled(broker, gate)?;
                tracing::info!(?vhost, ?name, "{what} cleared");
                Ok(json!({}))
            }
            Self::ListPolicies { whose, vhost } => {
                let policies = found(broker, &vhost)?.policies(whose.kind());
                Ok(policies.iter().map(|policy| Value::Object(policy.described(&vhost))).collect())
            }
            Self::SetVhostLimits { vhost, value } => {
                let limits = VHostLimits::from_value(&value).map_err(refused)?;
                let gate = found(broker, &vhost)?.set_limits(limits, CLI);
                settled(broker, gate)?;
                tracing::info!(?vhost, limits = %limits.value(), "vhost limits set");
                Ok(json!({}))
            }
            Self::Permissions { permit } => permit.carry_out(broker),
            Self::Identity { identify } => identify.carry_out(broker),
            Self::ListVhostLimits {} => {
                let names = broker.vhost_names().into_iter();
                let limited =
                    names.filter_map(|name| broker.vhost(&name)).filter(|vhost| !vhost.limits().is_empty());
                let described =
                    |vhost: Arc<VHost>| json!({ "vhost": vhost.name, "value": vhost.limits().value() });
                Ok(limited.map(described).collect())
            }
        }
    }
}

pub(super) fn found(broker: &Broker, vhost: &str) -> io::Result<Arc<VHost>> {
    broker.vhost(vhost).ok_or_else(|| told(&format!("there is no vhost {vhost:?}")))
}

pub(super) fn refused(why: impl ToString) -> io::Error {
    // RabbitMQ's texts have several lines, and an answer here has one.
    told(&why.to_string().replace("\n\n", ": "))
}

/// Waits until the gate is open.
pub(super) fn settled(broker: &Broker, gate: Gate) -> io::Result<()> {
    if broker.journal.wait_durable(gate.durable) {
        return Ok(());
    }
    Err(io::Error::other("storage has failed; whether the change is kept is not known"))
}
