//! Ways to a broker.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::Target;
use crate::management::control_socket;

/// The port of the management API.
const PORT: u16 = 15672;

/// The same within TLS.
const TLS_PORT: u16 = 15671;

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Who asks.
pub(in crate::cli) struct Login {
    pub(in crate::cli) user: String,
    pub(in crate::cli) password: Zeroizing<String>,
}

impl Login {
    /// As HTTP has it, marked so that nothing shows it.
    pub(super) fn header(&self) -> HeaderValue {
        let pair = Zeroizing::new(format!("{}:{}", self.user, *self.password));
        let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        // Base64 is nothing that a header cannot have.
        let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A broker that is reached by TCP.
pub(in crate::cli) struct Remote {
    pub(in crate::cli) host: String,
    pub(in crate::cli) port: u16,
    /// What paths begin with: the management API may have its own there.
    pub(in crate::cli) prefix: String,
    pub(in crate::cli) login: Option<Login>,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Remote {
    /// From `http://host:port`, `https://host:port` or the like. Certificates have to be signed by one of the system's
    /// authorities, or by one in the file `authorities`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(in crate::cli) fn new(
        url: &str,
        login: Option<Login>,
        authorities: Option<&Path>,
    ) -> Result<Self, String> {
        let wrong = || format!("'{url}' should be http://HOST:PORT or https://HOST:PORT");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?.to_owned();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("a URL shows passwords to others: use --username, and LEVERET_PASSWORD".to_owned());
        }
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let port = uri.port_u16().unwrap_or(if is_secure { TLS_PORT } else { PORT });
        let tls = is_secure.then(|| trusting(authorities)).transpose()?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { host, port, prefix, login, tls })
    }

    /// As a request names it.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The name without the brackets of an IPv6 address.
    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// What is to be believed of certificates.
fn trusting(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let failed = |error: &dyn fmt::Display| format!("cannot read {}: {error}", path.display());
            let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
            if roots.is_empty() {
                return Err(failed(&"there is no certificate in it"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("the system has no authorities; name some by --ca".to_owned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A connection to the broker of a data directory.
fn local(data_dir: &Path) -> io::Result<UnixStream> {
    let stream = control_socket::connect(data_dir)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl Target {
    /// The process that listens there, as the operating system tells it; it has 0 for one that cannot be seen.
    pub(super) async fn process(&self) -> io::Result<Option<i32>> {
        let Self::Local(data_dir) = self else { return Ok(None) };
        Ok(local(data_dir)?.peer_cred()?.pid().filter(|pid| *pid > 0))
    }

    /// Connects.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let remote = match self {
            Self::Local(data_dir) => return Ok(Box::new(local(data_dir)?)),
            Self::Remote(remote) => remote,
        };
        let stream = TcpStream::connect((remote.bare_host(), remote.port)).await?;
        let Some(tls) = &remote.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(remote.bare_host().to_owned())
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error.to_string()))?;
        Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let of = |url: &str| {
            let Remote { host, port, prefix, .. } = Remote::new(url, None, None)?;
            Ok::<_, String>((host, port, prefix))
        };
        assert_eq!(of("http://broker"), Ok(("broker".to_owned(), 15672, String::new())));
        assert_eq!(of("http://broker:80/mq/"), Ok(("broker".to_owned(), 80, "/mq".to_owned())));
        assert_eq!(of("http://[::1]:9"), Ok(("[::1]".to_owned(), 9, String::new())));
        assert!(of("http://a:b@broker").unwrap_err().contains("LEVERET_PASSWORD"));
        for wrong in ["broker", "amqp://broker", "/path", "http://", ""] {
            assert!(of(wrong).unwrap_err().contains("should be"), "{wrong}");
        }
    }

    #[test]
    fn a_login_does_not_show_itself() {
        let login = Login { user: "u".to_owned(), password: Zeroizing::new("secret".to_owned()) };
        assert_eq!(login.header(), "Basic dTpzZWNyZXQ=");
        assert!(login.header().is_sensitive() && !format!("{login:?}").contains("secret"));
    }
}
