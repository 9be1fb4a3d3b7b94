//! One vhost: its exchanges, bindings and queues by name, under the topology lock.
//!
//! Check and change are one step under that lock. Every change raises the epoch, by which channels know that their
//! cached routes are stale.

mod components;
mod contents;
mod deletion;
mod events;
mod exchanges;
mod importing;
mod letters;
mod listing;
pub mod moving;
mod parameters;
mod permissions;
mod queues;
mod replies;
mod router;
mod routes;
#[cfg(test)]
mod tests;
mod trace;

pub(in crate::broker) use components::check_limits_name;
pub use exchanges::{ALTERNATE, BindRequest, BindTarget, ExchangeDeclare, check_not_default, exchange_kind};
pub(in crate::broker) use importing::{Importing, NewBinding, VHostPlan};
pub use listing::ListedBinding;
pub use queues::{Declared, QueueDeclare};
pub use replies::{REPLY_TO, is_reply_name};
pub use routes::{Route, RouteScratch, Routed};
pub use trace::{TRACE_EXCHANGE, TraceOrigin};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::broker::agenda::Agenda;
use crate::broker::connections::EndedBytes;
use crate::broker::events::{EXCHANGE as EVENT_EXCHANGE, Events};
use crate::broker::exchange_counts::ExchangeCounts;
#[cfg(test)]
use crate::broker::limits::NodeOptions;
use crate::broker::limits::{NodeLimits, Quota, VHostLimits};
use crate::broker::policies::policy::Operator;
use crate::broker::queue_cell::{QueueCell, QueueSpec};
use crate::broker::statistics::VHostHistory;
use crate::broker::totals::{AllTotals, Totals};
use crate::broker::vhost::parameters::Parameters;
use crate::broker::vhost::replies::Replies;
use crate::broker::vhost::router::CountedRouter;
use crate::channel::gates::Gate;
use crate::ids::{Lsn, QueueId};
use crate::lock::{Rank, RankedRwLock};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::routing::{BindingSpec, Destination, Removed};
use crate::storage::bodies::Bodies;
use crate::storage::image::{Definitions, NamedQueue};
use crate::storage::journal::Append;
#[cfg(test)]
use crate::storage::journal::Journal;
use crate::storage::record::Record;
#[cfg(test)]
use crate::time::Clock;

/// Names that begin so are the server's.
const RESERVED_PREFIX: &str = "amq.";

/// Whether an exchange is not one of those that every vhost has.
fn is_own(exchange: &str) -> bool {
    !exchange.is_empty() && !exchange.starts_with(RESERVED_PREFIX)
}

/// A vhost.
#[derive(Debug)]
pub struct VHost {
    /// Its name.
    pub name: String,
    topology: RankedRwLock<Topology>,
    replies: Replies,
    traced: AtomicBool,
    /// Queues that can be are quorum queues unless they say otherwise.
    prefers_quorum: AtomicBool,
    /// Written under the topology lock.
    deleted: AtomicBool,
    /// It has the exchange that events are published to.
    has_events: bool,
    epoch: AtomicU64,
    /// Counts changes of permissions.
    access_epoch: AtomicU64,
    /// The number of the last change of durable definitions.
    redefined: AtomicU64,
    /// Where the last of them is in the journal.
    redefined_at: AtomicU64,
    agenda: Arc<Agenda<QueueCell>>,
    /// Open connections.
    pub(super) connections: Quota,
    /// What was counted in it.
    pub totals: Arc<Totals>,
    /// Bytes of connections that were in it.
    pub(super) bytes: EndedBytes,
    default_exchange: Arc<ExchangeCounts>,
    pub(super) history: VHostHistory,
    shared: Shared,
}

/// What vhosts have in common.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) bodies: Arc<Bodies>,
    /// The last number given to a queue.
    pub(super) last_queue: Arc<AtomicU64>,
    pub(super) node: Arc<NodeLimits>,
    /// Operator policies of the configuration.
    pub(super) operators: Arc<[Operator]>,
    /// Limits of vhosts for which none was set.
    pub(super) default_limits: VHostLimits,
    /// Numbers changes of durable definitions, so that a vhost is not taken for an earlier one of its name.
    pub(super) redefinitions: Arc<AtomicU64>,
    pub(super) events: Arc<Events>,
    pub(super) totals: Arc<AllTotals>,
}

/// What the topology lock guards.
#[derive(Debug, Default)]
struct Topology {
    router: CountedRouter,
    queues: HashMap<String, Arc<QueueCell>>,
    by_id: HashMap<QueueId, Arc<QueueCell>, foldhash::fast::FixedState>,
    parameters: Parameters,
}

impl Topology {
    fn with_predeclared(parameters: Parameters) -> Self {
        Self { router: CountedRouter::with_predeclared(), parameters, ..Self::default() }
    }

    fn add(&mut self, cell: Arc<QueueCell>) {
        self.queues.insert(cell.spec.name.clone(), cell.clone());
        self.by_id.insert(cell.id, cell);
    }

    /// Has exchanges that say nothing about it themselves do what policies say about unroutable messages.
    fn follow_alternates(&mut self) {
        let names: Vec<String> = self.router.exchanges().map(|exchange| exchange.name.clone()).collect();
        for name in names {
            let alternate = self.parameters.alternate_of(&name);
            self.router.set_fallback(&name, alternate);
        }
    }

    fn is_durable(&self, destination: &Destination<QueueId>) -> bool {
        match destination {
            Destination::Queue(id) => self.by_id.get(id).is_some_and(|cell| cell.spec.durable),
            Destination::Exchange(name) => self.router.exchange(name).is_some_and(|spec| spec.durable),
        }
    }
}

impl VHost {
    /// A vhost with what was durable in it before a restart.
    pub(super) fn restored(
        name: String,
        agenda: Arc<Agenda<QueueCell>>,
        shared: Shared,
        definitions: Definitions,
    ) -> Arc<Self> {
        let Shared { operators, default_limits, .. } = &shared;
        let parameters = Parameters::restored(&name, operators, *default_limits, definitions.parameters);
        let mut topology = Topology::with_predeclared(parameters);
        let own = definitions.exchanges.iter().filter(|exchange| is_own(&exchange.name)).count();
        shared.node.exchanges.add(own as u64);
        shared.node.queues.add(definitions.queues.len() as u64);
        let has_events = shared.events.are_in(&name);
        let is_stored = definitions.exchanges.iter().any(|exchange| exchange.name == EVENT_EXCHANGE);
        if has_events || definitions.bindings.iter().any(routes::is_of_events) {
            topology.router.declare(routes::event_exchange());
        }
        let stored = definitions.exchanges.into_iter();
        for exchange in stored.filter(|exchange| exchange.name != EVENT_EXCHANGE) {
            topology.router.declare(exchange);
        }
        topology.follow_alternates();
        for NamedQueue { id, name, auto_delete, arguments, content } in definitions.queues {
            let spec = QueueSpec { name, durable: true, auto_delete, owner: None, arguments };
            let cell = QueueCell::restored(id, spec, shared.bodies.clone(), agenda.clone(), content);
            cell.set_rules(topology.parameters.rules_of(&cell));
            topology.add(cell);
        }
        for BindingSpec { source, destination, key, arguments } in definitions.bindings {
            if let Err(error) = topology.router.bind(&source, &destination, &key, &arguments) {
                tracing::warn!(?source, ?key, %error, "a stored binding is left out");
            }
        }
        let connections = Quota::new(topology.parameters.limits().0);
        let redefined = AtomicU64::new(shared.redefinitions.fetch_add(1, Ordering::AcqRel) + 1);
        let (epoch, redefined_at) = (AtomicU64::new(1), AtomicU64::new(0));
        let leads_on = has_events && topology.router.leads_on(EVENT_EXCHANGE);
        let topology = RankedRwLock::new(Rank::Topology, topology);
        let vhost = Arc::new(Self {
            name,
            topology,
            replies: Replies::default(),
            traced: AtomicBool::new(false),
            prefers_quorum: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            has_events,
            epoch,
            access_epoch: AtomicU64::new(1),
            redefined,
            redefined_at,
            agenda,
            connections,
            totals: shared.totals.begin(),
            bytes: EndedBytes::default(),
            default_exchange: ExchangeCounts::new(""),
            history: VHostHistory::default(),
            shared,
        });
        if has_events {
            if !is_stored {
                // Bindings are only restored between exchanges that are.
                let record =
                    Record::ExchangeDeclared { vhost: &vhost.name, exchange: &routes::event_exchange() };
                vhost.redefine(|batch| batch.record(&record));
            }
            vhost.shared.events.set_home(&vhost);
            vhost.shared.events.set_wanted(leads_on);
        }
        vhost
    }

    /// A vhost with nothing in it, alone on its journal.
    #[cfg(test)]
    fn empty(name: &str, journal: Arc<Journal>) -> Arc<Self> {
        Self::empty_by(Clock::default(), name, journal)
    }

    /// As [`empty`](Self::empty), by a given clock.
    #[cfg(test)]
    fn empty_by(clock: Clock, name: &str, journal: Arc<Journal>) -> Arc<Self> {
        let shared = Shared {
            bodies: Arc::new(Bodies::in_memory(journal)),
            last_queue: Arc::default(),
            node: Arc::new(NodeLimits::new(NodeOptions::default())),
            operators: Arc::default(),
            default_limits: VHostLimits::default(),
            redefinitions: Arc::default(),
            events: Arc::new(Events::new("node", name, false, clock.clone())),
            totals: Arc::default(),
        };
        Self::restored(name.to_owned(), Arc::new(Agenda::new(clock)), shared, Definitions::default())
    }

    /// Appends changes of definitions to the journal, unless the vhost is deleted. Called with the topology locked.
    fn redefine(&self, batch: impl FnOnce(&mut Append<'_>)) -> Lsn {
        if self.is_deleted() {
            return Lsn::ZERO;
        }
        // Counted first: whoever reads the count and then the definitions has at least those.
        let number = self.shared.redefinitions.fetch_add(1, Ordering::AcqRel) + 1;
        self.redefined.fetch_max(number, Ordering::AcqRel);
        let lsn = self.shared.bodies.journal.append(batch);
        self.redefined_at.fetch_max(lsn.0, Ordering::AcqRel);
        lsn
    }

    /// The number of the last change of durable definitions, and all of them as records, unless that is `known`.
    pub(super) fn definitions(&self, known: Option<u64>) -> (u64, Option<Vec<u8>>) {
        let count = self.redefined.load(Ordering::Acquire);
        if known == Some(count) {
            return (count, None);
        }
        let topology = self.topology.read();
        let count = self.redefined.load(Ordering::Acquire);
        let vhost = &self.name;
        let mut records = Vec::new();
        for exchange in topology.router.exchanges().filter(|exchange| exchange.durable) {
            Record::ExchangeDeclared { vhost, exchange }.encode(&mut records);
        }
        let mut queues: Vec<_> = topology.by_id.values().filter(|cell| cell.spec.durable).collect();
        queues.sort_unstable_by_key(|cell| cell.id);
        for cell in queues {
            let QueueSpec { name, auto_delete, arguments, .. } = &cell.spec;
            let (id, auto_delete) = (cell.id, *auto_delete);
            Record::QueueDeclared { vhost, id, name, auto_delete, arguments }.encode(&mut records);
        }
        for binding in topology.router.bindings() {
            let source = topology.router.exchange(&binding.source);
            if source.is_some_and(|source| source.durable) && topology.is_durable(&binding.destination) {
                Record::Bound { vhost, binding: &binding }.encode(&mut records);
            }
        }
        for parameter in &topology.parameters.stored() {
            Record::ParameterSet { vhost, parameter }.encode(&mut records);
        }
        (count, Some(records))
    }

    /// Changes with every change of exchanges, bindings and queues.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Call it before the topology lock is let go.
    fn changed(&self, topology: &Topology) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        // One that was deleted has no say any more.
        if self.has_events && !self.is_deleted() {
            self.shared.events.set_wanted(topology.router.leads_on(EVENT_EXCHANGE));
        }
    }

    /// The gate of a reply about something that existed: another connection's change that made it may not be durable
    /// yet. What came into queues since does not matter, so that on a full disk consumers get their answers.
    fn unchanged(&self, durable: bool) -> Gate {
        if durable { Gate::durable(Lsn(self.redefined_at.load(Ordering::Acquire))) } else { Gate::OPEN }
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
pub(crate) fn clean_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

fn reserved(what: &str, name: &str) -> AmqpError {
    let text = format!("{what} name '{name}' contains reserved prefix 'amq.*'");
    AmqpError::new(ReplyCode::AccessRefused, text)
}
