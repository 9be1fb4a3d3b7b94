//! What a session may be asked for. Filled by `config`; a session keeps the limits it was opened with.

use std::time::Duration;

pub use crate::broker::stamps::Stamp;
use crate::broker::stamps::Stamps;
use crate::session::peer::AlternativeNameKind;

/// Limits and offers of one connection's protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionLimits {
    /// Seconds between heartbeats that connection.tune offers; 0 offers none. The client's answer counts.
    pub heartbeat: u16,
    /// Largest frame in bytes, its 8 bytes of overhead included, that connection.tune offers; 0 is no limit.
    pub frame_max: u32,
    /// Largest frame payload in bytes before connection.open-ok. Access tokens travel in it.
    pub initial_frame_max: u32,
    /// Most channels a client may hold open that connection.tune offers; 0 is no limit.
    pub channel_max: u16,
    /// From accept to connection.open-ok; then the socket is closed without a frame.
    pub handshake_timeout: Duration,
    /// Largest message body in bytes; a larger one is refused with 406 at its header.
    pub max_message_size: u64,
    /// Prefetch of consumers on channels that never sent basic.qos; 0 is no limit.
    pub default_prefetch: u16,
    /// Most consumers on one channel; 0 is no limit.
    pub consumers_per_channel: u32,
    /// Most deliveries on one channel that await their acknowledgement, about; 0 is no limit.
    pub unacked_per_channel: u32,
    /// How long a delivery may await its acknowledgement, unless consumer or queue say otherwise; zero is for ever.
    pub consumer_timeout: Duration,
    /// How long the answer to a failed login is held back.
    pub failed_login_delay: Duration,
    /// SASL mechanisms in the order they are offered.
    pub mechanisms: Vec<Mechanism>,
    /// What in a client's certificate is the name of its user.
    pub certificate_login: CertificateLogin,
    /// The kind of alternative name, if one is meant.
    pub certificate_name_kind: AlternativeNameKind,
    /// Which one of that kind, from 0.
    pub certificate_name_index: u16,
    /// Whether messages get the time as a header and a property.
    pub stamp_time: Stamp,
    /// Whether messages get the cluster's name as a header.
    pub stamp_node: Stamp,
    /// `product` of the server properties. Some clients choose their ways by it.
    pub product: String,
    /// `version` of the server properties.
    pub version: String,
}

/// A SASL mechanism this server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: authorization id, user, password, separated by NUL.
    Plain,
    /// A field table with LOGIN and PASSWORD, as RabbitMQ has it.
    AmqPlain,
    /// RFC 4422, appendix A: the client's certificate says who it is.
    External,
}

/// Where in a client's certificate its user's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateLogin {
    /// The subject's distinguished name, as a whole.
    DistinguishedName,
    /// The subject's common name.
    CommonName,
    /// One of the subject's alternative names.
    AlternativeName,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }
}

impl SessionLimits {
    /// What messages get.
    #[must_use]
    pub const fn stamps(&self) -> Stamps {
        Stamps { time: self.stamp_time, node: self.stamp_node }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            heartbeat: 60,
            frame_max: 131_072,
            initial_frame_max: 8192,
            channel_max: 2047,
            handshake_timeout: Duration::from_secs(10),
            max_message_size: 16 * 1024 * 1024,
            default_prefetch: 0,
            consumers_per_channel: 1000,
            unacked_per_channel: 1_000_000,
            consumer_timeout: Duration::from_secs(30 * 60),
            failed_login_delay: Duration::from_secs(1),
            mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain],
            certificate_login: CertificateLogin::DistinguishedName,
            certificate_name_kind: AlternativeNameKind::Dns,
            certificate_name_index: 0,
            stamp_time: Stamp::Off,
            stamp_node: Stamp::Off,
            product: "Leveret".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
