//! Listening sockets: made, and accepted from.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::broker::node::{self, ListenerAddress};
use crate::server::clock;
use crate::server::entrance::{Entrance, Refusals};
use crate::server::limits::SharedLimits;
use crate::server::options::ServerOptions;
use crate::server::unix::{self, UnixSocket};
use crate::session::{Peer, Session};

/// How long accepting pauses when the process is out of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Binds a listening socket. Its connections have the options that it has, so that they cost no system calls of their own.
///
/// # Errors
/// As the operating system has it; the address is named.
pub(super) fn bind(address: SocketAddr, options: &ServerOptions) -> io::Result<TcpListener> {
    let listen = || {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        if let Err(error) = tune(&socket, options) {
            tracing::warn!(%address, %error, "cannot set the options of TCP connections");
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

fn tune(socket: &socket2::Socket, options: &ServerOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(keepalive) = options.keepalive {
        let settings = TcpKeepalive::new().with_time(keepalive.idle).with_interval(keepalive.interval);
        socket.set_tcp_keepalive(&settings.with_retries(keepalive.probes))?;
    }
    if !options.user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    }
    Ok(())
}

/// A socket that is listened on.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl Socket {
    /// Where, for the log: with the port that was chosen for port 0.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
            }
            Self::Unix(socket) => socket.path.path().display().to_string(),
        }
    }
}

/// A socket that is listened on, and what its clients have to pass.
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) entrance: Arc<Entrance>,
}

impl Listener {
    /// How it is shown in lists of listeners.
    pub(super) fn shown(&self) -> Option<node::Listener> {
        let Entrance { tls, is_websocket, .. } = &*self.entrance;
        let protocol = match (is_websocket, tls.is_some()) {
            (false, false) => "amqp",
            (false, true) => "amqp/ssl",
            (true, false) => "http/web-amqp",
            (true, true) => "https/web-amqp",
        };
        let at = match &self.socket {
            Socket::Tcp(socket) => ListenerAddress::Tcp(socket.local_addr().ok()?),
            Socket::Unix(socket) => ListenerAddress::Unix(socket.path.path().to_owned()),
        };
        Some(node::Listener { protocol, at })
    }
}

/// What every connection is made with.
pub(super) struct Acceptor {
    pub(super) broker: Arc<Broker>,
    pub(super) options: ServerOptions,
    pub(super) limits: SharedLimits,
    pub(super) connections: TaskTracker,
    pub(super) refusals: Refusals,
}

impl Acceptor {
    /// Accepts until `stop`. Who has not come to AMQP by then is let go too.
    pub(super) async fn run(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        let mut short_of = false;
        while let Some(accepted) = stop.run_until_cancelled(self.accept(&listener, &stop)).await {
            match accepted {
                Ok(()) => short_of = false,
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

    /// Accepts one connection once there is room for its handshake, and starts it. Until then it waits in the backlog:
    /// who comes back after a restart is served in turn, and no single address can take all the room.
    async fn accept(self: &Arc<Self>, listener: &Listener, stop: &CancellationToken) -> io::Result<()> {
        poll_fn(|cx| self.broker.registry.poll_handshake_room(cx)).await;
        match &listener.socket {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                self.start(&listener.entrance, stream, address, stop);
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let peer = Peer { address: unix::shown(&stream), is_loopback: true, ..Peer::default() };
                self.connect(self.session(peer), stream);
            }
        }
        Ok(())
    }

    fn start(
        self: &Arc<Self>,
        entrance: &Arc<Entrance>,
        stream: TcpStream,
        address: SocketAddr,
        stop: &CancellationToken,
    ) {
        // A proxy has its clients' addresses to tell.
        let proxy = self.options.is_proxy(address.ip()).then_some(address);
        if proxy.is_none() && !self.has_room_for(address) {
            return;
        }
        let mut session = self.session(Peer { local: stream.local_addr().ok(), ..Peer::from(address) });
        if proxy.is_none() {
            session.count_among_handshakes_of(address.ip());
            if entrance.is_open() {
                self.connect(session, stream);
                return;
            }
        }
        let led = self.clone().lead(entrance.clone(), proxy, stream, session);
        self.connections.spawn(stop.clone().run_until_cancelled_owned(led));
    }

    fn session(&self, peer: Peer) -> Session {
        let (broker, limits) = (self.broker.clone(), self.limits.current());
        Session::new(broker, limits, peer, self.options.write_timeout, clock::now())
    }
}

/// An error of the connection that was to be accepted, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::broker::options::BrokerOptions;
    use crate::protocol::PROTOCOL_HEADER;
    use crate::server::options::Keepalive;

    async fn client(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&PROTOCOL_HEADER).await.unwrap();
        stream
    }

    /// The first byte of connection.start.
    async fn is_answered(stream: &mut TcpStream) {
        assert_eq!(stream.read_u8().await.unwrap(), 1);
    }

    #[test]
    fn connections_have_the_options_of_their_listener() {
        let keepalive =
            Keepalive { idle: Duration::from_secs(77), interval: Duration::from_secs(7), probes: 5 };
        let user_timeout = Duration::from_secs(21);
        let options =
            ServerOptions { keepalive: Some(keepalive), user_timeout, nodelay: true, ..Default::default() };
        let off = ServerOptions {
            keepalive: None,
            user_timeout: Duration::ZERO,
            nodelay: false,
            ..options.clone()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for (options, is_on) in [(options, true), (off, false)] {
                let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &options).unwrap();
                let address = listener.local_addr().unwrap();
                let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
                let (accepted, _connected) = (accepted.unwrap().0, connected.unwrap());
                let socket = socket2::SockRef::from(&accepted);
                assert_eq!(socket.tcp_nodelay().unwrap(), is_on);
                assert_eq!(socket.keepalive().unwrap(), is_on);
                assert_eq!(socket.tcp_user_timeout().unwrap(), is_on.then_some(user_timeout));
                if is_on {
                    assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
                    assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
                    assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.probes);
                }
            }
        });
    }

    #[test]
    fn a_connection_waits_in_the_backlog_while_too_many_are_in_their_handshake() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let broker = Broker::new(BrokerOptions::default());
            broker.registry.set_handshake_limit(2);
            let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &ServerOptions::default()).unwrap();
            let address = socket.local_addr().unwrap();
            let entrance = Arc::new(Entrance { protocol: "amqp", tls: None, is_websocket: false });
            let listener = Listener { socket: Socket::Tcp(socket), entrance };
            let acceptor = Acceptor {
                broker: broker.clone(),
                options: ServerOptions::default(),
                limits: SharedLimits::new(Default::default()),
                connections: TaskTracker::new(),
                refusals: Refusals::default(),
            };
            let stop = CancellationToken::new();
            let accepting = tokio::spawn(Arc::new(acceptor).run(listener, stop.clone()));
            let (mut a, mut b, mut c) = (client(address).await, client(address).await, client(address).await);
            is_answered(&mut a).await;
            is_answered(&mut b).await;
            for _ in 0..1000 {
                tokio::task::yield_now().await;
                assert_eq!(broker.registry.handshakes(), 2);
            }
            drop(a);
            is_answered(&mut c).await;
            stop.cancel();
            accepting.await.unwrap();
        });
    }
}
