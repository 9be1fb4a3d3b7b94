//! What the network side is told at its start. Filled by `config`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use crate::broker::thresholds::FreeLimit;
use crate::server::keys::KeySource;
use crate::server::tls::TlsOptions;
use crate::server::websocket::upgrade::Origins;

/// Sockets, timeouts and threads.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOptions {
    /// Addresses to listen on for plain AMQP.
    pub listen: Vec<SocketAddr>,
    /// Addresses to listen on for AMQP within TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Certificates, keys and rules of TLS; `None` if nothing speaks it.
    pub tls: Option<TlsOptions>,
    /// Addresses to listen on for AMQP over WebSocket.
    pub listen_websocket: Vec<SocketAddr>,
    /// Addresses to listen on for AMQP over WebSocket within TLS.
    pub listen_websocket_tls: Vec<SocketAddr>,
    /// Path and permissions of the Unix socket to listen on.
    pub listen_unix: Option<(PathBuf, u32)>,
    /// Those whose connections begin with a header of the PROXY protocol.
    pub proxies: Vec<IpNet>,
    /// The web pages that may connect.
    pub origins: Origins,
    /// Length of the accept backlog.
    pub backlog: u32,
    /// Whether small writes leave at once (TCP_NODELAY).
    pub nodelay: bool,
    /// TCP keepalive; `None` leaves it off.
    pub keepalive: Option<Keepalive>,
    /// How long sent bytes may stay unacknowledged by the peer's kernel (TCP_USER_TIMEOUT); zero leaves it to the
    /// operating system.
    pub user_timeout: Duration,
    /// A client that takes nothing for so long while bytes wait for it is cut.
    pub write_timeout: Duration,
    /// How long a shutdown waits for clients to answer connection.close.
    pub shutdown_grace: Duration,
    /// Worker threads; 0 is one for each core.
    pub workers: usize,
    /// Resident memory in bytes above which publishers are blocked; 0 is never.
    pub memory_watermark: u64,
    /// The memory of the machine or container in bytes, of which fractions are taken; `None` if it is not known.
    pub machine_memory: Option<u64>,
    /// How often resident memory is looked at.
    pub memory_check_interval: Duration,
    /// Bytes of messages in memory above which the broker moves transient ones to disk, longest backlog first; 0 is
    /// never.
    pub message_budget: u64,
    /// Free space of the data directory's disk below which publishers are blocked.
    pub free_limit: FreeLimit,
    /// Where keys of access tokens are fetched from, if they are.
    pub keys: Option<KeySource>,
}

/// TCP keepalive of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Unanswered probes before the connection is dropped.
    pub probes: u32,
}

impl ServerOptions {
    /// Whether connections from there begin with a header of the PROXY protocol.
    #[must_use]
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        // An IPv4 client of an IPv6 socket has a mapped address.
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5672))],
            listen_tls: Vec::new(),
            tls: None,
            listen_websocket: Vec::new(),
            listen_websocket_tls: Vec::new(),
            listen_unix: None,
            proxies: Vec::new(),
            origins: Origins::default(),
            backlog: 1024,
            nodelay: true,
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(10),
                probes: 3,
            }),
            user_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            workers: 0,
            memory_watermark: 0,
            machine_memory: None,
            memory_check_interval: Duration::from_millis(2500),
            message_budget: 0,
            free_limit: FreeLimit::Auto,
            keys: None,
        }
    }
}
