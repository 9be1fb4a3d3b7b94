//! What a connection runs on.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A stream of bytes to a client.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// Makes the coming close a reset: what the peer has not taken is dropped.
    fn reset_on_close(&self);

    /// Whether the peer can still be heard after we have said our last.
    fn can_half_close(&self) -> bool {
        true
    }
}

impl ClientStream for TcpStream {
    fn reset_on_close(&self) {
        if let Err(error) = SockRef::from(self).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot set linger");
        }
    }
}

impl ClientStream for UnixStream {
    /// There is nothing to do: what the peer has not taken is in its own socket, and goes with that.
    fn reset_on_close(&self) {}
}

impl<S: ClientStream> ClientStream for TlsStream<S> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}
