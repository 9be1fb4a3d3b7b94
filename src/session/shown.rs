//! What others see of a connection: made when it is open, from what the handshake has found.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::broker::connections::{CertificateFacts, ConnectionFacts, OpenConnection, TlsFacts};
use crate::broker::users::User;
use crate::broker::vhost::VHost;
use crate::session::peer::TlsPeer;
use crate::session::wire::Wire;
use crate::time::Now;

/// A connection that is open since `now`.
pub(super) fn shown(wire: &Wire, user: &Arc<User>, vhost: &Arc<VHost>, now: Now) -> Arc<OpenConnection> {
    let peer = &wire.peer;
    let facts = ConnectionFacts {
        name: name(wire),
        user: user.clone(),
        vhost: vhost.clone(),
        local: peer.local.map(plain),
        remote: peer.remote.map(plain),
        peer: peer.address.clone(),
        auth_mechanism: wire.mechanism,
        tls: peer.tls.as_deref().map(tls),
        channel_max: wire.channel_max,
        frame_max: wire.frame_max,
        heartbeat: u16::try_from(wire.pulse.interval.as_secs()).unwrap_or(u16::MAX),
        connected_at: now.unix_ms,
        user_provided_name: wire.name.clone(),
        client_properties: wire.client_properties.clone(),
    };
    OpenConnection::new(wire.id, facts, wire.outlet.clone())
}

/// As RabbitMQ names connections. Where an address is missing the number makes the name one of its own.
pub(super) fn name(wire: &Wire) -> String {
    let peer = &wire.peer;
    match (peer.remote, peer.local) {
        (Some(remote), Some(local)) => format!("{} -> {}", plain(remote), plain(local)),
        (_, Some(local)) => format!("{} #{} -> {}", peer.address, wire.id, plain(local)),
        _ => format!("{} #{}", peer.address, wire.id),
    }
}

/// An IPv4 client of an IPv6 socket has a mapped address.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn tls(peer: &TlsPeer) -> TlsFacts {
    let certificate = peer.certificate.as_ref().map(|certificate| CertificateFacts {
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
        validity: certificate.validity.clone(),
    });
    TlsFacts { protocol: peer.version, cipher: peer.cipher, certificate }
}
