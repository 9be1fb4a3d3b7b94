//! The management API: what RabbitMQ's tools ask and tell over HTTP, what Prometheus reads, and the page for browsers.
//!
//! Everything here knows the broker only. A resource is a plain function from a [`Call`](call::Call) to an
//! [`Answer`](answer::Answer), with a row in a table that says at which path it is and who may ask (`routes`). It runs on a
//! thread that may block, so that the tasks of AMQP connections never wait for it; how many run at a time is bounded.
//! `connection` has the sockets, `gate` finds out who asks.

mod answer;
mod binding_key;
mod body;
mod call;
pub mod code_flow;
mod connection;
pub mod control_socket;
mod cookies;
mod cors;
mod error;
mod gate;
mod listing;
pub mod log_control;
pub mod log_tail;
pub mod options;
mod page;
mod parts;
mod past;
mod progress;
mod prometheus;
mod properties;
mod query;
mod resources;
mod router;
mod routes;
mod sessions;
mod statistics;
mod stream;
mod visitor;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::management::code_flow::{Attempts, AuthorizationServer};
use crate::management::connection::{Listener, serve, serve_local};
use crate::management::log_control::LogControl;
use crate::management::options::{Handshakes, ManagementOptions, SharedOptions};
use crate::management::router::OnDemand;
use crate::management::routes::Resource;
use crate::management::sessions::Sessions;
use crate::management::stream::Streams;
use crate::management::visitor::Level;
use crate::time::Now;

pub use crate::management::progress::PROGRESS;

/// KiB of large bodies that there is room for.
const ALL_BODIES: u32 = 64 << 10;

/// Where the API begins.
const BASE: &str = "/api";

/// Where metrics are beside the API.
const METRICS: &str = "/metrics";

/// How logs name what is served on addresses for metrics.
const PROMETHEUS: &str = "prometheus";

/// How much is done at a time; what is more waits for a while. Who has a place keeps it until the work is done, whether its
/// client is there still or not.
struct Places {
    /// Requests that are worked on.
    working: Arc<Semaphore>,
    /// Those that anybody may make: probes are answered also when all other places are taken.
    probing: Arc<Semaphore>,
    /// Long answers that are written.
    writing: Arc<Semaphore>,
    /// Passwords that are checked.
    logging_in: Arc<Semaphore>,
    /// Questions to the provider at which people log in.
    at_provider: Arc<Semaphore>,
    /// KiB of large bodies.
    bodies: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        let of = |places| Arc::new(Semaphore::new(places));
        Self {
            working: of(16),
            probing: of(4),
            writing: of(32),
            logging_in: of(2),
            at_provider: of(4),
            bodies: of(ALL_BODIES as usize),
        }
    }
}

/// What all requests share.
pub(crate) struct Api {
    pub(crate) broker: Arc<Broker>,
    /// As they were at the start.
    pub(crate) options: ManagementOptions,
    /// As they are now.
    pub(crate) live: SharedOptions,
    pub(crate) clock: fn() -> Now,
    /// Where the data are, if there is a control socket beside them.
    pub(crate) data_dir: OnceLock<PathBuf>,
    /// The log, if somebody lets it be seen and changed.
    pub(crate) log: OnceLock<Arc<dyn LogControl>>,
    /// The provider at which people log in, if somebody knows one.
    pub(crate) provider: OnceLock<Arc<dyn AuthorizationServer>>,
    /// The server stops: what takes long is to end.
    pub(crate) ending: CancellationToken,
    /// Who has logged in.
    sessions: Arc<Sessions>,
    /// Who is at the provider to log in.
    attempts: Attempts,
    /// Who is told of changes.
    streams: Streams,
    places: Places,
}

impl Api {
    /// With places of its own.
    fn new(
        broker: &Arc<Broker>,
        live: &SharedOptions,
        sessions: &Arc<Sessions>,
        clock: fn() -> Now,
    ) -> Arc<Self> {
        Arc::new(Self {
            broker: broker.clone(),
            options: ManagementOptions::clone(&live.current()),
            live: live.clone(),
            clock,
            data_dir: OnceLock::new(),
            log: OnceLock::new(),
            provider: OnceLock::new(),
            ending: CancellationToken::new(),
            sessions: sessions.clone(),
            attempts: Attempts::default(),
            streams: Streams::default(),
            places: Places::default(),
        })
    }
}

/// The API on its sockets and, once [run](Self::run), served.
pub struct Management {
    listeners: Vec<Listener>,
    local: Option<(UnixListener, control_socket::Name)>,
    api: Arc<Api>,
}

impl Management {
    /// Binds all listeners. Without `tls` those for TLS are left out. Call it within a tokio runtime.
    ///
    /// # Errors
    /// If an address cannot be bound; the error names it.
    pub fn bind(
        options: ManagementOptions,
        broker: Arc<Broker>,
        tls: Option<&Handshakes>,
        clock: fn() -> Now,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let mut listen = |address, protocol, tls: Option<&Handshakes>, router: &OnDemand| -> io::Result<()> {
            let (socket, router) = (bind(address)?, router.clone());
            listeners.push(Listener { socket, tls: tls.cloned(), protocol, router });
            Ok(())
        };
        let live = SharedOptions::new(options.clone());
        let sessions = Arc::new(Sessions::new(options.session_timeout));
        let api = Api::new(&broker, &live, &sessions, clock);
        let (of_all, prefix) = (api.clone(), options.path_prefix.clone());
        let router = OnDemand::new(move || everything(&of_all, &prefix, page::router(&prefix)));
        for &address in &options.listen {
            listen(address, "http", None, &router)?;
        }
        for &address in options.listen_tls.iter().filter(|_| tls.is_some()) {
            listen(address, "https", tls, &router)?;
        }
        // Scrapes keep nobody else waiting.
        let of_metrics = Api::new(&broker, &live, &sessions, clock);
        let router = OnDemand::new(move || metrics(&of_metrics));
        for &address in &options.prometheus.listen {
            listen(address, PROMETHEUS, None, &router)?;
        }
        listeners.iter().filter_map(Listener::shown).for_each(|shown| broker.node.add_listener(shown));
        Ok(Self { listeners, local: None, api })
    }

    /// Listens on the [control socket](control_socket) in the data directory too, which this process has locked. If that is
    /// not possible the log says so. Call it within a tokio runtime.
    pub fn listen_locally(&mut self, data_dir: &Path) {
        match control_socket::bind(data_dir) {
            Ok(local) => {
                self.local = Some(local);
                // It is called once.
                let _ = self.api.data_dir.set(data_dir.to_path_buf());
            }
            Err(error) => tracing::warn!(%error, "commands to the running broker are not possible"),
        }
    }

    /// Lets administrators see and change the log.
    pub fn control_log(&self, log: Arc<dyn LogControl>) {
        // It is called once.
        let _ = self.api.log.set(log);
    }

    /// Has people log in at a provider, if the settings say so.
    pub fn log_in_at(&self, provider: Arc<dyn AuthorizationServer>) {
        // It is called once.
        let _ = self.api.provider.set(provider);
    }

    /// The settings, some of which can be changed while the API is served.
    #[must_use]
    pub fn options(&self) -> SharedOptions {
        self.api.live.clone()
    }

    /// What is spoken at which addresses, with the ports that were chosen for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, String)> {
        let shown = |listener: &Listener| {
            let address = listener.socket.local_addr();
            (listener.protocol, address.map_or_else(|error| error.to_string(), |address| address.to_string()))
        };
        self.listeners.iter().map(shown).collect()
    }

    /// Serves until `stop`. Requests that are under way then are answered still, for a while.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        for listener in self.listeners {
            let most = Arc::new(Semaphore::new(self.api.options.max_connections as usize));
            tasks.spawn(serve(listener, most, stop.clone()));
        }
        if let Some((socket, name)) = self.local {
            // Who comes here knows nothing of the prefix that proxies need.
            let api = self.api.clone();
            let router = OnDemand::new(move || everything(&api, "", Router::new()));
            tasks.spawn(serve_local(socket, name, router, stop.clone()));
        }
        stop.cancelled().await;
        self.api.ending.cancel();
        tasks.close();
        tasks.wait().await;
    }
}

/// What the addresses of the API have: the API, metrics for those who may monitor, and what is beside them.
fn everything(api: &Arc<Api>, prefix: &str, beside: Router) -> Router {
    let (base, metrics) = (format!("{prefix}{BASE}"), format!("{prefix}{METRICS}"));
    let looks = {
        let (api, base) = (api.clone(), base.clone());
        OnDemand::new(move || router::router(&api, Router::new(), resources(&base)))
    };
    let stream = stream::router(api, &base, looks);
    let of_prometheus = prometheus::routes(Level::Monitoring).into_iter();
    let of_prometheus = of_prometheus.map(|resource| (metrics.clone(), resource));
    let beside = beside.merge(stream).merge(code_flow::router(api, &base));
    router::router(api, beside, resources(&base).chain(of_prometheus))
}

/// What the API has below `base`.
fn resources(base: &str) -> impl Iterator<Item = (String, Resource)> {
    routes::all().into_iter().map(|resource| (base.to_owned(), resource))
}

/// What the addresses for metrics have.
fn metrics(api: &Arc<Api>) -> Router {
    let options = &api.options.prometheus;
    let level = if options.auth { Level::Monitoring } else { Level::Anyone };
    let resources = prometheus::routes(level).into_iter();
    router::router(api, Router::new(), resources.map(|resource| (options.path.clone(), resource)))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listen = || {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    listen().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address} for the management API: {error}"))
    })
}
