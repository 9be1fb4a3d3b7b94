//! What a browser is sent.

use std::path::PathBuf;

use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::broker::Broker;
use crate::broker::options::BrokerOptions;
use crate::management::options::{ManagementOptions, SharedOptions};
use crate::management::sessions::Sessions;
use crate::management::{Api, everything};
use crate::time::{Moment, Now};

/// All that an address of the API has, behind a prefix.
fn served(prefix: &str) -> Router {
    let broker = Broker::ephemeral(BrokerOptions::default()).unwrap();
    let options = ManagementOptions::of_nobody();
    let sessions = std::sync::Arc::new(Sessions::new(options.session_timeout));
    let clock = || Now { moment: Moment(0), unix_ms: 0 };
    let api = Api::new(&broker, &SharedOptions::new(options), &sessions, clock);
    everything(&api, prefix, router(prefix))
}

/// The answer to a request with a header: its status, headers, and body.
async fn asked(prefix: &str, method: Method, path: &str, header: (&str, &str)) -> (u16, HeaderMap, String) {
    let request = Request::builder().method(method).uri(path).header(header.0, header.1);
    let response = served(prefix).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned())
}

async fn got(prefix: &str, path: &str) -> (u16, HeaderMap, String) {
    asked(prefix, Method::GET, path, ("accept", "*/*")).await
}

#[tokio::test]
async fn the_document_needs_no_login_and_the_api_still_does() {
    let (status, headers, body) = got("", "/").await;
    assert_eq!(
        (status, &headers[CONTENT_TYPE]),
        (200, &HeaderValue::from_static("text/html; charset=utf-8"))
    );
    assert!(body.starts_with("<!doctype html>"), "{body}");
    assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY);
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers[CACHE_CONTROL], "no-cache");
    // Without an address of the client there is nobody to be.
    assert_eq!(got("", "/api/overview").await.0, 401);
}

#[tokio::test]
async fn what_the_document_loads_is_there() {
    for prefix in ["", "/mq/one"] {
        let front = if prefix.is_empty() { "/" } else { prefix };
        let (_, _, document) = got(prefix, front).await;
        let quoted = document.split('"').skip(1).step_by(2);
        let paths: Vec<&str> = quoted.filter(|text| text.contains("/page/")).collect();
        assert!(paths.len() > 5, "{document}");
        for path in paths {
            assert_eq!(got(prefix, path).await.0, 200, "{path}");
        }
    }
    assert_eq!(got("/mq", "/").await.0, 404);
    assert_eq!(got("/mq", "/page/app.js").await.0, 404);
}

#[tokio::test]
async fn kinds_are_told() {
    for (path, kind) in [
        ("/page/app.js", "text/javascript; charset=utf-8"),
        ("/page/theme.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/page/uplot/LICENSE", "text/plain; charset=utf-8"),
    ] {
        let (status, headers, _) = got("", path).await;
        assert_eq!((status, headers[CONTENT_TYPE].to_str().unwrap()), (200, kind), "{path}");
        assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY);
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let (_, headers, _) = got("", "/page/app.js").await;
    let tag = headers[ETAG].to_str().unwrap().to_owned();
    for known in
        [tag.clone(), format!("\"other\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()]
    {
        let (status, headers, body) = asked("", Method::GET, "/page/app.js", ("if-none-match", &known)).await;
        assert_eq!((status, &*body), (304, ""), "{known}");
        assert_eq!(headers[ETAG], *tag);
    }
    let (status, _, body) = asked("", Method::GET, "/page/app.js", ("if-none-match", "\"other\"")).await;
    assert!(status == 200 && !body.is_empty());
    let other = got("", "/page/dom.js").await.1;
    assert_ne!(headers[ETAG], other[ETAG]);
}

#[tokio::test]
async fn a_head_alone_can_be_asked_for_and_nothing_changed() {
    let (status, headers, body) = asked("", Method::HEAD, "/page/app.js", ("accept", "*/*")).await;
    assert_eq!((status, &*body), (200, ""));
    let length: usize = headers[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
    assert_eq!(length, BY_NAME["app.js"].bytes.len());
    assert_eq!(asked("", Method::HEAD, "/", ("accept", "*/*")).await.0, 200);
    assert_eq!(asked("", Method::POST, "/", ("accept", "*/*")).await.0, 405);
    assert_eq!(asked("", Method::PUT, "/page/app.js", ("accept", "*/*")).await.0, 405);
}

#[tokio::test]
async fn files_travel_compressed() {
    let (status, headers, _) = asked("", Method::GET, "/page/app.js", ("accept-encoding", "gzip")).await;
    assert_eq!((status, &headers["content-encoding"]), (200, &HeaderValue::from_static("gzip")));
}

#[tokio::test]
async fn there_is_nothing_else() {
    for path in
        ["/page", "/page/none.js", "/page/../page/app.js", "/page/%2e%2e/mod.rs", "/page/index.html", "/x"]
    {
        let (status, _, body) = got("", path).await;
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("Object Not Found"), "{path}: {body}");
    }
}

/// Files of the page's directory, by their paths in it.
fn kept(directory: &str) -> Vec<String> {
    let at = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/management/page").join(directory);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{directory}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(kept(&format!("{name}/")));
        } else if !name.ends_with(".rs") && name != "index.html" {
            found.push(name);
        }
    }
    found
}

#[test]
fn every_file_is_in_the_table() {
    let mut kept = kept("");
    kept.sort();
    let names: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, kept);
}

#[test]
fn nothing_in_the_files_needs_what_the_policy_forbids() {
    let own = FILES.iter().filter(|(name, _)| !name.starts_with("uplot/"));
    for (name, bytes) in own.chain([&("index.html", INDEX.as_bytes())]) {
        let text = std::str::from_utf8(bytes).unwrap();
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", "https://"]
        {
            assert!(!text.contains(forbidden), "{name} has {forbidden}");
        }
    }
}
