//! Cookies of browsers: their names, and what is in them.

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HOST, ORIGIN};

/// The name of a cookie for whoever asks with this head. Browsers keep cookies by host, whatever the port: it has the port that
/// the browser sees, which need not be the one that is listened on, so that brokers on one host do not take each other's.
pub(crate) fn name(headers: &HeaderMap, base: &str) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let port = host.and_then(|host| host.rsplit_once(':')).and_then(|(_, port)| port.parse::<u16>().ok());
    port.map_or_else(|| base.to_owned(), |port| format!("{base}_{port}"))
}

/// All values of a cookie, by the base of its name: a browser may have one for each path.
pub(crate) fn values<'a>(headers: &'a HeaderMap, base: &str) -> impl Iterator<Item = &'a str> {
    let wanted = name(headers, base);
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(name, _)| *name == wanted).map(|(_, value)| value)
}

/// Whether the browser that asks with this head speaks TLS, with the broker or with a proxy in front of it. A page that logs in
/// names its origin; of other requests the settings may know what browsers have in front of all paths.
pub(crate) fn is_secure(headers: &HeaderMap, is_tls: bool, known: Option<&str>) -> bool {
    let named = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = named.filter(|origin| origin.contains("://")).or(known);
    is_tls || origin.is_some_and(|origin| origin.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_browser_that_speaks_tls_is_known_by_its_page_or_else_by_the_settings() {
        let with = |origin: Option<&'static str>| -> HeaderMap {
            origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))).into_iter().collect()
        };
        let (tls, plain) = (Some("https://mq.example"), Some("http://mq.example"));
        for (named, is_tls, known, expected) in [
            (None, false, None, false),
            (None, true, None, true),
            (None, false, tls, true),
            (None, false, plain, false),
            (tls, false, None, true),
            (tls, false, plain, true),
            // It is there without the proxy: it would not keep a cookie that is only for TLS.
            (plain, false, tls, false),
            (plain, true, tls, true),
            (Some("null"), false, tls, true),
            (Some("null"), false, None, false),
        ] {
            assert_eq!(is_secure(&with(named), is_tls, known), expected, "{named:?} {is_tls} {known:?}");
        }
    }
}
