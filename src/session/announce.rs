//! What a session does, as events: who came and logged in, and channels and consumers that come and go.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::broker::events::{Agreed, Channel, Connection, Consumer, Tls};
use crate::broker::users::LoginError;
use crate::broker::vhost::is_reply_name;
use crate::protocol::field::{Table, TableRef};
use crate::protocol::method::basic;
use crate::session::limits::Mechanism;
use crate::session::open::Open;
use crate::session::wire::Wire;

/// What a client said when it logged in.
#[derive(Debug)]
pub(super) struct Introduction {
    mechanism: Mechanism,
    properties: Table,
    /// When the connection was accepted, in milliseconds since 1970.
    connected_at: u64,
}

impl Introduction {
    pub(super) fn new(mechanism: Mechanism, properties: TableRef<'_>, connected_at: u64) -> Self {
        Self { mechanism, properties: properties.to_table(), connected_at }
    }
}

/// Hands on what is known of a connection whose client has introduced itself, if anybody wants to know.
fn with_connection(wire: &Wire, tell: impl FnOnce(Connection<'_>)) {
    let Some(client) = wire.introduction.as_ref().filter(|_| wire.broker.events.are_wanted()) else { return };
    let host = |address: SocketAddr| (Cow::Owned(address.ip().to_canonical().to_string()), address.port());
    let peer = wire.peer.address.parse().map_or((Cow::Borrowed(&*wire.peer.address), 0), host);
    let local = wire.peer.local.map_or((Cow::Borrowed(""), 0), host);
    let tls = wire.peer.tls.as_deref().map(|tls| {
        let certificate = tls.certificate.as_ref();
        let names = certificate.map(|certificate| (&*certificate.subject, &*certificate.issuer));
        Tls { version: tls.version, cipher: tls.cipher, certificate: names.unwrap_or_default() }
    });
    tell(Connection {
        id: wire.id,
        name: &wire.peer.connection_name(),
        given_name: wire.name.as_deref(),
        peer: (&peer.0, peer.1),
        local: (&local.0, local.1),
        tls,
        mechanism: client.mechanism.name(),
        client_properties: client.properties.as_ref(),
        connected_at: client.connected_at,
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
        let agreed = Agreed {
            user: &self.user.name,
            vhost: &self.vhost.name,
            heartbeat: wire.pulse.interval.as_secs(),
            frame_max: wire.frame_max,
            channel_max: wire.channel_max,
        };
        with_connection(wire, |connection| wire.broker.events.connection_created(connection, agreed));
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
            let connection = wire.peer.connection_name();
            wire.broker.events.channel_created(channel, &connection, number, &self.vhost.name);
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
