//! Who is at the other end of a connection, as far as the way there tells.

use std::net::SocketAddr;

use crate::broker::sources::Source;

/// The other end of the connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// How it is shown in logs.
    pub address: String,
    /// Its address; `None` if it has none, or a proxy does not tell it.
    pub remote: Option<SocketAddr>,
    /// The address on this machine that it connected to; `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// It is on this machine.
    pub is_loopback: bool,
    /// Where it comes from, as far as limits tell; `None` is this machine, by a socket without addresses.
    pub source: Option<Source>,
    /// What the TLS handshake told; `None` on a connection without TLS.
    pub tls: Option<Box<TlsPeer>>,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        // An IPv4 client of an IPv6 socket has a mapped address.
        let is_loopback = address.ip().to_canonical().is_loopback();
        let source = Some(address.ip().into());
        Self { address: address.to_string(), remote: Some(address), is_loopback, source, ..Self::default() }
    }
}

/// What was agreed on in a TLS handshake, and whom the client showed itself to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPeer {
    /// "TLSv1.2" or "TLSv1.3".
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// The client's certificate; `None` if it showed none.
    pub certificate: Option<ClientCertificate>,
}

/// The names in a client's certificate, which was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name, as RabbitMQ writes it: RFC 4514, the most specific part first.
    pub subject: String,
    /// The issuer's, in the same form.
    pub issuer: String,
    /// From when to when it is valid, as RabbitMQ writes it: "2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z".
    pub validity: String,
    /// The subject's common names, joined by commas if there are several; `None` without any.
    pub common_name: Option<String>,
    /// The subject's alternative names, in their order.
    pub alternative_names: Vec<AlternativeName>,
}

/// An alternative name of a certificate's subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeName {
    /// What kind of name it is.
    pub kind: AlternativeNameKind,
    /// The name.
    pub name: String,
}

/// The kinds of alternative names that can be a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlternativeNameKind {
    /// A host name.
    Dns,
    /// A mail address.
    Email,
    /// An IP address, in its usual text form.
    Ip,
    /// A URI, such as a SPIFFE id.
    Uri,
}
