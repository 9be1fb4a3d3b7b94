//! Logging in to the page at a provider (OAuth 2, authorization code with PKCE): the browser is sent there, comes back with a
//! code, and gets a session for the access token that the broker has for the code. No token and no secret reaches the browser.
//!
//! Whatever goes wrong leads back to the page, which has the words for it.

mod attempts;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{HOST, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use tokio::time::timeout;
use zeroize::Zeroizing;

pub(super) use self::attempts::Attempts;
use self::attempts::{Attempt, Fresh};
use crate::broker::sources::Source;
use crate::management::error::ApiError;
use crate::management::gate::Origin;
use crate::management::options::CodeFlowOptions;
use crate::management::query::Query;
use crate::management::router::failed;
use crate::management::visitor::{Level, Visitor};
use crate::management::{Api, cookies, cors, sessions};

/// Whoever lets people in and gives access tokens for them. What it is asked may block, and errors are for the log.
pub trait AuthorizationServer: Send + Sync {
    /// The URL that a browser is sent to, which comes back to `redirect_uri` with `state` and a code.
    ///
    /// # Errors
    /// It is not known.
    fn authorization(&self, redirect_uri: &str, state: &str, challenge: &str) -> Result<String, String>;

    /// The access token for a code.
    ///
    /// # Errors
    /// It is not given.
    fn token(&self, code: &str, redirect_uri: &str, verifier: &str) -> Result<Zeroizing<String>, String>;
}

/// Where a browser begins, below the API.
const BEGIN: &str = "/login/oauth";

/// Where it comes back to.
const BACK: &str = "/login/oauth/callback";

/// What the name of the cookie begins with that tells the browser which began.
const COOKIE: &str = "leveret_login";

/// How long a question to the provider waits for its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The provider says no.
    Denied,
    /// It took too long, was done before, or another browser has begun.
    Stale,
    /// The provider does not do its part.
    Provider,
    /// The access token is not believed.
    Token,
    /// It has no tag for the page.
    Tag,
    /// There is too much to do.
    Busy,
}

impl Why {
    /// As the page is told.
    fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Stale => "stale",
            Self::Provider => "provider",
            Self::Token => "token",
            Self::Tag => "tag",
            Self::Busy => "busy",
        }
    }
}

/// The paths of it below `base`. There are none unless the settings say so.
pub(super) fn router(api: &Arc<Api>, base: &str) -> Router {
    let Some(options) = api.options.code_flow.clone() else { return Router::new() };
    let flow = Arc::new(Flow { api: api.clone(), options, back: format!("{base}{BACK}") });
    let beginning = flow.clone();
    let begin = async move |request: Request| beginning.begin(&request.into_parts().0).await;
    let back = async move |request: Request| flow.end(&request.into_parts().0).await;
    Router::new().route(&format!("{base}{BEGIN}"), get(begin)).route(&format!("{base}{BACK}"), get(back))
}

struct Flow {
    api: Arc<Api>,
    options: CodeFlowOptions,
    /// The path that browsers come back to.
    back: String,
}

/// Who asks.
#[derive(Clone, Copy)]
struct Peer {
    address: IpAddr,
    is_tls: bool,
}

impl Peer {
    fn of(head: &Parts) -> Result<Self, ApiError> {
        match head.extensions.get::<Origin>() {
            Some(&Origin::Address { ip, is_tls, .. }) => Ok(Self { address: ip, is_tls }),
            Some(Origin::Local) => Err(ApiError::bad("who comes by the control socket needs no login")),
            None => Err(ApiError::Unknown),
        }
    }
}

impl Flow {
    /// Sends a browser to the provider.
    async fn begin(&self, head: &Parts) -> Response {
        // Another site's page logs nobody in, not even as who they are.
        let known = cors::check_page(&self.api.options, &head.headers).and_then(|()| {
            let peer = Peer::of(head)?;
            Ok((peer, self.redirect_uri(&head.headers, peer)?))
        });
        let (peer, redirect_uri) = match known {
            Ok(known) => known,
            Err(error) => return failed(&error),
        };
        let (fresh, uri) = (Fresh::new(), redirect_uri.clone());
        let (state, challenge) = (fresh.state.clone(), fresh.challenge());
        let url = self.ask(peer, move |provider| provider.authorization(&uri, &state, &challenge)).await;
        let url = url.and_then(|url| HeaderValue::try_from(url).map_err(|_| Why::Provider));
        let url = match url {
            Ok(url) => url,
            Err(why) => return self.to_page(Some(why)),
        };
        let cookie = self.cookie(&head.headers, peer, Some(&fresh.browser));
        self.api.attempts.put(fresh, redirect_uri, Source::from(peer.address), (self.api.clock)().moment);
        let mut response = see_other(url);
        add_cookie(&mut response, cookie);
        response
    }

    /// Takes a browser back, and logs it in if the provider says so.
    async fn end(&self, head: &Parts) -> Response {
        let known = Peer::of(head).and_then(|peer| Ok((peer, Query::of(&head.uri)?)));
        let (peer, query) = match known {
            Ok(known) => known,
            Err(error) => return failed(&error),
        };
        let now = (self.api.clock)().moment;
        let state = query.get("state").unwrap_or_default();
        let attempt = cookies::values(&head.headers, COOKIE)
            .find_map(|browser| self.api.attempts.take(state, browser, now));
        let Some(attempt) = attempt else { return self.to_page(Some(Why::Stale)) };
        let mut response = match self.log_in(peer, &query, attempt).await {
            Ok((token, lasting)) => {
                let prefix = &self.api.options.path_prefix;
                let is_secure = self.is_secure(&head.headers, peer);
                let cookie = sessions::cookie(&head.headers, Some(&token), prefix, lasting, is_secure);
                let mut response = self.to_page(None);
                add_cookie(&mut response, cookie);
                response
            }
            Err(why) => self.to_page(Some(why)),
        };
        add_cookie(&mut response, self.cookie(&head.headers, peer, None));
        response
    }

    /// From what the provider says to the token of a session.
    async fn log_in(&self, peer: Peer, query: &Query, attempt: Attempt) -> Result<(String, Duration), Why> {
        let code = match (query.get("error"), query.get("code")) {
            (None, Some(code)) => code.to_owned(),
            (Some(error), _) => {
                self.note(peer, &format!("the provider says {}", shown(error)));
                return Err(if error == "access_denied" { Why::Denied } else { Why::Provider });
            }
            (None, None) => return Err(Why::Provider),
        };
        let Attempt { redirect_uri, verifier } = attempt;
        let token = self.ask(peer, move |provider| provider.token(&code, &redirect_uri, &verifier)).await?;
        let login = self.api.login_by_token(&token, peer.address).await.map_err(|error| match error {
            ApiError::Unavailable(_) => Why::Busy,
            _ => Why::Token,
        })?;
        let (visitor, now) = (Visitor::User(login.user.clone()), (self.api.clock)().moment);
        visitor.check_standing(now).map_err(|_| Why::Token)?;
        let user = &login.user.name;
        if visitor.require(Level::Management).is_err() {
            self.note(peer, &format!("{} has no tag for it", shown(user)));
            return Err(Why::Tag);
        }
        tracing::info!(peer = %peer.address, user, "logged in to the management API at the provider");
        Ok(self.api.sessions.begin(login, now))
    }

    /// Asks the provider, on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        peer: Peer,
        question: impl FnOnce(&dyn AuthorizationServer) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Why> {
        let provider = self.api.provider.get().cloned().ok_or(Why::Provider)?;
        let waiting = timeout(PATIENCE, self.api.places.at_provider.clone().acquire_owned()).await;
        let Ok(Ok(place)) = waiting else { return Err(Why::Busy) };
        let asking = tokio::task::spawn_blocking(move || {
            let answer = question(&*provider);
            drop(place);
            answer
        });
        // The hook has logged a panic.
        asking.await.map_err(|_| Why::Provider)?.map_err(|why| {
            self.note(peer, &why);
            Why::Provider
        })
    }

    /// A line in the log, as far as strangers may cause them.
    fn note(&self, peer: Peer, why: &str) {
        let source = Some(Source::from(peer.address));
        if let Some(unsaid) = self.api.broker.strangers.logins.admit(source, (self.api.clock)().moment) {
            let unsaid = (unsaid > 0).then_some(unsaid);
            tracing::warn!(peer = %peer.address, unsaid, "login at the provider failed: {why}");
        }
    }

    /// Where the provider is to send the browser: to the same host as now, unless the settings know better.
    fn redirect_uri(&self, headers: &HeaderMap, peer: Peer) -> Result<String, ApiError> {
        if let Some(origin) = &self.options.origin {
            return Ok(format!("{origin}{}", self.back));
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
        let host = host.filter(|host| !host.is_empty() && host.chars().all(is_plain));
        let host = host.ok_or_else(|| ApiError::bad("the Host header cannot be read"))?;
        let scheme = if peer.is_tls { "https" } else { "http" };
        Ok(format!("{scheme}://{host}{}", self.back))
    }

    fn is_secure(&self, headers: &HeaderMap, peer: Peer) -> bool {
        cookies::is_secure(headers, peer.is_tls, self.options.origin.as_deref())
    }

    /// The cookie that tells which browser has begun, which is sent along when the provider sends it back; without a value the
    /// one that has it forgotten.
    fn cookie(&self, headers: &HeaderMap, peer: Peer, browser: Option<&str>) -> String {
        let seconds = if browser.is_some() { attempts::LASTING.as_secs() } else { 0 };
        let secure = if self.is_secure(headers, peer) { "; Secure" } else { "" };
        let (name, browser, path) = (cookies::name(headers, COOKIE), browser.unwrap_or_default(), &self.back);
        format!("{name}={browser}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }

    /// Back to the page, which is told what went wrong.
    fn to_page(&self, why: Option<Why>) -> Response {
        let prefix = &self.api.options.path_prefix;
        let why = why.map_or_else(String::new, |why| format!("#/?login={}", why.word()));
        // A prefix is letters, digits and the like.
        see_other(HeaderValue::try_from(format!("{prefix}/{why}")).unwrap_or(HeaderValue::from_static("/")))
    }
}

/// What strangers say, as the log may have it.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn see_other(place: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, place);
    response
}

fn add_cookie(response: &mut Response, cookie: String) {
    // Names and values are letters, digits and the like.
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}
