//! Tracing of a vhost: whether it is on, and the exchange that gets the copies.

use std::sync::atomic::Ordering;

use super::{Route, RouteScratch, VHost};

/// The exchange that traced messages are copied to.
pub const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";

impl VHost {
    /// Turns tracing on or off.
    pub fn set_traced(&self, on: bool) {
        if self.traced.swap(on, Ordering::Relaxed) != on {
            tracing::info!(vhost = ?self.name, on, "tracing was switched");
        }
    }

    /// Whether publishes and deliveries are to be copied to [`TRACE_EXCHANGE`].
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    /// Where a copy goes, past the rule that nobody publishes to an internal exchange. It is not for a cache, which
    /// would open that exchange to clients.
    #[must_use]
    pub fn trace_route(&self, key: &str, scratch: &mut RouteScratch) -> Route {
        let topology = self.topology.read();
        let found = topology.router.route(TRACE_EXCHANGE, &[key], None, scratch).unwrap_or_default();
        let queues = found.iter().filter_map(|id| topology.by_id.get(id).cloned()).collect();
        Route { queues, exchange: self.counts_of(&topology, TRACE_EXCHANGE) }
    }
}
