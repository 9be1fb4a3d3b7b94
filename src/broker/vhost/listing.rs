//! What there is in a vhost, for those who list it.

use std::sync::{Arc, Weak};

use super::{Topology, VHost};
use crate::broker::exchange_counts::ExchangeCounts;
use crate::broker::policies::Applied;
use crate::broker::queue_cell::QueueCell;
use crate::broker::statistics::activity::{Activity, Booked};
use crate::broker::views::{BindingView, ExchangeView, MessageTotals};
use crate::ids::QueueId;
use crate::protocol::field::Table;
use crate::routing::{BindingSpec, Destination, End, ExchangeKind, ExchangeSpec, Listed};

/// Names that are looked up under one lock: each may be compared with many policies. Bindings too.
const AT_ONCE: usize = 64;

/// A binding that was listed; [`VHost::binding_views`] tells what it is.
#[derive(Clone, Debug)]
pub enum ListedBinding {
    /// That of the default exchange to the queue of this name.
    Default(String),
    /// Another one.
    Own(Listed<QueueId>),
}

impl VHost {
    /// The names of all queues but those of direct replies, sorted.
    #[must_use]
    pub fn queue_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.topology.read().queues.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// How many queues there are, without those of direct replies.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.topology.read().queues.len()
    }

    /// The queue of this name, whoever it belongs to. Not one of direct replies.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<Arc<QueueCell>> {
        self.topology.read().queues.get(name).cloned()
    }

    /// The queues of these names that there are, with the policies that apply to them.
    pub(in crate::broker) fn queues_named(&self, names: &[String]) -> Vec<(Arc<QueueCell>, Applied)> {
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let topology = self.topology.read();
            let policies = &topology.parameters.policies;
            let cells = names.iter().filter_map(|name| topology.queues.get(name));
            found.extend(
                cells.map(|cell| (cell.clone(), policies.on_queue(&cell.spec.name, cell.traits().kind))),
            );
        }
        found
    }

    /// The names of all exchanges, sorted; "" is the default exchange.
    #[must_use]
    pub fn exchange_names(&self) -> Vec<String> {
        let topology = self.topology.read();
        let others = topology.router.exchanges().map(|exchange| exchange.name.clone());
        std::iter::once(String::new()).chain(others).collect()
    }

    /// How many exchanges there are, with the default exchange.
    #[must_use]
    pub fn exchange_count(&self) -> usize {
        self.topology.read().router.len() + 1
    }

    /// The exchanges of these names that there are, in this order.
    #[must_use]
    pub fn exchange_views(&self, names: &[String]) -> Vec<ExchangeView> {
        let mut views = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let topology = self.topology.read();
            let view = |name: &String| match &**name {
                "" => Some(self.default_exchange_view()),
                name => topology.router.exchange(name).map(|exchange| self.exchange(&topology, exchange)),
            };
            views.extend(names.iter().filter_map(view));
        }
        views
    }

    /// The exchange of this name; "" is the default exchange.
    #[must_use]
    pub fn exchange_view(&self, name: &str) -> Option<ExchangeView> {
        self.exchange_views(&[name.to_owned()]).pop()
    }

    fn default_exchange_view(&self) -> ExchangeView {
        let (publish_in, publish_out) = self.default_exchange.counted();
        ExchangeView {
            name: String::new(),
            vhost: self.name.clone(),
            kind: ExchangeKind::Direct,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Table::default(),
            policy: None,
            operator_policy: None,
            effective_policy: Default::default(),
            publish_in,
            publish_out,
        }
    }

    fn exchange(&self, topology: &Topology, exchange: &ExchangeSpec) -> ExchangeView {
        let applied = topology.parameters.policies.on_exchange(&exchange.name);
        let counted = topology.router.counts(&exchange.name).map(|counts| counts.counted());
        let (publish_in, publish_out) = counted.unwrap_or_default();
        ExchangeView {
            name: exchange.name.clone(),
            kind: exchange.kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
            policy: applied.user_name(),
            operator_policy: applied.operator_name(),
            effective_policy: applied.effective(),
            publish_in,
            publish_out,
            vhost: self.name.clone(),
        }
    }

    /// All bindings: those of the default exchange by the names of queues, then the others by the names of their
    /// sources. They are found a few at a time, so that nobody waits long.
    #[must_use]
    pub fn bindings(&self) -> Vec<ListedBinding> {
        self.exchange_names().iter().flat_map(|source| self.bindings_from(source)).collect()
    }

    /// The bindings by which an exchange leads elsewhere.
    #[must_use]
    pub fn bindings_from(&self, source: &str) -> Vec<ListedBinding> {
        if source.is_empty() {
            return self.queue_names().into_iter().map(ListedBinding::Default).collect();
        }
        self.bindings_at(End::Source(source)).collect()
    }

    /// The bindings that lead to an exchange.
    #[must_use]
    pub fn bindings_to_exchange(&self, destination: &str) -> Vec<ListedBinding> {
        self.bindings_at(End::Exchange(destination)).collect()
    }

    /// The bindings that lead to a queue, with that of the default exchange.
    #[must_use]
    pub fn bindings_to_queue(&self, destination: &str) -> Vec<ListedBinding> {
        let Some(cell) = self.queue(destination) else { return Vec::new() };
        let own = self.bindings_at(End::Queue(cell.id));
        std::iter::once(ListedBinding::Default(destination.to_owned())).chain(own).collect()
    }

    /// The bindings at one end, looked for a few at a time.
    fn bindings_at<'a>(&'a self, end: End<'a, QueueId>) -> impl Iterator<Item = ListedBinding> + 'a {
        let mut last = None;
        let pieces = std::iter::from_fn(move || {
            let piece = self.topology.read().router.piece(end, last.as_ref(), AT_ONCE);
            last = piece.last().cloned();
            last.is_some().then_some(piece)
        });
        pieces.flatten().map(ListedBinding::Own)
    }

    /// What was listed, each `None` if it is gone.
    #[must_use]
    pub fn binding_views(&self, listed: &[ListedBinding]) -> Vec<Option<BindingView>> {
        let mut views = Vec::with_capacity(listed.len());
        for listed in listed.chunks(AT_ONCE) {
            let topology = self.topology.read();
            let view = |listed: &ListedBinding| match listed {
                ListedBinding::Default(queue) => {
                    topology.queues.contains_key(queue).then(|| self.default_binding(queue))
                }
                ListedBinding::Own(listed) => self.binding_view(&topology, topology.router.listed(listed)?),
            };
            views.extend(listed.iter().map(view));
        }
        views
    }

    fn default_binding(&self, queue: &str) -> BindingView {
        BindingView {
            source: String::new(),
            vhost: self.name.clone(),
            destination: queue.to_owned(),
            to_exchange: false,
            routing_key: queue.to_owned(),
            arguments: Table::default(),
        }
    }

    fn binding_view(&self, topology: &Topology, binding: BindingSpec<QueueId>) -> Option<BindingView> {
        let BindingSpec { source, destination, key, arguments } = binding;
        let (destination, to_exchange) = match destination {
            Destination::Queue(id) => (topology.by_id.get(&id)?.spec.name.clone(), false),
            Destination::Exchange(name) => (name, true),
        };
        let vhost = self.name.clone();
        Some(BindingView { source, vhost, destination, to_exchange, routing_key: key, arguments })
    }

    /// Messages of all queues together, those of direct replies included. Looks only at queues to which something happened
    /// since the last sample, for a moment each.
    #[must_use]
    pub fn message_totals(&self) -> MessageTotals {
        let activity = self.activity();
        activity.listed().iter().filter_map(Weak::upgrade).for_each(|cell| cell.book());
        let Booked { ready, unacked, .. } = activity.sums();
        MessageTotals { ready, unacked }
    }

    /// How often the disk was read for queues and written, and consumers passed over, as of the last sample. Queues that
    /// are gone count too.
    #[must_use]
    pub fn queue_sums(&self) -> Booked {
        self.activity().sums()
    }

    pub(in crate::broker) fn activity(&self) -> &Activity<QueueCell> {
        &self.agenda.activity
    }

    /// The counts of an exchange; "" is the default exchange.
    pub(in crate::broker) fn exchange_counts(&self, name: &str) -> Option<Arc<ExchangeCounts>> {
        if name.is_empty() {
            return Some(self.default_exchange.clone());
        }
        self.topology.read().router.counts(name).cloned()
    }

    /// The counts of exchanges to which something was published since the last call.
    pub(in crate::broker) fn active_exchanges(&self) -> Vec<Arc<ExchangeCounts>> {
        self.exchange_counts_where(ExchangeCounts::take_active)
    }

    pub(in crate::broker) fn all_exchange_counts(&self) -> Vec<Arc<ExchangeCounts>> {
        self.exchange_counts_where(|_| true)
    }

    fn exchange_counts_where(&self, is_wanted: impl Fn(&ExchangeCounts) -> bool) -> Vec<Arc<ExchangeCounts>> {
        let topology = self.topology.read();
        let all = topology.router.all_counts().chain([&self.default_exchange]);
        all.filter(|counts| is_wanted(counts)).cloned().collect()
    }
}
