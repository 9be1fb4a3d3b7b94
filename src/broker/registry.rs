//! The connections there are, and how many are open or in their handshake.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::broker::churn::Tick;
use crate::broker::connections::{Bytes, EndedBytes, OpenConnection};
use crate::broker::outlet::Outlet;
use crate::broker::sources::{Source, Sources};
use crate::broker::users::User;
use crate::broker::vhost::VHost;
use crate::ids::ConnectionId;
use crate::lock::{Rank, RankedMutex};
use crate::protocol::reply::{AmqpError, ReplyCode};

/// Whose connection it is, and where.
#[derive(Debug)]
struct Party {
    user: Arc<User>,
    vhost: Arc<VHost>,
}

/// See the module.
#[derive(Debug)]
pub struct Registry {
    connections: RankedMutex<Connections>,
    next: AtomicU64,
    limit: AtomicU32,
    /// How many are in their handshake. Written under the lock; read without it before each accept.
    handshakes: AtomicUsize,
    handshake_limit: AtomicU32,
    /// Most of them from one source.
    source_limit: AtomicU32,
    opened: Tick,
    closed: Tick,
    /// Bytes of connections that have ended.
    ended: EndedBytes,
}

#[derive(Debug, Default)]
struct Connections {
    /// From accept on, so that a shutdown reaches those in their handshake too.
    outlets: HashMap<ConnectionId, Arc<Outlet>>,
    /// Those past their handshake, and what they use as soon as that is known.
    open: HashMap<ConnectionId, Option<Party>>,
    /// Those that have their vhost, as they are shown.
    shown: BTreeMap<ConnectionId, Arc<OpenConnection>>,
    /// Where those in their handshake come from.
    sources: Sources,
    /// Listeners that wait until there is room for one more handshake.
    listeners: Vec<Waker>,
}

impl Registry {
    pub(super) fn new(limit: u32, handshakes: u32, from_one_source: u32) -> Self {
        Self {
            connections: RankedMutex::new(Rank::Registry, Connections::default()),
            next: AtomicU64::new(1),
            limit: AtomicU32::new(limit),
            handshakes: AtomicUsize::new(0),
            handshake_limit: AtomicU32::new(handshakes),
            source_limit: AtomicU32::new(from_one_source),
            opened: Tick::default(),
            closed: Tick::default(),
            ended: EndedBytes::default(),
        }
    }

    /// Whether one more connection may begin its handshake now; else the task of `cx` is woken when it may be so.
    /// Several listeners that ask at the same time may each be told yes.
    pub fn poll_handshake_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_handshake_room() {
            return Poll::Ready(());
        }
        let mut connections = self.connections.lock();
        // It may be the end of a handshake that held the lock just now.
        if self.has_handshake_room() {
            return Poll::Ready(());
        }
        if !connections.listeners.iter().any(|known| known.will_wake(cx.waker())) {
            connections.listeners.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn has_handshake_room(&self) -> bool {
        let limit = self.handshake_limit.load(Ordering::Acquire);
        limit == 0 || self.handshakes() < limit as usize
    }

    /// How many connections are in their handshake.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Acquire)
    }

    /// Most connections in their handshake from now on; 0 is no limit. Those that are in it stay.
    pub fn set_handshake_limit(&self, limit: u32) {
        self.handshake_limit.store(limit, Ordering::Release);
        let listeners = std::mem::take(&mut self.connections.lock().listeners);
        listeners.into_iter().for_each(Waker::wake);
    }

    /// Most connections in their handshake from one source from now on; 0 is no limit. Those that are in it stay.
    pub fn set_source_limit(&self, limit: u32) {
        self.source_limit.store(limit, Ordering::Relaxed);
    }

    /// Whether one more connection from there may begin its handshake.
    pub fn has_room_for(&self, source: Source) -> bool {
        let limit = self.source_limit.load(Ordering::Relaxed);
        limit == 0 || self.connections.lock().sources.count(source) < limit
    }

    /// Notes where a connection in its handshake comes from. It counts there until it is open or ends.
    pub fn note_source(&self, id: ConnectionId, source: Source) {
        let mut connections = self.connections.lock();
        if connections.outlets.contains_key(&id) && !connections.open.contains_key(&id) {
            connections.sources.add(id, source);
        }
    }

    /// Counts the connections in their handshake after a change. Returns the listeners to wake after the lock.
    #[must_use]
    fn count_handshakes(&self, connections: &mut Connections) -> Vec<Waker> {
        self.handshakes.store(connections.outlets.len() - connections.open.len(), Ordering::Release);
        if self.has_handshake_room() { std::mem::take(&mut connections.listeners) } else { Vec::new() }
    }

    /// Adds a connection that was accepted, and numbers it.
    pub fn accept(&self, outlet: Arc<Outlet>) -> ConnectionId {
        let id = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let mut connections = self.connections.lock();
        connections.outlets.insert(id, outlet);
        self.handshakes.fetch_add(1, Ordering::AcqRel);
        id
    }

    /// A connection opens its vhost.
    ///
    /// # Errors
    /// 530 if the broker has as many open connections as it may.
    pub fn open(&self, id: ConnectionId) -> Result<(), AmqpError> {
        let listeners = self.note_open(id)?;
        listeners.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn note_open(&self, id: ConnectionId) -> Result<Vec<Waker>, AmqpError> {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut connections = self.connections.lock();
        if limit > 0 && connections.open.len() >= limit as usize {
            let text = format!("connection refused: node connection limit ({limit}) is reached");
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        connections.open.insert(id, None);
        connections.sources.remove(id);
        Ok(self.count_handshakes(&mut connections))
    }

    /// Notes whose an open connection is and what vhost it uses. Look afterwards whether one of them was deleted: who
    /// deletes them closes the connections that are noted.
    pub(super) fn note_party(&self, id: ConnectionId, user: &Arc<User>, vhost: &Arc<VHost>) {
        if let Some(party) = self.connections.lock().open.get_mut(&id) {
            *party = Some(Party { user: user.clone(), vhost: vhost.clone() });
        }
    }

    /// Asks those open connections to close whose user and vhost are of a kind.
    pub(super) fn close_where(&self, reason: &AmqpError, is_one: impl Fn(&Arc<User>, &Arc<VHost>) -> bool) {
        let outlets: Vec<Arc<Outlet>> = {
            let connections = self.connections.lock();
            let open = connections.open.iter();
            let of_them =
                open.filter(|(_, party)| party.as_ref().is_some_and(|of| is_one(&of.user, &of.vhost)));
            of_them.filter_map(|(id, _)| connections.outlets.get(id).cloned()).collect()
        };
        outlets.iter().for_each(|outlet| outlet.request_close(reason.clone()));
    }

    /// A connection will not open its vhost, or not stay in it. It counts among the handshakes until it is closed.
    pub fn refuse(&self, id: ConnectionId) {
        let mut connections = self.connections.lock();
        self.forget_shown(&mut connections, id);
        if connections.open.remove(&id).is_some() {
            // There is less room than before, so nobody waits for this.
            self.handshakes.store(connections.outlets.len() - connections.open.len(), Ordering::Release);
        }
    }

    /// Forgets a connection that ended.
    pub fn close(&self, id: ConnectionId) {
        let listeners = {
            let mut connections = self.connections.lock();
            connections.outlets.remove(&id);
            connections.open.remove(&id);
            self.forget_shown(&mut connections, id);
            connections.sources.remove(id);
            self.count_handshakes(&mut connections)
        };
        listeners.into_iter().for_each(Waker::wake);
    }

    /// Most connections at a time from now on; 0 is no limit. Those that are open stay.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Most connections at a time; 0 is no limit.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.connections.lock().open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has a connection that is open shown to whoever looks.
    pub fn show(&self, connection: Arc<OpenConnection>) {
        let mut connections = self.connections.lock();
        if connections.open.contains_key(&connection.id) {
            connections.shown.insert(connection.id, connection);
            self.opened.count();
        }
    }

    fn forget_shown(&self, connections: &mut Connections, id: ConnectionId) {
        if let Some(connection) = connections.shown.remove(&id) {
            self.closed.count();
            connection.facts.vhost.bytes.add(connection.bytes());
            self.ended.add(connection.bytes());
        }
    }

    /// How many connections were opened and how many of them have ended.
    pub(super) fn churn(&self) -> (u64, u64) {
        // In this order, so that there never seem to be more that have ended.
        let closed = self.closed.get();
        (self.opened.get(), closed)
    }

    /// Bytes of all connections there ever were in a vhost.
    #[must_use]
    pub fn bytes_of(&self, vhost: &VHost) -> Bytes {
        // While the lock is held none of them ends, so that each is counted once.
        let connections = self.connections.lock();
        let mut bytes = vhost.bytes.get();
        let open = connections.shown.values().filter(|shown| std::ptr::eq(&*shown.facts.vhost, vhost));
        open.for_each(|connection| bytes += connection.bytes());
        bytes
    }

    /// Bytes of all connections there ever were in each of these vhosts.
    #[must_use]
    pub fn bytes_of_all(&self, vhosts: &[Arc<VHost>]) -> Vec<Bytes> {
        let places: HashMap<*const VHost, usize> = vhosts.iter().map(Arc::as_ptr).zip(0..).collect();
        let connections = self.connections.lock();
        let mut all: Vec<Bytes> = vhosts.iter().map(|vhost| vhost.bytes.get()).collect();
        for connection in connections.shown.values() {
            if let Some(at) = places.get(&Arc::as_ptr(&connection.facts.vhost)) {
                all[*at] += connection.bytes();
            }
        }
        all
    }

    /// Bytes of all connections there ever were. It never shrinks.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let connections = self.connections.lock();
        let mut bytes = self.ended.get();
        connections.shown.values().for_each(|connection| bytes += connection.bytes());
        bytes
    }

    /// How many connections there are, in their handshake or open.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        self.connections.lock().outlets.len() as u64
    }

    /// The open connections, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<OpenConnection>> {
        self.connections.lock().shown.values().cloned().collect()
    }

    /// The open connection of this number.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<Arc<OpenConnection>> {
        self.connections.lock().shown.get(&id).cloned()
    }

    /// The open connection of this name; the oldest if proxies tell the same of several.
    #[must_use]
    pub fn connection_named(&self, name: &str) -> Option<Arc<OpenConnection>> {
        self.connections.lock().shown.values().find(|connection| connection.facts.name == name).cloned()
    }

    /// The open connections of a user, oldest first.
    #[must_use]
    pub fn connections_of(&self, user: &str) -> Vec<Arc<OpenConnection>> {
        let connections = self.connections.lock();
        connections.shown.values().filter(|connection| connection.facts.user.name == user).cloned().collect()
    }

    /// Asks the open connection of this name to close, see [`OpenConnection::close`]. Returns whether there is one.
    pub fn close_connection(&self, name: &str, reason: &str) -> bool {
        let found = self.connection_named(name);
        found.iter().for_each(|connection| connection.close(reason));
        found.is_some()
    }

    /// Asks those open connections of users of this name to close that are meant. Returns how many there are.
    pub fn close_connections_of(
        &self,
        user: &str,
        is_meant: impl Fn(&OpenConnection) -> bool,
        reason: &str,
    ) -> usize {
        let mut found = self.connections_of(user);
        found.retain(|connection| is_meant(connection));
        found.iter().for_each(|connection| connection.close(reason));
        found.len()
    }

    /// The outlets of all connections, in their handshake or open, oldest first.
    pub fn outlets(&self) -> Vec<Arc<Outlet>> {
        let mut all: Vec<_> =
            self.connections.lock().outlets.iter().map(|(&id, outlet)| (id, outlet.clone())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, outlet)| outlet).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Listener(AtomicUsize);

    impl Wake for Listener {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_listener_waits_until_a_handshake_is_over_either_way() {
        let registry = Registry::new(0, 512, 64);
        let listener = Arc::new(Listener::default());
        let waker = Waker::from(listener.clone());
        let has_room = || registry.poll_handshake_room(&mut Context::from_waker(&waker)).is_ready();
        let accept = || registry.accept(Outlet::new());
        let woken = || listener.0.load(Ordering::Relaxed);
        registry.set_handshake_limit(2);
        assert!(has_room());
        let (a, b) = (accept(), accept());
        assert_eq!((has_room(), has_room(), woken()), (false, false, 0));
        registry.open(a).unwrap();
        assert_eq!((has_room(), woken(), registry.handshakes()), (true, 1, 1));
        let c = accept();
        assert!(!has_room());
        registry.close(a);
        assert_eq!((woken(), registry.handshakes()), (1, 2), "it was open");
        registry.close(b);
        registry.close(b);
        assert_eq!((has_room(), woken(), registry.handshakes()), (true, 2, 1));
        registry.set_handshake_limit(1);
        assert!(!has_room());
        registry.set_handshake_limit(0);
        assert_eq!((has_room(), woken()), (true, 3));
        registry.close(c);
        assert_eq!((registry.handshakes(), registry.len()), (0, 0));
    }

    #[test]
    fn one_source_has_its_share_until_its_handshakes_are_over() {
        let registry = Registry::new(0, 512, 2);
        let (one, other) =
            (Source::from(IpAddr::from([192, 0, 2, 1])), Source::from(IpAddr::from([192, 0, 2, 2])));
        let accept = || {
            let id = registry.accept(Outlet::new());
            registry.note_source(id, one);
            id
        };
        let (a, b) = (accept(), accept());
        assert!(!registry.has_room_for(one) && registry.has_room_for(other));
        registry.open(a).unwrap();
        registry.note_source(a, one);
        assert!(registry.has_room_for(one), "the one that is open does not count any more");
        accept();
        assert!(!registry.has_room_for(one));
        registry.close(b);
        registry.note_source(b, one);
        assert!(registry.has_room_for(one));
        registry.set_source_limit(1);
        assert!(!registry.has_room_for(one));
        registry.set_source_limit(0);
        assert!(registry.has_room_for(one));
    }

    #[test]
    fn who_is_refused_after_all_counts_as_a_handshake_until_closed() {
        let registry = Registry::new(1, 512, 64);
        let id = registry.accept(Outlet::new());
        registry.open(id).unwrap();
        registry.refuse(id);
        assert_eq!((registry.handshakes(), registry.len()), (1, 0));
        registry.close(id);
        registry.refuse(id);
        assert_eq!((registry.handshakes(), registry.len()), (0, 0));
    }

    #[test]
    fn one_too_many_stays_in_its_handshake() {
        let registry = Registry::new(1, 512, 64);
        let (a, b) = (registry.accept(Outlet::new()), registry.accept(Outlet::new()));
        registry.open(a).unwrap();
        assert!(registry.open(b).is_err());
        assert_eq!((registry.handshakes(), registry.len()), (1, 1));
    }
}
