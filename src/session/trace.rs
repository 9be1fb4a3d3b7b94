//! Tracing: what a session publishes and delivers is copied, see [`TraceOrigin`].

use crate::broker::outlet::Delivery;
use crate::broker::vhost::{Route, TraceOrigin};
use crate::message::Message;
use crate::session::open::Open;
use crate::session::wire::Wire;

impl Open {
    /// Copies a message that was just published on a channel and goes to `route`.
    pub(super) fn trace_publish(&mut self, wire: &Wire, number: u16, message: &Message, route: &Route) {
        let Self { vhost, user, builder, scratch, .. } = self;
        let origin = origin(wire, number, &user.name);
        vhost.trace_publish(origin, message, route, builder, scratch);
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
        let Self { vhost, user, builder, scratch, .. } = self;
        let origin = origin(wire, number, &user.name);
        vhost.trace_delivery(origin, queue, (message, redelivered), builder, scratch);
    }
}

fn origin<'a>(wire: &'a Wire, channel: u16, user: &'a str) -> TraceOrigin<'a> {
    TraceOrigin { node: &wire.broker.node_name, connection: &wire.peer.address, channel, user }
}
