//! From an accepted socket to a connection: what a client has to pass before AMQP begins.
//!
//! The session exists from the accept on, so that the client has its place among the handshakes and its deadline runs
//! while it passes the steps: a proxy's header, TLS, the request of a WebSocket. They run in a task of their own, off the
//! accept path; when it is done with them the connection gets its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::broker::sources::Source;
use crate::protocol::proxy::Client;
use crate::server::connection::Connection;
use crate::server::listener::Acceptor;
use crate::server::pairing::{Seat, Task};
use crate::server::stream::ClientStream;
use crate::server::tls::Tls;
use crate::server::websocket::upgrade;
use crate::server::{clock, proxy};
use crate::session::Session;
use crate::throttle::Throttle;

/// What a listener asks of its clients.
pub(super) struct Entrance {
    /// What is spoken there, for the log.
    pub(super) protocol: &'static str,
    /// Whether it is spoken within TLS.
    pub(super) tls: Option<Arc<Tls>>,
    /// Whether it is spoken over WebSocket.
    pub(super) is_websocket: bool,
}

impl Entrance {
    /// Whether clients begin with AMQP at once.
    pub(super) fn is_open(&self) -> bool {
        self.tls.is_none() && !self.is_websocket
    }
}

/// Clients that were turned away, in the log. Each kind has its own measure of lines.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    crowd: Throttle,
    proxy: Throttle,
    websocket: Throttle,
}

fn log(kind: &Throttle, peer: &str, why: &str) {
    match kind.admit(clock::now().moment) {
        None => tracing::debug!(peer, "connection refused: {why}"),
        Some(0) => tracing::warn!(peer, "connection refused: {why}"),
        Some(unsaid) => tracing::warn!(peer, unsaid, "connection refused: {why}"),
    }
}

impl Acceptor {
    /// Whether one more client from there may begin its handshake. The log has said so if not.
    pub(super) fn has_room_for(&self, address: SocketAddr) -> bool {
        let has_room = self.broker.registry.has_room_for(Source::from(address.ip()));
        if !has_room {
            self.broker.strangers.turned_away.count();
            let why = "too many connections from this address are in their handshake";
            log(&self.refusals.crowd, &address.to_string(), why);
        }
        has_room
    }

    /// Leads a client through all steps. The log has said why if it did not come through.
    pub(super) async fn lead(
        self: Arc<Self>,
        entrance: Arc<Entrance>,
        proxy: Option<SocketAddr>,
        mut stream: TcpStream,
        mut session: Session,
    ) {
        // At most half of the time, so that a login remains possible.
        let deadline = session.handshake_deadline().before(session.limits().handshake_timeout / 2);
        let deadline = clock::instant(deadline);
        if let Some(proxy) = proxy
            && !self.hear_proxy(proxy, &mut stream, &mut session, deadline).await
        {
            return;
        }
        let Some(tls) = &entrance.tls else {
            self.enter(&entrance, session, stream, deadline).await;
            return;
        };
        let peer = session.peer_mut();
        if let Some((stream, shown)) = tls.accept(stream, &peer.address, deadline).await {
            peer.tls = Some(Box::new(shown));
            self.enter(&entrance, session, stream, deadline).await;
        }
    }

    /// Reads what a proxy says of its client. Returns whether the client may go on.
    async fn hear_proxy(
        &self,
        proxy: SocketAddr,
        stream: &mut TcpStream,
        session: &mut Session,
        deadline: Instant,
    ) -> bool {
        let heard = timeout_at(deadline, proxy::read(stream)).await;
        let client = match heard.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Some(client)) => client,
            // A health check.
            Ok(None) => return false,
            Err(error) => {
                log(&self.refusals.proxy, &proxy.to_string(), &error.to_string());
                return false;
            }
        };
        proxy::reveal(session.peer_mut(), client);
        if let Client::At(address) = client {
            if !self.has_room_for(address) {
                return false;
            }
            session.count_among_handshakes_of(address.ip());
        }
        true
    }

    /// AMQP begins, after the request of a WebSocket if it is spoken over one.
    async fn enter<S: ClientStream + Send + 'static>(
        &self,
        entrance: &Entrance,
        mut session: Session,
        stream: S,
        deadline: Instant,
    ) {
        if !entrance.is_websocket {
            self.connect(session, stream);
            return;
        }
        let accepted = timeout_at(deadline, upgrade::accept(stream, &self.options.origins)).await;
        match accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(upgraded) => {
                upgraded.visit.reveal(session.peer_mut());
                self.connect(session, upgraded.stream);
            }
            // A health check.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => log(&self.refusals.websocket, &session.peer_mut().address, &error.to_string()),
        }
    }

    /// AMQP begins.
    pub(super) fn connect<S: ClientStream + Send + 'static>(&self, session: Session, stream: S) {
        let seat = Seat::new();
        session.outlet().register(&Waker::from(seat.clone()));
        let connection = Box::new(Connection::new(session, stream));
        tokio::spawn(Task::new(connection, seat, self.connections.token()));
    }
}
