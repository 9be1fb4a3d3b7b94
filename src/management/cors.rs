//! Which web pages' scripts may use the API: none but those that the operator names.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW, ORIGIN,
};
use axum::http::{HeaderMap, HeaderValue};

use crate::management::error::ApiError;
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

/// Refuses a change that another site's page asks for: a browser would send the credentials it remembers along. Tools send
/// none of the headers that tell.
///
/// # Errors
/// If the page is neither the broker's own nor on the list.
pub(super) fn check_page(options: &ManagementOptions, request: &HeaderMap) -> Result<(), ApiError> {
    let refused = || Err(ApiError::refused("Not from another site's page"));
    let text = |name: &str| request.get(name).map(|value| value.to_str().unwrap_or_default());
    let origin = text("origin");
    if origin.is_some_and(|origin| options.allow_origins.iter().any(|known| known == origin)) {
        return Ok(());
    }
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return refused();
    }
    match (origin, text("host")) {
        (None, _) => Ok(()),
        (Some(origin), Some(host)) if origin.split_once("://").is_some_and(|(_, of)| of == host) => Ok(()),
        _ => refused(),
    }
}

/// Refuses a change that may be asked for with a cookie alone, since browsers send these along by themselves. One that the
/// broker's own pages ask for has a head that [was looked at](check_page), or that no other site's page may add.
///
/// # Errors
/// If it has none.
pub(super) fn check_cookie(request: &HeaderMap) -> Result<(), ApiError> {
    let tells =
        ["origin", "sec-fetch-site", "x-requested-with"].iter().any(|name| request.contains_key(*name));
    if tells { Ok(()) } else { Err(ApiError::refused("Not with a cookie alone")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_alone_changes_nothing() {
        let may = |name: Option<&'static str>| {
            let headers = name.map(|name| (name.parse().unwrap(), HeaderValue::from_static("x")));
            check_cookie(&headers.into_iter().collect()).is_ok()
        };
        assert!(!may(None) && !may(Some("host")));
        assert!(may(Some("origin")) && may(Some("sec-fetch-site")) && may(Some("x-requested-with")));
    }

    #[test]
    fn other_sites_pages_change_nothing() {
        let options = ManagementOptions {
            allow_origins: vec!["https://ops.example".to_owned()],
            ..ManagementOptions::of_nobody()
        };
        let may = |headers: &[(&'static str, &'static str)]| {
            let headers =
                headers.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            check_page(&options, &headers.collect()).is_ok()
        };
        assert!(may(&[]) && may(&[("host", "mq:15672")]), "tools say nothing of pages");
        assert!(may(&[
            ("host", "mq:15672"),
            ("origin", "http://mq:15672"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(may(&[
            ("host", "mq:15672"),
            ("origin", "https://ops.example"),
            ("sec-fetch-site", "cross-site")
        ]));
        for origin in ["http://evil.example", "null", "http://mq:80", ""] {
            assert!(!may(&[("host", "mq:15672"), ("origin", origin)]), "{origin}");
        }
        assert!(!may(&[("host", "mq:15672"), ("sec-fetch-site", "cross-site")]));
        assert!(!may(&[("host", "mq:15672"), ("sec-fetch-site", "same-site")]));
    }
}
