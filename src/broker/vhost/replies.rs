//! Direct reply-to: queues that a reply consumer has for itself, reached by the default exchange under a name that only
//! those know to whom the requester sent it.
//!
//! Such a queue is like any other, but for the topology it does not exist: it cannot be declared, bound, read or
//! deleted by name, it changes no route, and it goes with its consumer. So replies are bounded, paged and counted as
//! all messages are, and nobody who publishes elsewhere looks here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Route, VHost};
use crate::broker::names::Names;
use crate::broker::outlet::OutletLink;
use crate::broker::queue_cell::{ConsumeError, QueueCell, QueueSpec, wake};
use crate::ids::{ConsumerId, QueueId};
use crate::lock::{Rank, RankedRwLock};
use crate::protocol::field::Table;
use crate::queue::{ConsumerSpec, Queue};

/// The queue that a requester consumes from, and sets as `reply_to`.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What the names of reply queues begin with.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether this is the name of a reply queue, be there one or not.
#[must_use]
pub fn is_reply_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The reply queues of a vhost by name, each as the route that leads to it.
#[derive(Debug)]
pub(super) struct Replies {
    /// A leaf, so that a reply can be routed wherever a message can.
    routes: RankedRwLock<HashMap<String, Arc<Route>>>,
}

impl Default for Replies {
    fn default() -> Self {
        Self { routes: RankedRwLock::new(Rank::Outlet, HashMap::new()) }
    }
}

impl Replies {
    /// The route to the reply queue of this name.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Route>> {
        self.routes.read().get(name).cloned()
    }

    pub(super) fn cells(&self) -> Vec<Arc<QueueCell>> {
        self.routes.read().values().flat_map(|route| route.queues.iter().cloned()).collect()
    }
}

impl VHost {
    /// Makes a reply queue with its consumer, which takes nothing before it is active.
    ///
    /// # Errors
    /// Never in fact: nobody else knows the queue.
    pub fn open_replies(
        &self,
        names: &Names,
        tag: &str,
        link: OutletLink,
    ) -> Result<(Arc<QueueCell>, ConsumerId), ConsumeError> {
        let id = QueueId(self.shared.last_queue.fetch_add(1, Ordering::Relaxed) + 1);
        let spec = QueueSpec {
            name: names.generate(PREFIX),
            durable: false,
            auto_delete: true,
            owner: None,
            arguments: Table::default(),
        };
        let cell = QueueCell::new(id, spec, self.shared.bodies.clone(), self.agenda.clone());
        let spec = ConsumerSpec { no_ack: true, exclusive: true, tag: tag.into(), ..ConsumerSpec::default() };
        let consumer = cell.consume(spec, link)?;
        let exchange = self.default_exchange.clone();
        let route = Arc::new(Route { queues: Box::new([cell.clone()]), exchange });
        self.replies.routes.write().insert(cell.spec.name.clone(), route);
        Ok((cell, consumer))
    }

    /// Whether a reply consumer has the reply queue of this name.
    #[must_use]
    pub fn has_replies(&self, name: &str) -> bool {
        self.replies.find(name).is_some()
    }

    /// Ends a reply queue whose consumer has left. Returns whether it was one.
    pub(super) fn close_replies(&self, cell: &QueueCell) -> bool {
        if !is_reply_name(&cell.spec.name) {
            return false;
        }
        let route = self.replies.routes.write().remove(&cell.spec.name);
        let mut wakes = Vec::new();
        let keep = |_: &Queue<OutletLink>| Ok::<(), ()>(());
        // Replies that nobody will read go with it, after all locks.
        let _closed = route.map(|_| cell.close(keep, &mut wakes));
        wake(wakes);
        true
    }
}
