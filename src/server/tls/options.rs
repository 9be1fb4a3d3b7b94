//! What TLS listeners are told. Filled by `config`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::ciphers::Cipher;

/// Certificates, keys and rules of TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsOptions {
    /// The certificate for clients that name no host, or one without a certificate of its own.
    pub identity: Identity,
    /// Certificates for clients that name a host (SNI), by name. `*.` at the front stands for one label.
    pub hosts: BTreeMap<String, Identity>,
    /// The authorities whose client certificates are taken (PEM).
    pub authorities: Option<PathBuf>,
    /// Client certificates that were revoked (PEM).
    pub revoked: Option<PathBuf>,
    /// What is asked of clients.
    pub client_certificates: ClientCertificates,
    /// Versions that are spoken; never empty.
    pub versions: Vec<TlsVersion>,
    /// Cipher suites, the preferred ones first; empty for all that are safe.
    pub ciphers: Vec<Cipher>,
    /// Whether our order of cipher suites counts rather than the client's.
    pub honor_cipher_order: bool,
    /// How often the files are looked at for changes; zero is never.
    pub check_interval: Duration,
}

/// A certificate with its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, which may be followed by its chain (PEM).
    pub cert: PathBuf,
    /// Its private key (PEM, not encrypted).
    pub key: PathBuf,
    /// The certificates between it and the authority, if they are in a file of their own (PEM).
    pub chain: Option<PathBuf>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Ignored,
    /// They are asked. What they show must be valid, but they may show none.
    Optional,
    /// Without a valid one there is no connection.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.3.
    V13,
    /// TLS 1.2.
    V12,
}
