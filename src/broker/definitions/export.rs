//! The definitions there are as a document.

use serde_json::{Map, Value, json};

use super::Scope;
use super::arguments::value_of;
use crate::broker::Broker;
use crate::broker::limits::VHOST_LIMITS;
use crate::broker::permissions::TopicRow;
use crate::broker::policies::PolicyKind;
use crate::broker::queue_cell::QueueSpec;
use crate::broker::users::User;
use crate::broker::vhost::{NewBinding, VHost, VHostPlan};
use crate::identity::access::{Permissions, Right};
use crate::identity::tags::Tag;
use crate::queue::arguments::QueueKind;
use crate::routing::{Destination, ExchangeSpec};

/// The version of RabbitMQ whose documents these are like.
pub const COMPATIBLE_VERSION: &str = "4.2.0";

/// Global parameters whose names begin so are the broker's own.
const INTERNAL: &str = "internal";

/// What is exported, and what it says of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Whether hashes of passwords are in it. An import without them leaves the passwords of users that are there as they
    /// are, and new users without one.
    pub hashes: bool,
    /// `rabbitmq_version`.
    pub rabbitmq_version: String,
    /// The name and the version of the product.
    pub product: (String, String),
}

impl Default for ExportOptions {
    fn default() -> Self {
        let product = ("Leveret".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        Self { hashes: true, rabbitmq_version: COMPATIBLE_VERSION.to_owned(), product }
    }
}

/// The lists of a document that are about vhosts.
#[derive(Default)]
struct Lists {
    permissions: Vec<Value>,
    topics: Vec<Value>,
    parameters: Vec<Value>,
    policies: Vec<Value>,
    queues: Vec<Value>,
    exchanges: Vec<Value>,
    bindings: Vec<Value>,
}

impl Broker {
    /// All that [`import`](Self::import) would need to make the same. Queues of connections, what every vhost has, and
    /// what belongs to the broker itself are not in it. `None` if there is no such vhost.
    ///
    /// Nothing is imported meanwhile. Blocks for as long as one takes.
    #[must_use]
    pub fn export(&self, scope: &Scope, options: &ExportOptions) -> Option<Value> {
        let _parameters = self.global_parameters.changing.lock();
        let _users = self.users.hold();
        let _vhosts = self.vhosts.hold();
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
        put("rabbit_version", options.rabbitmq_version.as_str().into());
        put("rabbitmq_version", options.rabbitmq_version.as_str().into());
        put("product_name", options.product.0.as_str().into());
        put("product_version", options.product.1.as_str().into());
        put("original_cluster_name", (&*self.cluster_name()).into());
        let mut lists = Lists::default();
        if let Scope::VHost(name) = scope {
            let vhost = self.vhosts.get(name)?;
            put("rabbitmq_definition_format", "single_virtual_host".into());
            put("original_vhost_name", name.as_str().into());
            put("explanation", format!("Definitions of virtual host '{name}'").into());
            let metadata = self.vhost_metadata(name).unwrap_or_default();
            put("description", metadata.description.as_str().into());
            put("metadata", metadata.value());
            let plan = vhost.contents();
            put("limits", plan.limits.unwrap_or_default().value());
            lists.add(&vhost, plan, None);
        } else {
            put("rabbitmq_definition_format", "cluster".into());
            put("explanation", format!("Definitions of cluster '{}'", self.cluster_name()).into());
            let users = self.users.all();
            put("users", users.iter().map(|user| self.user(user, options)).collect());
            put("vhosts", self.vhosts.all().keys().map(|name| self.vhost_value(name)).collect());
            let globals =
                self.global_parameters().into_iter().filter(|(name, _)| !name.starts_with(INTERNAL));
            put(
                "global_parameters",
                globals.map(|(name, value)| json!({ "name": name, "value": value })).collect(),
            );
            for vhost in self.vhosts.all().values() {
                lists.add(vhost, vhost.contents(), Some(&vhost.name));
            }
            put("permissions", lists.permissions.into());
            put("topic_permissions", lists.topics.into());
        }
        put("parameters", lists.parameters.into());
        put("policies", lists.policies.into());
        put("queues", lists.queues.into());
        put("exchanges", lists.exchanges.into());
        put("bindings", lists.bindings.into());
        Some(Value::Object(document))
    }

    fn user(&self, user: &User, options: &ExportOptions) -> Value {
        let details = user.details();
        let tags: Vec<&str> = details.tags.iter().map(Tag::name).collect();
        let mut value = json!({ "name": user.name, "tags": tags, "limits": details.limits.value() });
        if options.hashes
            && let Ok(details) = self.users.hashed(&details)
            && let Some(hash) = details.hash()
        {
            value["password_hash"] = hash.text().into();
            value["hashing_algorithm"] = hash.algorithm().into();
        }
        value
    }

    fn vhost_value(&self, name: &str) -> Value {
        let metadata = self.vhost_metadata(name).unwrap_or_default().value();
        let mut value = metadata.clone();
        value["name"] = name.into();
        value["metadata"] = metadata;
        value
    }
}

impl Lists {
    /// Adds what is in a vhost. `place` is what its items say of where they are.
    fn add(&mut self, vhost: &VHost, plan: VHostPlan, place: Option<&str>) {
        let placed = |mut value: Value| {
            if let Some(name) = place {
                value["vhost"] = name.into();
            }
            value
        };
        self.permissions.extend(plan.permissions.iter().map(|row| placed(of_permissions(row))));
        self.topics.extend(plan.topics.iter().map(|row| placed(of_topic(row))));
        for (kind, policy) in &plan.policies {
            match kind {
                PolicyKind::User => {
                    let mut value = Value::Object(policy.described(&vhost.name));
                    if place.is_none()
                        && let Some(object) = value.as_object_mut()
                    {
                        object.remove("vhost");
                    }
                    self.policies.push(value);
                }
                PolicyKind::Operator => {
                    self.parameters.push(placed(of_parameter(
                        kind.component(),
                        &policy.name,
                        policy.value(),
                    )));
                }
            }
        }
        if let Some(limits) = plan.limits {
            self.parameters.push(placed(of_parameter(VHOST_LIMITS.0, VHOST_LIMITS.1, limits.value())));
        }
        let kept = plan.kept.iter();
        let kept = kept.map(|(component, name, value)| placed(of_parameter(component, name, value.clone())));
        self.parameters.extend(kept);
        self.queues.extend(plan.queues.iter().map(|queue| placed(of_queue(queue))));
        self.exchanges.extend(plan.exchanges.iter().map(|exchange| placed(of_exchange(exchange))));
        self.bindings.extend(plan.bindings.iter().map(|binding| placed(of_binding(binding))));
    }
}

fn of_permissions((user, row): &(String, Permissions)) -> Value {
    let [configure, write, read] =
        [Right::Configure, Right::Write, Right::Read].map(|right| row.pattern(right));
    json!({ "user": user, "configure": configure, "write": write, "read": read })
}

fn of_topic(row: &TopicRow) -> Value {
    json!({ "user": row.user, "exchange": row.exchange, "write": row.write, "read": row.read })
}

fn of_parameter(component: &str, name: &str, value: Value) -> Value {
    json!({ "component": component, "name": name, "value": value })
}

fn of_queue(spec: &QueueSpec) -> Value {
    let arguments = spec.arguments.as_ref();
    let kind = arguments.get("x-queue-type").and_then(|value| value.as_str());
    json!({
        "name": spec.name,
        "durable": spec.durable,
        "auto_delete": spec.auto_delete,
        "type": kind.unwrap_or(QueueKind::Classic.name()),
        "arguments": value_of(arguments),
    })
}

fn of_exchange(spec: &ExchangeSpec) -> Value {
    json!({
        "name": spec.name,
        "type": spec.kind.name(),
        "durable": spec.durable,
        "auto_delete": spec.auto_delete,
        "internal": spec.internal,
        "arguments": value_of(spec.arguments.as_ref()),
    })
}

fn of_binding(binding: &NewBinding) -> Value {
    let (kind, name) = match &binding.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    json!({
        "source": binding.source,
        "destination": name,
        "destination_type": kind,
        "routing_key": binding.key,
        "arguments": value_of(binding.arguments.as_ref()),
    })
}
