//! The network side: listeners, connections, shutdown. Tokio lives here and above.

mod agenda;
mod asking;
mod bell;
pub mod clock;
mod connection;
mod disk;
mod entrance;
pub mod keys;
mod limits;
mod listener;
mod memory;
pub mod options;
mod pairing;
pub mod provider;
mod proxy;
mod statistics;
mod stream;
pub mod tls;
mod unix;
mod upkeep;
pub mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use limits::SharedLimits;

use crate::broker::Broker;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::server::disk::DiskWatch;
use crate::server::entrance::{Entrance, Refusals};
use crate::server::listener::{Acceptor, Listener, Socket};
use crate::server::options::ServerOptions;
use crate::server::tls::Tls;
use crate::session::limits::SessionLimits;

/// How often a shutdown asks again, for connections that opened meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A server that listens and, once [run](Self::run), serves.
pub struct Server {
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    disk: Option<DiskWatch>,
    acceptor: Arc<Acceptor>,
}

impl Server {
    /// Looks at the disk, so that nobody publishes to one that is full, and binds all listeners. Without `tls` those for
    /// TLS are left out. Call it within a tokio runtime.
    ///
    /// # Errors
    /// If an address cannot be bound; the error names it.
    pub fn bind(
        options: ServerOptions,
        limits: SessionLimits,
        broker: Arc<Broker>,
        tls: Option<Arc<Tls>>,
    ) -> io::Result<Self> {
        broker.thresholds.begin(options.memory_watermark, options.machine_memory, options.free_limit);
        let mut disk = DiskWatch::new(broker.clone());
        if let Some(disk) = &mut disk {
            disk.first_look();
        }
        let mut listeners = Vec::new();
        let mut listen = |addresses: &[SocketAddr], protocol, tls: Option<&Arc<Tls>>, is_websocket| {
            let entrance = Arc::new(Entrance { protocol, tls: tls.cloned(), is_websocket });
            for &address in addresses {
                let socket = Socket::Tcp(listener::bind(address, &options)?);
                listeners.push(Listener { socket, entrance: entrance.clone() });
            }
            io::Result::Ok(())
        };
        listen(&options.listen, "amqp", None, false)?;
        listen(&options.listen_websocket, "ws", None, true)?;
        if let Some(tls) = &tls {
            listen(&options.listen_tls, "amqps", Some(tls), false)?;
            listen(&options.listen_websocket_tls, "wss", Some(tls), true)?;
        }
        if let Some((path, mode)) = &options.listen_unix {
            let socket = Socket::Unix(unix::bind(path, *mode, options.backlog)?);
            let entrance = Arc::new(Entrance { protocol: "unix", tls: None, is_websocket: false });
            listeners.push(Listener { socket, entrance });
        }
        listeners.iter().filter_map(Listener::shown).for_each(|shown| broker.node.add_listener(shown));
        let (limits, connections) = (SharedLimits::new(limits), TaskTracker::new());
        let refusals = Refusals::default();
        let acceptor = Arc::new(Acceptor { broker, options, limits, connections, refusals });
        Ok(Self { listeners, tls, disk, acceptor })
    }

    /// What is spoken at which addresses, with the ports that were chosen for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, String)> {
        self.listeners
            .iter()
            .map(|listener| (listener.entrance.protocol, listener.socket.address()))
            .collect()
    }

    /// The limits of new connections.
    #[must_use]
    pub fn limits(&self) -> SharedLimits {
        self.acceptor.limits.clone()
    }

    /// Serves until `stop`, then closes: no more accepting, connection.close 320 to every client, and at most the
    /// configured grace for their answers.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listeners, tls, disk, acceptor } = self;
        let accepting = TaskTracker::new();
        for listener in listeners {
            accepting.spawn(acceptor.clone().run(listener, stop.clone()));
        }
        if let Some(tls) = tls {
            accepting.spawn(tls.watch(stop.clone()));
        }
        let options = &acceptor.options;
        accepting.spawn(memory::watch(acceptor.broker.clone(), options.memory_check_interval, stop.clone()));
        if let Some(disk) = disk {
            accepting.spawn(disk.run(stop.clone()));
        }
        match bell::hang() {
            Ok((ringer, answering)) => {
                acceptor.broker.journal.wake_by(Box::new(ringer));
                // Connections wait for the journal to the last.
                tokio::spawn(answering);
            }
            Err(error) => tracing::debug!(%error, "the journal wakes connections itself"),
        }
        accepting.spawn(statistics::run(acceptor.broker.clone(), stop.clone()));
        accepting.spawn(agenda::run(acceptor.broker.clone(), stop.clone()));
        accepting.spawn(upkeep::run(acceptor.broker.clone(), options.message_budget, stop.clone()));
        let key_ring = || acceptor.broker.logins.key_ring();
        if let (Some(source), Some(ring)) = (&options.keys, key_ring()) {
            keys::start(ring, source.clone());
        }
        stop.cancelled().await;
        if let Some(ring) = key_ring() {
            ring.close();
        }
        accepting.close();
        accepting.wait().await;
        acceptor.connections.close();
        let goodbye = close_all(&acceptor);
        if tokio::time::timeout(options.shutdown_grace, goodbye).await.is_err() {
            let left = acceptor.connections.len();
            tracing::warn!(left, "connections did not close within the grace period");
        }
    }
}

async fn close_all(acceptor: &Acceptor) {
    let reason = if acceptor.broker.journal.has_failed() {
        AmqpError::new(ReplyCode::InternalError, "storage failed")
    } else {
        let text = "broker forced connection closure with reason 'shutdown'";
        AmqpError::new(ReplyCode::ConnectionForced, text)
    };
    loop {
        acceptor.broker.close_all(&reason);
        if tokio::time::timeout(ASK_AGAIN, acceptor.connections.wait()).await.is_ok() {
            return;
        }
    }
}
