//! Queues as they are shown: which there are, what is in them, and what happens there.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::broker::definitions::value_of;
use crate::broker::vhost::VHost;
use crate::broker::views::{QueueState, QueueView};
use crate::ids::QueueId;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, list, single};
use crate::management::parts::{connection_details, consumer, garbage_collection, moment, put_reductions};
use crate::management::past::{Of, past_of};
use crate::management::query::Query;
use crate::management::resources::channel_counts::{by_channel, delivered};
use crate::management::resources::neighbours::{self, Named};
use crate::management::routes::{InVHost, Resource, get};
use crate::management::statistics::{Numbers, Ranges, of_queue};
use crate::management::visitor::Level;
use crate::queue::arguments::QueueKind;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (any, sees) = (Level::Management, InVHost::Sees);
    vec![
        Resource::new("/queues", [get(any, all)]),
        Resource::new("/queues/detailed", [get(any, all)]),
        Resource::new("/queues/{vhost}", [get(any, of_vhost).in_vhost(sees)]),
        Resource::new("/queues/{vhost}/{queue}", [get(any, one).in_vhost(sees)]),
        Resource::new("/users/{user}/queues", [get(Level::Administrator, of_user)]),
    ]
}

/// The queues of a vhost.
fn named(vhost: &Arc<VHost>) -> impl Iterator<Item = Named> + use<> {
    neighbours::named(vhost, vhost.queue_names())
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    listed(call, call.vhosts().iter().flat_map(named).collect())
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    listed(call, named(&call.vhost()?).collect())
}

/// The exclusive queues of a user's connections, which are those that belong to it.
fn of_user(call: &Call) -> Result<Answer, ApiError> {
    let (broker, user) = (call.broker(), call.name("user"));
    broker.users.find(user).ok_or(ApiError::NotFound("user_not_found"))?;
    let connections = broker.registry.connections_of(user);
    let owns = |named: &Named| {
        let owner = named.vhost.queue(&named.name).and_then(|cell| cell.spec.owner);
        owner.is_some_and(|owner| connections.iter().any(|connection| connection.id == owner))
    };
    let queues = if connections.is_empty() {
        Vec::new()
    } else {
        call.vhosts().iter().flat_map(named).filter(owns).collect()
    };
    listed(call, queues)
}

fn listed(call: &Call, queues: Vec<Named>) -> Result<Answer, ApiError> {
    let told = Told::of(call)?;
    list(call, Rows::together(queues, |named| &named.name, move |queues| told.rows(queues)))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, name) = (call.vhost()?, call.name("queue"));
    let told = Told::of(call)?;
    let view = call.broker().queue_view(&vhost, name).ok_or(ApiError::NotFound("queue_not_found"))?;
    let mut row = told.row(&vhost, &view);
    if told.detail == Detail::Everything {
        told.put_details(&mut row, &vhost, &view);
    }
    Ok(single(call, row.into()))
}

/// How much of a queue is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Everything,
    /// What it is, and how many messages there are.
    Totals,
    /// What it is.
    Identity,
}

impl Detail {
    /// What a query wants.
    fn of(query: &Query) -> Self {
        match (query.is_true("disable_stats"), query.is_true("enable_queue_totals")) {
            (false, _) => Self::Everything,
            (true, true) => Self::Totals,
            (true, false) => Self::Identity,
        }
    }
}

/// What queues are told with.
struct Told {
    broker: Arc<Broker>,
    ranges: Ranges,
    detail: Detail,
}

impl Told {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let ranges = Ranges::of(&call.query)?;
        Ok(Self { broker: call.broker().clone(), ranges, detail: Detail::of(&call.query) })
    }

    /// The rows of these queues; none for those that have gone.
    fn rows(&self, queues: &[Named]) -> Vec<Option<Value>> {
        let views = |vhost: &Arc<VHost>, names: &[String]| self.broker.queue_views(vhost, names);
        neighbours::rows(queues, views, |view| &view.name, |vhost, view| self.row(vhost, view).into())
    }

    fn row(&self, vhost: &VHost, view: &QueueView) -> Map<String, Value> {
        let node = &self.broker.node.name;
        let mut told = identity(node, view);
        if self.detail == Detail::Identity {
            return told;
        }
        let past = past_of(&self.broker, Of::Queue(vhost, view));
        let numbers = Numbers { past: &past, ranges: &self.ranges };
        let depth = &view.figures.depth;
        if self.detail == Detail::Totals {
            let unacked = depth.unacked + depth.held;
            told.insert("messages".to_owned(), view.messages().into());
            told.insert("messages_ready".to_owned(), depth.ready.into());
            told.insert("messages_unacknowledged".to_owned(), unacked.into());
            return told;
        }
        numbers.lengths(&mut told, depth.ready, depth.unacked + depth.held);
        put_figures(&mut told, view);
        put_kind(&mut told, view, node);
        put_reductions(&mut told);
        numbers.put_events(&mut told, &of_queue(&view.counts));
        told
    }

    /// Adds what only a single queue is told with: its consumers, and what it counts for each channel.
    fn put_details(&self, told: &mut Map<String, Value>, vhost: &VHost, view: &QueueView) {
        let node = &self.broker.node.name;
        let consumers = self.broker.queue_consumers(vhost, &view.name);
        let consumers: Vec<Value> = consumers.iter().map(|view| consumer(node, view)).collect();
        told.insert("consumer_details".to_owned(), consumers.into());
        told.insert("deliveries".to_owned(), self.deliveries_of(view.id).into());
        // Which exchange a message came by is not counted for queues, as in RabbitMQ unless rates are "detailed".
        told.insert("incoming".to_owned(), json!([]));
    }

    /// What each channel was given of a queue.
    fn deliveries_of(&self, id: QueueId) -> Vec<Value> {
        by_channel(&self.broker, &self.broker.registry.connections(), |channel| {
            let all = channel.delivered();
            let from = all.iter().find(|from| from.id == id)?;
            Some(delivered(&self.broker, from))
        })
    }
}

/// What a queue is.
fn identity(node: &str, view: &QueueView) -> Map<String, Value> {
    let mut told = Map::new();
    let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
    put("name", view.name.clone().into());
    put("vhost", view.vhost.clone().into());
    put("type", view.kind.name().into());
    put("durable", view.durable.into());
    put("auto_delete", view.auto_delete.into());
    put("exclusive", view.owner.is_some().into());
    put("arguments", value_of(view.arguments.as_ref()).into());
    put("node", node.into());
    put("state", view.state.name().into());
    put("policy", view.policy.clone().into());
    put("operator_policy", view.operator_policy.clone().into());
    put("effective_policy_definition", view.effective_policy.clone().into());
    told
}

/// Adds what is in a queue, but for how many messages there are.
fn put_figures(told: &mut Map<String, Value>, view: &QueueView) {
    let figures = &view.figures;
    let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
    put("consumers", figures.consumers.into());
    put("consumer_capacity", view.consumer_capacity.into());
    // RabbitMQ has 0 where there is no consumer, and its own tool reads numbers only.
    put("consumer_utilisation", view.consumer_utilisation().unwrap_or_default().into());
    put("memory", figures.memory.into());
    put("messages_ram", figures.in_memory.into());
    put("messages_ready_ram", figures.ready_in_memory.into());
    put("messages_unacknowledged_ram", view.unacked_in_memory().into());
    put("messages_persistent", figures.persistent.into());
    put("messages_paged_out", view.paged_out().into());
    put("message_bytes", view.message_bytes().into());
    put("message_bytes_ready", figures.depth.ready_bytes.into());
    put("message_bytes_unacknowledged", (figures.unacked_bytes + figures.held_bytes).into());
    put("message_bytes_ram", figures.in_memory_bytes.into());
    put("message_bytes_persistent", figures.persistent_bytes.into());
    put("message_bytes_paged_out", view.paged_out_bytes().into());
    put("head_message_timestamp", figures.head_timestamp.into());
    put("disk_reads", view.counts.disk_reads.into());
    put("disk_writes", view.counts.disk_writes.into());
    put("garbage_collection", garbage_collection());
    if let Some(owner) = &view.owner_connection {
        put("owner_pid_details", connection_details(owner));
    }
    if let Some(since) = view.idle_since.filter(|_| view.state == QueueState::Idle) {
        put("idle_since", moment(since).into());
    }
}

/// Adds what queues of its type have.
fn put_kind(told: &mut Map<String, Value>, view: &QueueView, node: &str) {
    let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
    let single_active = &view.single_active_consumer_tag;
    match view.kind {
        QueueKind::Classic => {
            put("single_active_consumer_tag", single_active.clone().into());
            put("exclusive_consumer_tag", view.exclusive_consumer_tag.clone().into());
            // Those of mirrors that are out of step, of which there are none.
            put("recoverable_slaves", Value::Null);
            // How RabbitMQ keeps the messages; clients find the object that they look into.
            put("backing_queue_status", json!({}));
        }
        QueueKind::Quorum => {
            put("single_active_consumer_ctag", single_active.clone().into());
            put("single_active_consumer_tag", single_active.clone().into());
            put("leader", node.into());
            put("members", json!([node]));
            put("online", json!([node]));
            // Of one queue's own there are none.
            put("open_files", json!({ node: 0 }));
            put("messages_dlx", view.figures.dead.into());
            put("message_bytes_dlx", view.figures.dead_bytes.into());
            put("delivery_limit", view.delivery_limit.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::options::BrokerOptions;
    use crate::broker::vhost::QueueDeclare;
    use crate::ids::ConnectionId;

    fn told(detail: Detail) -> (Told, Arc<VHost>) {
        let broker = Broker::new(BrokerOptions::default());
        let vhost = broker.vhost("/").unwrap();
        for name in ["b", "a"] {
            let request = QueueDeclare { name, durable: true, ..Default::default() };
            vhost.declare_queue(request, ConnectionId(1)).unwrap();
        }
        (Told { broker, ranges: Ranges::default(), detail }, vhost)
    }

    #[test]
    fn a_queue_that_has_gone_has_no_row() {
        let (told, vhost) = told(Detail::Everything);
        let queues = ["a", "gone", "b"].map(|name| Named { vhost: vhost.clone(), name: name.to_owned() });
        let rows = told.rows(&queues);
        let names: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row["name"].clone())).collect();
        assert_eq!(names, [Some(json!("a")), None, Some(json!("b"))]);
        let row = rows[0].as_ref().unwrap();
        assert_eq!((&row["messages"], &row["messages_details"]["rate"]), (&json!(0), &json!(0.0)));
        assert_eq!(
            (&row["type"], &row["policy"], row.get("message_stats")),
            (&json!("classic"), &Value::Null, None)
        );
    }

    #[test]
    fn without_statistics_there_are_totals_or_nothing() {
        assert_eq!(Detail::of(&Query::from("disable_stats=true&enable_queue_totals=true")), Detail::Totals);
        assert_eq!(Detail::of(&Query::from("enable_queue_totals=true")), Detail::Everything);
        let keys = |detail| {
            let (told, vhost) = told(detail);
            let view = told.broker.queue_view(&vhost, "a").unwrap();
            let row = told.row(&vhost, &view);
            ["name", "messages", "messages_details", "memory"].map(|key| row.contains_key(key))
        };
        assert_eq!(keys(Detail::Everything), [true, true, true, true]);
        assert_eq!(keys(Detail::Totals), [true, true, false, false]);
        assert_eq!(keys(Detail::Identity), [true, false, false, false]);
    }
}
