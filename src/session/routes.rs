//! Remembered routes: exchange and routing key to queues, as long as the topology stands still.
//!
//! Kept for each connection, not for each channel: all its channels see the same vhost as the same user.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::vhost::{Route, VHost};

/// Most remembered routes; then all are forgotten.
const CAPACITY: usize = 4096;

/// See the module. The key is exchange and routing key as they stand in basic.publish.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    epoch: u64,
    last: Option<(Box<[u8]>, Arc<Route>)>,
    routes: HashMap<Box<[u8]>, Arc<Route>, foldhash::fast::RandomState>,
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
        let is_last = self.last.as_ref().is_some_and(|(last, _)| **last == *key);
        if !is_last {
            let route = self.routes.get(key)?.clone();
            self.last = Some((key.into(), route));
        }
        self.last.as_ref().map(|(_, route)| route)
    }

    /// Remembers a route found at `epoch`.
    pub(super) fn remember(&mut self, key: &[u8], epoch: u64, route: &Arc<Route>) {
        if epoch != self.epoch {
            self.forget();
            self.epoch = epoch;
        }
        if self.routes.len() >= CAPACITY {
            self.routes.clear();
        }
        self.routes.insert(key.into(), route.clone());
    }

    fn forget(&mut self) {
        self.last = None;
        self.routes.clear();
    }
}
