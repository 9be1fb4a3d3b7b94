//! From an accepted socket to a connection: what a client has to pass before AMQP begins.
//!
//! The session exists from the accept on, so that the client has its place among the handshakes and its deadline runs
//! while it passes the steps. They run in a task of their own, off the accept path; when it is done with them the
//! connection gets its own.

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::server::clock;
use crate::server::connection::Connection;
use crate::server::listener::Acceptor;
use crate::server::stream::ClientStream;
use crate::server::tls::Tls;
use crate::session::Session;

/// What a listener asks of its clients.
pub(super) struct Entrance {
    /// What is spoken there, for the log.
    pub(super) protocol: &'static str,
    /// Whether it is spoken within TLS.
    pub(super) tls: Option<Arc<Tls>>,
}

impl Entrance {
    /// Whether clients begin with AMQP at once.
    pub(super) fn is_open(&self) -> bool {
        self.tls.is_none()
    }
}

impl Acceptor {
    /// Leads a client through all steps. The log has said why if it did not come through.
    pub(super) async fn lead(
        self: Arc<Self>,
        entrance: Arc<Entrance>,
        stream: TcpStream,
        mut session: Session,
    ) {
        let Some(tls) = &entrance.tls else {
            self.connect(session, stream);
            return;
        };
        // At most half of the time, so that a login remains possible.
        let deadline = session.handshake_deadline().before(session.limits().handshake_timeout / 2);
        let peer = session.peer_mut();
        if let Some((stream, shown)) = tls.accept(stream, &peer.address, clock::instant(deadline)).await {
            peer.tls = Some(Box::new(shown));
            self.connect(session, stream);
        }
    }

    /// AMQP begins.
    pub(super) fn connect<S: ClientStream + Send + 'static>(&self, session: Session, stream: S) {
        self.connections.spawn(Connection::new(session, stream));
    }
}
