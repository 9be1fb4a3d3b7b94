//! Sockets of the API: accepted, with deadlines and bounds, and served until the end.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tower_http::normalize_path::NormalizePath;

use crate::broker::node::{self, ListenerAddress};
use crate::management::PROMETHEUS;
use crate::management::control_socket::Name;
use crate::management::gate::Origin;
use crate::management::options::Handshakes;
use crate::management::router::OnDemand;

/// How long a client may take for the head of a request, and be silent between two.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take for its TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take nothing of an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// The largest head of a request, in bytes. Access tokens travel in it.
const LARGEST_HEAD: usize = 16 << 10;

/// How long accepting pauses when the process is out of descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long requests that are under way at the end may take.
const GRACE: Duration = Duration::from_secs(5);

/// A socket that is listened on.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) tls: Option<Handshakes>,
    /// What is served there, as logs show it.
    pub(super) protocol: &'static str,
    pub(super) router: OnDemand,
}

impl Listener {
    /// How it is shown in lists of listeners.
    pub(super) fn shown(&self) -> Option<node::Listener> {
        let at = ListenerAddress::Tcp(self.socket.local_addr().ok()?);
        let protocol = if self.protocol == PROMETHEUS { "http/prometheus" } else { self.protocol };
        Some(node::Listener { protocol, at })
    }
}

/// How many connections each address has: at most half of all there may be.
#[derive(Clone)]
struct Shares {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// A connection's part of what its address may have, until it is dropped.
struct Share {
    shares: Shares,
    address: IpAddr,
}

impl Shares {
    fn of(places: usize) -> Self {
        Self { taken: Arc::default(), most: places.div_ceil(2) }
    }

    /// One more for this address, if there is room.
    fn take(&self, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        let count = taken.entry(address).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Accepts until `stop`, then waits for what is under way.
pub(super) async fn serve(listener: Listener, most: Arc<Semaphore>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let shares = Shares::of(most.available_permits());
    while let Some(place) = stop.run_until_cancelled(most.clone().acquire_owned()).await {
        let Ok(place) = place else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.socket.accept()).await else { break };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection of the management API");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        // The last piece of an answer does not wait for the client's word on the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(peer = %address, %error, "cannot set socket options");
        }
        // Nobody can keep all others out. Tools that ask often keep a few connections.
        let Some(share) = shares.take(address.ip()) else { continue };
        let (router, stop, tls) = (listener.router.clone(), stop.clone(), listener.tls.clone());
        connections.spawn(async move {
            let origin = Origin::of_connection(address.ip(), tls.is_some());
            let served = match tls {
                None => speak(stream, router.router(), origin, &stop).await,
                Some(shake) => match shake(stream, address, Instant::now() + HANDSHAKE_PATIENCE).await {
                    Some(stream) => speak(stream, router.router(), origin, &stop).await,
                    None => Ok(()),
                },
            };
            drop(share);
            if let Err(error) = served {
                tracing::debug!(peer = %address, %error, "a connection of the management API failed");
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

/// Most connections of the control socket at a time.
const MOST_LOCAL: usize = 16;

/// Accepts on the control socket until `stop`, takes its name away, and waits for what is under way.
pub(super) async fn serve_local(socket: UnixListener, name: Name, router: OnDemand, stop: CancellationToken) {
    let (connections, most) = (TaskTracker::new(), Arc::new(Semaphore::new(MOST_LOCAL)));
    while let Some(Ok(place)) = stop.run_until_cancelled(most.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(socket.accept()).await else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a client of the control socket");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(error) = speak(stream, router.router(), Origin::Local, &stop).await {
                tracing::debug!(%error, "a client of the control socket failed");
            }
            drop(place);
        });
    }
    drop(name);
    drop(socket);
    connections.close();
    connections.wait().await;
}

/// Serves one connection.
pub(super) async fn speak(
    stream: impl AsyncRead + AsyncWrite + 'static,
    router: Router,
    origin: Origin,
    stop: &CancellationToken,
) -> io::Result<()> {
    // A client that takes nothing does not hold its place for ever. One that says nothing is hyper's to watch.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_PATIENCE));
    // RabbitMQ takes a slash at the end of a path for nothing.
    let router = NormalizePath::trim_trailing_slash(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let origin = origin.of_request(request.headers());
        request.extensions_mut().insert(origin);
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = std::pin::pin!(connection);
    match stop.run_until_cancelled(connection.as_mut()).await {
        Some(done) => return done.map_err(io::Error::other),
        None => connection.as_mut().graceful_shutdown(),
    }
    match timeout(GRACE, connection).await {
        Ok(done) => done.map_err(io::Error::other),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}
