//! Events of exchanges, queues, bindings, policies and vhosts.

use serde_json::Value as Json;

use super::Event;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::protocol::field::TableRef;
use crate::queue::arguments::QueueKind;
use crate::routing::{BindingSpec, Destination, ExchangeSpec};

/// A queue that was declared.
#[derive(Clone, Copy, Debug)]
pub struct NewQueue<'a> {
    pub(in crate::broker) vhost: &'a str,
    pub(in crate::broker) name: &'a str,
    pub(in crate::broker) durable: bool,
    pub(in crate::broker) auto_delete: bool,
    /// The connection that it belongs to, as events call it.
    pub(in crate::broker) owner: Option<&'a str>,
    pub(in crate::broker) arguments: TableRef<'a>,
}

impl Event {
    pub(in crate::broker) fn queue_created(queue: NewQueue<'_>, by: &str) -> Self {
        let NewQueue { vhost, name, durable, auto_delete, owner, arguments } = queue;
        Self::new("queue.created")
            .text("name", name)
            .text("vhost", vhost)
            .flag("durable", durable)
            .flag("auto_delete", auto_delete)
            .table("arguments", arguments)
            .text("owner_pid", owner.unwrap_or_default())
            .flag("exclusive", owner.is_some())
            .by(by)
    }

    pub(in crate::broker) fn queue_deleted(vhost: &str, name: &str, by: &str) -> Self {
        Self::new("queue.deleted").text("name", name).text("vhost", vhost).by(by)
    }

    pub(in crate::broker) fn exchange_created(vhost: &str, exchange: &ExchangeSpec, by: &str) -> Self {
        Self::new("exchange.created")
            .text("name", &exchange.name)
            .text("vhost", vhost)
            .text("type", exchange.kind.name())
            .flag("durable", exchange.durable)
            .flag("auto_delete", exchange.auto_delete)
            .flag("internal", exchange.internal)
            .table("arguments", exchange.arguments.as_ref())
            // It is made before policies are looked at, as in RabbitMQ.
            .text("policy", "")
            .by(by)
    }

    pub(in crate::broker) fn exchange_deleted(vhost: &str, name: &str, by: &str) -> Self {
        Self::new("exchange.deleted").text("name", name).text("vhost", vhost).by(by)
    }

    /// `queue` is the name of the queue that it leads to, if it leads to one.
    pub(in crate::broker) fn binding_created<Q>(
        vhost: &str,
        binding: &BindingSpec<Q>,
        queue: &str,
        by: &str,
    ) -> Self {
        Self::new("binding.created").binding(vhost, binding, queue).by(by)
    }

    /// `queue` is the name of the queue that it led to, if it led to one.
    pub(in crate::broker) fn binding_deleted<Q>(
        vhost: &str,
        binding: &BindingSpec<Q>,
        queue: &str,
        by: &str,
    ) -> Self {
        Self::new("binding.deleted").binding(vhost, binding, queue).by(by)
    }

    fn binding<Q>(self, vhost: &str, binding: &BindingSpec<Q>, queue: &str) -> Self {
        let (kind, name) = match &binding.destination {
            Destination::Queue(_) => ("queue", queue),
            Destination::Exchange(name) => ("exchange", name.as_str()),
        };
        self.text("source_name", &binding.source)
            .text("source_kind", "exchange")
            .text("destination_name", name)
            .text("destination_kind", kind)
            .text("routing_key", &binding.key)
            .table("arguments", binding.arguments.as_ref())
            .text("vhost", vhost)
    }

    pub(in crate::broker) fn policy_set(vhost: &str, policy: &Policy, by: &str) -> Self {
        Self::new("policy.set")
            .text("name", &policy.name)
            .text("vhost", vhost)
            .json_entries(&policy.value())
            .by(by)
    }

    pub(in crate::broker) fn policy_cleared(vhost: &str, kind: PolicyKind, name: &str, by: &str) -> Self {
        let key = match kind {
            PolicyKind::User => "policy.cleared",
            PolicyKind::Operator => "operator.policy.cleared",
        };
        Self::new(key).text("name", name).text("vhost", vhost).by(by)
    }

    /// Another policy of a kind holds for a queue; `None` if there is none of that kind any more.
    pub(in crate::broker) fn queue_policy(
        vhost: &str,
        name: &str,
        kind: QueueKind,
        policy: Option<&Policy>,
        by: &str,
    ) -> Self {
        let kind = match kind {
            QueueKind::Classic => "rabbit_classic_queue",
            QueueKind::Quorum => "rabbit_quorum_queue",
        };
        let event = Self::new(policy.map_or("queue.policy.cleared", |_| "queue.policy.updated"));
        let event = event.text("name", name).text("vhost", vhost).text("type", kind);
        policy.map(Policy::value).iter().fold(event, Self::json_entries).by(by)
    }

    /// `vhost` is `None` for what is set for the broker as a whole.
    pub(in crate::broker) fn parameter_set(
        vhost: Option<&str>,
        component: &str,
        name: &str,
        value: &Json,
        by: &str,
    ) -> Self {
        Self::new("parameter.set").parameter(vhost, component, name).json("value", value).by(by)
    }

    /// `vhost` is `None` for what was set for the broker as a whole.
    pub(in crate::broker) fn parameter_cleared(
        vhost: Option<&str>,
        component: &str,
        name: &str,
        by: &str,
    ) -> Self {
        Self::new("parameter.cleared").parameter(vhost, component, name).by(by)
    }

    fn parameter(self, vhost: Option<&str>, component: &str, name: &str) -> Self {
        let event = self.text("component", component).text("name", name);
        vhost.into_iter().fold(event, |event, vhost| event.text("vhost", vhost))
    }

    /// `metadata` is what is said about the vhost, as an object of RabbitMQ's API.
    pub(in crate::broker) fn vhost_created(name: &str, metadata: &Json, node: &str, by: &str) -> Self {
        Self::new("vhost.created").vhost(name, metadata, false, node).by(by)
    }

    /// Something was said about a vhost, which may be what was known.
    pub(in crate::broker) fn vhost_updated(
        name: &str,
        metadata: &Json,
        tracing: bool,
        node: &str,
        by: &str,
    ) -> Self {
        Self::new("vhost.updated").vhost(name, metadata, tracing, node).by(by)
    }

    fn vhost(self, name: &str, metadata: &Json, tracing: bool, node: &str) -> Self {
        self.text("name", name)
            .json_entries(metadata)
            .json("metadata", metadata)
            .flag("tracing", tracing)
            .json("cluster_state", &serde_json::json!({ node: "running" }))
    }

    pub(in crate::broker) fn vhost_deleted(name: &str, by: &str) -> Self {
        Self::new("vhost.deleted").text("name", name).by(by)
    }

    /// The limits are an object of RabbitMQ's API.
    pub(in crate::broker) fn vhost_limits_set(vhost: &str, limits: &Json, by: &str) -> Self {
        Self::new("vhost.limits.set").text("name", "limits").text("vhost", vhost).json_entries(limits).by(by)
    }

    pub(in crate::broker) fn vhost_limits_cleared(vhost: &str, by: &str) -> Self {
        Self::new("vhost.limits.cleared").text("name", "limits").text("vhost", vhost).by(by)
    }
}
