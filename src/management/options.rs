//! What the management API is told. Filled by `config`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;

use crate::broker::stamps::Stamps;

/// Where the certificates of new connections come from: asked for each of them, so that renewed ones are used.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

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
    /// Origins of web pages whose scripts may use the API; none is only its own.
    pub allow_origins: Vec<String>,
    /// How long a browser may remember that it may.
    pub cors_max_age: Duration,
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
