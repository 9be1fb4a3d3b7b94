//! What the management API is told. Filled by `config`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::broker::stamps::Stamps;

/// A connection whose handshake is over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a TLS handshake with a client ends; `None` if it came to nothing, which the log has been told.
pub type Handshake = Pin<Box<dyn Future<Output = Option<Box<dyn Stream>>> + Send>>;

/// What shakes hands with the client of a socket, until a deadline: whoever has the certificates.
pub type Handshakes = Arc<dyn Fn(TcpStream, SocketAddr, Instant) -> Handshake + Send + Sync>;

/// Settings of the management API.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagementOptions {
    /// Addresses for HTTP.
    pub listen: Vec<SocketAddr>,
    /// Addresses for HTTPS.
    pub listen_tls: Vec<SocketAddr>,
    /// What all paths begin with, such as `/leveret`; empty for nothing.
    pub path_prefix: String,
    /// The largest body of a request that carries definitions or a message, in bytes.
    pub max_body: usize,
    /// The largest body of a message, in bytes.
    pub max_message_size: u64,
    /// What every message gets that is published.
    pub stamps: Stamps,
    /// Most connections of each listener at a time.
    pub max_connections: u32,
    /// How long sessions last.
    pub session_timeout: Duration,
    /// Origins of web pages whose scripts may use the API; none is only its own.
    pub allow_origins: Vec<String>,
    /// How long a browser may remember that it may.
    pub cors_max_age: Duration,
    /// Logging in at a provider, if that is possible.
    pub code_flow: Option<CodeFlowOptions>,
    /// How long the answer to a failed login is held back the first time.
    pub failed_login_delay: Duration,
    /// The name of the product, as clients are told it too.
    pub product_name: String,
    /// Its version.
    pub product_version: String,
    /// How clients may log in, by the names on the wire.
    pub mechanisms: Vec<&'static str>,
    /// The version of RabbitMQ that tools are told, since they choose their ways by it.
    pub rabbitmq_version: String,
    /// Metrics.
    pub prometheus: PrometheusOptions,
}

/// Logging in to the page at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFlowOptions {
    /// What the page calls the provider.
    pub label: String,
    /// What browsers have in front of all paths, such as `https://mq.example.org`; what they ask for if `None`.
    pub origin: Option<String>,
}

/// Settings of metrics on addresses of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusOptions {
    /// The addresses.
    pub listen: Vec<SocketAddr>,
    /// Where they are there, such as `/metrics`; empty is `/`.
    pub path: String,
    /// Whether those at this path tell of each object, instead of all together. Of those beside the API too.
    pub per_object: bool,
    /// Whether one has to log in there.
    pub auth: bool,
}

#[cfg(test)]
impl ManagementOptions {
    /// Some for tests, which listen nowhere.
    pub(crate) fn of_nobody() -> Self {
        Self {
            listen: Vec::new(),
            listen_tls: Vec::new(),
            path_prefix: String::new(),
            max_body: 1 << 20,
            max_message_size: 1 << 20,
            stamps: Stamps::default(),
            max_connections: 10,
            session_timeout: Duration::from_secs(60),
            allow_origins: Vec::new(),
            cors_max_age: Duration::ZERO,
            code_flow: None,
            failed_login_delay: Duration::ZERO,
            product_name: "Leveret".to_owned(),
            product_version: "1".to_owned(),
            mechanisms: Vec::new(),
            rabbitmq_version: "4.1.0".to_owned(),
            prometheus: PrometheusOptions {
                listen: Vec::new(),
                path: String::new(),
                per_object: false,
                auth: false,
            },
        }
    }
}

/// Settings as they are now; clones share them.
#[derive(Clone, Debug)]
pub struct SharedOptions(Arc<Mutex<Arc<ManagementOptions>>>);

impl SharedOptions {
    pub(super) fn new(options: ManagementOptions) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(options))))
    }

    /// What holds now.
    #[must_use]
    pub fn current(&self) -> Arc<ManagementOptions> {
        self.0.lock().clone()
    }

    /// Takes over what may change while the API is served, for requests from now on. Everything else stays.
    pub fn follow(&self, options: ManagementOptions) {
        let mut current = self.0.lock();
        *current = Arc::new(ManagementOptions {
            max_message_size: options.max_message_size,
            stamps: options.stamps,
            failed_login_delay: options.failed_login_delay,
            product_name: options.product_name,
            product_version: options.product_version,
            mechanisms: options.mechanisms,
            ..ManagementOptions::clone(&current)
        });
    }
}
