//! The page: what a browser shows at the address of the API. Its files are in the program; everything it tells and does it
//! asks the API for, as any other client.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use crate::management::error::ApiError;
use crate::management::router::failed;

/// Where the files are, behind the prefix of all paths.
const BASE: &str = "/page";

/// What a browser may load and do for the page: its own files and the API, and nothing that text in it could smuggle in.
/// Icons of the style sheet are `data:`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// Kept by a browser, which asks each time whether it is still the same: after an upgrade no old file meets a new one.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// The document that loads the others. Paths in it begin where there is no prefix.
const INDEX: &str = include_str!("page/index.html");

/// The table of all files but the document: their names and contents.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("page/", $name)))),*]
    };
}

const FILES: &[(&str, &[u8])] = files![
    "api.js",
    "app.js",
    "chart.js",
    "dialog.js",
    "dom.js",
    "format.js",
    "graph/drawing.js",
    "graph/layers.js",
    "graph/model.js",
    "icon.svg",
    "layout.css",
    "live.js",
    "message.js",
    "parts.css",
    "parts.js",
    "place.js",
    "session.js",
    "table.js",
    "theme.css",
    "theme.js",
    "uplot/LICENSE",
    "uplot/uPlot.iife.min.js",
    "uplot/uPlot.min.css",
    "views/all.js",
    "views/bindings.js",
    "views/channels.js",
    "views/connections.js",
    "views/definitions.js",
    "views/exchange.js",
    "views/exchanges.js",
    "views/limits.js",
    "views/log.js",
    "views/login.js",
    "views/node.js",
    "views/overview.js",
    "views/policies.js",
    "views/queue.js",
    "views/queues.js",
    "views/topology.js",
    "views/users.js",
    "views/vhosts.js",
];

/// A file as it is sent.
#[derive(Clone)]
struct File {
    kind: &'static str,
    bytes: Bytes,
    /// A digest of it, as a tag that holds for the compressed file too.
    tag: HeaderValue,
}

impl File {
    fn new(name: &str, bytes: Bytes) -> Self {
        let kind = match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "css" => "text/css; charset=utf-8",
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        };
        let digest = Sha256::digest(&bytes);
        let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::try_from(format!("W/\"{digits}\""));
        Self { kind, bytes, tag: tag.unwrap_or(HeaderValue::from_static("W/\"\"")) }
    }

    /// The answer to a request with these headers.
    fn sent(&self, asked: &HeaderMap) -> Response {
        let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|known| names(known, &self.tag));
        let body = if is_known { Body::empty() } else { self.bytes.clone().into() };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, ASK_AGAIN);
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(ETAG, self.tag.clone());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        }
        response
    }
}

/// Whether a list of tags has this one, however strong. What does not read is no tag.
fn names(list: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(list), Ok(tag)) = (list.to_str(), tag.to_str()) else { return false };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.split(',').any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

/// By their names, once somebody asks.
static BY_NAME: LazyLock<HashMap<&str, File>> = LazyLock::new(|| {
    FILES.iter().map(|&(name, bytes)| (name, File::new(name, Bytes::from_static(bytes)))).collect()
});

/// The page at the front of all paths, and its files. No login is needed: there is nothing of the broker's in them.
pub(super) fn router(prefix: &str) -> Router {
    // A prefix is letters, digits and the like: it needs no escape.
    let index = INDEX.replace(&format!("\"{BASE}/"), &format!("\"{prefix}{BASE}/"));
    let index = File::new("index.html", index.into());
    let at_front = if prefix.is_empty() { "/" } else { prefix };
    Router::new()
        .route(at_front, get(async move |asked: HeaderMap| index.sent(&asked)))
        .route(&format!("{prefix}{BASE}/{{*name}}"), get(file))
}

async fn file(Path(name): Path<String>, asked: HeaderMap) -> Response {
    BY_NAME.get(&*name).map_or_else(|| failed(&ApiError::NoPath), |file| file.sent(&asked))
}

#[cfg(test)]
mod tests;
