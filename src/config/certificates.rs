//! Certificates by host, `[tls.sni.NAME]`, and whether what TLS needs is there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Options;
use super::error::{ConfigError, Origin};
use super::setting::{Setting as _, Verify};
use super::value::Value;
use crate::server::tls::Identity;

/// Where their names begin.
pub(super) const PREFIX: &str = "tls.sni.";

/// The keys of such a section.
pub(super) const KEYS: [&str; 3] = ["cert", "key", "chain"];

/// A certificate from `[tls.sni.NAME]`, whose parts may come from different sources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostEntry {
    /// File of the certificate. A host must have one in the end.
    pub cert: Option<PathBuf>,
    /// File of its key. A host must have one in the end.
    pub key: Option<PathBuf>,
    /// File of its chain, if that is not behind the certificate.
    pub chain: Option<PathBuf>,
}

impl HostEntry {
    /// Sets the file of a key in [`KEYS`]; `None` if the value is no path, or there is no such key.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Option<()> {
        let place = match key {
            "cert" => &mut self.cert,
            "key" => &mut self.key,
            "chain" => &mut self.chain,
            _ => return None,
        };
        *place = Some(PathBuf::read(value)?);
        Some(())
    }

    /// What is set, as TOML.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, toml::Value)> {
        let files = [("cert", &self.cert), ("key", &self.key), ("chain", &self.chain)];
        files.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?.show())))
    }

    /// Certificate and key, once both are there.
    pub(super) fn identity(&self) -> Option<Identity> {
        Some(Identity { cert: self.cert.clone()?, key: self.key.clone()?, chain: self.chain.clone() })
    }
}

/// Whether the options about TLS go together, now that every source has been read.
pub(super) fn check(options: &Options, origins: &BTreeMap<String, Origin>) -> Result<(), ConfigError> {
    let conflict = |key: &str, why: &str| match origins.get(key) {
        Some(origin) => {
            Err(ConfigError::Conflict { origin: origin.clone(), key: key.to_owned(), why: why.to_owned() })
        }
        None => Ok(()),
    };
    let tls = &options.tls;
    let uses = [
        ("listen.amqps", !options.listen.amqps.0.is_empty()),
        ("listen.websocket_tls", !options.listen.websocket_tls.0.is_empty()),
        ("tls.cert", tls.cert.is_some()),
        ("tls.key", tls.key.is_some()),
    ];
    if tls.cert.is_none() || tls.key.is_none() {
        for (key, _) in uses.into_iter().filter(|(_, is_set)| *is_set) {
            conflict(key, "it needs both `tls.cert` and `tls.key`")?;
        }
    }
    if tls.verify == Verify::Peer && tls.ca.is_none() {
        conflict("tls.verify", "\"peer\" needs `tls.ca`")?;
    }
    if tls.verify == Verify::None && tls.fail_if_no_peer_cert {
        conflict("tls.fail_if_no_peer_cert", "it needs `tls.verify` to be \"peer\"")?;
    }
    for (host, entry) in &options.hosts {
        if entry.identity().is_none() {
            conflict(&format!("{PREFIX}{host}"), "it needs both `cert` and `key`")?;
        }
    }
    Ok(())
}
