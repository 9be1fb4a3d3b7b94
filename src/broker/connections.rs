//! Open connections and their channels as others see them: what is fixed once they are open, and what they count.
//!
//! Their session writes and everybody may read, without a lock: see [`Counter`]. Only the list of a connection's
//! channels has one, which is taken when a channel comes or goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;

use crate::broker::churn::Tick;
use crate::broker::counter::Counter;
use crate::broker::outlet::Outlet;
use crate::broker::statistics::{ChannelHistory, ConnectionHistory, DeliveredHistory, PublishedHistory};
use crate::broker::users::User;
use crate::broker::vhost::VHost;
use crate::ids::{ConnectionId, QueueId};
use crate::protocol::field::Table;
use crate::protocol::reply::{AmqpError, ReplyCode};

/// What does not change while a connection is open.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// RabbitMQ's name for it: "127.0.0.1:40000 -> 127.0.0.1:5672".
    pub name: String,
    /// Whose it is.
    pub user: Arc<User>,
    /// Where it is.
    pub vhost: Arc<VHost>,
    /// Our end; `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// The client's end, as a proxy tells it if there is one; `None` on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The client's end as logs show it, also where it has no address.
    pub peer: String,
    /// How the user logged in: "PLAIN".
    pub auth_mechanism: &'static str,
    /// What was agreed on in the TLS handshake; `None` without TLS.
    pub tls: Option<TlsFacts>,
    /// Negotiated: most channels; 0 is no limit.
    pub channel_max: u16,
    /// Negotiated: largest frame in bytes; 0 is no limit.
    pub frame_max: u32,
    /// Negotiated: seconds between heartbeats, RabbitMQ's `timeout`; 0 is none.
    pub heartbeat: u16,
    /// When it was opened, in milliseconds since 1970.
    pub connected_at: u64,
    /// The client's name for it: `connection_name` of its properties.
    pub user_provided_name: Option<String>,
    /// What the client says of itself.
    pub client_properties: Arc<Table>,
}

/// The protocol of all connections, as RabbitMQ names it.
pub const PROTOCOL: &str = "AMQP 0-9-1";

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// "TLSv1.2" or "TLSv1.3".
    pub protocol: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// The client's certificate; `None` if it showed none.
    pub certificate: Option<CertificateFacts>,
}

/// What a client's certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's.
    pub issuer: String,
    /// From when to when it is valid: "2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z".
    pub validity: String,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectionState {
    /// All is well.
    #[default]
    Running,
    /// It has published while an alarm is on, and is not read until that is off.
    Blocked,
    /// It is not read until the journal has caught up with it.
    Flow,
}

impl ConnectionState {
    const ALL: [Self; 3] = [Self::Running, Self::Blocked, Self::Flow];

    /// RabbitMQ's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Flow => "flow",
        }
    }
}

/// What a connection counts. Bytes are those of AMQP, within TLS and WebSocket.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Bytes that came.
    pub received_bytes: Counter,
    /// Reads that brought some.
    pub received: Counter,
    /// Bytes that the socket took.
    pub sent_bytes: Counter,
    /// Writes that it took them by.
    pub sent: Counter,
    /// Bytes that wait for the socket.
    pub pending: Counter,
}

/// Bytes that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From clients.
    pub received: u64,
    /// To clients.
    pub sent: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
    }
}

/// Bytes of connections that have ended.
#[derive(Debug, Default)]
pub(super) struct EndedBytes {
    received: Tick,
    sent: Tick,
}

impl EndedBytes {
    pub(super) fn add(&self, bytes: Bytes) {
        self.received.add(bytes.received);
        self.sent.add(bytes.sent);
    }

    pub(super) fn get(&self) -> Bytes {
        Bytes { received: self.received.get(), sent: self.sent.get() }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct OpenConnection {
    /// Its number.
    pub id: ConnectionId,
    /// What does not change.
    pub facts: ConnectionFacts,
    /// What it counts.
    pub counters: ConnectionCounters,
    outlet: Arc<Outlet>,
    state: AtomicU8,
    channels: Mutex<BTreeMap<u16, Arc<OpenChannel>>>,
    pub(super) history: ConnectionHistory,
}

impl OpenConnection {
    /// A connection that was just opened.
    #[must_use]
    pub fn new(id: ConnectionId, facts: ConnectionFacts, outlet: Arc<Outlet>) -> Arc<Self> {
        Arc::new(Self {
            id,
            facts,
            counters: ConnectionCounters::default(),
            outlet,
            state: AtomicU8::new(ConnectionState::Running as u8),
            channels: Mutex::default(),
            history: ConnectionHistory::default(),
        })
    }

    /// What it does.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        let state = usize::from(self.state.load(Ordering::Relaxed));
        ConnectionState::ALL.get(state).copied().unwrap_or_default()
    }

    /// Bytes that it received and sent.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes { received: self.counters.received_bytes.get(), sent: self.counters.sent_bytes.get() }
    }

    /// Says what it does now. For its session.
    #[inline]
    pub fn set_state(&self, state: ConnectionState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Its channels, by number.
    #[must_use]
    pub fn channels(&self) -> Vec<Arc<OpenChannel>> {
        self.channels.lock().values().cloned().collect()
    }

    /// How many channels it has.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.lock().len()
    }

    /// The channel of this number.
    #[must_use]
    pub fn channel(&self, number: u16) -> Option<Arc<OpenChannel>> {
        self.channels.lock().get(&number).cloned()
    }

    /// Adds a channel that was opened. For its session.
    pub fn add_channel(&self, number: u16) -> Arc<OpenChannel> {
        let channel = Arc::new(OpenChannel::new(number));
        self.channels.lock().insert(number, channel.clone());
        channel
    }

    /// Forgets a channel that was closed. For its session.
    pub fn remove_channel(&self, number: u16) {
        self.channels.lock().remove(&number);
    }

    /// Asks the connection to close. The client is told 320 with `reason`; RabbitMQ's is "Closed via management plugin"
    /// unless one was given.
    pub fn close(&self, reason: &str) {
        self.outlet.request_close(AmqpError::new(ReplyCode::ConnectionForced, reason.to_owned()));
    }
}

/// What a channel counts. The names of events are RabbitMQ's.
#[derive(Debug, Default)]
pub struct ChannelCounters {
    /// Messages that were published.
    pub publish: Counter,
    /// Publishes that were confirmed, by ack or nack.
    pub confirm: Counter,
    /// Mandatory messages that were returned since no queue was found.
    pub return_unroutable: Counter,
    /// Other messages for which no queue was found.
    pub drop_unroutable: Counter,
    /// Deliveries that are to be acknowledged.
    pub deliver: Counter,
    /// Deliveries that are not.
    pub deliver_no_ack: Counter,
    /// Messages taken by basic.get that are to be acknowledged.
    pub get: Counter,
    /// Messages taken by basic.get that are not.
    pub get_no_ack: Counter,
    /// Times that basic.get found nothing.
    pub get_empty: Counter,
    /// How many of the deliveries and gets were of messages that had been delivered before.
    pub redeliver: Counter,
    /// Acknowledgements, without rejections.
    pub ack: Counter,
    /// Now: deliveries that are not acknowledged.
    pub unacked: Counter,
    /// Now: publishes that are not confirmed.
    pub unconfirmed: Counter,
    /// Now: publishes of a transaction that is not committed.
    pub uncommitted: Counter,
    /// Now: settlements of a transaction that is not committed.
    pub acks_uncommitted: Counter,
    /// Now: consumers.
    pub consumers: Counter,
    /// Now: prefetch of consumers started from now on; 0 is no limit.
    pub prefetch: Counter,
    /// Now: prefetch of all consumers together; 0 is no limit.
    pub global_prefetch: Counter,
    /// When it last did something with messages, in milliseconds since 1970; 0 if never.
    pub active_at: Counter,
}

/// What a channel published to one exchange.
#[derive(Debug)]
pub struct PublishedTo {
    /// The exchange's name.
    pub exchange: String,
    /// Messages that were published.
    pub publish: Counter,
    pub(super) history: PublishedHistory,
}

impl PublishedTo {
    fn new(exchange: &str) -> Self {
        let history = PublishedHistory::default();
        Self { exchange: exchange.to_owned(), publish: Counter::default(), history }
    }
}

/// What a channel was given of one queue.
#[derive(Debug)]
pub struct DeliveredFrom {
    /// The queue's number.
    pub id: QueueId,
    /// The queue's name.
    pub queue: String,
    /// Deliveries that are to be acknowledged.
    pub deliver: Counter,
    /// Deliveries that are not.
    pub deliver_no_ack: Counter,
    /// Messages taken by basic.get that are to be acknowledged.
    pub get: Counter,
    /// Messages taken by basic.get that are not.
    pub get_no_ack: Counter,
    /// Times that basic.get found nothing.
    pub get_empty: Counter,
    /// How many of the deliveries and gets were of messages that had been delivered before.
    pub redeliver: Counter,
    /// Acknowledgements, without rejections.
    pub ack: Counter,
    pub(super) history: DeliveredHistory,
}

impl DeliveredFrom {
    fn new(id: QueueId, queue: &str) -> Self {
        Self {
            id,
            queue: queue.to_owned(),
            deliver: Counter::default(),
            deliver_no_ack: Counter::default(),
            get: Counter::default(),
            get_no_ack: Counter::default(),
            get_empty: Counter::default(),
            redeliver: Counter::default(),
            ack: Counter::default(),
            history: DeliveredHistory::default(),
        }
    }
}

/// An open channel.
#[derive(Debug)]
pub struct OpenChannel {
    /// Its number on its connection.
    pub number: u16,
    /// What it counts.
    pub counters: ChannelCounters,
    confirms: AtomicBool,
    transactional: AtomicBool,
    published: Mutex<Vec<Arc<PublishedTo>>>,
    delivered: Mutex<Vec<Arc<DeliveredFrom>>>,
    pub(super) history: ChannelHistory,
}

/// Exchanges and queues of which a channel keeps counts of their own at a time.
const MOST_DETAILS: usize = 256;

impl OpenChannel {
    /// A channel that was just opened.
    #[must_use]
    pub fn new(number: u16) -> Self {
        Self {
            number,
            counters: ChannelCounters::default(),
            confirms: AtomicBool::new(false),
            transactional: AtomicBool::new(false),
            published: Mutex::default(),
            delivered: Mutex::default(),
            history: ChannelHistory::default(),
        }
    }

    /// Whether its publishes are confirmed.
    #[must_use]
    pub fn confirms(&self) -> bool {
        self.confirms.load(Ordering::Relaxed)
    }

    /// Whether it has transactions.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.transactional.load(Ordering::Relaxed)
    }

    /// Says how it publishes. For its session.
    pub fn set_mode(&self, confirms: bool, transactional: bool) {
        self.confirms.store(confirms, Ordering::Relaxed);
        self.transactional.store(transactional, Ordering::Relaxed);
    }

    /// What it published to which exchange, in the order in which it first did: at most 256. While there are as many, what
    /// goes to others counts for the channel alone.
    #[must_use]
    pub fn published(&self) -> Vec<Arc<PublishedTo>> {
        self.published.lock().clone()
    }

    /// What it was given of which queue, in the order in which it first was: at most 256. A new one takes the place of the
    /// first one that it does not consume from; while there is none, it counts for the channel alone.
    #[must_use]
    pub fn delivered(&self) -> Vec<Arc<DeliveredFrom>> {
        self.delivered.lock().clone()
    }

    /// Looks at what it published to which exchange and was given of which queue, where that is. Nothing is made room for
    /// meanwhile.
    pub(super) fn look_at_details(
        &self,
        published: impl FnMut(&PublishedTo),
        delivered: impl FnMut(&DeliveredFrom),
    ) {
        self.published.lock().iter().map(|counts| &**counts).for_each(published);
        self.delivered.lock().iter().map(|counts| &**counts).for_each(delivered);
    }

    /// The counts of publishes to an exchange, if there is room for them. For its session.
    pub fn published_to(&self, exchange: &str) -> Option<Arc<PublishedTo>> {
        let mut published = self.published.lock();
        if let Some(known) = published.iter().find(|known| known.exchange == exchange) {
            return Some(known.clone());
        }
        if published.len() >= MOST_DETAILS {
            return None;
        }
        let new = Arc::new(PublishedTo::new(exchange));
        published.push(new.clone());
        Some(new)
    }

    /// Makes room: one of these exchanges is gone. For its session.
    pub fn forget_published_to(&self, counts: &Arc<PublishedTo>) {
        self.published.lock().retain(|known| !Arc::ptr_eq(known, counts));
    }

    /// The counts of deliveries from a queue, if there is room for them. For its session.
    pub fn delivered_from(&self, id: QueueId, queue: &str) -> Option<Arc<DeliveredFrom>> {
        let mut delivered = self.delivered.lock();
        if let Some(known) = delivered.iter().find(|known| known.id == id) {
            return Some(known.clone());
        }
        if delivered.len() >= MOST_DETAILS {
            // Consumers have theirs too.
            let unused = delivered.iter().position(|known| Arc::strong_count(known) == 1)?;
            delivered.remove(unused);
        }
        let new = Arc::new(DeliveredFrom::new(id, queue));
        delivered.push(new.clone());
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_meets_many_queues_forgets_those_that_it_does_not_consume_from() {
        let channel = OpenChannel::new(1);
        let name = |number: usize| format!("q{number}");
        let of = |number: usize| channel.delivered_from(QueueId(number as u64), &name(number));
        let consumed: Vec<_> = (0..MOST_DETAILS - 1).filter_map(of).collect();
        for number in MOST_DETAILS..2 * MOST_DETAILS {
            of(number).unwrap().get.add(1);
        }
        let shown = channel.delivered();
        assert_eq!(
            (shown.len(), &*shown[MOST_DETAILS - 1].queue),
            (MOST_DETAILS, &*name(2 * MOST_DETAILS - 1))
        );
        assert!(consumed.iter().zip(&shown).all(|(consumed, shown)| Arc::ptr_eq(consumed, shown)));
        drop(shown);
        let last = of(0);
        assert!(last.is_some_and(|last| Arc::ptr_eq(&last, &consumed[0])));
        let _last = of(2 * MOST_DETAILS).unwrap();
        assert!(of(3 * MOST_DETAILS).is_none(), "all are used");
    }
}
