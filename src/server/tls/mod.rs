//! TLS: certificates that are read, watched and replaced while connections go on, and handshakes.
//!
//! A [`Tls`] is shared by all listeners that speak it. Connections keep what they began with; each new one gets what is
//! current.

mod ciphers;
mod files;
mod handshake;
mod material;
mod names;
mod options;
mod refusals;
mod resolver;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub use ciphers::Cipher;
pub use options::{ClientCertificates, Identity, TlsOptions, TlsVersion};

use crate::broker::node::Certificate;
use crate::server::tls::files::Stamps;
use crate::server::tls::handshake::{Current, Refused, Socket};
use crate::server::tls::material::Served;
use crate::server::tls::refusals::Refusals;
use crate::session::peer::TlsPeer;

/// Signatures for handshakes that are made at the same time, for each core.
const SIGNING_PER_CORE: usize = 2;

/// How long it waits to look again whether it is to look at the files at all.
const IDLE: std::time::Duration = std::time::Duration::from_secs(5);

/// Why there is no TLS. The message is one line, names the file, and quotes nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not what it should be.
    #[error("TLS: {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The settings do not go together.
    #[error("TLS: {0}")]
    Settings(String),
}

impl TlsError {
    fn file(path: &Path, why: String) -> Self {
        Self::File { path: path.to_path_buf(), why }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Tls {
    state: Mutex<State>,
    /// Handshakes in their costly part.
    signing: Arc<Semaphore>,
    refusals: Refusals,
}

#[derive(Debug)]
struct State {
    options: TlsOptions,
    served: Served,
    /// The files as they were when they were last read, or tried to be.
    read: Stamps,
}

impl Tls {
    /// Reads certificates and keys.
    ///
    /// # Errors
    /// If one is missing, not usable or open to everybody, or if the settings do not go together.
    pub fn load(options: TlsOptions) -> Result<Arc<Self>, TlsError> {
        let (read, served) = (Stamps::of(&options), material::served(&options)?);
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let signing = Arc::new(Semaphore::new(SIGNING_PER_CORE * cores));
        let state = Mutex::new(State { options, served, read });
        Ok(Arc::new(Self { state, signing, refusals: Refusals::default() }))
    }

    /// Reads everything again for the connections from now on, by other settings if `options` are given.
    ///
    /// # Errors
    /// As for [`load`](Self::load); then what there was stays in use.
    pub fn reload(&self, options: Option<TlsOptions>) -> Result<(), TlsError> {
        let options = options.unwrap_or_else(|| self.state.lock().options.clone());
        let read = Stamps::of(&options);
        let made = material::served(&options);
        let mut state = self.state.lock();
        if made.is_ok() || state.options == options {
            // Files that are no good are looked at again once they change.
            state.read = read;
        }
        state.served = made?;
        state.options = options;
        Ok(())
    }

    fn current_for_https(&self) -> Arc<ServerConfig> {
        self.state.lock().served.https.clone()
    }

    /// The certificates that are shown now.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        self.state.lock().served.certificates.clone()
    }

    fn current(&self) -> Arc<ServerConfig> {
        self.state.lock().served.amqp.clone()
    }

    /// Shakes hands with a client until `deadline`. If it does not come to a connection the log says why, unless the
    /// client never sent a byte.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        peer: &str,
        deadline: Instant,
    ) -> Option<(TlsStream<Socket>, TlsPeer)> {
        self.accept_with(Self::current, stream, peer, deadline).await
    }

    /// The same for HTTPS, whose clients are not asked for a certificate.
    pub async fn accept_https(
        &self,
        stream: TcpStream,
        peer: &str,
        deadline: Instant,
    ) -> Option<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let accepted = self.accept_with(Self::current_for_https, stream, peer, deadline).await;
        accepted.map(|(stream, _)| stream)
    }

    async fn accept_with(
        &self,
        current: Current,
        stream: TcpStream,
        peer: &str,
        deadline: Instant,
    ) -> Option<(TlsStream<Socket>, TlsPeer)> {
        match handshake::accept(self, current, stream, deadline).await {
            Ok(accepted) => Some(accepted),
            Err(Refused::Silence) => {
                tracing::debug!(peer, "no TLS handshake was begun");
                None
            }
            Err(Refused::Because(kind, why)) => {
                self.refusals.log(peer, kind, &why);
                None
            }
        }
    }

    /// Looks at the files from time to time and reads them again after a change, until `stop`.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut before = self.state.lock().read.clone();
        loop {
            let interval = self.state.lock().options.check_interval;
            let wait = if interval.is_zero() { IDLE } else { interval };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
            if interval.is_zero() {
                continue;
            }
            let (tls, seen) = (self.clone(), before);
            // A file may lie on a disk that takes its time.
            before = tokio::task::spawn_blocking(move || tls.look(seen)).await.unwrap_or_else(|error| {
                tracing::error!(%error, "cannot look at the files of TLS");
                self.state.lock().read.clone()
            });
        }
    }

    /// Reads the files again if they changed and then stayed the same between two looks, so that a certificate is not
    /// taken before its key has been written too. Returns how they look.
    fn look(&self, before: Stamps) -> Stamps {
        let (options, read) = {
            let state = self.state.lock();
            (state.options.clone(), state.read.clone())
        };
        let now = Stamps::of(&options);
        if now != read && now == before {
            match self.reload(None) {
                Ok(()) => tracing::info!("certificates changed and were read again"),
                Err(error) => tracing::error!(%error, "certificates changed, but the old ones stay in use"),
            }
        }
        now
    }
}
