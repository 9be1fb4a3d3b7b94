//! Who a request comes from: credentials in its head are checked as those of AMQP clients are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
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

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By TCP, from this address.
    Address(IpAddr),
    /// By the control socket.
    Local,
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
        let address = match origin {
            Origin::Local => return Ok(Visitor::Local),
            Origin::Address(address) => address,
        };
        let Credentials { user, password } = Credentials::of(headers)?;
        let (source, name) = (Source::from(address), user.clone());
        let from_loopback = address.to_canonical().is_loopback();
        let attempt = Attempt { user, password, from_loopback, now: (self.clock)() };
        let error = match self.checked(attempt, source, address).await {
            Ok(user) => return Ok(Visitor::User(user)),
            Err(error) => error,
        };
        if !matches!(error, LoginError::Busy) {
            let first = self.live.current().failed_login_delay;
            let now = (self.clock)().moment;
            let delay = self.broker.logins.delay_after_failure(Some(source), &name, first, now);
            tokio::time::sleep(delay).await;
        }
        Err(match error {
            LoginError::NotLoopback => ApiError::refused("User can only log in via localhost"),
            LoginError::Busy => ApiError::Unavailable(error.to_string()),
            _ => ApiError::Unknown,
        })
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
