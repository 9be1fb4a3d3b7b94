//! One vhost: its exchanges, bindings and queues by name, under the topology lock.
//!
//! Check and change are one step under that lock. Every change raises the epoch, by which channels know that their
//! cached routes are stale.

mod exchanges;
mod queues;
mod routes;
#[cfg(test)]
mod tests;

pub use exchanges::{BindRequest, BindTarget, ExchangeDeclare};
pub use queues::{Declared, QueueDeclare};
pub use routes::{Route, RouteScratch, Routed};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::queue_cell::QueueCell;
use crate::channel::gates::Gate;
use crate::ids::QueueId;
use crate::lock::{Rank, RankedRwLock};
use crate::protocol::field::Table;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::routing::{Destination, ExchangeKind, ExchangeSpec, Removed, Router};
use crate::storage::journal::{Append, Journal};
use crate::storage::record::Record;

/// Exchanges every vhost has, with RabbitMQ's names. The default exchange is apart.
const PREDECLARED: [(&str, ExchangeKind, bool); 6] = [
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

/// Names that begin so are the server's.
const RESERVED_PREFIX: &str = "amq.";

/// A vhost.
#[derive(Debug)]
pub struct VHost {
    /// Its name.
    pub name: String,
    topology: RankedRwLock<Topology>,
    epoch: AtomicU64,
    journal: Arc<Journal>,
}

/// What the topology lock guards.
#[derive(Debug, Default)]
struct Topology {
    router: Router<QueueId>,
    queues: HashMap<String, Arc<QueueCell>>,
    by_id: HashMap<QueueId, Arc<QueueCell>, foldhash::fast::FixedState>,
    next_queue: u64,
}

impl Topology {
    fn is_durable(&self, destination: &Destination<QueueId>) -> bool {
        match destination {
            Destination::Queue(id) => self.by_id.get(id).is_some_and(|cell| cell.spec.durable),
            Destination::Exchange(name) => self.router.exchange(name).is_some_and(|spec| spec.durable),
        }
    }
}

impl VHost {
    pub(super) fn new(name: String, journal: Arc<Journal>) -> Arc<Self> {
        let mut topology = Topology::default();
        for (name, kind, internal) in PREDECLARED {
            topology.router.declare(ExchangeSpec {
                name: name.to_owned(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: Table::default(),
                alternate: None,
            });
        }
        let topology = RankedRwLock::new(Rank::Topology, topology);
        Arc::new(Self { name, topology, epoch: AtomicU64::new(1), journal })
    }

    /// Changes with every change of exchanges, bindings and queues.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Call it before the topology lock is let go.
    fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The gate of a reply about something that existed: another connection's change that made it may not be durable
    /// yet.
    fn unchanged(&self, durable: bool) -> Gate {
        if durable { Gate::durable(self.journal.end()) } else { Gate::OPEN }
    }

    /// Journals what a removal took with it. Bindings of things that are gone need no record of their own: only
    /// those whose both ends stand do.
    fn record_removed(&self, batch: &mut Append<'_>, topology: &Topology, removed: &Removed<QueueId>) {
        for binding in &removed.bindings {
            let source_stands = topology.router.exchange(&binding.source).is_some_and(|spec| spec.durable);
            if source_stands && topology.is_durable(&binding.destination) {
                batch.record(&Record::Unbound { vhost: &self.name, binding });
            }
        }
        for exchange in removed.exchanges.iter().filter(|exchange| exchange.durable) {
            batch.record(&Record::ExchangeDeleted { vhost: &self.name, name: &exchange.name });
        }
    }

    /// The error for a queue that does not exist.
    #[must_use]
    pub fn no_queue(&self, name: &str) -> AmqpError {
        AmqpError::new(ReplyCode::NotFound, format!("no queue '{name}' in vhost '{}'", self.name))
    }

    fn no_exchange(&self, name: &str) -> AmqpError {
        AmqpError::new(ReplyCode::NotFound, format!("no exchange '{name}' in vhost '{}'", self.name))
    }

    fn in_use(&self, what: &str, name: &str) -> AmqpError {
        let text = format!("{what} '{name}' in vhost '{}' in use", self.name);
        AmqpError::new(ReplyCode::PreconditionFailed, text)
    }
}

/// A name as RabbitMQ takes it: without carriage returns and line feeds.
fn clean_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

fn reserved(what: &str, name: &str) -> AmqpError {
    let text = format!("{what} name '{name}' contains reserved prefix 'amq.*'");
    AmqpError::new(ReplyCode::AccessRefused, text)
}
