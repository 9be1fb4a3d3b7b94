//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates by the host that clients name.
#[derive(Debug)]
pub(super) struct Resolver {
    default: Arc<CertifiedKey>,
    by_host: HashMap<String, Arc<CertifiedKey>>,
}

impl Resolver {
    pub(super) fn new(default: Arc<CertifiedKey>) -> Self {
        Self { default, by_host: HashMap::new() }
    }

    /// Shows `key` to clients that name `host`; `*.` at its front stands for one label.
    pub(super) fn add(&mut self, host: &str, key: Arc<CertifiedKey>) {
        self.by_host.insert(host.to_ascii_lowercase(), key);
    }

    fn find(&self, host: &str) -> &Arc<CertifiedKey> {
        let host = host.to_ascii_lowercase();
        let wild = || {
            let (_, domain) = host.split_once('.')?;
            self.by_host.get(&format!("*.{domain}"))
        };
        self.by_host.get(&host).or_else(wild).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(client_hello.server_name().map_or(&self.default, |host| self.find(host)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Arc<CertifiedKey> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Arc::new(CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).unwrap())
    }

    #[test]
    fn the_nearest_name_counts() {
        let (default, exact, wild) = (key(), key(), key());
        let mut resolver = Resolver::new(default.clone());
        resolver.add("MQ.example.com", exact.clone());
        resolver.add("*.example.com", wild.clone());
        for (host, expected) in [
            ("mq.EXAMPLE.com", &exact),
            ("other.example.com", &wild),
            ("a.b.example.com", &default),
            ("example.com", &default),
            ("localhost", &default),
        ] {
            assert!(Arc::ptr_eq(resolver.find(host), expected), "{host}");
        }
    }
}
