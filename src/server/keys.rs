//! Keys of access tokens, fetched from where the configuration says: from a key set, or from an issuer that says where
//! its key set is (OpenID Connect Discovery). No URL comes from a client.
//!
//! It is done by a thread of its own, so that a key server which hangs holds up nobody but who waits for its keys.

use std::io;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::broker::key_ring::KeyRing;
use crate::identity::oauth::KeySet;
use crate::identity::oauth::token::same_issuer;
use crate::server::clock;
use crate::time::Moment;

#[cfg(test)]
mod tests;

/// Where keys are, and how often they are fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySource {
    /// Where to ask.
    pub place: KeyPlace,
    /// Certificate authorities in PEM that are believed besides those of the system.
    pub authorities: Vec<u8>,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// From one fetch to the next.
    pub refresh: Duration,
    /// The least time from a fetch to one that an unknown key asks for.
    pub rest: Duration,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyPlace {
    /// The URL of a key set.
    Set(String),
    /// The URL of an issuer, who tells the URL of the key set.
    Issuer(String),
}

/// The largest answer that is read, in bytes. Key sets have a few thousand.
const LARGEST_ANSWER: u64 = 256 << 10;

/// How soon it is tried again after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// Fetches keys into `ring` until that is closed.
///
/// # Errors
/// If the operating system has no more threads.
pub(super) fn start(ring: Arc<KeyRing>, source: KeySource) -> io::Result<()> {
    // It is not waited for in the end: it may be in the middle of a fetch, which changes nothing.
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || run(&ring, &source)).map(|_| ())
}

fn run(ring: &KeyRing, source: &KeySource) {
    loop {
        // What panics has failed; the hook has logged it.
        let outcome = catch_unwind(|| fetch(source)).unwrap_or_else(|_| Err("it panicked".to_owned()));
        let pause = match &outcome {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the keys of access tokens were fetched");
                source.refresh
            }
            Err(why) => {
                tracing::warn!("the keys of access tokens cannot be fetched, those there are stay: {why}");
                source.refresh.min(RETRY)
            }
        };
        ring.put(outcome.ok());
        if !ring.rest(source.rest) || !ring.wait(pause.saturating_sub(source.rest)) {
            return;
        }
    }
}

/// Fetches the keys once, and blocks meanwhile.
fn fetch(source: &KeySource) -> Result<KeySet, String> {
    let asking =
        Asking { agent: agent(&source.authorities)?, until: clock::now().moment.after(source.timeout) };
    let url = match &source.place {
        KeyPlace::Set(url) => url.clone(),
        KeyPlace::Issuer(issuer) => asking.discover(issuer)?,
    };
    let set = asking.get(&url)?;
    KeySet::from_jwks(&set).map_err(|error| format!("{url}: {error}"))
}

struct Asking {
    agent: Agent,
    until: Moment,
}

impl Asking {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let left = self.until.since(clock::now().moment).max(Duration::from_millis(1));
        let request = self.agent.get(url).config().timeout_global(Some(left)).build();
        let answer = request.call().map_err(|error| format!("{url}: {error}"))?;
        // The agent is told to follow nobody, and then a redirection is an answer.
        if answer.status().is_redirection() {
            return Err(format!("{url}: it says to ask elsewhere"));
        }
        let body = answer.into_body().into_with_config().limit(LARGEST_ANSWER);
        body.read_to_vec().map_err(|error| format!("{url}: {error}"))
    }

    /// The URL of an issuer's key set.
    fn discover(&self, issuer: &str) -> Result<String, String> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let answer: Value =
            serde_json::from_slice(&self.get(&url)?).map_err(|_| format!("{url}: it is not JSON"))?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        match text("issuer") {
            Some(name) if same_issuer(name, issuer) => {}
            // OpenID Connect Discovery, 4.3: it must be the same. Its tokens would name another one, too.
            Some(name) => return Err(format!("{url}: the issuer calls itself {}", name.escape_debug())),
            None => return Err(format!("{url}: it names no issuer")),
        }
        let keys = text("jwks_uri").ok_or_else(|| format!("{url}: it names no jwks_uri"))?;
        let is_safe = keys.starts_with("https://") || !issuer.starts_with("https://");
        if is_safe { Ok(keys.to_owned()) } else { Err(format!("{url}: its jwks_uri is not https")) }
    }
}

/// A client of HTTP that believes the system's certificate authorities and `authorities`.
fn agent(authorities: &[u8]) -> Result<Agent, String> {
    // The system's are read each time, so that changed ones count. What cannot be read of them may not be needed.
    let system = rustls_native_certs::load_native_certs().certs;
    let mut roots: Vec<Certificate<'static>> =
        system.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    for item in parse_pem(authorities) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("the certificate authorities: {error}")),
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("leveret/", env!("CARGO_PKG_VERSION")))
        .accept("application/json");
    Ok(config.build().new_agent())
}
