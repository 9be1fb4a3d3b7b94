//! Who a request comes from: credentials in its head are checked as those of AMQP clients are.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::broker::churn::LoginProtocol;
use crate::broker::login::Attempt;
use crate::broker::sources::Source;
use crate::broker::users::LoginError;
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
        let broker = self.broker.clone();
        let answer = {
            let _place = self.logging_in.acquire().await;
            tokio::task::spawn_blocking(move || broker.logins.check(attempt)).await
        };
        let error = match answer {
            Ok(Ok(user)) => {
                self.broker.login_attempts.note(LoginProtocol::Http, true);
                self.broker.logins.note_success(Some(source), &name);
                return Ok(Visitor::User(user));
            }
            Ok(Err(error)) => {
                self.broker.login_attempts.note(LoginProtocol::Http, false);
                error
            }
            Err(_) => return Err(ApiError::Unavailable("the login could not be checked".to_owned())),
        };
        let now = (self.clock)().moment;
        if let Some(unsaid) = self.broker.strangers.logins.admit(Some(source), now) {
            let (user, unsaid) = (shown(&name), (unsaid > 0).then_some(unsaid));
            tracing::warn!(peer = %address, user, unsaid, "login to the management API refused: {error}");
        }
        let first = self.options.failed_login_delay;
        let delay = self.broker.logins.delay_after_failure(Some(source), &name, first, now);
        tokio::time::sleep(delay).await;
        Err(match error {
            LoginError::NotLoopback => ApiError::refused("User can only log in via localhost"),
            LoginError::Busy => ApiError::Unavailable(error.to_string()),
            _ => ApiError::Unknown,
        })
    }
}
