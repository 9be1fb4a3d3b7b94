//! Who a request comes from: credentials in its head are checked as those of AMQP clients are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, FORWARDED, VIA};
use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::broker::churn::LoginProtocol;
use crate::broker::login::{Answer, Attempt};
use crate::broker::sources::Source;
use crate::broker::users::{LoginError, User};
use crate::management::Api;
use crate::management::error::ApiError;
use crate::management::sessions::{self, Login};
use crate::management::visitor::Visitor;

/// The longest credentials that are looked at, in bytes. Access tokens are large.
const LONGEST: usize = 12 << 10;

/// How much of a name the log has, in characters.
const SHOWN: usize = 64;

/// A stranger's name as the log may have it.
fn shown(name: &str) -> String {
    name.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

/// How long a password may wait until it is checked.
const LOGIN_PATIENCE: Duration = Duration::from_secs(20);

/// What proxies add to a request. That they are there says enough; what they say is not believed.
const OF_PROXIES: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By TCP, from this address.
    Address {
        ip: IpAddr,
        is_tls: bool,
        /// From this machine. A proxy on it may speak for anybody.
        is_loopback: bool,
    },
    /// By the control socket.
    Local,
}

impl Origin {
    /// That of requests on a connection from an address.
    pub(crate) fn of_connection(ip: IpAddr, is_tls: bool) -> Self {
        Self::Address { ip, is_tls, is_loopback: ip.to_canonical().is_loopback() }
    }

    /// That of one of them, as its head makes it look.
    pub(crate) fn of_request(self, headers: &HeaderMap) -> Self {
        match self {
            Self::Address { ip, is_tls, is_loopback } => {
                let is_proxied = OF_PROXIES.iter().any(|name| headers.contains_key(name));
                Self::Address { ip, is_tls, is_loopback: is_loopback && !is_proxied }
            }
            Self::Local => Self::Local,
        }
    }

    /// Whether nobody on the way could read it.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Address { is_tls: true, .. })
    }
}

/// Whether a head presents nothing but the cookie of a session, which browsers send along by themselves.
pub(crate) fn has_cookie_only(headers: &HeaderMap) -> bool {
    !headers.contains_key(AUTHORIZATION) && sessions::in_cookie(headers).is_some()
}

/// The token of a session in a head: a bearer's or, where nothing else is presented, that of a cookie.
pub(crate) fn shown_token(headers: &HeaderMap) -> Option<&str> {
    let Some(head) = headers.get(AUTHORIZATION) else { return sessions::in_cookie(headers) };
    let (scheme, token) = head.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && sessions::is_token(token))
}

/// What somebody presents in the head of a request.
struct Credentials {
    user: String,
    password: Zeroizing<Vec<u8>>,
}

impl Credentials {
    /// Those of a head.
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let head = headers.get(AUTHORIZATION).ok_or(ApiError::Unknown)?;
        let text = head.to_str().ok().filter(|text| text.len() <= LONGEST);
        text.and_then(Self::parse).ok_or_else(|| ApiError::bad("the Authorization header cannot be read"))
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self { user: String::new(), password: Zeroizing::new(rest.as_bytes().to_vec()) });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(rest).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let user = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
        Some(Self { user, password: Zeroizing::new(decoded[colon + 1..].to_vec()) })
    }
}

/// What a login is refused with.
fn refusal(error: &LoginError) -> ApiError {
    match error {
        LoginError::NotLoopback => ApiError::refused("User can only log in via localhost"),
        LoginError::Busy => ApiError::Unavailable(error.to_string()),
        _ => ApiError::Unknown,
    }
}

impl Api {
    /// Finds out who asks. The answer to wrong credentials is held back for a while, longer each time.
    ///
    /// # Errors
    /// If there are no credentials, or they are wrong, or there is no time to check them.
    pub(crate) async fn visitor(
        self: &Arc<Self>,
        headers: &HeaderMap,
        origin: Origin,
    ) -> Result<Visitor, ApiError> {
        let (address, is_loopback) = match origin {
            Origin::Local => return Ok(Visitor::Local),
            Origin::Address { ip, is_loopback, .. } => (ip, is_loopback),
        };
        if let Some(token) = shown_token(headers) {
            let found = self.sessions.find(token, is_loopback, (self.clock)().moment);
            // Nobody guesses one, so that no answer has to be held back.
            return found.map(Visitor::User).map_err(|error| refusal(&error));
        }
        self.known(Credentials::of(headers)?, address, is_loopback).await.map(Visitor::User)
    }

    /// Finds out who logs in by a form. The answer to wrong credentials is held back as well. `None` is whoever comes by the
    /// control socket.
    ///
    /// # Errors
    /// If there are no credentials, or they are wrong, or there is no time to check them.
    pub(crate) async fn login(
        self: &Arc<Self>,
        form: &[(String, String)],
        origin: Origin,
    ) -> Result<Option<Login>, ApiError> {
        let Origin::Address { ip, is_loopback, .. } = origin else { return Ok(None) };
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let (Some(user), Some(password)) = (field("username"), field("password")) else {
            return Err(ApiError::Unknown);
        };
        if user.len() + password.len() > LONGEST {
            return Err(ApiError::bad("the credentials are too long"));
        }
        // Before the password is checked: it may be changed meanwhile.
        let before = self.broker.users.find(&user).map_or(0, |user| user.password_version());
        let password = Zeroizing::new(password.into_bytes());
        let user = self.known(Credentials { user, password }, ip, is_loopback).await?;
        // Who came with an access token has no password, whatever a kept user of that name has.
        let password = if user.token().is_some() { user.password_version() } else { before };
        Ok(Some(Login { user, password }))
    }

    /// Finds out who logs in by an access token, and nothing else, that was had for them.
    ///
    /// # Errors
    /// As with a form.
    pub(crate) async fn login_by_token(
        self: &Arc<Self>,
        token: &str,
        address: IpAddr,
    ) -> Result<Login, ApiError> {
        if token.len() > LONGEST {
            return Err(ApiError::bad("the access token is too long"));
        }
        let password = Zeroizing::new(token.as_bytes().to_vec());
        // Nobody is kept from logging in by a token from elsewhere.
        let user = self.known(Credentials { user: String::new(), password }, address, false).await?;
        if user.token().is_none() {
            return Err(ApiError::Unknown);
        }
        Ok(Login { password: user.password_version(), user })
    }

    /// Finds out whose credentials these are, and holds back the answer if they are nobody's.
    async fn known(
        self: &Arc<Self>,
        credentials: Credentials,
        address: IpAddr,
        from_loopback: bool,
    ) -> Result<Arc<User>, ApiError> {
        let Credentials { user, password } = credentials;
        let (source, name) = (Source::from(address), user.clone());
        let attempt = Attempt { user, password, from_loopback, now: (self.clock)() };
        let error = match self.checked(attempt, source, address).await {
            Ok(user) => return Ok(user),
            Err(error) => error,
        };
        if !matches!(error, LoginError::Busy) {
            let first = self.live.current().failed_login_delay;
            let now = (self.clock)().moment;
            let delay = self.broker.logins.delay_after_failure(Some(source), &name, first, now);
            tokio::time::sleep(delay).await;
        }
        Err(refusal(&error))
    }

    /// Has credentials checked. What is known needs no work and does not wait. What does is done to its end, counted and
    /// logged even if the client has gone: closing is not a way to guess faster.
    async fn checked(
        self: &Arc<Self>,
        attempt: Attempt,
        source: Source,
        address: IpAddr,
    ) -> Result<Arc<User>, LoginError> {
        if let Some(answer) = self.broker.logins.recall(&attempt) {
            self.note_login(&answer, &attempt.user, source, address);
            return answer;
        }
        let waiting = timeout(LOGIN_PATIENCE, self.places.logging_in.clone().acquire_owned()).await;
        let Ok(Ok(place)) = waiting else { return Err(LoginError::Busy) };
        let api = self.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let name = attempt.user.clone();
            let answer = api.broker.logins.check(attempt);
            drop(place);
            api.note_login(&answer, &name, source, address);
            answer
        });
        checking.await.unwrap_or(Err(LoginError::Busy))
    }

    fn note_login(&self, answer: &Answer, name: &str, source: Source, address: IpAddr) {
        self.broker.login_attempts.note(LoginProtocol::Http, answer.is_ok());
        let Err(error) = answer else {
            self.broker.logins.note_success(Some(source), name);
            return;
        };
        if let Some(unsaid) = self.broker.strangers.logins.admit(Some(source), (self.clock)().moment) {
            let (user, unsaid) = (shown(name), (unsaid > 0).then_some(unsaid));
            tracing::warn!(peer = %address, user, unsaid, "login to the management API refused: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn who_comes_through_a_proxy_is_not_of_this_machine() {
        let is_loopback = |address: &str, header: Option<&'static str>| {
            let named = |name| (HeaderName::from_static(name), HeaderValue::from_static("127.0.0.1"));
            let headers: HeaderMap = header.map(named).into_iter().collect();
            let origin = Origin::of_connection(address.parse().unwrap(), false).of_request(&headers);
            matches!(origin, Origin::Address { is_loopback: true, .. })
        };
        for address in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(
                is_loopback(address, None) && is_loopback(address, Some("x-forwarded-proto")),
                "{address}"
            );
            for header in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
                assert!(!is_loopback(address, Some(header)), "{address} {header}");
            }
        }
        assert!(!is_loopback("192.0.2.1", None) && !is_loopback("::ffff:192.0.2.1", None));
    }
}
