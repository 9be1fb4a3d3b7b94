//! Tracing of a vhost: whether it is on, and the copies of what is published and delivered, which are messages of their own
//! with what happened in their headers.

use std::sync::atomic::Ordering;

use super::{Route, RouteScratch, VHost};
use crate::deaths::routing_keys;
use crate::message::{Body, Message, MessageBuilder, Returns};
use crate::protocol::field::{ArrayBuilder, Table, TableBuilder};
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// The exchange that traced messages are copied to.
pub const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";

/// Who publishes, or gets a delivery.
#[derive(Clone, Copy, Debug)]
pub struct TraceOrigin<'a> {
    /// The name that stands for this node.
    pub node: &'a str,
    /// The client's end of the connection.
    pub connection: &'a str,
    /// The channel on it.
    pub channel: u16,
    /// The user.
    pub user: &'a str,
}

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
    fn trace_route(&self, key: &str, scratch: &mut RouteScratch) -> Route {
        let topology = self.topology.read();
        let found = topology.router.route(TRACE_EXCHANGE, &[key], None, scratch).unwrap_or_default();
        let queues = found.iter().filter_map(|id| topology.by_id.get(id).cloned()).collect();
        Route { queues, exchange: self.counts_of(&topology, TRACE_EXCHANGE) }
    }

    /// Copies a message that was just published and goes to `route`.
    pub fn trace_publish(
        &self,
        origin: TraceOrigin<'_>,
        message: &Message,
        route: &Route,
        builder: &mut MessageBuilder,
        scratch: &mut RouteScratch,
    ) {
        let key = format!("publish.{}", message.exchange());
        let Some(to) = self.trace_of(message, &key, scratch) else { return };
        let mut queues = ArrayBuilder::new();
        for cell in &route.queues {
            queues.long_str(&cell.spec.name);
        }
        let queues = queues.finish();
        let add = |headers: &mut TableBuilder| {
            headers.array("routed_queues", queues.as_ref());
        };
        self.trace(origin, message, (&key, &to), add, builder);
    }

    /// Copies a message, of which is said whether it was delivered before, that is about to leave a queue.
    pub fn trace_delivery(
        &self,
        origin: TraceOrigin<'_>,
        queue: &str,
        (message, redelivered): (&Message, bool),
        builder: &mut MessageBuilder,
        scratch: &mut RouteScratch,
    ) {
        let key = format!("deliver.{queue}");
        let Some(to) = self.trace_of(message, &key, scratch) else { return };
        let add = |headers: &mut TableBuilder| {
            headers.int32("redelivered", i32::from(redelivered));
        };
        self.trace(origin, message, (&key, &to), add, builder);
    }

    /// Where a copy of a message goes, if somebody wants one.
    fn trace_of(&self, message: &Message, key: &str, scratch: &mut RouteScratch) -> Option<Route> {
        // The copies are messages too, and are not copied again.
        if message.exchange() == TRACE_EXCHANGE {
            return None;
        }
        Some(self.trace_route(cut(key), scratch)).filter(|route| !route.queues.is_empty())
    }

    fn trace(
        &self,
        origin: TraceOrigin<'_>,
        message: &Message,
        (key, to): (&str, &Route),
        add: impl FnOnce(&mut TableBuilder),
        builder: &mut MessageBuilder,
    ) {
        let mut headers = TableBuilder::new();
        // The receivers of BCC are among the routing keys, as in RabbitMQ, but not among the headers.
        let seen = message.as_seen(Returns::default());
        let seen = seen.as_ref().unwrap_or(message);
        let properties = Properties::assume_valid(seen.raw_properties());
        let mut keys = ArrayBuilder::new();
        for key in routing_keys(message) {
            keys.long_str(key);
        }
        headers
            .long_str("exchange_name", message.exchange())
            .array("routing_keys", keys.finish().as_ref())
            .table("properties", as_table(properties).as_ref())
            .long_str("node", origin.node);
        add(&mut headers);
        headers
            .long_str("vhost", &self.name)
            .long_str("connection", origin.connection)
            .int32("channel", i32::from(origin.channel))
            .long_str("user", origin.user);
        let raw = PropertiesBuilder::new().set_headers(Some(&headers.finish())).finish();
        let body = Body::Borrowed(message.body());
        let copy = builder.build(TRACE_EXCHANGE, cut(key), Properties::assume_valid(&raw), body);
        for cell in &to.queues {
            // One that is gone meanwhile gets no copy.
            let _ = cell.publish(std::iter::once(copy.clone()));
        }
    }
}

/// A key of more than a name has room for is cut, as names are.
fn cut(key: &str) -> &str {
    &key[..key.floor_char_boundary(usize::from(u8::MAX))]
}

/// Properties as RabbitMQ's traces have them: a table of those that are there.
fn as_table(properties: Properties<'_>) -> Table {
    let mut table = TableBuilder::new();
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("expiration", properties.expiration()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
        ("cluster_id", properties.cluster_id()),
    ];
    for (name, text) in texts {
        text.iter().for_each(|text| {
            table.long_str(name, text);
        });
    }
    for (name, octet) in [("delivery_mode", properties.delivery_mode()), ("priority", properties.priority())]
    {
        octet.iter().for_each(|octet| {
            table.int32(name, i32::from(*octet));
        });
    }
    if let Some(seconds) = properties.timestamp() {
        // RabbitMQ writes 32 bits and overflows with later times.
        table.int64("timestamp", i64::try_from(seconds).unwrap_or(i64::MAX));
    }
    if let Some(headers) = properties.headers() {
        table.table("headers", headers);
    }
    table.finish()
}
