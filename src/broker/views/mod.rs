//! What management and metrics read: copies of what there is at one moment.
//!
//! A list of many is read in two steps, so that no lock is held for long: names first, under the topology's lock, and
//! then details for those that are wanted, each queue under its own lock for a moment. What goes in between is left
//! out. Connections and channels need no copies: see [`OpenConnection`].

mod policies;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::broker::Broker;
use crate::broker::connections::OpenConnection;
use crate::broker::queue_cell::QueueCell;
use crate::broker::statistics::Rates;
use crate::broker::vhost::VHost;
use crate::ids::{ConnectionId, QueueId};
use crate::protocol::field::Table;
use crate::queue::arguments::QueueKind;
use crate::queue::{Counts, Figures};
use crate::routing::ExchangeKind;

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueView {
    /// Its number, which no other queue ever gets.
    pub id: QueueId,
    /// Its name.
    pub name: String,
    /// Its vhost.
    pub vhost: String,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// The connection that it belongs to, if it is exclusive.
    pub owner: Option<ConnectionId>,
    /// That connection, while it is open.
    pub owner_connection: Option<Arc<OpenConnection>>,
    /// Its arguments.
    pub arguments: Table,
    /// Its type.
    pub kind: QueueKind,
    /// The user policy that applies.
    pub policy: Option<String>,
    /// The operator policy that applies.
    pub operator_policy: Option<String>,
    /// What both say together.
    pub effective_policy: Map<String, Value>,
    /// What it does.
    pub state: QueueState,
    /// Since when nothing happened to its messages, in milliseconds since 1970; `None` if something does. Known to a few
    /// seconds.
    pub idle_since: Option<u64>,
    /// What there is in it.
    pub figures: Figures,
    /// What happened in it.
    pub counts: Counts,
    /// How fast it happens.
    pub rates: Rates,
    /// For which part of the time a consumer could take messages, from 0 to 1; 0 without consumers.
    pub consumer_capacity: f64,
    /// The tag of the consumer that has exclusive use.
    pub exclusive_consumer_tag: Option<String>,
    /// Where only one consumer is given messages at a time: the tag of this one.
    pub single_active_consumer_tag: Option<String>,
    /// How often a message may come back after a failure; `None` is any number of times.
    pub delivery_limit: Option<u32>,
}

impl QueueView {
    /// Ready and unacked messages, and those on their way to consumers that do not acknowledge.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        let depth = &self.figures.depth;
        depth.ready + depth.unacked + depth.held
    }

    /// Body bytes of all these.
    #[must_use]
    pub const fn message_bytes(&self) -> u64 {
        self.figures.depth.ready_bytes + self.figures.unacked_bytes + self.figures.held_bytes
    }

    /// Unacked messages that are in memory, or on their way to consumers that do not acknowledge.
    #[must_use]
    pub const fn unacked_in_memory(&self) -> u64 {
        self.figures.in_memory.saturating_sub(self.figures.ready_in_memory)
    }

    /// Messages that are on disk only.
    #[must_use]
    pub const fn paged_out(&self) -> u64 {
        (self.messages() + self.figures.dead).saturating_sub(self.figures.in_memory)
    }

    /// Body bytes of these.
    #[must_use]
    pub const fn paged_out_bytes(&self) -> u64 {
        (self.message_bytes() + self.figures.dead_bytes).saturating_sub(self.figures.in_memory_bytes)
    }

    /// RabbitMQ's `consumer_utilisation`: the capacity, where there are consumers.
    #[must_use]
    pub fn consumer_utilisation(&self) -> Option<f64> {
        (self.figures.consumers > 0).then_some(self.consumer_capacity)
    }
}

/// What a queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// Messages come or go.
    Running,
    /// None did lately.
    Idle,
    /// Its publishers are held back until the journal has caught up with them.
    Flow,
}

impl QueueState {
    /// RabbitMQ's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Flow => "flow",
        }
    }
}

/// Messages of many queues together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageTotals {
    /// Ready to be delivered.
    pub ready: u64,
    /// Delivered and not settled, with those on their way to consumers that do not acknowledge.
    pub unacked: u64,
}

impl MessageTotals {
    /// Both.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.ready + self.unacked
    }
}

/// An exchange.
#[derive(Clone, Debug)]
pub struct ExchangeView {
    /// Its name; "" is the default exchange.
    pub name: String,
    /// Its vhost.
    pub vhost: String,
    /// Its type.
    pub kind: ExchangeKind,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with its last binding as a source.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: Table,
    /// The user policy that applies.
    pub policy: Option<String>,
    /// The operator policy that applies.
    pub operator_policy: Option<String>,
    /// What both say together.
    pub effective_policy: Map<String, Value>,
    /// Messages that were published to it.
    pub publish_in: u64,
    /// How often it put one of them into a queue.
    pub publish_out: u64,
}

/// A binding. Those by which the default exchange leads to every queue are told too, with "" as the source.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingView {
    /// The exchange that messages come from.
    pub source: String,
    /// Its vhost.
    pub vhost: String,
    /// Where they go.
    pub destination: String,
    /// Whether that is an exchange, or else a queue.
    pub to_exchange: bool,
    /// The binding key.
    pub routing_key: String,
    /// The arguments, sorted by name.
    pub arguments: Table,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    /// Its queue.
    pub queue: String,
    /// The queue's vhost.
    pub vhost: String,
    /// What it is called on its channel.
    pub tag: String,
    /// The connection that it belongs to.
    pub connection: ConnectionId,
    /// That connection, while it is open.
    pub open_connection: Option<Arc<OpenConnection>>,
    /// Its channel.
    pub channel: u16,
    /// It acknowledges what it is given.
    pub ack_required: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
    /// It may be given messages.
    pub active: bool,
    /// How it stands.
    pub status: ActivityStatus,
    /// Most unacked messages at a time; 0 is no limit.
    pub prefetch: u16,
    /// Consumers with a higher number are served first.
    pub priority: i32,
    /// What it was given and has not settled.
    pub unacked: u32,
    /// Its arguments.
    pub arguments: Table,
    /// Milliseconds that a delivery may be out, as the consumer or the queue's rules say; `None` if neither does, so that
    /// the configuration counts. 0 is for ever.
    pub timeout: Option<u64>,
}

/// How a consumer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityStatus {
    /// It is one of all that are given messages.
    Up,
    /// It is the only one that is given messages.
    SingleActive,
    /// Another one is.
    Waiting,
}

impl ActivityStatus {
    /// RabbitMQ's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::SingleActive => "single_active",
            Self::Waiting => "waiting",
        }
    }
}

/// How many things there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectTotals {
    /// Open connections.
    pub connections: u64,
    /// Open channels.
    pub channels: u64,
    /// Channels that have published something.
    pub publishers: u64,
    /// Consumers, those of direct replies included.
    pub consumers: u64,
    /// Queues, without those of direct replies.
    pub queues: u64,
    /// Exchanges, with those that every vhost has.
    pub exchanges: u64,
}

impl Broker {
    /// How many things there are in all vhosts, or in one of them. Looks at every channel, and at no queue.
    #[must_use]
    pub fn object_totals(&self, only: Option<&VHost>) -> ObjectTotals {
        let is_meant = |vhost: &VHost| only.is_none_or(|only| std::ptr::eq(only, vhost));
        let mut totals = ObjectTotals::default();
        for connection in self.registry.connections() {
            if !is_meant(&connection.facts.vhost) {
                continue;
            }
            totals.connections += 1;
            for channel in connection.channels() {
                totals.channels += 1;
                totals.publishers += u64::from(channel.counters.publish.get() > 0);
                totals.consumers += channel.counters.consumers.get();
            }
        }
        for vhost in self.vhosts.all().values().filter(|vhost| is_meant(vhost)) {
            totals.queues += vhost.queue_count() as u64;
            totals.exchanges += vhost.exchange_count() as u64;
        }
        totals
    }

    /// The queues of these names that there are, in this order. Take the names from
    /// [`VHost::queue_names`](crate::broker::vhost::VHost::queue_names).
    #[must_use]
    pub fn queue_views(&self, vhost: &VHost, names: &[String]) -> Vec<QueueView> {
        let cells = vhost.queues_named(names);
        let at = self.statistics.moments();
        let held_up = self.journal.is_behind() || self.journal.is_oversized();
        let mut views: Vec<QueueView> =
            cells.iter().filter_map(|(cell, applied)| cell.view(&vhost.name, applied, held_up, at)).collect();
        let mut connections = Connections::of(self);
        for view in &mut views {
            view.owner_connection = view.owner.and_then(|owner| connections.find(owner));
        }
        views
    }

    /// The queue of this name.
    #[must_use]
    pub fn queue_view(&self, vhost: &VHost, name: &str) -> Option<QueueView> {
        self.queue_views(vhost, &[name.to_owned()]).pop()
    }

    /// All consumers of a vhost, by the names of their queues. Those of direct replies are among them.
    #[must_use]
    pub fn consumer_views(&self, vhost: &VHost) -> Vec<ConsumerView> {
        let mut cells = vhost.queues();
        cells.sort_unstable_by(|a, b| a.spec.name.cmp(&b.spec.name));
        self.consumers_of(vhost, &cells)
    }

    /// The consumers of one queue.
    #[must_use]
    pub fn queue_consumers(&self, vhost: &VHost, queue: &str) -> Vec<ConsumerView> {
        let cells: Vec<_> = vhost.queue(queue).into_iter().collect();
        self.consumers_of(vhost, &cells)
    }

    fn consumers_of(&self, vhost: &VHost, cells: &[Arc<QueueCell>]) -> Vec<ConsumerView> {
        let mut views: Vec<ConsumerView> =
            cells.iter().flat_map(|cell| cell.consumer_views(&vhost.name)).collect();
        let mut connections = Connections::of(self);
        for view in &mut views {
            view.open_connection = connections.find(view.connection);
        }
        views
    }
}

/// Connections that were looked up before: many consumers have the same.
struct Connections<'a> {
    broker: &'a Broker,
    known: HashMap<ConnectionId, Option<Arc<OpenConnection>>>,
}

impl<'a> Connections<'a> {
    fn of(broker: &'a Broker) -> Self {
        Self { broker, known: HashMap::new() }
    }

    fn find(&mut self, id: ConnectionId) -> Option<Arc<OpenConnection>> {
        self.known.entry(id).or_insert_with(|| self.broker.registry.connection(id)).clone()
    }
}
