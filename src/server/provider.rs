//! The provider at which people log in to the page: where they are sent to, and what is had for the code they come back with
//! (OAuth 2, authorization code with PKCE).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use parking_lot::Mutex;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::server::asking::Asking;
use crate::server::clock;
use crate::time::Moment;

#[cfg(test)]
mod tests;

/// Who the provider is, and who the broker is there.
#[derive(Clone, PartialEq)]
pub struct ProviderOptions {
    /// The broker's name.
    pub client_id: String,
    /// Its secret; empty if it has none.
    pub client_secret: Zeroizing<String>,
    /// The URL of the provider, which tells its addresses; empty if these are given.
    pub url: String,
    /// Where people log in; empty is where the provider says.
    pub authorization_url: String,
    /// Where tokens are had; empty is where the provider says.
    pub token_url: String,
    /// The scopes that are asked for, with spaces between them.
    pub scope: String,
    /// Certificate authorities in PEM that are believed besides those of the system.
    pub authorities: Vec<u8>,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// How long the addresses that it told are used.
    pub refresh: Duration,
    /// How long it is left alone after it did not tell them.
    pub rest: Duration,
}

impl fmt::Debug for ProviderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderOptions")
            .field("client_id", &self.client_id)
            .field("url", &self.url)
            .field("authorization_url", &self.authorization_url)
            .field("token_url", &self.token_url)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Where the provider is asked, and how.
#[derive(Clone, Debug, PartialEq)]
struct Addresses {
    authorization: String,
    token: String,
    /// Whether the secret goes into the form, since the provider takes it nowhere else.
    has_secret_in_form: bool,
}

/// The provider, as far as it is known.
pub struct Provider {
    options: ProviderOptions,
    known: Mutex<Option<Known>>,
}

/// What was found when the provider was asked for its addresses.
struct Known {
    outcome: Result<Addresses, String>,
    until: Moment,
}

/// How much of what a provider says the log has, in characters.
const SHOWN: usize = 200;

impl Provider {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(options: ProviderOptions) -> Self {
        Self { options, known: Mutex::new(None) }
    }

    /// The URL that a browser is sent to, which comes back to `redirect_uri` with `state` and a code. It may block.
    ///
    /// # Errors
    /// The provider does not tell it; the text is for the log.
    pub fn authorization(&self, redirect_uri: &str, state: &str, challenge: &str) -> Result<String, String> {
        let mut url = self.addresses()?.authorization;
        url.push(if url.contains('?') { '&' } else { '?' });
        let begin = url.len();
        let mut query = Serializer::for_suffix(url, begin);
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
        if !self.options.scope.is_empty() {
            query.append_pair("scope", &self.options.scope);
        }
        Ok(query.finish())
    }

    /// The access token for a code. It blocks.
    ///
    /// # Errors
    /// The provider does not give it; the text is for the log.
    pub fn token(&self, code: &str, redirect_uri: &str, verifier: &str) -> Result<Zeroizing<String>, String> {
        let Addresses { token: url, has_secret_in_form, .. } = self.addresses()?;
        let (id, secret) = (&*self.options.client_id, &**self.options.client_secret);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let mut authorization = None;
        if secret.is_empty() {
            form.push(("client_id", id));
        } else if has_secret_in_form {
            form.extend([("client_id", id), ("client_secret", secret)]);
        } else {
            authorization = Some(basic(id, secret));
        }
        let asking = Asking::new(&self.options.authorities, self.options.timeout)?;
        let (status, body) = asking.post(&url, authorization.as_deref().map(String::as_str), &form)?;
        let told: Value = serde_json::from_slice(&Zeroizing::new(body))
            .map_err(|_| format!("{url}: status {status}, and it is not JSON"))?;
        let text = |name: &str| told.get(name).and_then(Value::as_str);
        if status != 200 {
            let why = [text("error"), text("error_description")].into_iter().flatten().collect::<Vec<_>>();
            let why: String = why.join(": ").chars().take(SHOWN).flat_map(char::escape_debug).collect();
            return Err(format!("{url}: status {status}, {why}"));
        }
        if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(format!("{url}: what it gives is no bearer's token"));
        }
        let token = text("access_token").ok_or_else(|| format!("{url}: it gives no access token"))?;
        Ok(Zeroizing::new(token.to_owned()))
    }

    /// The addresses, which are asked for at most now and then. Who asks meanwhile waits for the same answer.
    fn addresses(&self) -> Result<Addresses, String> {
        let mut known = self.known.lock();
        let now = clock::now().moment;
        if let Some(Known { outcome, .. }) = known.as_ref().filter(|known| now < known.until) {
            return outcome.clone();
        }
        let outcome = self.find_addresses();
        let time = if outcome.is_ok() { self.options.refresh } else { self.options.rest };
        *known = Some(Known { outcome: outcome.clone(), until: clock::now().moment.after(time) });
        outcome
    }

    fn find_addresses(&self) -> Result<Addresses, String> {
        let ProviderOptions { url, authorization_url, token_url, authorities, timeout, .. } = &self.options;
        if !authorization_url.is_empty() && !token_url.is_empty() {
            let (authorization, token) = (authorization_url.clone(), token_url.clone());
            return Ok(Addresses { authorization, token, has_secret_in_form: false });
        }
        let told = Asking::new(authorities, *timeout)?.discover(url)?;
        let address = |given: &String, name: &str| match &**given {
            "" => told.address(name),
            given => Ok(given.to_owned()),
        };
        let authorization = address(authorization_url, "authorization_endpoint")?;
        if authorization.contains('#') {
            return Err(format!("{url}: its authorization_endpoint has a #"));
        }
        let takes = |way: &str| told.lists("token_endpoint_auth_methods_supported", way);
        Ok(Addresses {
            authorization,
            token: address(token_url, "token_endpoint")?,
            // Without a list it is the other way (OpenID Connect Discovery, 3).
            has_secret_in_form: takes("client_secret_basic") == Some(false)
                && takes("client_secret_post") == Some(true),
        })
    }
}

/// Name and secret in the head of a request, both encoded as in forms (RFC 6749, 2.3.1).
fn basic(id: &str, secret: &str) -> Zeroizing<String> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let both = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(both.as_bytes())))
}
