//! From the table of resources to a router, and a request's way through it: who asks, whether they may, the body, the
//! resource on a thread that may block, the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower_http::compression::CompressionLayer;

use crate::management::answer::{self, Answer};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::gate::Origin;
use crate::management::query::Query;
use crate::management::routes::{InVHost, Resource, Verb};
use crate::management::visitor::{Level, Visitor};
use crate::management::{Api, cors};

/// The largest body of most requests.
const SMALL_BODY: usize = 1 << 20;

/// How long a client may take for the next part of a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Where the API begins.
const BASE: &str = "/api";

/// A router for these resources, with this before the base of all paths.
pub(super) fn router(api: &Arc<Api>, prefix: &str, resources: Vec<Resource>) -> Router {
    let mut router = Router::new();
    for Resource { path, verbs } in resources {
        let mut methods = MethodRouter::new();
        for verb in verbs {
            let Ok(filter) = MethodFilter::try_from(verb.method.clone()) else { continue };
            let api = api.clone();
            methods = methods.merge(on(filter, move |names: Result<RawPathParams, _>, request: Request| {
                respond(api, verb, names, request)
            }));
        }
        router = router.route(&format!("{prefix}{BASE}{path}"), methods);
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
        Ok(call) => run(&api, verb, call).await,
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

/// Looks whether the visitor may do this before the body is read.
async fn admit(
    api: &Arc<Api>,
    verb: &Verb,
    names: &RawPathParams,
    request: Request,
) -> Result<Call, ApiError> {
    let (head, body) = request.into_parts();
    let origin = head.extensions.get::<Origin>().copied().ok_or(ApiError::Unknown)?;
    let visitor = match verb.level {
        Level::Anyone => Visitor::Nobody,
        _ => api.visitor(&head.headers, origin).await?,
    };
    visitor.require(verb.level)?;
    let names: Vec<_> = names.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let query = Query::of(&head.uri)?;
    let most = if verb.is_large { api.options.max_body } else { SMALL_BODY };
    let mut call = Call {
        api: api.clone(),
        visitor,
        method: head.method,
        query,
        headers: head.headers,
        body: Bytes::new(),
        names,
    };
    if verb.in_vhost != InVHost::Unasked {
        check_vhost(&call, verb.in_vhost)?;
    }
    call.body = read(body, most).await?;
    Ok(call)
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
        let frame = match tokio::time::timeout(BODY_PATIENCE, body.frame()).await {
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

/// Has a resource answer.
async fn run(api: &Arc<Api>, verb: Verb, call: Call) -> Response {
    let Ok(place) = api.working.acquire().await else { return failed(&broken()) };
    let audit = (verb.method != Method::GET).then(|| {
        (call.visitor.name().to_owned(), call.names.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>())
    });
    let answered = tokio::task::spawn_blocking(move || (verb.handler)(&call)).await;
    drop(place);
    let answer = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return failed(&error),
        // The hook has logged the panic.
        Err(_) => return failed(&broken()),
    };
    if let Some((user, names)) = audit {
        tracing::info!(user, method = %verb.method, ?names, "management");
    }
    sent(api, answer)
}

/// An answer as a response; a long one is written meanwhile.
fn sent(api: &Arc<Api>, answer: Answer) -> Response {
    let (response, job) = answer.into_response();
    if let Some(job) = job {
        let api = api.clone();
        tokio::spawn(async move {
            // Whoever reads slowly keeps others from long answers at most, not from being answered.
            let Ok(place) = api.writing.acquire().await else { return };
            // A list that fails half-way ends the connection; the hook has logged why.
            let _ = tokio::task::spawn_blocking(move || job.run()).await;
            drop(place);
        });
    }
    response
}

fn broken() -> ApiError {
    ApiError::Unavailable("the broker could not answer".to_owned())
}

fn failed(error: &ApiError) -> Response {
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
