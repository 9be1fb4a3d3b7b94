//! The HTTP request that a WebSocket begins with, and its answer.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::header::{
    FORWARDED, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL, VIA,
};
use tokio_tungstenite::tungstenite::http::{StatusCode, Uri};

use super::WebSocket;
use crate::server::stream::ClientStream;
use crate::session::Peer;

/// The longest request. Browsers send along every cookie they have.
const LONGEST_REQUEST: usize = 16 * 1024;

/// Room for a usual request.
const USUAL_REQUEST: usize = 1024;

/// The names that clients have for AMQP 0-9-1 as a subprotocol. Most offer none.
const SUBPROTOCOLS: [&str; 2] = ["amqp", "amqp-0-9-1"];

/// What proxies add to a request. That they are there says enough; what they say is not believed.
const OF_PROXIES: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// From which pages a browser may connect: their origins, such as `https://example.org`. Empty is from any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(
    /// The origins.
    pub Vec<String>,
);

/// What a request led to.
pub(in crate::server) struct Upgraded<S> {
    /// The bytes of AMQP.
    pub(in crate::server) stream: WebSocket<S>,
    /// Whose they are.
    pub(in crate::server) visit: Visit,
}

/// What a request tells of who is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Visit {
    /// A browser, for a page that neither this machine nor the configuration vouches for.
    pub(super) is_foreign_page: bool,
    /// It came through a proxy of HTTP, so from anywhere.
    pub(super) is_proxied: bool,
}

impl Visit {
    /// The client as this makes it look.
    pub(in crate::server) fn reveal(self, peer: &mut Peer) {
        // Whoever reads the page is here; whoever wrote it is not.
        peer.is_loopback &= !self.is_foreign_page && !self.is_proxied;
        // A browser shows the certificate of whoever reads it, on behalf of any page.
        if self.is_foreign_page
            && let Some(tls) = &mut peer.tls
        {
            tls.certificate = None;
        }
    }
}

/// Reads a client's request and answers it.
///
/// # Errors
/// If it is no request for a WebSocket, or from a page that may not connect, and the client was told so; and those of the
/// stream.
pub(in crate::server) async fn accept<S: ClientStream>(
    mut stream: S,
    origins: &Origins,
) -> io::Result<Upgraded<S>> {
    let (answer, early) = read_request(&mut stream).await?;
    let accepted = answer.and_then(|request| {
        let visit = Visit {
            is_foreign_page: origins.judge(request.headers())? == Page::Foreign,
            is_proxied: OF_PROXIES.iter().any(|name| request.headers().contains_key(name)),
        };
        let mut response = create_response(&request).map_err(|error| Refusal::of(&error))?;
        if let Some(protocol) = subprotocol(request.headers()) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        let mut bytes = Vec::new();
        write_response(&mut bytes, &response).map_err(|error| Refusal::of(&error))?;
        Ok((bytes, visit))
    });
    match accepted {
        Ok((bytes, visit)) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            Ok(Upgraded { stream: WebSocket::new(stream, early), visit })
        }
        Err(refusal) => {
            stream.write_all(refusal.response().as_bytes()).await?;
            stream.shutdown().await?;
            Err(io::Error::new(ErrorKind::InvalidData, refusal.why()))
        }
    }
}

/// Reads a request and what comes along behind it.
async fn read_request<S: ClientStream>(stream: &mut S) -> io::Result<(Result<Request, Refusal>, Vec<u8>)> {
    let mut input = Vec::with_capacity(USUAL_REQUEST);
    let mut seen = 0;
    loop {
        // Only a whole one is looked at, so that slow bytes cost no work.
        let from = usize::saturating_sub(seen, 3);
        if input[from..].windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(match Request::try_parse(&input) {
                Ok(Some((length, request))) => (Ok(request), input.split_off(length)),
                Ok(None) => (Err(Refusal::Malformed), Vec::new()),
                Err(error) => (Err(Refusal::of(&error)), Vec::new()),
            });
        }
        if input.len() >= LONGEST_REQUEST {
            return Ok((Err(Refusal::TooLong), Vec::new()));
        }
        seen = input.len();
        if input.len() == input.capacity() {
            input.reserve_exact(input.len().min(LONGEST_REQUEST - input.len()));
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // Something that is no HTTP need not go on until it looks like its end.
        if !input.iter().take(8).all(|byte| (b' '..=b'~').contains(byte) || matches!(byte, b'\r' | b'\n')) {
            return Ok((Err(Refusal::Malformed), Vec::new()));
        }
    }
}

/// Why a request is not answered with 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is HTTP, but no request for a WebSocket.
    NoUpgrade,
    Malformed,
    TooLong,
    Origin,
}

impl Refusal {
    fn of(error: &Error) -> Self {
        match error {
            Error::Protocol(
                ProtocolError::MissingConnectionUpgradeHeader
                | ProtocolError::MissingUpgradeWebSocketHeader
                | ProtocolError::MissingSecWebSocketVersionHeader,
            ) => Self::NoUpgrade,
            _ => Self::Malformed,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::NoUpgrade => "HTTP without an upgrade to a WebSocket",
            Self::Malformed => "no request for a WebSocket",
            Self::TooLong => "the request for a WebSocket is too long",
            Self::Origin => "a page of this origin may not connect",
        }
    }

    fn response(self) -> String {
        let (status, more) = match self {
            Self::NoUpgrade => {
                (StatusCode::UPGRADE_REQUIRED, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
            }
            Self::Malformed => (StatusCode::BAD_REQUEST, ""),
            Self::TooLong => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ""),
            Self::Origin => (StatusCode::FORBIDDEN, ""),
        };
        let connection = if self == Self::NoUpgrade { "Upgrade, close" } else { "close" };
        let text = "This is AMQP 0-9-1 over WebSocket.\n";
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\nConnection: {connection}\r\n{more}Content-Type: text/plain\r\nContent-Length: \
             {length}\r\n\r\n{text}"
        )
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    /// No browser, or a page that is vouched for: its origin is listed, or on this machine.
    Known,
    Foreign,
}

impl Origins {
    fn judge(&self, headers: &HeaderMap) -> Result<Page, Refusal> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(Page::Known) };
        let origin = origin.to_str().map_err(|_| Refusal::Origin)?;
        if self.0.iter().any(|listed| listed.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
            return Ok(Page::Known);
        }
        if !self.0.is_empty() {
            return Err(Refusal::Origin);
        }
        Ok(if is_on_this_machine(origin) { Page::Known } else { Page::Foreign })
    }
}

/// Whether an origin is a server on the browser's own machine.
fn is_on_this_machine(origin: &str) -> bool {
    let uri = origin.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The first of the subprotocols a client offers that is AMQP 0-9-1.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    offers
        .flat_map(|value| value.split(','))
        .find_map(|offered| SUBPROTOCOLS.into_iter().find(|known| known.eq_ignore_ascii_case(offered.trim())))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::session::peer::{ClientCertificate, TlsPeer};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn pages_are_known_by_their_origin() {
        let judge = |listed: &[&str], origin: &'static str| {
            let origins = Origins(listed.iter().map(|&origin| origin.to_owned()).collect());
            origins.judge(&headers(&[("origin", origin)]))
        };
        assert_eq!(Origins::default().judge(&headers(&[])), Ok(Page::Known));
        for local in ["http://localhost", "http://LOCALHOST:8080", "https://127.0.0.1", "http://[::1]:3000"] {
            assert_eq!(judge(&[], local), Ok(Page::Known), "{local}");
        }
        for foreign in
            ["https://example.org", "null", "http://localhost.example.org", "", "http://127.0.0.1.nip.io"]
        {
            assert_eq!(judge(&[], foreign), Ok(Page::Foreign), "{foreign}");
        }
        let listed = ["https://example.org/", "http://other.example:8080"];
        assert_eq!(judge(&listed, "https://Example.org"), Ok(Page::Known));
        assert_eq!(judge(&listed, "http://other.example:8080"), Ok(Page::Known));
        for refused in ["http://example.org", "http://other.example", "http://localhost", "null"] {
            assert_eq!(judge(&listed, refused), Err(Refusal::Origin), "{refused}");
        }
    }

    #[test]
    fn who_comes_through_a_proxy_or_for_a_foreign_page_is_nobody_here() {
        let certificate = Some(ClientCertificate { subject: "CN=ada".to_owned(), ..Default::default() });
        let shown = TlsPeer { certificate, ..TlsPeer::default() };
        let at = |address: [u8; 4]| Peer::from(SocketAddr::from((address, 1)));
        for (is_foreign_page, is_proxied, is_loopback, has_certificate) in [
            (false, false, true, true),
            (false, true, false, true),
            (true, false, false, false),
            (true, true, false, false),
        ] {
            let mut peer = at([127, 0, 0, 1]);
            peer.tls = Some(Box::new(shown.clone()));
            Visit { is_foreign_page, is_proxied }.reveal(&mut peer);
            assert_eq!(peer.is_loopback, is_loopback);
            assert_eq!(peer.tls.unwrap().certificate.is_some(), has_certificate);
        }
        let mut afar = at([192, 0, 2, 1]);
        Visit::default().reveal(&mut afar);
        assert!(!afar.is_loopback);
    }

    #[test]
    fn the_first_subprotocol_that_is_ours_is_taken() {
        let taken = |pairs| subprotocol(&headers(pairs));
        assert_eq!(taken(&[]), None);
        assert_eq!(taken(&[("sec-websocket-protocol", "mqtt")]), None);
        assert_eq!(taken(&[("sec-websocket-protocol", "mqtt, amqp-0-9-1, amqp")]), Some("amqp-0-9-1"));
        let several = [("sec-websocket-protocol", "mqtt"), ("sec-websocket-protocol", "AMQP")];
        assert_eq!(taken(&several), Some("amqp"));
    }
}
