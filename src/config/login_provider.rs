//! Logging in to the page at a provider: `[http.oauth]`.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::error::{ConfigError, Origin};
use super::options::Options;
use crate::management::options::CodeFlowOptions;
use crate::server::provider::ProviderOptions;

/// Where the names of the section begin.
const SECTION: &str = "http.oauth.";

/// Whether a text is a URL that can be asked. What is added to it would be lost behind a `#`.
fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) && !text.contains('#')
}

/// Whether a text is the origin of a page: a scheme, a host and perhaps a port.
fn is_origin(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    text.split_once("://").is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https") && !host.is_empty() && host.chars().all(is_plain)
    })
}

impl Options {
    /// Looks whether everything goes together.
    pub(super) fn check_login_provider(&self, origins: &BTreeMap<String, Origin>) -> Result<(), ConfigError> {
        let section = &self.http_oauth;
        if !section.enabled {
            return Ok(());
        }
        let fail = |key: &str, why: &str| {
            let key = format!("{SECTION}{key}");
            let origin = origins.get(&key).or_else(|| origins.get("http.oauth.enabled")).cloned();
            Err(ConfigError::BadTokens { origin, key, why: why.to_owned() })
        };
        if !self.takes_tokens() {
            return fail("enabled", "access tokens are not taken: auth.backends has no \"oauth2\"");
        }
        if section.client_id.is_empty() {
            return fail("client_id", "the provider must be told which client asks");
        }
        let (authorization, token) = (&section.authorization_url, &section.token_url);
        for (key, url) in [
            ("provider_url", &section.provider_url),
            ("authorization_url", authorization),
            ("token_url", token),
        ] {
            if !url.is_empty() && !is_url(url) {
                return fail(key, "it does not begin with https:// or http://, or has a #");
            }
        }
        let missing = [("authorization_url", authorization), ("token_url", token)];
        if self.provider_url().is_empty()
            && let Some((key, _)) = missing.into_iter().find(|(_, url)| url.is_empty())
        {
            return fail(key, "it is not known without one of provider_url and auth.oauth2.issuer");
        }
        if !section.origin.is_empty() && !is_origin(&section.origin) {
            return fail("origin", "it is not like https://mq.example.org, without a path");
        }
        Ok(())
    }

    /// The URL of who tells the addresses, empty if nobody does.
    fn provider_url(&self) -> &str {
        let own = self.http_oauth.provider_url.as_str();
        if own.is_empty() { &self.oauth2.issuer } else { own }
    }

    /// Who lets people in, if somebody does.
    pub(super) fn login_provider(&self) -> Option<ProviderOptions> {
        let (section, tokens) = (&self.http_oauth, &self.oauth2);
        let scopes: Vec<&str> = section.scopes.iter().map(|scope| scope.0.as_str()).collect();
        section.enabled.then(|| ProviderOptions {
            client_id: section.client_id.clone(),
            client_secret: Zeroizing::new(section.client_secret.0.clone()),
            url: self.provider_url().to_owned(),
            authorization_url: section.authorization_url.clone(),
            token_url: section.token_url.clone(),
            scope: scopes.join(" "),
            authorities: self.token_authorities(),
            timeout: tokens.timeout.0,
            refresh: tokens.refresh.0,
            rest: tokens.refresh_min.0,
        })
    }

    /// What the page has to know of it.
    pub(super) fn code_flow(&self) -> Option<CodeFlowOptions> {
        let section = &self.http_oauth;
        let origin = Some(section.origin.clone()).filter(|origin| !origin.is_empty());
        section.enabled.then(|| CodeFlowOptions { label: section.label.0.clone(), origin })
    }
}
