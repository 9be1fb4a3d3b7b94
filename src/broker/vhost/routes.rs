//! From an exchange and a routing key to queues.

use std::sync::Arc;

use super::replies::is_reply_name;
use super::{Topology, VHost};
use crate::broker::events;
use crate::broker::exchange_counts::ExchangeCounts;
use crate::broker::queue_cell::QueueCell;
use crate::deaths::routing_keys;
use crate::ids::QueueId;
use crate::message::Message;
use crate::protocol::field::{Table, TableRef};
use crate::protocol::properties::Properties;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::routing::{BindingSpec, Destination, ExchangeKind, ExchangeSpec, Scratch};

/// The queues that one exchange and routing key lead to.
#[derive(Debug)]
pub struct Route {
    /// Each queue once, in the order of their ids.
    pub queues: Box<[Arc<QueueCell>]>,
    /// What the exchange that it begins at counts.
    pub exchange: Arc<ExchangeCounts>,
}

impl Route {
    /// Whether a message may be refused by one of its queues.
    #[inline]
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.queues.iter().any(|cell| cell.may_refuse())
    }

    /// Whether it leads from the same exchange to the same queues as another one.
    #[inline]
    #[must_use]
    pub fn leads_as(&self, other: &Self) -> bool {
        let mut queues = self.queues.iter().zip(&other.queues);
        Arc::ptr_eq(&self.exchange, &other.exchange)
            && self.queues.len() == other.queues.len()
            && queues.all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// A route and how long it holds.
#[derive(Debug)]
pub struct Routed {
    /// The route.
    pub route: Arc<Route>,
    /// It holds as long as this is [`VHost::epoch`].
    pub epoch: u64,
    /// It holds for every message with this exchange and key, whatever its headers.
    pub cacheable: bool,
}

/// Reused between calls, so that routing does not allocate for its own work.
pub type RouteScratch = Scratch<QueueId>;

/// The exchange that events are published to.
pub(super) fn event_exchange() -> ExchangeSpec {
    ExchangeSpec {
        name: events::EXCHANGE.to_owned(),
        kind: ExchangeKind::Topic,
        durable: true,
        auto_delete: false,
        internal: true,
        arguments: Table::default(),
        alternate: None,
    }
}

/// Whether one end of a binding is the exchange that events are published to.
pub(super) fn is_of_events(binding: &BindingSpec<QueueId>) -> bool {
    let leads_to =
        |name: &str| matches!(&binding.destination, Destination::Exchange(exchange) if exchange == name);
    binding.source == events::EXCHANGE || leads_to(events::EXCHANGE)
}

impl VHost {
    /// Finds where a message goes. The default exchange, "", leads to the queue called `key`, a reply
    /// queue too.
    ///
    /// # Errors
    /// 404 if there is no such exchange, 403 if it is internal.
    pub fn route(
        &self,
        exchange: &str,
        key: &str,
        headers: Option<TableRef<'_>>,
        scratch: &mut RouteScratch,
    ) -> Result<Routed, AmqpError> {
        if exchange.is_empty() && is_reply_name(key) {
            let route = self.replies.find(key).unwrap_or_else(|| Arc::new(self.no_route()));
            // One name is used for few messages, and would push others out.
            return Ok(Routed { route, epoch: self.epoch(), cacheable: false });
        }
        let topology = self.topology.read();
        // Under the lock, so the epoch is that of what is read here.
        let epoch = self.epoch();
        if exchange.is_empty() {
            let queues = topology.queues.get(key).cloned().into_iter().collect();
            let route = Route { queues, exchange: self.default_exchange.clone() };
            return Ok(Routed { route: Arc::new(route), epoch, cacheable: true });
        }
        let queues = self.find_bound(&topology, exchange, &[key], headers, scratch)?.collect();
        let cacheable = !topology.router.headers_matter(exchange);
        let exchange = self.counts_of(&topology, exchange);
        Ok(Routed { route: Arc::new(Route { queues, exchange }), epoch, cacheable })
    }

    /// As [`route`](Self::route), for a message with several keys, which come to an alternate exchange only together.
    ///
    /// # Errors
    /// The same.
    pub fn route_keys(
        &self,
        exchange: &str,
        keys: &[&str],
        headers: Option<TableRef<'_>>,
        scratch: &mut RouteScratch,
    ) -> Result<Arc<Route>, AmqpError> {
        let mut queues = Vec::new();
        let counts = if exchange.is_empty() {
            for key in keys {
                queues.extend(self.route(exchange, key, headers, scratch)?.route.queues.iter().cloned());
            }
            self.default_exchange.clone()
        } else {
            let topology = self.topology.read();
            queues.extend(self.find_bound(&topology, exchange, keys, headers, scratch)?);
            self.counts_of(&topology, exchange)
        };
        queues.sort_unstable_by_key(|cell| cell.id);
        queues.dedup_by_key(|cell| cell.id);
        Ok(Arc::new(Route { queues: queues.into(), exchange: counts }))
    }

    /// The queues that a client reaches through an exchange that is not the default one.
    fn find_bound<'a>(
        &self,
        topology: &'a Topology,
        exchange: &str,
        keys: &[&str],
        headers: Option<TableRef<'_>>,
        scratch: &'a mut RouteScratch,
    ) -> Result<impl Iterator<Item = Arc<QueueCell>> + use<'a>, AmqpError> {
        let spec = topology.router.exchange(exchange).ok_or_else(|| self.no_exchange(exchange))?;
        if spec.internal {
            let text = format!("cannot publish to internal exchange '{exchange}' in vhost '{}'", self.name);
            return Err(AmqpError::new(ReplyCode::AccessRefused, text));
        }
        let found = topology.router.route(exchange, keys, headers, scratch).unwrap_or_default();
        Ok(found.iter().filter_map(|id| topology.by_id.get(id).cloned()))
    }

    /// Where a dead letter with these keys goes: each queue once, in the order of their ids. Nowhere if there is no such
    /// exchange. Also returns whether that holds whatever its headers are.
    pub(super) fn letter_route(
        &self,
        exchange: &str,
        keys: &[&str],
        headers: Option<TableRef<'_>>,
        scratch: &mut RouteScratch,
    ) -> (Vec<Arc<QueueCell>>, bool) {
        let topology = self.topology.read();
        let mut cells: Vec<Arc<QueueCell>> = Vec::new();
        if exchange.is_empty() {
            cells.extend(keys.iter().filter_map(|key| topology.queues.get(*key).cloned()));
        } else if let Some(found) = topology.router.route(exchange, keys, headers, scratch) {
            cells.extend(found.iter().filter_map(|id| topology.by_id.get(id).cloned()));
        }
        cells.sort_unstable_by_key(|cell| cell.id);
        cells.dedup_by_key(|cell| cell.id);
        (cells, exchange.is_empty() || !topology.router.headers_matter(exchange))
    }

    /// Where an event goes, past the rule that nobody publishes to an internal exchange: each queue once, in the order of
    /// their ids.
    pub(in crate::broker) fn event_route(
        &self,
        key: &str,
        event: &Message,
        scratch: &mut RouteScratch,
    ) -> Vec<Arc<QueueCell>> {
        let headers = Properties::assume_valid(event.raw_properties()).headers();
        self.letter_route(events::EXCHANGE, &[key], headers, scratch).0
    }

    /// Where a message goes that was routed before: its exchange may be gone, then nowhere.
    pub fn route_of(&self, message: &Message, scratch: &mut RouteScratch) -> Arc<Route> {
        let headers = Properties::assume_valid(message.raw_properties()).headers();
        match self.route_keys(message.exchange(), &routing_keys(message), headers, scratch) {
            Ok(route) => route,
            Err(_) => Arc::new(self.no_route()),
        }
    }

    /// A route to nowhere.
    fn no_route(&self) -> Route {
        Route { queues: Box::default(), exchange: self.default_exchange.clone() }
    }

    /// What an exchange counts that was found just now: each that the router knows has counts.
    pub(super) fn counts_of(&self, topology: &Topology, exchange: &str) -> Arc<ExchangeCounts> {
        topology.router.counts(exchange).unwrap_or(&self.default_exchange).clone()
    }

    /// Whether a queue still exists.
    #[must_use]
    pub fn stands(&self, cell: &QueueCell) -> bool {
        self.topology.read().by_id.contains_key(&cell.id)
    }
}
