//! Events of connections, channels and consumers, and of logins.

use super::{Event, Events};
use crate::ids::ConnectionId;
use crate::protocol::field::TableRef;

/// What events say of a connection and its client.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Its number.
    pub id: ConnectionId,
    /// Both ends' addresses.
    pub name: &'a str,
    /// What the client calls it.
    pub given_name: Option<&'a str>,
    /// The client's address and port; without one, how the client is shown.
    pub peer: (&'a str, u16),
    /// The address and port that the client connected to.
    pub local: (&'a str, u16),
    /// What the TLS handshake told, if there was one.
    pub tls: Option<Tls<'a>>,
    /// How the client logs in.
    pub mechanism: &'a str,
    /// What the client says about itself.
    pub client_properties: TableRef<'a>,
    /// When it was accepted, in milliseconds since 1970.
    pub connected_at: u64,
}

/// What was agreed on in a TLS handshake, and who the client showed itself to be.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    /// "TLSv1.2" or "TLSv1.3".
    pub version: &'a str,
    /// The cipher suite by its IANA name.
    pub cipher: &'a str,
    /// Subject and issuer of the client's certificate; empty if it showed none.
    pub certificate: (&'a str, &'a str),
}

/// What was agreed on with a client.
#[derive(Clone, Copy, Debug)]
pub struct Agreed<'a> {
    /// The user.
    pub user: &'a str,
    /// The vhost.
    pub vhost: &'a str,
    /// The heartbeat in seconds.
    pub heartbeat: u64,
    /// The largest frame in bytes.
    pub frame_max: u32,
    /// Most channels.
    pub channel_max: u16,
}

/// A channel of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// What tells it from all channels that the connection had.
    pub serial: u64,
    /// The user.
    pub user: &'a str,
}

/// A consumer that was started.
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'a> {
    /// The vhost.
    pub vhost: &'a str,
    /// The queue.
    pub queue: &'a str,
    /// Its tag.
    pub tag: &'a str,
    /// Nobody else may consume.
    pub exclusive: bool,
    /// Deliveries are acknowledged.
    pub ack_required: bool,
    /// Its prefetch; 0 is no limit.
    pub prefetch: u16,
    /// Its arguments.
    pub arguments: TableRef<'a>,
}

/// The protocol, as RabbitMQ's API calls it.
const PROTOCOL: &str = "AMQP 0-9-1";

impl Events {
    /// What stands for a connection where RabbitMQ has its process.
    #[must_use]
    pub fn pid_of(&self, connection: ConnectionId) -> String {
        format!("<{}.{}.{}>", self.node, self.started, connection.0)
    }

    fn pid_of_channel(&self, channel: Channel<'_>) -> String {
        format!("<{}.{}.{}.{}>", self.node, self.started, channel.connection.0, channel.serial)
    }

    /// A client has opened a vhost.
    pub fn connection_created(&self, connection: Connection<'_>, agreed: Agreed<'_>) {
        self.tell(|| {
            let (tls, subject, issuer) = tls_words(connection.tls);
            let event = Event::new("connection.created")
                .text("name", connection.name)
                .text("pid", &self.pid_of(connection.id))
                .text("type", "network")
                .text("node", &self.node)
                .ends(connection)
                .text("protocol", PROTOCOL)
                .text("auth_mechanism", connection.mechanism)
                .flag("ssl", connection.tls.is_some())
                .text("ssl_protocol", tls.0)
                .text("ssl_cipher", tls.1)
                .text("peer_cert_subject", subject)
                .text("peer_cert_issuer", issuer)
                .text("user", agreed.user)
                .text("vhost", agreed.vhost)
                .number("timeout", agreed.heartbeat)
                .number("frame_max", agreed.frame_max.into())
                .number("channel_max", agreed.channel_max.into())
                .number("connected_at", connection.connected_at);
            event.client(connection).by(agreed.user)
        });
    }

    /// A connection has ended, past its login or not.
    pub fn connection_closed(&self, connection: Connection<'_>) {
        self.tell(|| {
            Event::new("connection.closed")
                .text("name", connection.name)
                .text("pid", &self.pid_of(connection.id))
                .text("node", &self.node)
                .client(connection)
        });
    }

    /// Somebody has logged in under this name, or could not, for a reason.
    pub fn authenticated(&self, connection: Connection<'_>, name: &str, refused: Option<&str>) {
        self.tell(|| {
            let key = refused.map_or("user.authentication.success", |_| "user.authentication.failure");
            let event = Event::new(key)
                .text("connection_type", "network")
                .text("name", name)
                .text("connection_name", connection.name)
                .ends(connection)
                .text("protocol", PROTOCOL)
                .text("auth_mechanism", connection.mechanism)
                .flag("ssl", connection.tls.is_some());
            refused.into_iter().fold(event, |event, why| event.text("error", why))
        });
    }

    /// A channel was opened.
    pub fn channel_created(&self, channel: Channel<'_>, connection: &str, number: u16, vhost: &str) {
        self.tell(|| {
            Event::new("channel.created")
                .text("name", &format!("{connection} ({number})"))
                .text("pid", &self.pid_of_channel(channel))
                .text("connection", &self.pid_of(channel.connection))
                .number("number", number.into())
                .text("user", channel.user)
                .text("vhost", vhost)
                .by(channel.user)
        });
    }

    /// A channel has ended.
    pub fn channel_closed(&self, channel: Channel<'_>) {
        self.tell(|| {
            Event::new("channel.closed").text("pid", &self.pid_of_channel(channel)).by(channel.user)
        });
    }

    /// A consumer was started.
    pub fn consumer_created(&self, channel: Channel<'_>, consumer: Consumer<'_>) {
        self.tell(|| {
            Event::new("consumer.created")
                .text("consumer_tag", consumer.tag)
                .text("queue", consumer.queue)
                .text("vhost", consumer.vhost)
                .text("channel", &self.pid_of_channel(channel))
                .flag("exclusive", consumer.exclusive)
                .flag("ack_required", consumer.ack_required)
                .number("prefetch_count", consumer.prefetch.into())
                .table("arguments", consumer.arguments)
                .by(channel.user)
        });
    }

    /// A consumer has ended, or its queue has.
    pub fn consumer_deleted(&self, channel: Channel<'_>, vhost: &str, queue: &str, tag: &str) {
        self.tell(|| {
            Event::new("consumer.deleted")
                .text("consumer_tag", tag)
                .text("queue", queue)
                .text("vhost", vhost)
                .text("channel", &self.pid_of_channel(channel))
                .by(channel.user)
        });
    }
}

impl Event {
    fn ends(self, connection: Connection<'_>) -> Self {
        self.text("peer_host", connection.peer.0)
            .number("peer_port", connection.peer.1.into())
            .text("host", connection.local.0)
            .number("port", connection.local.1.into())
    }

    fn client(self, connection: Connection<'_>) -> Self {
        let event = self.table("client_properties", connection.client_properties);
        let name = connection.given_name.into_iter();
        name.fold(event, |event, name| event.text("user_provided_name", name))
    }
}

/// Version and cipher, and subject and issuer of the client's certificate; empty where there are none.
fn tls_words(tls: Option<Tls<'_>>) -> ((&str, &str), &str, &str) {
    let none = Tls { version: "", cipher: "", certificate: ("", "") };
    let Tls { version, cipher, certificate } = tls.unwrap_or(none);
    ((version, cipher), certificate.0, certificate.1)
}
