//! The connections there are, and how many are open.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::broker::outlet::Outlet;
use crate::ids::ConnectionId;
use crate::lock::{Rank, RankedMutex};
use crate::protocol::reply::{AmqpError, ReplyCode};

/// See the module.
#[derive(Debug)]
pub struct Registry {
    connections: RankedMutex<Connections>,
    next: AtomicU64,
    limit: AtomicU32,
}

#[derive(Debug, Default)]
struct Connections {
    /// From accept on, so that a shutdown reaches those in their handshake too.
    outlets: HashMap<ConnectionId, Arc<Outlet>>,
    /// Those past their handshake.
    open: HashSet<ConnectionId>,
}

impl Registry {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            connections: RankedMutex::new(Rank::Registry, Connections::default()),
            next: AtomicU64::new(1),
            limit: AtomicU32::new(limit),
        }
    }

    /// Adds a connection that was accepted, and numbers it.
    pub fn accept(&self, outlet: Arc<Outlet>) -> ConnectionId {
        let id = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        self.connections.lock().outlets.insert(id, outlet);
        id
    }

    /// A connection opens its vhost.
    ///
    /// # Errors
    /// 530 if the broker has as many open connections as it may.
    pub fn open(&self, id: ConnectionId) -> Result<(), AmqpError> {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut connections = self.connections.lock();
        if limit > 0 && connections.open.len() >= limit as usize {
            let text = format!("connection refused: node connection limit ({limit}) is reached");
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        connections.open.insert(id);
        Ok(())
    }

    /// Forgets a connection that ended.
    pub fn close(&self, id: ConnectionId) {
        let mut connections = self.connections.lock();
        connections.outlets.remove(&id);
        connections.open.remove(&id);
    }

    /// Most connections at a time from now on; 0 is no limit. Those that are open stay.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.connections.lock().open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The outlets of all connections, in their handshake or open, oldest first.
    pub fn outlets(&self) -> Vec<Arc<Outlet>> {
        let mut all: Vec<_> =
            self.connections.lock().outlets.iter().map(|(&id, outlet)| (id, outlet.clone())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, outlet)| outlet).collect()
    }
}
