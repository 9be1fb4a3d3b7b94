//! Remembered routes: exchange and routing key to queues, as long as topology and permissions stand still. The user may
//! publish along all of them.
//!
//! Kept for each connection, not for each channel: all its channels see the same vhost as the same user.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::vhost::{Route, VHost};

/// Most remembered routes; then all are forgotten.
const CAPACITY: usize = 4096;

/// Most queues of all remembered routes together; beyond that all are forgotten. A single route may have more.
const QUEUES: usize = 64 * 1024;

/// See the module. The key is exchange and routing key as they stand in basic.publish.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    epoch: u64,
    /// The one that was asked for last, and its key.
    last: Option<Arc<Route>>,
    last_key: Vec<u8>,
    routes: HashMap<Box<[u8]>, Arc<Route>, foldhash::fast::RandomState>,
    /// Queues of all of them together.
    queues: usize,
}

impl RouteCache {
    /// The route for `key`, if it is known and holds.
    #[inline]
    pub(super) fn find(&mut self, vhost: &VHost, key: &[u8]) -> Option<&Arc<Route>> {
        let epoch = vhost.epoch();
        if epoch != self.epoch {
            self.forget();
            self.epoch = epoch;
            return None;
        }
        if self.last_key != key || self.last.is_none() {
            self.last = Some(self.routes.get(key)?.clone());
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.last.as_ref()
    }

    /// Remembers a route found at `epoch`.
    pub(super) fn remember(&mut self, key: &[u8], epoch: u64, route: &Arc<Route>) {
        if epoch != self.epoch {
            self.forget();
            self.epoch = epoch;
        }
        if self.routes.len() >= CAPACITY || self.queues + route.queues.len() > QUEUES {
            self.forget();
        }
        let replaced = self.routes.insert(key.into(), route.clone());
        self.queues += route.queues.len();
        self.queues -= replaced.map_or(0, |replaced| replaced.queues.len());
    }

    fn forget(&mut self) {
        self.last = None;
        self.routes.clear();
        self.queues = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::broker::exchange_counts::ExchangeCounts;
    use crate::broker::options::BrokerOptions;
    use crate::broker::vhost::QueueDeclare;
    use crate::ids::ConnectionId;

    fn vhost() -> Arc<VHost> {
        let broker = Broker::new(BrokerOptions::default());
        let user = broker.users.login("guest", b"guest", true).unwrap();
        broker.open_vhost("/", &user).unwrap()
    }

    /// A route to one queue, so many times.
    fn route(vhost: &VHost, queues: usize) -> Arc<Route> {
        let request = QueueDeclare { name: "q", ..Default::default() };
        let cell = vhost.declare_queue(request, ConnectionId(1)).unwrap().cell;
        Arc::new(Route { queues: vec![cell; queues].into(), exchange: ExchangeCounts::new("") })
    }

    #[test]
    fn routes_are_bounded_by_number_and_by_their_queues() {
        let vhost = vhost();
        for size in [0, 1, 1000, QUEUES, QUEUES + 1] {
            let (route, epoch) = (route(&vhost, size), vhost.epoch());
            let mut cache = RouteCache::default();
            for number in 0..2 * CAPACITY {
                let key = number.to_be_bytes();
                cache.remember(&key, epoch, &route);
                cache.remember(&key, epoch, &route);
                assert!(cache.find(&vhost, &key).is_some_and(|found| Arc::ptr_eq(found, &route)));
                let queues: usize = cache.routes.len() * size;
                assert_eq!(cache.queues, queues);
                assert!(cache.routes.len() <= CAPACITY && queues <= QUEUES.max(size));
            }
        }
    }
}
