//! What a session does, as events: who came and logged in, and channels and consumers that come and go.

use crate::broker::events::{Channel, Connection, Consumer};
use crate::broker::users::LoginError;
use crate::broker::vhost::is_reply_name;
use crate::protocol::method::basic;
use crate::session::open::Open;
use crate::session::shown;
use crate::session::wire::Wire;

/// Hands on what is known of a connection whose client has introduced itself, if anybody wants to know.
fn with_connection(wire: &Wire, tell: impl FnOnce(Connection<'_>)) {
    if wire.mechanism.is_empty() || !wire.broker.events.are_wanted() {
        return;
    }
    tell(Connection {
        id: wire.id,
        name: &shown::name(wire),
        given_name: wire.name.as_deref(),
        remote: wire.peer.remote.map(shown::plain),
        peer: &wire.peer.address,
        local: wire.peer.local.map(shown::plain),
        is_tls: wire.peer.tls.is_some(),
        mechanism: wire.mechanism,
        client_properties: (*wire.client_properties).as_ref(),
    });
}

/// Somebody has logged in under this name, or was refused.
pub(super) fn login(wire: &Wire, name: &str, refused: Option<&LoginError>) {
    with_connection(wire, |connection| {
        let why = refused.map(|why| format!("user '{name}' - {why}"));
        wire.broker.events.authenticated(connection, name, why.as_deref());
    });
}

/// The connection has ended.
pub(super) fn end(wire: &Wire) {
    with_connection(wire, |connection| wire.broker.events.connection_closed(connection));
}

impl Open {
    /// The connection is open.
    pub(super) fn announce(&self, wire: &Wire) {
        wire.broker.events.connection_created(&self.shown);
    }

    /// A channel as events have it, if anybody wants to know.
    fn told_channel(&self, wire: &Wire, number: u16) -> Option<Channel<'_>> {
        if !wire.broker.events.are_wanted() {
            return None;
        }
        let serial = self.channels.get(&number)?.serial;
        Some(Channel { connection: wire.id, serial, user: &self.user.name })
    }

    /// A channel was opened.
    pub(super) fn announce_channel(&self, wire: &Wire, number: u16) {
        if let Some(channel) = self.told_channel(wire, number) {
            let facts = &self.shown.facts;
            wire.broker.events.channel_created(channel, &facts.name, number, &self.vhost.name);
        }
    }

    /// A channel has ended.
    pub(super) fn announce_channel_end(&self, wire: &Wire, number: u16) {
        if let Some(channel) = self.told_channel(wire, number) {
            wire.broker.events.channel_closed(channel);
        }
    }

    /// A consumer was started.
    pub(super) fn announce_consumer(
        &self,
        wire: &Wire,
        number: u16,
        tag: &str,
        queue: &str,
        by: basic::Consume<'_>,
    ) {
        let Some(channel) = self.told_channel(wire, number) else { return };
        let consumer = Consumer {
            vhost: &self.vhost.name,
            queue,
            tag,
            exclusive: by.exclusive,
            ack_required: !by.no_ack,
            prefetch: self.channels.get(&number).map_or(0, |channel| channel.prefetch),
            arguments: by.arguments,
        };
        wire.broker.events.consumer_created(channel, consumer);
    }

    /// A consumer has left its queue, or its queue is gone. Those of direct replies have no queue that anybody knows.
    pub(super) fn announce_consumer_end(&self, wire: &Wire, key: u32) {
        let Some(consumer) = self.consumers.get(key) else { return };
        let queue = &consumer.cell.spec.name;
        if let Some(channel) = self.told_channel(wire, consumer.channel)
            && !is_reply_name(queue)
        {
            wire.broker.events.consumer_deleted(channel, &self.vhost.name, queue, &consumer.tag);
        }
    }
}
