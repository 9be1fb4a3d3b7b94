//! Cookies of browsers: their names, and what is in them.

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HOST};

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
