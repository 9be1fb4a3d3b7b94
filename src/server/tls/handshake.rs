//! One connection's TLS handshake, and what the log says of one that fails.

#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{CertificateError, Error, HandshakeKind, PeerIncompatible, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::{FallibleAccept, TlsStream};

use super::refusals::Kind;
use super::{Tls, ciphers, names};
use crate::server::stream::Counted;
use crate::session::peer::TlsPeer;

/// The first byte of every TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// How long a client that was refused may go on sending before its socket is closed. Closing while something is unread
/// would take from it what it was told.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// What TLS is spoken on.
pub(super) type Socket = Counted<TcpStream>;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Refused {
    /// Nothing was sent. A health check, or somebody who scans ports.
    Silence,
    /// The client gave up, or could not be let in.
    Because(Kind, String),
}

/// What a handshake is made with, asked for when it is.
pub(super) type Current = fn(&Tls) -> Arc<ServerConfig>;

/// Shakes hands until `deadline`.
pub(super) async fn accept(
    tls: &Tls,
    current: Current,
    stream: TcpStream,
    deadline: Instant,
) -> Result<(TlsStream<Socket>, TlsPeer), Refused> {
    let mut begun = false;
    let outcome = timeout_at(deadline, shake(tls, current, stream, &mut begun)).await;
    outcome.unwrap_or_else(|_| {
        Err(if begun {
            Refused::Because(Kind::Timeout, "it took too long".to_owned())
        } else {
            Refused::Silence
        })
    })
}

async fn shake(
    tls: &Tls,
    current: Current,
    mut stream: TcpStream,
    begun: &mut bool,
) -> Result<(TlsStream<Socket>, TlsPeer), Refused> {
    let mut first = [0; 8];
    let seen = match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return Err(Refused::Silence),
        Ok(len) => &first[..len],
    };
    *begun = true;
    if seen[0] != HANDSHAKE_RECORD {
        let why = plain_text(seen);
        close(&mut stream).await;
        return Err(Refused::Because(Kind::NotTls, why));
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), Counted::new(stream))
        .await
        .map_err(|error| reason(&error))?;
    // What costs is the signature, and it is made here. However many clients wait for theirs, the workers stay free.
    let permit = tls.signing.clone().acquire_owned().await;
    let config = current(tls);
    let signed = tokio::task::spawn_blocking(move || {
        let mut is_retried = false;
        let accept = start.into_stream_with(config, |session| {
            is_retried = session.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        });
        drop(permit);
        (accept.into_fallible(), is_retried)
    });
    let (accept, is_retried) = signed.await.map_err(|error| panicked(&error))?;
    let accepted = if is_retried { poll_aside(tls, accept).await? } else { accept.await };
    match accepted {
        Ok(stream) => {
            let peer = peer(&stream);
            Ok((stream, peer))
        }
        Err((error, mut stream)) => {
            close(&mut stream).await;
            Err(reason(&error))
        }
    }
}

/// Goes on with a handshake whose signature is still to be made, since the client was asked for another key: each step is
/// done off the workers, and takes its turn with the signatures of others. Nothing is held while the client is waited for.
async fn poll_aside(tls: &Tls, mut accept: FallibleAccept<Socket>) -> Result<Accepted, Refused> {
    let woken = Arc::new(Woken::default());
    loop {
        let permit = tls.signing.clone().acquire_owned().await;
        let waker = Waker::from(woken.clone());
        let step = tokio::task::spawn_blocking(move || {
            let poll = Pin::new(&mut accept).poll(&mut Context::from_waker(&waker));
            drop(permit);
            (poll, accept)
        });
        match step.await.map_err(|error| panicked(&error))? {
            (Poll::Ready(accepted), _) => return Ok(accepted),
            (Poll::Pending, rest) => accept = rest,
        }
        woken.0.notified().await;
    }
}

/// What a handshake comes to.
type Accepted = Result<TlsStream<Socket>, (io::Error, Socket)>;

/// Whether a socket that was waited for is ready.
#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

fn panicked(error: &JoinError) -> Refused {
    Refused::Because(Kind::Other, error.to_string())
}

/// Closes the socket so that the client can read what it was told last.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let drain = async {
        stream.shutdown().await?;
        let mut thrown_away = [0; 1024];
        while stream.read(&mut thrown_away).await? > 0 {}
        io::Result::Ok(())
    };
    // Neither a client that stays nor one that is gone changes anything.
    let _ = timeout(LAST_BYTES, drain).await;
}

fn peer(stream: &TlsStream<Socket>) -> TlsPeer {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let cipher = session.negotiated_cipher_suite().map_or("unknown", |suite| ciphers::name_of(suite.suite()));
    let certificate = session.peer_certificates().and_then(|chain| names::of_client(chain.first()?));
    TlsPeer { version, cipher, certificate }
}

/// What a client that did not begin with TLS probably wants.
fn plain_text(seen: &[u8]) -> String {
    match seen {
        [b'A', b'M', b'Q', b'P', ..] => "AMQP without TLS on a TLS port".to_owned(),
        [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', ..] | [b'H', b'E', b'A', b'D', ..] => {
            "HTTP without TLS on the AMQP TLS port".to_owned()
        }
        _ => format!("not a TLS client: it begins with {}", seen.escape_ascii()),
    }
}

fn reason(error: &io::Error) -> Refused {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let (kind, why) = match inner {
        Some(Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // It came with TLS 1.2, so older clients lack it.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        )) => (
            Kind::Version,
            "the client offers no version of TLS that is enabled (TLS 1.1 and older never are)".to_owned(),
        ),
        Some(Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon)) => (
            Kind::Version,
            "the client offers no cipher suite that is enabled and fits our certificate".to_owned(),
        ),
        Some(Error::InvalidCertificate(why)) => (Kind::Certificate, certificate(why)),
        Some(Error::NoCertificatesPresented) => (
            Kind::Certificate,
            "the client shows no certificate, and tls.fail_if_no_peer_cert is on".to_owned(),
        ),
        Some(Error::AlertReceived(alert)) => (
            Kind::Alert,
            format!("the client gave up with alert {alert:?}; it may not trust our certificate"),
        ),
        Some(Error::InvalidMessage(why)) => (Kind::NotTls, format!("not TLS as we know it: {why:?}")),
        Some(other) => (Kind::Other, other.to_string()),
        None => (Kind::Gone, format!("the client went away: {error}")),
    };
    Refused::Because(kind, why)
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "the client's certificate is of an authority that tls.ca does not have".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the client's certificate has expired".to_owned()
        }
        CertificateError::Revoked => "the client's certificate has been revoked".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the client's certificate is not for clients".to_owned()
        }
        CertificateError::UnknownRevocationStatus => {
            "tls.crl has no list of the authority of the client's certificate".to_owned()
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the list in tls.crl is past its next update".to_owned()
        }
        other => format!("the client's certificate is not taken: {other}"),
    }
}
