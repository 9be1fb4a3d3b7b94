//! Listening sockets: made, and accepted from.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::server::clock;
use crate::server::connection::Connection;
use crate::server::limits::SharedLimits;
use crate::server::options::ServerOptions;
use crate::session::{Peer, Session};

/// How long accepting pauses when the process is out of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Binds a listening socket.
///
/// # Errors
/// As the operating system has it; the address is named.
pub(super) fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// What every connection is made with.
pub(super) struct Acceptor {
    pub(super) broker: Arc<Broker>,
    pub(super) options: ServerOptions,
    pub(super) limits: SharedLimits,
    pub(super) connections: TaskTracker,
}

impl Acceptor {
    /// Accepts until `stop`.
    pub(super) async fn run(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut short_of = false;
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    short_of = false;
                    self.start(stream, peer);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors, most likely: those that are connected go on, new ones wait in the backlog.
                    if !std::mem::replace(&mut short_of, true) {
                        tracing::error!(%error, "cannot accept connections; trying again");
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn start(&self, stream: TcpStream, address: SocketAddr) {
        if let Err(error) = self.tune(&stream) {
            tracing::debug!(peer = %address, %error, "cannot set socket options");
        }
        let session = Session::new(
            self.broker.clone(),
            self.limits.current(),
            Peer::from(address),
            self.options.write_timeout,
            clock::now(),
        );
        self.connections.spawn(Connection::new(session, stream));
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(self.options.nodelay)?;
        let socket = SockRef::from(stream);
        if let Some(keepalive) = self.options.keepalive {
            let settings = TcpKeepalive::new().with_time(keepalive.idle).with_interval(keepalive.interval);
            socket.set_tcp_keepalive(&settings.with_retries(keepalive.probes))?;
        }
        #[cfg(target_os = "linux")]
        if !self.options.user_timeout.is_zero() {
            socket.set_tcp_user_timeout(Some(self.options.user_timeout))?;
        }
        Ok(())
    }
}

/// An error of the connection that was to be accepted, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
