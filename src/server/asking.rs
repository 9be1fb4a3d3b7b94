//! Questions to those who issue access tokens, over HTTP: no longer than a deadline, to where the configuration says or they do
//! themselves (OpenID Connect Discovery). No URL comes from a client.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::identity::oauth::token::same_issuer;
use crate::server::clock;
use crate::time::Moment;

/// The largest answer that is read, in bytes. Key sets have a few thousand.
const LARGEST_ANSWER: u64 = 256 << 10;

/// A few questions that have one deadline. They block.
pub(super) struct Asking {
    agent: Agent,
    until: Moment,
}

impl Asking {
    /// Questions that take so long together, to servers that prove themselves by the system's certificate authorities or these.
    pub(super) fn new(authorities: &[u8], timeout: Duration) -> Result<Self, String> {
        Ok(Self { agent: agent(authorities)?, until: clock::now().moment.after(timeout) })
    }

    fn left(&self) -> Option<Duration> {
        Some(self.until.since(clock::now().moment).max(Duration::from_millis(1)))
    }

    /// What is at a URL.
    pub(super) fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let request = self.agent.get(url).config().timeout_global(self.left()).build();
        let answer = request.call().map_err(|error| format!("{url}: {error}"))?;
        read(url, answer)
    }

    /// What a URL answers to a form, with its status.
    pub(super) fn post(
        &self,
        url: &str,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) -> Result<(u16, Vec<u8>), String> {
        let mut request = self.agent.post(url);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        // What is wrong is told in the body.
        let request = request.config().http_status_as_error(false).timeout_global(self.left()).build();
        let answer = request.send_form(form.iter().copied()).map_err(|error| format!("{url}: {error}"))?;
        Ok((answer.status().as_u16(), read(url, answer)?))
    }

    /// What an issuer tells of itself.
    pub(super) fn discover(&self, issuer: &str) -> Result<Discovered, String> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let told: Value =
            serde_json::from_slice(&self.get(&url)?).map_err(|_| format!("{url}: it is not JSON"))?;
        match told.get("issuer").and_then(Value::as_str) {
            Some(name) if same_issuer(name, issuer) => {}
            // OpenID Connect Discovery, 4.3: it must be the same. Its tokens would name another one, too.
            Some(name) => return Err(format!("{url}: the issuer calls itself {}", name.escape_debug())),
            None => return Err(format!("{url}: it names no issuer")),
        }
        Ok(Discovered { url, told })
    }
}

/// The body of an answer.
fn read(url: &str, answer: Response<ureq::Body>) -> Result<Vec<u8>, String> {
    // The agent is told to follow nobody, and then a redirection is an answer.
    if answer.status().is_redirection() {
        return Err(format!("{url}: it says to ask elsewhere"));
    }
    let body = answer.into_body().into_with_config().limit(LARGEST_ANSWER);
    body.read_to_vec().map_err(|error| format!("{url}: {error}"))
}

/// What an issuer tells of itself.
pub(super) struct Discovered {
    url: String,
    told: Value,
}

impl Discovered {
    /// One of its URLs, by its name. Within TLS nobody is led out of it.
    pub(super) fn address(&self, name: &str) -> Result<String, String> {
        let url = &self.url;
        let found = self.told.get(name).and_then(Value::as_str);
        let found = found.ok_or_else(|| format!("{url}: it names no {name}"))?;
        if found.starts_with("https://") || (!url.starts_with("https://") && found.starts_with("http://")) {
            return Ok(found.to_owned());
        }
        let kind = if url.starts_with("https://") { "https" } else { "http" };
        Err(format!("{url}: its {name} is not {kind}"))
    }

    /// Whether a list of it, by its name, has a word. `None` if there is no such list.
    pub(super) fn lists(&self, name: &str, word: &str) -> Option<bool> {
        let list = self.told.get(name)?.as_array()?;
        Some(list.iter().any(|one| one.as_str() == Some(word)))
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
