//! Which web pages' scripts may use the API: none but those that the operator names.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW, ORIGIN,
};
use axum::http::{HeaderMap, HeaderValue};

use crate::management::options::ManagementOptions;

/// The heads that a script may send beside those that every page may.
const HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, x-reason, x-vhost");

/// Adds what tells a browser that the page a request comes from may read the answer. Nothing of the request is repeated
/// but an origin that is on the list.
pub(super) fn allow(
    options: &ManagementOptions,
    request: &HeaderMap,
    is_preflight: bool,
    answer: &mut HeaderMap,
) {
    let Some(origin) = request.get(ORIGIN) else { return };
    let is_listed = |known: &String| known.as_bytes() == origin.as_bytes();
    if !options.allow_origins.iter().any(is_listed) {
        return;
    }
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    if is_preflight {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(options.cors_max_age.as_secs()));
        if let Some(methods) = answer.get(ALLOW).cloned() {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
    }
}
