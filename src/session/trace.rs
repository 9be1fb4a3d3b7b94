//! Tracing: copies of what is published and delivered, as messages of their own with what happened in their headers.

use crate::broker::outlet::Delivery;
use crate::broker::vhost::{Route, TRACE_EXCHANGE};
use crate::deaths::routing_keys;
use crate::message::{Body, Message, Returns};
use crate::protocol::field::{ArrayBuilder, Table, TableBuilder};
use crate::protocol::properties::{Properties, PropertiesBuilder};
use crate::session::open::Open;
use crate::session::wire::Wire;

impl Open {
    /// Copies a message that was just published on a channel and goes to `route`.
    pub(super) fn trace_publish(&mut self, wire: &Wire, number: u16, message: &Message, route: &Route) {
        let key = format!("publish.{}", message.exchange());
        self.trace(wire, number, message, &key, |headers| {
            let mut queues = ArrayBuilder::new();
            for cell in &route.queues {
                queues.long_str(&cell.spec.name);
            }
            headers.array("routed_queues", queues.finish().as_ref());
        });
    }

    /// Copies messages that are about to be sent to consumers.
    pub(super) fn trace_deliveries(&mut self, wire: &Wire, deliveries: &[Delivery]) {
        for Delivery { message, consumer, redelivered, .. } in deliveries {
            let Some(consumer) = self.consumers.get(*consumer) else { continue };
            let (number, cell) = (consumer.channel, consumer.cell.clone());
            self.trace_delivery(wire, number, &cell.spec.name, message, *redelivered);
        }
    }

    /// Copies a message that is about to be sent on a channel.
    pub(super) fn trace_delivery(
        &mut self,
        wire: &Wire,
        number: u16,
        queue: &str,
        message: &Message,
        redelivered: bool,
    ) {
        let key = format!("deliver.{queue}");
        self.trace(wire, number, message, &key, |headers| {
            headers.int32("redelivered", i32::from(redelivered));
        });
    }

    fn trace(
        &mut self,
        wire: &Wire,
        number: u16,
        message: &Message,
        key: &str,
        add: impl FnOnce(&mut TableBuilder),
    ) {
        // The copies are messages too, and are not copied again.
        if message.exchange() == TRACE_EXCHANGE {
            return;
        }
        // A key of more than a name has room for is cut, as names are.
        let key = &key[..key.floor_char_boundary(usize::from(u8::MAX))];
        let route = self.vhost.trace_route(key, &mut self.scratch);
        if route.queues.is_empty() {
            return;
        }
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
            .long_str("node", &wire.broker.node_name);
        add(&mut headers);
        headers
            .long_str("vhost", &self.vhost.name)
            .long_str("connection", &wire.peer.address)
            .int32("channel", i32::from(number))
            .long_str("user", &self.user.name);
        let raw = PropertiesBuilder::new().set_headers(Some(&headers.finish())).finish();
        let body = Body::Borrowed(message.body());
        let copy = self.builder.build(TRACE_EXCHANGE, key, Properties::assume_valid(&raw), body);
        for cell in &route.queues {
            // One that is gone meanwhile gets no copy.
            let _ = cell.publish(std::iter::once(copy.clone()));
        }
    }
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
