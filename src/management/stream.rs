//! Answers that change, on one connection: a client names paths of the API and is sent what a GET of each answers, again
//! whenever that is something else (server-sent events).
//!
//! Each look is a request of its own to the same router, with the credentials that the client came with: what somebody may not
//! see any more they are not sent. A stream has a task and no thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout};
use tower::ServiceExt as _;

use crate::management::Api;
use crate::management::answer::{Chunk, events};
use crate::management::error::ApiError;
use crate::management::gate::Origin;
use crate::management::query::Query;
use crate::management::router::{OnDemand, failed};
use crate::management::visitor::Level;

/// How many streams there may be.
const MOST: usize = 64;

/// How many of one user.
const MOST_OF_USER: usize = 8;

/// How many paths one has.
const MOST_PATHS: usize = 16;

/// The largest answer that is sent, in bytes.
const LARGEST: usize = 1 << 20;

/// How often it is looked at most, however short `stats.interval` is.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long it is waited for clients, and they wait.
#[derive(Clone, Copy)]
struct Pace {
    /// After which silence an event of its own kind is sent: proxies and clients see that the stream is alive.
    silence: Duration,
    /// How long a client may take for an event.
    patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { silence: Duration::from_secs(15), patience: Duration::from_secs(30) }
    }
}

/// What a look takes from the head of the stream's request.
const TAKEN: [HeaderName; 4] = [AUTHORIZATION, COOKIE, HOST, HeaderName::from_static("x-vhost")];

/// All streams.
#[derive(Default)]
pub(super) struct Streams {
    /// How many each user has.
    taken: Mutex<HashMap<String, usize>>,
    pace: Pace,
}

/// The place of a stream, until it is dropped.
struct Place {
    api: Arc<Api>,
    user: String,
}

impl Place {
    /// One more for this user.
    fn take(api: &Arc<Api>, user: &str) -> Result<Self, ApiError> {
        let mut taken = api.streams.taken.lock();
        let own = taken.get(user).copied().unwrap_or(0);
        if own >= MOST_OF_USER || taken.values().sum::<usize>() >= MOST {
            return Err(ApiError::Unavailable("there are too many streams".to_owned()));
        }
        taken.insert(user.to_owned(), own + 1);
        Ok(Self { api: api.clone(), user: user.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.api.streams.taken.lock();
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

/// The path of streams below `base`. `inner` answers the looks: it is the router of the API.
pub(super) fn router(api: &Arc<Api>, base: &str, inner: OnDemand) -> Router {
    let (api, below) = (api.clone(), base.to_owned());
    let begin = async move |request: Request| {
        let (head, _) = request.into_parts();
        begin(&api, &below, inner.router(), &head).await.unwrap_or_else(|error| failed(&error))
    };
    Router::new().route(&format!("{base}/stream"), get(begin))
}

/// Looks who asks, and for what, and begins.
async fn begin(api: &Arc<Api>, base: &str, inner: Router, head: &Parts) -> Result<Response, ApiError> {
    let origin = head.extensions.get::<Origin>().copied().ok_or(ApiError::Unknown)?;
    let visitor = api.visitor(&head.headers, origin).await?;
    visitor.check_standing((api.clock)().moment)?;
    visitor.require(Level::Management)?;
    let watched = watched(base, &Query::of(&head.uri)?)?;
    let place = Place::take(api, visitor.name())?;
    let mut headers = HeaderMap::new();
    for name in TAKEN {
        headers.extend(head.headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    let (sender, response) = events();
    let pace = api.streams.pace;
    let looker = Looker { inner, headers, origin, sender, pace, quiet_since: Instant::now() };
    tokio::spawn(run(place, looker, watched));
    Ok(response)
}

/// The paths of a query.
fn watched(base: &str, query: &Query) -> Result<Vec<Watched>, ApiError> {
    let paths: Vec<&str> = query.all("path").collect();
    if paths.is_empty() || paths.len() > MOST_PATHS {
        return Err(ApiError::bad(format!("a stream has 1 to {MOST_PATHS} paths")));
    }
    let watch = |path: &&str| {
        let uri = format!("{base}/{path}").parse();
        let uri = uri.map_err(|_| ApiError::bad(format!("{path:?} is no path of the API")))?;
        Ok(Watched { path: (*path).to_owned(), uri, sent: None })
    };
    paths.iter().map(watch).collect()
}

/// A path, and what was sent of it.
struct Watched {
    path: String,
    uri: Uri,
    /// A digest of the last answer.
    sent: Option<[u8; 32]>,
}

/// Looks again and again, until the client goes or may not look any more, or the broker ends.
async fn run(place: Place, mut looker: Looker, mut watched: Vec<Watched>) {
    let interval = place.api.broker.statistics.options().interval;
    let pause = interval.min(looker.pace.silence).max(SHORTEST);
    let rounds = async {
        while looker.look_at_all(&mut watched).await.is_some() {
            if timeout(pause, looker.sender.closed()).await.is_ok() {
                break;
            }
        }
    };
    place.api.ending.run_until_cancelled(rounds).await;
    drop(place);
    // Who has not taken what was sent before hears of the end by the end of the connection.
    let _ = looker.sender.try_send(Chunk::End);
}

/// Who looks, for whom.
struct Looker {
    inner: Router,
    headers: HeaderMap,
    origin: Origin,
    sender: Sender<Chunk>,
    pace: Pace,
    quiet_since: Instant,
}

impl Looker {
    /// Looks at each path. None is the end of the stream.
    async fn look_at_all(&mut self, watched: &mut [Watched]) -> Option<()> {
        for one in watched {
            self.look(one).await?;
        }
        self.keep_alive().await
    }

    /// Looks at a path, and sends what is new. None is the end of the stream.
    async fn look(&mut self, watched: &mut Watched) -> Option<()> {
        let mut request = Request::new(Body::empty());
        request.uri_mut().clone_from(&watched.uri);
        request.headers_mut().clone_from(&self.headers);
        request.extensions_mut().insert(self.origin);
        let response = self.inner.clone().oneshot(request).await.ok()?;
        let (status, body) = told(response).await;
        if status == StatusCode::UNAUTHORIZED && is_of_nobody(&body) {
            return None;
        }
        let digest = Sha256::new().chain_update(status.as_str()).chain_update(&body).finalize().into();
        if watched.sent == Some(digest) {
            return Some(());
        }
        watched.sent = Some(digest);
        let path = Value::from(&*watched.path);
        let head = format!("data: {{\"path\":{path},\"status\":{},\"body\":", status.as_u16());
        let mut event = Vec::with_capacity(head.len() + body.len() + 3);
        event.extend_from_slice(head.as_bytes());
        event.extend_from_slice(&body);
        event.extend_from_slice(b"}\n\n");
        self.send(event.into()).await
    }

    /// Says so, if nothing was sent for long.
    async fn keep_alive(&mut self) -> Option<()> {
        if self.quiet_since.elapsed() < self.pace.silence {
            return Some(());
        }
        self.send(Bytes::from_static(b"event: alive\ndata: {}\n\n")).await
    }

    async fn send(&mut self, event: Bytes) -> Option<()> {
        timeout(self.pace.patience, self.sender.send(Chunk::Bytes(event))).await.ok()?.ok()?;
        self.quiet_since = Instant::now();
        Some(())
    }
}

/// Whether a refusal says that nobody is known by these credentials any more.
fn is_of_nobody(body: &[u8]) -> bool {
    let told: Result<Value, _> = serde_json::from_slice(body);
    told.is_ok_and(|told| told["error"] == ApiError::Unknown.body()["error"])
}

/// An answer's status and JSON, in one line.
async fn told(response: Response) -> (StatusCode, Bytes) {
    let status = response.status();
    let refused = |why: &str| {
        let body = json!({ "error": "bad_request", "reason": why }).to_string();
        (StatusCode::BAD_REQUEST, Bytes::from(body))
    };
    let Ok(body) = Limited::new(response.into_body(), LARGEST).collect().await else {
        return refused("the answer broke off, or is too large for a stream");
    };
    let body = body.to_bytes();
    let is_line = !body.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    if body.is_empty() || !is_line || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
        return refused("the answer is not JSON");
    }
    (status, body)
}

#[cfg(test)]
mod tests;
