//! From the options and their files to what rustls serves with.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::options::ClientCertificates;
use super::resolver::Resolver;
use super::{Identity, TlsError, TlsOptions, TlsVersion, files, names};
use crate::broker::node::Certificate;

/// Begins the text of an encrypted key, in its two forms.
const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];

/// What is served with.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// To AMQP clients.
    pub(super) amqp: Arc<ServerConfig>,
    /// To the management API's, who are not asked for a certificate.
    pub(super) https: Arc<ServerConfig>,
    /// The certificates that it shows.
    pub(super) certificates: Vec<Certificate>,
}

/// Reads all files and puts them together.
pub(super) fn served(options: &TlsOptions) -> Result<Served, TlsError> {
    let provider = Arc::new(provider(options));
    let versions: Vec<&SupportedProtocolVersion> =
        options.versions.iter().map(|version| protocol(*version)).collect();
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions).map_err(
            |error| TlsError::Settings(format!("tls.ciphers and tls.versions leave nothing: {error}")),
        )?;
    let mut certificates = Vec::new();
    let mut load = |identity: &Identity| {
        let certified = certified(identity, &provider)?;
        let ends_at = certified.cert.first().and_then(names::ends_at);
        certificates.extend(ends_at.map(|ends_at| Certificate { file: identity.cert.clone(), ends_at }));
        Ok(Arc::new(certified))
    };
    let mut resolver = Resolver::new(load(&options.identity)?);
    for (host, identity) in &options.hosts {
        resolver.add(host, load(identity)?);
    }
    let resolver = Arc::new(resolver);
    let mut https = builder.clone().with_no_client_auth().with_cert_resolver(resolver.clone());
    https.ignore_client_order = options.honor_cipher_order;
    let mut config = match verifier(options, &provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    }
    .with_cert_resolver(resolver);
    config.ignore_client_order = options.honor_cipher_order;
    if options.client_certificates != ClientCertificates::Ignored {
        // A session that is resumed shows no certificate, and so would outlive its end and its revocation.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Served { amqp: Arc::new(config), https: Arc::new(https), certificates })
}

fn provider(options: &TlsOptions) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !options.ciphers.is_empty() {
        provider.cipher_suites = options.ciphers.iter().map(|cipher| cipher.suite()).collect();
    }
    provider
}

fn protocol(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V13 => &rustls::version::TLS13,
        TlsVersion::V12 => &rustls::version::TLS12,
    }
}

/// A certificate with its chain and key, which belong together.
fn certified(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let mut chain = certificates(&identity.cert)?;
    if let Some(path) = &identity.chain {
        chain.extend(certificates(path)?);
    }
    let key = private_key(&identity.key)?;
    let leaf = chain.first().cloned();
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::file(
            &identity.key,
            format!("this is not the private key of the certificate in {}", identity.cert.display()),
        ),
        rustls::Error::InvalidCertificate(why) => {
            TlsError::file(&identity.cert, format!("not a usable certificate: {why}"))
        }
        other => TlsError::file(&identity.key, format!("not a usable private key: {other}")),
    })?;
    if let Some(leaf) = leaf {
        names::log_own(&identity.cert, &leaf);
    }
    Ok(certified)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = files::read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| TlsError::file(path, format!("not PEM: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::file(path, "there is no certificate in it (\"BEGIN CERTIFICATE\")".to_owned()));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = files::read_key(path)?;
    let has = |marker: &[u8]| text.windows(marker.len()).any(|window| window == marker);
    if ENCRYPTED.into_iter().any(has) {
        let why = "the private key is encrypted, which is not supported; write it without a passphrase, such as with \
                   `openssl pkey`, and let nobody else read the file";
        return Err(TlsError::file(path, why.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        // The parser's own words might quote the file.
        TlsError::file(path, "there is no private key in it (\"BEGIN PRIVATE KEY\")".to_owned())
    })
}

/// What looks at the certificates of clients; `None` if they are not asked for one.
fn verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if options.client_certificates == ClientCertificates::Ignored {
        return Ok(None);
    }
    let Some(path) = &options.authorities else {
        let why = "tls.verify is \"peer\", but tls.ca names no authority whose client certificates count";
        return Err(TlsError::Settings(why.to_owned()));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::file(path, format!("not a usable authority: {error}")))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut checked = path;
    if let Some(path) = &options.revoked {
        // One that nobody renews says nothing about today.
        builder = builder.with_crls(revocations(path)?).enforce_revocation_expiration();
        builder = builder.only_check_end_entity_revocation();
        checked = path;
    }
    if options.client_certificates == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map(Some).map_err(|error| TlsError::file(checked, error.to_string()))
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let text = files::read(path)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| TlsError::file(path, format!("not PEM: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::file(
            path,
            "there is no list of revocations in it (\"BEGIN X509 CRL\")".to_owned(),
        ));
    }
    Ok(found)
}
