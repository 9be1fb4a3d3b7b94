//! One request, as a resource sees it: who asks, for what, and with which body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use serde::de::DeserializeOwned;

use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::channel::gates::Gate;
use crate::identity::access::Right;
use crate::identity::operation::Operation;
use crate::management::Api;
use crate::management::body::Object;
use crate::management::error::ApiError;
use crate::management::gate::Origin;
use crate::management::query::Query;
use crate::management::sessions::Login;
use crate::management::visitor::Visitor;
use crate::protocol::reply::{AmqpError, ReplyCode};

/// How long a change may take until it is durable.
const PATIENCE: Duration = Duration::from_secs(15);

/// The header that says of which vhost a list is wanted.
const VHOST_HEADER: &str = "x-vhost";

/// See the module.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) visitor: Visitor,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// Who has just logged in by a form in the body.
    pub(crate) login: Option<Login>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The names in the path, decoded.
    pub(crate) names: Vec<(String, String)>,
}

impl Call {
    /// The broker.
    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.api.broker
    }

    /// The name that stands in the path where its pattern has `{key}`.
    pub(crate) fn name(&self, key: &str) -> &str {
        self.names.iter().find(|(known, _)| known == key).map_or("", |(_, value)| value)
    }

    /// The vhost in the path. Whether the visitor may see or use it was looked at before.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(crate) fn vhost(&self) -> Result<Arc<VHost>, ApiError> {
        self.broker().vhost(self.name("vhost")).ok_or(ApiError::NotFound("vhost_not_found"))
    }

    /// The vhosts whose content the visitor may see, sorted by name; of these only the one that the header `x-vhost`
    /// names, if it is there.
    pub(crate) fn vhosts(&self) -> Vec<Arc<VHost>> {
        let broker = self.broker();
        let chosen =
            self.headers.get(VHOST_HEADER).map(|name| name.as_bytes()).filter(|name| !name.is_empty());
        let is_seen = |name: &String| {
            chosen.is_none_or(|chosen| chosen == name.as_bytes()) && self.visitor.sees(broker, name)
        };
        broker.vhost_names().into_iter().filter(is_seen).filter_map(|name| broker.vhost(&name)).collect()
    }

    /// Looks whether the node in the path is this one.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn check_node(&self) -> Result<(), ApiError> {
        if self.name("node") == self.broker().node.name {
            return Ok(());
        }
        Err(ApiError::NotFound("node_not_found"))
    }

    /// The body, as an object. None at all, and null, are an empty one, as in RabbitMQ.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn object(&self) -> Result<Object, ApiError> {
        Object::of_body(&self.body)
    }

    /// The body, as JSON of this shape.
    ///
    /// # Errors
    /// If it is not; the text says where.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| ApiError::bad(error.to_string()))
    }

    /// Whether the visitor's permissions in a vhost allow an operation, as they would on an AMQP connection.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn check(&self, vhost: &VHost, operation: Operation<'_>) -> Result<(), ApiError> {
        let access = self.visitor.access(vhost);
        operation.check(&access).map_err(|_| ApiError::refused("Access refused."))
    }

    /// Whether the visitor may use these routing keys of an exchange, which matters if it is a topic exchange.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn check_keys(
        &self,
        vhost: &VHost,
        right: Right,
        exchange: &str,
        keys: &[&str],
    ) -> Result<(), ApiError> {
        let access = self.visitor.access(vhost);
        if exchange.is_empty() || !access.minds_topics_of(exchange) || !vhost.is_topic(exchange) {
            return Ok(());
        }
        if keys.iter().all(|key| access.allows_topic(right, exchange, key)) {
            return Ok(());
        }
        Err(ApiError::refused("Access refused."))
    }

    /// What is answered if something does not exist yet, and the visitor may not make it.
    pub(crate) fn objection(&self, vhost: &VHost, operation: Operation<'_>) -> Option<AmqpError> {
        let refused = self.check(vhost, operation).err()?;
        Some(AmqpError::new(ReplyCode::AccessRefused, refused.to_string()))
    }

    /// Waits until a change is durable, but not for ever: on a full disk it may take long.
    ///
    /// # Errors
    /// If storage fails first, or does not take it in time.
    pub(crate) fn settle(&self, gate: Gate) -> Result<(), ApiError> {
        let journal = &self.broker().journal;
        let now = || (self.api.clock)().moment;
        let deadline = now().after(PATIENCE);
        if journal.wait_durable_unless(gate.durable, || now() >= deadline) {
            return Ok(());
        }
        let why = if journal.has_failed() { "storage has failed" } else { "storage takes nothing now" };
        Err(ApiError::Unavailable(format!("{why}; whether the change is kept is not known")))
    }
}
