//! One vhost's exchanges and bindings.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::binding::{
    BindError, Binding, BindingSpec, Destination, End, ExchangeId, Listed, Removed, Target, sorted,
};
use super::exchange::{ExchangeKind, ExchangeSpec};
use super::index::Index;
use super::reach::Scratch;
use super::slab::Slab;
use crate::protocol::field::{Table, TableRef};

/// Exchanges every vhost has, with RabbitMQ's names, and whether each is internal. The default exchange is apart.
const PREDECLARED: [(&str, ExchangeKind, bool); 6] = [
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

/// The exchanges of one vhost, without the default exchange, and the bindings among them and to queues.
///
/// `Q` is what the caller knows a queue by; the router neither knows nor asks which queues exist.
#[derive(Debug)]
pub struct Router<Q> {
    exchanges: Slab<Exchange<Q>>,
    names: BTreeMap<Box<str>, ExchangeId>,
    /// The bindings to each queue that has any.
    queues: HashMap<Q, BTreeSet<Arc<Binding<Q>>>, RandomState>,
}

#[derive(Debug)]
struct Exchange<Q> {
    spec: ExchangeSpec,
    /// The alternate exchange if the declaration names none.
    fallback: Option<String>,
    index: Index<Q>,
    /// The bindings with this source, each with its number in the index.
    outgoing: BTreeMap<Arc<Binding<Q>>, u32>,
    /// The bindings with this destination.
    incoming: BTreeSet<Arc<Binding<Q>>>,
    /// The exchanges that `outgoing` leads to, with the number of bindings.
    downstream: BTreeMap<ExchangeId, u32>,
}

impl<Q: Copy + Eq + Hash + Ord + Debug> Router<Q> {
    /// No exchanges at all; the predeclared ones are declared by the caller like any other.
    #[must_use]
    pub fn new() -> Self {
        Self { exchanges: Slab::new(), names: BTreeMap::new(), queues: HashMap::default() }
    }

    /// A router with the exchanges that every vhost has.
    #[must_use]
    pub fn with_predeclared() -> Self {
        let mut router = Self::new();
        for (name, kind, internal) in PREDECLARED {
            router.declare(ExchangeSpec {
                name: name.to_owned(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: Table::default(),
                alternate: None,
            });
        }
        router
    }

    /// Adds an exchange without bindings. The caller has seen that the name is free; a name in use is left as it is.
    pub fn declare(&mut self, spec: ExchangeSpec) {
        if self.names.contains_key(spec.name.as_str()) {
            return;
        }
        let name = spec.name.as_str().into();
        let id = self.exchanges.insert(Exchange {
            index: Index::new(spec.kind),
            spec,
            fallback: None,
            outgoing: BTreeMap::new(),
            incoming: BTreeSet::new(),
            downstream: BTreeMap::new(),
        });
        self.names.insert(name, ExchangeId(id));
    }

    /// Names the alternate exchange of an exchange whose declaration has none.
    pub fn set_fallback(&mut self, name: &str, fallback: Option<String>) {
        let exchange = self.id(name).and_then(|ExchangeId(id)| self.exchanges.get_mut(id));
        exchange.into_iter().for_each(|exchange| exchange.fallback.clone_from(&fallback));
    }

    /// The exchange of this name as it was declared.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        Some(&self.by_name(name)?.spec)
    }

    /// All exchanges in the order of their names.
    pub fn exchanges(&self) -> impl Iterator<Item = &ExchangeSpec> {
        self.names.values().filter_map(|&id| Some(&self.by_id(id)?.spec))
    }

    /// How many exchanges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no exchanges.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the exchange is the source of at least one binding, which makes it "in use" for if-unused.
    #[must_use]
    pub fn is_source(&self, name: &str) -> bool {
        self.by_name(name).is_some_and(|exchange| !exchange.outgoing.is_empty())
    }

    /// Whether anything can come out of the exchange: it is the source of a binding, or has an alternate exchange.
    #[must_use]
    pub fn leads_on(&self, name: &str) -> bool {
        self.by_name(name)
            .is_some_and(|exchange| !exchange.outgoing.is_empty() || self.alternate(exchange).is_some())
    }

    /// Adds a binding; `true` if there was none with the same source, destination, key and arguments.
    ///
    /// # Errors
    /// A missing source is told before a missing destination; see [`BindError`]. Then nothing has changed.
    pub fn bind(
        &mut self,
        source: &str,
        destination: &Destination<Q>,
        key: &str,
        arguments: &Table,
    ) -> Result<bool, BindError> {
        let id = self.id(source).ok_or(BindError::NoSource)?;
        let target = self.target(destination).ok_or(BindError::NoDestination)?;
        let binding = Arc::new(Binding { source: id, target, key: key.into(), arguments: sorted(arguments) });
        let exchange = self.exchanges.get_mut(id.0).ok_or(BindError::NoSource)?;
        if exchange.outgoing.contains_key(&binding) {
            return Ok(false);
        }
        let number = exchange.index.insert(&binding)?;
        exchange.outgoing.insert(Arc::clone(&binding), number);
        match target {
            Target::Queue(queue) => {
                self.queues.entry(queue).or_default().insert(binding);
            }
            Target::Exchange(destination) => {
                *exchange.downstream.entry(destination).or_insert(0) += 1;
                if let Some(destination) = self.exchanges.get_mut(destination.0) {
                    destination.incoming.insert(binding);
                }
            }
        }
        Ok(true)
    }

    /// Whether there is this binding.
    #[must_use]
    pub fn is_bound(&self, source: &str, destination: &Destination<Q>, key: &str, arguments: &Table) -> bool {
        let (Some(source), Some(target)) = (self.id(source), self.target(destination)) else { return false };
        let binding = Binding { source, target, key: key.into(), arguments: sorted(arguments) };
        self.by_id(source).is_some_and(|exchange| exchange.outgoing.contains_key(&binding))
    }

    /// Removes a binding, and the source if that is an auto-delete exchange which has no other, and so on upstream.
    /// Empty if there was no such binding.
    pub fn unbind(
        &mut self,
        source: &str,
        destination: &Destination<Q>,
        key: &str,
        arguments: &Table,
    ) -> Removed<Q> {
        let mut removed = Removed::default();
        if let (Some(source), Some(target)) = (self.id(source), self.target(destination)) {
            let binding = Binding { source, target, key: key.into(), arguments: sorted(arguments) };
            let unused = self.detach(&binding, &mut removed);
            self.erase(unused.into_iter().collect(), &mut removed);
        }
        removed
    }

    /// Removes an exchange with its bindings in both directions, and the auto-delete exchanges that have lost their
    /// last binding as source by it, and so on upstream. `None` if there is no such exchange.
    pub fn delete(&mut self, name: &str) -> Option<Removed<Q>> {
        let id = self.id(name)?;
        let mut removed = Removed::default();
        self.erase(vec![id], &mut removed);
        Some(removed)
    }

    /// Removes all bindings to a queue, and what goes with them as in [`unbind`](Self::unbind). Takes time by the
    /// number of this queue's bindings, however many others there are.
    pub fn remove_queue(&mut self, queue: Q) -> Removed<Q> {
        let mut removed = Removed::default();
        let mut unused = Vec::new();
        for binding in self.queues.remove(&queue).unwrap_or_default() {
            unused.extend(self.detach(&binding, &mut removed));
        }
        self.erase(unused, &mut removed);
        removed
    }

    /// All bindings, by the name of their source.
    pub fn bindings(&self) -> impl Iterator<Item = BindingSpec<Q>> {
        self.names
            .values()
            .filter_map(|&id| self.by_id(id))
            .flat_map(|exchange| exchange.outgoing.keys())
            .map(|binding| self.spec(binding))
    }

    /// The bindings whose source is this exchange.
    pub fn bindings_from(&self, name: &str) -> impl Iterator<Item = BindingSpec<Q>> {
        self.by_name(name)
            .into_iter()
            .flat_map(|exchange| exchange.outgoing.keys())
            .map(|binding| self.spec(binding))
    }

    /// The bindings whose destination is this exchange.
    pub fn bindings_to_exchange(&self, name: &str) -> impl Iterator<Item = BindingSpec<Q>> {
        self.by_name(name)
            .into_iter()
            .flat_map(|exchange| &exchange.incoming)
            .map(|binding| self.spec(binding))
    }

    /// The bindings whose destination is this queue.
    pub fn bindings_of_queue(&self, queue: Q) -> impl Iterator<Item = BindingSpec<Q>> {
        self.queues.get(&queue).into_iter().flatten().map(|binding| self.spec(binding))
    }

    /// How many bindings lead to this queue.
    #[must_use]
    pub fn count_to_queue(&self, queue: Q) -> usize {
        self.queues.get(&queue).map_or(0, BTreeSet::len)
    }

    /// At most so many of the bindings at one end, in their order: the first ones, or those after one that was listed.
    #[must_use]
    pub fn piece(&self, end: End<'_, Q>, after: Option<&Listed<Q>>, most: usize) -> Vec<Listed<Q>> {
        let range = (after.map_or(Bound::Unbounded, |Listed(last)| Bound::Excluded(last)), Bound::Unbounded);
        let incoming = |bindings: &BTreeSet<Arc<Binding<Q>>>| {
            bindings.range::<Arc<_>, _>(range).take(most).cloned().map(Listed).collect()
        };
        let piece = match end {
            End::Source(name) => self.by_name(name).map(|exchange| {
                let outgoing = exchange.outgoing.range::<Arc<_>, _>(range);
                outgoing.take(most).map(|(binding, _)| Listed(binding.clone())).collect()
            }),
            End::Exchange(name) => self.by_name(name).map(|exchange| incoming(&exchange.incoming)),
            End::Queue(queue) => self.queues.get(&queue).map(incoming),
        };
        piece.unwrap_or_default()
    }

    /// A binding that was listed, if it is still there.
    #[must_use]
    pub fn listed(&self, Listed(binding): &Listed<Q>) -> Option<BindingSpec<Q>> {
        let stands = self.by_id(binding.source)?.outgoing.contains_key(binding);
        stands.then(|| self.spec(binding))
    }

    /// The queues that a message with these keys reaches, each once and in order, or `None` if there is no such exchange.
    /// Nothing is allocated once `scratch` has served a route as large.
    ///
    /// An exchange none of whose bindings matches any of the keys hands the message to its alternate exchange, and that one to its
    /// own. This goes for every exchange on the way, not only for the first. A binding to an exchange counts as a
    /// match even if that exchange reaches nothing. Each exchange is asked once.
    pub fn route<'s>(
        &self,
        exchange: &str,
        keys: &[&str],
        headers: Option<TableRef<'_>>,
        scratch: &'s mut Scratch<Q>,
    ) -> Option<&'s [Q]> {
        let first = self.id(exchange)?;
        let headers = headers.unwrap_or(TableRef::EMPTY);
        scratch.reached.begin(self.exchanges.bound());
        scratch.reached.visit(first);
        while let Some(exchange) = scratch.reached.next().and_then(|id| self.by_id(id)) {
            let mut matches = false;
            for key in keys {
                matches |= exchange.index.collect(key, headers, scratch);
            }
            if !matches && let Some(alternate) = self.alternate(exchange) {
                scratch.reached.visit(alternate);
            }
        }
        Some(scratch.reached.queues())
    }

    /// Whether a message published to this exchange may come to a headers exchange. If not, its route depends on the
    /// routing key alone.
    #[must_use]
    pub fn headers_matter(&self, exchange: &str) -> bool {
        let mut pending: Vec<ExchangeId> = self.id(exchange).into_iter().collect();
        let mut seen: HashSet<ExchangeId, RandomState> = pending.iter().copied().collect();
        while let Some(exchange) = pending.pop().and_then(|id| self.by_id(id)) {
            if exchange.spec.kind == ExchangeKind::Headers {
                return true;
            }
            let next = exchange.downstream.keys().copied().chain(self.alternate(exchange));
            pending.extend(next.filter(|&id| seen.insert(id)));
        }
        false
    }

    fn id(&self, name: &str) -> Option<ExchangeId> {
        self.names.get(name).copied()
    }

    fn by_id(&self, id: ExchangeId) -> Option<&Exchange<Q>> {
        self.exchanges.get(id.0)
    }

    fn by_name(&self, name: &str) -> Option<&Exchange<Q>> {
        self.by_id(self.id(name)?)
    }

    /// Looked up by name each time: it may be declared after the exchange that names it, or deleted and declared again.
    fn alternate(&self, exchange: &Exchange<Q>) -> Option<ExchangeId> {
        self.id(exchange.spec.alternate.as_deref().or(exchange.fallback.as_deref())?)
    }

    fn target(&self, destination: &Destination<Q>) -> Option<Target<Q>> {
        match destination {
            Destination::Queue(queue) => Some(Target::Queue(*queue)),
            Destination::Exchange(name) => self.id(name).map(Target::Exchange),
        }
    }

    fn spec(&self, binding: &Binding<Q>) -> BindingSpec<Q> {
        let name = |id| self.by_id(id).map(|exchange| exchange.spec.name.clone()).unwrap_or_default();
        BindingSpec {
            source: name(binding.source),
            destination: match binding.target {
                Target::Queue(queue) => Destination::Queue(queue),
                Target::Exchange(id) => Destination::Exchange(name(id)),
            },
            key: binding.key.as_ref().into(),
            arguments: binding.arguments.clone(),
        }
    }

    /// Takes one binding, if it exists, out of every list. Gives the source if that is now due for auto-delete.
    fn detach(&mut self, binding: &Binding<Q>, removed: &mut Removed<Q>) -> Option<ExchangeId> {
        let spec = self.spec(binding);
        let source = self.exchanges.get_mut(binding.source.0)?;
        let number = source.outgoing.remove(binding)?;
        source.index.remove(binding, number);
        let unused = source.outgoing.is_empty();
        if unused {
            // Gives back the memory of an index that was large.
            source.index = Index::new(source.spec.kind);
        }
        let due = (unused && source.spec.auto_delete).then_some(binding.source);
        match binding.target {
            Target::Queue(queue) => {
                if let Some(bindings) = self.queues.get_mut(&queue) {
                    bindings.remove(binding);
                    if bindings.is_empty() {
                        self.queues.remove(&queue);
                    }
                }
            }
            Target::Exchange(id) => {
                if let Some(bindings) = source.downstream.get_mut(&id) {
                    *bindings -= 1;
                    if *bindings == 0 {
                        source.downstream.remove(&id);
                    }
                }
                if let Some(destination) = self.exchanges.get_mut(id.0) {
                    destination.incoming.remove(binding);
                }
            }
        }
        removed.bindings.push(spec);
        due
    }

    /// Removes exchanges with all their bindings, and the auto-delete exchanges that go with those.
    fn erase(&mut self, mut due: Vec<ExchangeId>, removed: &mut Removed<Q>) {
        while let Some(id) = due.pop() {
            let Some(exchange) = self.by_id(id) else { continue };
            let bindings: Vec<Arc<Binding<Q>>> =
                iter::chain(exchange.outgoing.keys(), &exchange.incoming).cloned().collect();
            for binding in bindings {
                due.extend(self.detach(&binding, removed));
            }
            if let Some(exchange) = self.exchanges.remove(id.0) {
                self.names.remove(exchange.spec.name.as_str());
                removed.exchanges.push(exchange.spec);
            }
        }
    }
}

impl<Q: Copy + Eq + Hash + Ord + Debug> Default for Router<Q> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
