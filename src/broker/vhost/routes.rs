//! From an exchange and a routing key to queues.

use std::sync::Arc;

use super::VHost;
use super::replies::is_reply_name;
use crate::broker::queue_cell::QueueCell;
use crate::ids::QueueId;
use crate::message::Message;
use crate::protocol::field::TableRef;
use crate::protocol::properties::Properties;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::routing::Scratch;

/// The queues that one exchange and routing key lead to.
#[derive(Debug)]
pub struct Route {
    /// Each queue once, in the order of their ids.
    pub queues: Box<[Arc<QueueCell>]>,
}

impl Route {
    /// Whether a message may be refused by one of its queues.
    #[inline]
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.queues.iter().any(|cell| cell.may_refuse())
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
            let route = self.replies.find(key).unwrap_or_else(|| Arc::new(Route { queues: Box::default() }));
            // One name is used for few messages, and would push others out.
            return Ok(Routed { route, epoch: self.epoch(), cacheable: false });
        }
        let topology = self.topology.read();
        // Under the lock, so the epoch is that of what is read here.
        let epoch = self.epoch();
        if exchange.is_empty() {
            let queues = topology.queues.get(key).cloned().into_iter().collect();
            return Ok(Routed { route: Arc::new(Route { queues }), epoch, cacheable: true });
        }
        let spec = topology.router.exchange(exchange).ok_or_else(|| self.no_exchange(exchange))?;
        if spec.internal {
            let text = format!("cannot publish to internal exchange '{exchange}' in vhost '{}'", self.name);
            return Err(AmqpError::new(ReplyCode::AccessRefused, text));
        }
        let found = topology.router.route(exchange, key, headers, scratch).unwrap_or_default();
        let queues = found.iter().filter_map(|id| topology.by_id.get(id).cloned()).collect();
        let cacheable = !topology.router.headers_matter(exchange);
        Ok(Routed { route: Arc::new(Route { queues }), epoch, cacheable })
    }

    /// Where a message with these keys goes, a dead letter for instance: each queue once, in the order of their ids. Nowhere
    /// if there is no such exchange. Also returns whether that holds whatever its headers are.
    pub fn route_keys(
        &self,
        exchange: &str,
        keys: &[&str],
        headers: Option<TableRef<'_>>,
        scratch: &mut RouteScratch,
    ) -> (Vec<Arc<QueueCell>>, bool) {
        let topology = self.topology.read();
        let mut cells: Vec<Arc<QueueCell>> = if exchange.is_empty() {
            keys.iter().filter_map(|key| topology.queues.get(*key).cloned()).collect()
        } else {
            let found = topology.router.route_keys(exchange, keys, headers, scratch).unwrap_or_default();
            found.iter().filter_map(|id| topology.by_id.get(id).cloned()).collect()
        };
        cells.sort_unstable_by_key(|cell| cell.id);
        cells.dedup_by_key(|cell| cell.id);
        (cells, exchange.is_empty() || !topology.router.headers_matter(exchange))
    }

    /// Where a message goes that was routed before: its exchange may be gone, then nowhere.
    pub fn route_of(&self, message: &Message, scratch: &mut RouteScratch) -> Arc<Route> {
        let headers = Properties::assume_valid(message.raw_properties()).headers();
        match self.route(message.exchange(), message.routing_key(), headers, scratch) {
            Ok(routed) => routed.route,
            Err(_) => Arc::new(Route { queues: Box::default() }),
        }
    }

    /// Whether a queue still exists.
    #[must_use]
    pub fn stands(&self, cell: &QueueCell) -> bool {
        self.topology.read().by_id.contains_key(&cell.id)
    }
}
