//! One request, as a resource sees it: who asks, for what, and with which body.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::channel::gates::Gate;
use crate::identity::operation::Operation;
use crate::management::Api;
use crate::management::error::ApiError;
use crate::management::query::Query;
use crate::management::visitor::Visitor;

/// See the module.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) visitor: Visitor,
    pub(crate) method: Method,
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

    /// The body, as JSON of this shape.
    ///
    /// # Errors
    /// If it is not; the text says where.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let kind = if error.is_data() { "bad_request" } else { "not_json" };
            ApiError::Named(kind, error.to_string())
        })
    }

    /// The body, as an object; an empty body is an empty object.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, ApiError> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        match self.json()? {
            Value::Object(object) => Ok(object),
            _ => Err(ApiError::bad("the body should be an object")),
        }
    }

    /// Whether the visitor's permissions in a vhost allow an operation, as they would on an AMQP connection.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn check(&self, vhost: &VHost, operation: Operation<'_>) -> Result<(), ApiError> {
        let access = self.visitor.access(vhost);
        operation.check(&access).map_err(|_| ApiError::refused("Access refused."))
    }

    /// Waits until a change is durable.
    ///
    /// # Errors
    /// If storage fails first.
    pub(crate) fn settle(&self, gate: Gate) -> Result<(), ApiError> {
        if self.broker().journal.wait_durable(gate.durable) {
            return Ok(());
        }
        let why = "storage has failed; whether the change is kept is not known";
        Err(ApiError::Unavailable(why.to_owned()))
    }
}
