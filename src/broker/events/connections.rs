//! Events of connections, channels and consumers, and of logins.

use std::net::SocketAddr;

use super::{Event, Events};
use crate::broker::connections::{OpenConnection, PROTOCOL, TlsFacts};
use crate::ids::ConnectionId;
use crate::protocol::field::TableRef;

/// What events say of a connection and its client, whether it is open or not.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Its number.
    pub id: ConnectionId,
    /// RabbitMQ's name for it.
    pub name: &'a str,
    /// What the client calls it.
    pub given_name: Option<&'a str>,
    /// The client's end; `None` if it has no address.
    pub remote: Option<SocketAddr>,
    /// The client's end as logs show it.
    pub peer: &'a str,
    /// Our end; `None` if it has no address.
    pub local: Option<SocketAddr>,
    /// It is encrypted.
    pub is_tls: bool,
    /// How the client logs in.
    pub mechanism: &'a str,
    /// What the client says about itself.
    pub client_properties: TableRef<'a>,
}

impl<'a> From<&'a OpenConnection> for Connection<'a> {
    fn from(open: &'a OpenConnection) -> Self {
        let facts = &open.facts;
        Self {
            id: open.id,
            name: &facts.name,
            given_name: facts.user_provided_name.as_deref(),
            remote: facts.remote,
            peer: &facts.peer,
            local: facts.local,
            is_tls: facts.tls.is_some(),
            mechanism: facts.auth_mechanism,
            client_properties: (*facts.client_properties).as_ref(),
        }
    }
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
    pub fn connection_created(&self, open: &OpenConnection) {
        self.tell(|| {
            let (connection, facts) = (Connection::from(open), &open.facts);
            Event::new("connection.created")
                .text("name", connection.name)
                .text("pid", &self.pid_of(open.id))
                .text("type", "network")
                .text("node", &self.node)
                .ends(connection)
                .text("protocol", PROTOCOL)
                .text("auth_mechanism", connection.mechanism)
                .tls(facts.tls.as_ref())
                .text("user", &facts.user.name)
                .text("vhost", &facts.vhost.name)
                .number("timeout", facts.heartbeat.into())
                .number("frame_max", facts.frame_max.into())
                .number("channel_max", facts.channel_max.into())
                .number("connected_at", facts.connected_at)
                .client(connection)
                .by(&facts.user.name)
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
                .flag("ssl", connection.is_tls);
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
        let host = |end: Option<SocketAddr>, without: &str| {
            end.map_or_else(|| (without.to_owned(), 0), |end| (end.ip().to_string(), end.port()))
        };
        let (remote, local) = (host(connection.remote, connection.peer), host(connection.local, ""));
        self.text("peer_host", &remote.0)
            .number("peer_port", remote.1.into())
            .text("host", &local.0)
            .number("port", local.1.into())
    }

    /// What the TLS handshake told; texts are empty where there is nothing to tell.
    fn tls(self, facts: Option<&TlsFacts>) -> Self {
        let (protocol, cipher) = facts.map_or(("", ""), |tls| (tls.protocol, tls.cipher));
        let certificate = facts.and_then(|tls| tls.certificate.as_ref());
        let (subject, issuer, validity) =
            certificate.map_or(("", "", ""), |found| (&*found.subject, &*found.issuer, &*found.validity));
        self.flag("ssl", facts.is_some())
            .text("ssl_protocol", protocol)
            .text("ssl_cipher", cipher)
            .text("peer_cert_subject", subject)
            .text("peer_cert_issuer", issuer)
            .text("peer_cert_validity", validity)
    }

    fn client(self, connection: Connection<'_>) -> Self {
        let event = self.table("client_properties", connection.client_properties);
        let name = connection.given_name.into_iter();
        name.fold(event, |event, name| event.text("user_provided_name", name))
    }
}
