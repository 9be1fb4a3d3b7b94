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

use crate::broker::queue_cell::{QueueCell, QueueSpec};
use crate::channel::gates::Gate;
use crate::ids::QueueId;
use crate::lock::{Rank, RankedRwLock};
use crate::message::Message;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::routing::{BindingSpec, Destination, Removed, Router};
use crate::storage::image::{Definitions, NamedQueue};
use crate::storage::journal::{Append, Journal};
use crate::storage::record::Record;

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
    /// The last number given to a queue, in any vhost.
    last_queue: Arc<AtomicU64>,
}

/// What the topology lock guards.
#[derive(Debug, Default)]
struct Topology {
    router: Router<QueueId>,
    queues: HashMap<String, Arc<QueueCell>>,
    by_id: HashMap<QueueId, Arc<QueueCell>, foldhash::fast::FixedState>,
}

impl Topology {
    fn add(&mut self, cell: Arc<QueueCell>) {
        self.queues.insert(cell.spec.name.clone(), cell.clone());
        self.by_id.insert(cell.id, cell);
    }

    fn is_durable(&self, destination: &Destination<QueueId>) -> bool {
        match destination {
            Destination::Queue(id) => self.by_id.get(id).is_some_and(|cell| cell.spec.durable),
            Destination::Exchange(name) => self.router.exchange(name).is_some_and(|spec| spec.durable),
        }
    }
}

impl VHost {
    /// A vhost with what was durable in it before a restart. `loaded` has the messages by address.
    pub(super) fn restored(
        name: String,
        journal: Arc<Journal>,
        last_queue: Arc<AtomicU64>,
        definitions: Definitions,
        loaded: &HashMap<u64, Message>,
    ) -> Arc<Self> {
        let mut topology = Topology { router: Router::with_predeclared(), ..Topology::default() };
        for exchange in definitions.exchanges {
            topology.router.declare(exchange);
        }
        for NamedQueue { id, name, auto_delete, arguments, content } in definitions.queues {
            let spec = QueueSpec { name, durable: true, auto_delete, owner: None, arguments };
            topology.add(QueueCell::restored(id, spec, journal.clone(), content, loaded));
        }
        for BindingSpec { source, destination, key, arguments } in definitions.bindings {
            if let Err(error) = topology.router.bind(&source, &destination, &key, &arguments) {
                tracing::warn!(?source, ?key, %error, "a stored binding is left out");
            }
        }
        let topology = RankedRwLock::new(Rank::Topology, topology);
        Arc::new(Self { name, topology, epoch: AtomicU64::new(1), journal, last_queue })
    }

    /// A vhost with nothing in it, alone on its journal.
    #[cfg(test)]
    fn empty(name: &str, journal: Arc<Journal>) -> Arc<Self> {
        Self::restored(name.to_owned(), journal, Arc::default(), Definitions::default(), &HashMap::new())
    }

    /// Appends all durable definitions to the journal again, in one batch.
    pub(super) fn store_definitions(&self) {
        let topology = self.topology.read();
        let vhost = &self.name;
        self.journal.append(|batch| {
            for exchange in topology.router.exchanges().filter(|exchange| exchange.durable) {
                batch.record(&Record::ExchangeDeclared { vhost, exchange });
            }
            let mut queues: Vec<_> = topology.by_id.values().filter(|cell| cell.spec.durable).collect();
            queues.sort_unstable_by_key(|cell| cell.id);
            for cell in queues {
                let QueueSpec { name, auto_delete, arguments, .. } = &cell.spec;
                let (id, auto_delete) = (cell.id, *auto_delete);
                batch.record(&Record::QueueDeclared { vhost, id, name, auto_delete, arguments });
            }
            for binding in topology.router.bindings() {
                let source = topology.router.exchange(&binding.source);
                if source.is_some_and(|source| source.durable) && topology.is_durable(&binding.destination) {
                    batch.record(&Record::Bound { vhost, binding: &binding });
                }
            }
        });
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
