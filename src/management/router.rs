//! From the table of resources to a router, and a request's way through it: who asks, whether they may, the body, the
//! resource on a thread that may block, the answer.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{FormRejection, RawPathParamsRejection};
use axum::extract::{FromRequest as _, RawPathParams, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Form, Router};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tower_http::compression::CompressionLayer;

use crate::management::answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::gate::{self, Origin};
use crate::management::query::Query;
use crate::management::routes::{InVHost, Resource, Verb};
use crate::management::sessions::Login;
use crate::management::visitor::{Level, Visitor};
use crate::management::{ALL_BODIES, Api, cors};

/// The largest body of most requests.
const SMALL_BODY: usize = 1 << 20;

/// The largest form that somebody logs in by.
const LOGIN_BODY: usize = 48 << 10;

/// How long a client may take for the next part of a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// How long one may take for all of it.
const BODY_DEADLINE: Duration = Duration::from_secs(120);

/// Bodies up to this size do not count among those that there is room for.
const FREE_BODY: usize = 64 << 10;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a probe does.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// A router that is made when somebody asks for it first. With all its resources it takes a quarter of a megabyte, and many
/// brokers are never asked anything over HTTP.
#[derive(Clone)]
pub(super) struct OnDemand(Arc<LazyLock<Router, Make>>);

type Make = Box<dyn FnOnce() -> Router + Send>;

impl OnDemand {
    pub(super) fn new(make: impl FnOnce() -> Router + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }

    pub(super) fn router(&self) -> Router {
        Router::clone(&self.0)
    }
}

/// A router for resources, each with what its path begins with, beside what another one has.
pub(super) fn router(
    api: &Arc<Api>,
    beside: Router,
    resources: impl IntoIterator<Item = (String, Resource)>,
) -> Router {
    let mut router = beside;
    for (base, Resource { path, verbs }) in resources {
        let mut methods = MethodRouter::new();
        for verb in verbs {
            let Ok(filter) = MethodFilter::try_from(verb.method.clone()) else { continue };
            let api = api.clone();
            methods = methods.merge(on(filter, move |names: Result<RawPathParams, _>, request: Request| {
                respond(api, verb, names, request)
            }));
        }
        let path = format!("{base}{path}");
        router = router.route(if path.is_empty() { "/" } else { &path }, methods);
    }
    router
        .fallback(async || failed(&ApiError::NoPath))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(api.clone(), dress))
        .layer(CompressionLayer::new())
}

/// A request's way.
async fn respond(
    api: Arc<Api>,
    verb: Verb,
    names: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    let Ok(names) = names else { return failed(&ApiError::bad("a name in the path is no UTF-8")) };
    let is_browser = request.headers().contains_key("x-requested-with");
    match admit(&api, &verb, &names, request).await {
        Ok(admitted) => run(&api, verb, admitted).await,
        Err(error) => {
            let mut response = failed(&error);
            // A page asks its visitor itself; the browser's own question would come in between.
            if error == ApiError::Unknown && !is_browser {
                let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, realm);
            }
            response
        }
    }
}

/// Looks whether the visitor may do this before the body is read, and once more when it has come.
async fn admit(
    api: &Arc<Api>,
    verb: &Verb,
    names: &RawPathParams,
    request: Request,
) -> Result<Admitted, ApiError> {
    let (head, body) = request.into_parts();
    let origin = head.extensions.get::<Origin>().copied().ok_or(ApiError::Unknown)?;
    if origin != Origin::Local && verb.method != Method::GET {
        cors::check_page(&api.options, &head.headers)?;
        if !verb.has_login && gate::has_cookie_only(&head.headers) {
            cors::check_cookie(&head.headers)?;
        }
    }
    let (head, body, login) = match verb.has_login {
        true => log_in(api, origin, head, body).await?,
        false => (head, body, None),
    };
    let visitor = match (verb.level, &login) {
        (Level::Anyone, _) => Visitor::Nobody,
        (_, Some(login)) => Visitor::User(login.user.clone()),
        (_, None) => api.visitor(&head.headers, origin).await?,
    };
    let names: Vec<_> = names.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let query = Query::of(&head.uri)?;
    let mut call = Call {
        api: api.clone(),
        visitor,
        origin,
        login,
        query,
        headers: head.headers,
        body: Bytes::new(),
        names,
    };
    check(&call, verb)?;
    let mut room = None;
    if verb.method != Method::GET {
        let most = if verb.is_large { api.options.max_body } else { SMALL_BODY };
        let announced = body.size_hint().upper().map_or(most, |size| usize::try_from(size).unwrap_or(most));
        room = room_for(api, announced.min(most)).await?;
        let reading = timeout(BODY_DEADLINE, read(body, most));
        call.body = reading.await.unwrap_or_else(|_| Err(ApiError::bad("the body does not come")))?;
        // It may have taken its time, and the visitor may not be who they were.
        check(&call, verb)?;
    }
    let (places, in_time) = match verb.level {
        Level::Anyone => (&api.places.probing, PROBE_PATIENCE),
        _ => (&api.places.working, PATIENCE),
    };
    let waiting = timeout(in_time, places.clone().acquire_owned()).await;
    let Ok(Ok(place)) = waiting else { return Err(busy()) };
    Ok(Admitted { call, place, room })
}

/// Looks who logs in by a form, which is the body; none is left of it.
async fn log_in(
    api: &Arc<Api>,
    origin: Origin,
    head: Parts,
    body: Body,
) -> Result<(Parts, Body, Option<Login>), ApiError> {
    let reading = timeout(BODY_DEADLINE, read(body, LOGIN_BODY));
    let read = reading.await.unwrap_or_else(|_| Err(ApiError::bad("the body does not come")))?;
    let request = Request::from_parts(head.clone(), read.into());
    let form: Result<Form<Vec<(String, String)>>, FormRejection> = Form::from_request(request, &()).await;
    let Form(form) = form.map_err(|error| ApiError::bad(error.body_text()))?;
    let login = api.login(&form, origin).await?;
    Ok((head, Body::empty(), login))
}

/// A request that is to be worked on, with its places.
struct Admitted {
    call: Call,
    place: OwnedSemaphorePermit,
    /// Of its body.
    room: Option<OwnedSemaphorePermit>,
}

/// Whether the visitor may do this now.
fn check(call: &Call, verb: &Verb) -> Result<(), ApiError> {
    call.visitor.check_standing((call.api.clock)().moment)?;
    call.visitor.require(verb.level)?;
    match verb.in_vhost {
        InVHost::Unasked => Ok(()),
        rule => check_vhost(call, rule),
    }
}

/// Waits until there is room for a body of this size. Small ones need none.
async fn room_for(api: &Arc<Api>, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    if bytes <= FREE_BODY {
        return Ok(None);
    }
    // One that is larger than all the room there is takes all of it.
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(ALL_BODIES);
    let waiting = timeout(PATIENCE, api.places.bodies.clone().acquire_many_owned(kib)).await;
    match waiting {
        Ok(Ok(room)) => Ok(Some(room)),
        _ => Err(busy()),
    }
}

fn busy() -> ApiError {
    ApiError::Unavailable("too many requests are being worked on".to_owned())
}

fn check_vhost(call: &Call, rule: InVHost) -> Result<(), ApiError> {
    let vhost = call.vhost()?;
    let (visitor, broker) = (&call.visitor, call.broker());
    let may = match rule {
        InVHost::Unasked => true,
        InVHost::Sees => visitor.sees(broker, &vhost.name),
        InVHost::Enters => visitor.enters(broker, &vhost.name),
        InVHost::Governs => visitor.is(Level::Administrator) || visitor.enters(broker, &vhost.name),
    };
    if may { Ok(()) } else { Err(ApiError::refused("User not authorised to access virtual host")) }
}

/// Reads a body to its end.
async fn read(mut body: Body, most: usize) -> Result<Bytes, ApiError> {
    let mut read = Vec::new();
    loop {
        let frame = match timeout(BODY_PATIENCE, body.frame()).await {
            Ok(None) => return Ok(read.into()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(ApiError::bad(format!("the body cannot be read: {error}"))),
            Err(_) => return Err(ApiError::bad("the body does not come")),
        };
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > most {
            let why = format!("Exceeded HTTP request body size limit of {most} bytes");
            return Err(ApiError::bad(why));
        }
        read.extend_from_slice(&data);
    }
}

/// Has a resource answer, on a thread that may block. What was begun is done and logged even if the client goes.
async fn run(api: &Arc<Api>, verb: Verb, admitted: Admitted) -> Response {
    let Admitted { call, place, room } = admitted;
    let work = move || {
        let answered = (verb.handler)(&call);
        if verb.is_audited {
            audit(&verb, &call, answered.as_ref().err());
        }
        let response = match answered {
            Ok(answer) => answer.into_response(),
            Err(error) => (failed(&error), None),
        };
        drop((call, place, room));
        response
    };
    // The hook has logged a panic.
    let Ok((response, rest)) = tokio::task::spawn_blocking(work).await else { return failed(&broken()) };
    if let Some(rest) = rest {
        let places = api.places.writing.clone();
        tokio::spawn(async move {
            let Ok(Ok(place)) = timeout(PATIENCE, places.acquire_owned()).await else { return };
            // One that panics breaks off.
            let _ = tokio::task::spawn_blocking(move || {
                rest.run();
                drop(place);
            })
            .await;
        });
    }
    response
}

/// A line in the log for what was changed or may have been, and for what is not everybody's to read.
fn audit(verb: &Verb, call: &Call, error: Option<&ApiError>) {
    let names: Vec<&str> = call.names.iter().map(|(_, name)| name.as_str()).collect();
    let (user, method, resource) = (call.visitor.name(), &verb.method, verb.path);
    let peer = match call.origin {
        Origin::Address { ip, .. } => ip.to_canonical().to_string(),
        Origin::Local => "control socket".to_owned(),
    };
    match error {
        None => tracing::info!(user, peer, %method, resource, ?names, "management"),
        Some(error @ ApiError::Unavailable(_)) => {
            tracing::warn!(user, peer, %method, resource, ?names, "management: {error}");
        }
        Some(error) => tracing::debug!(user, peer, %method, resource, ?names, "management: {error}"),
    }
}

fn broken() -> ApiError {
    ApiError::Unavailable("the broker could not answer".to_owned())
}

/// The answer to what is refused.
pub(super) fn failed(error: &ApiError) -> Response {
    answer::json(error.status(), &error.body())
}

/// A method that the resource does not have. OPTIONS tells which it has.
async fn wrong_method(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return Response::new(Body::empty());
    }
    let body = json!({ "error": "method_not_allowed", "reason": "Method Not Allowed" });
    answer::json(StatusCode::METHOD_NOT_ALLOWED, &body)
}

/// What every answer says: nobody keeps it, no page frames it, and who may read it.
async fn dress(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS;
    let asked: HeaderMap = request.headers().clone();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut add = |name, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(CACHE_CONTROL, "no-cache, no-store");
    add(VARY, "accept, accept-encoding, origin");
    add(CONTENT_SECURITY_POLICY, "default-src 'self'; frame-ancestors 'none'");
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(X_FRAME_OPTIONS, "DENY");
    add(REFERRER_POLICY, "no-referrer");
    cors::allow(&api.options, &asked, is_preflight, headers);
    response
}
