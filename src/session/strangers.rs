//! What the log says of clients that are not logged in: nobody's words unescaped or at length, and no more lines than
//! [`crate::throttle`] lets pass. The others are there at the level "debug".

use std::fmt::Display;

use crate::session::wire::Wire;
use crate::time::Moment;

/// How many were left out, for the line; nothing of it if none were.
fn some(unsaid: u64) -> Option<u64> {
    (unsaid > 0).then_some(unsaid)
}

/// The first bytes are not those of AMQP 0-9-1.
pub(super) fn log_other_protocol(wire: &Wire, seen: &[u8], now: Moment) {
    let (peer, seen) = (&wire.peer.address, guess(seen));
    match wire.broker.strangers.protocols.admit(now) {
        Some(unsaid) => tracing::warn!(%peer, unsaid = some(unsaid), "not an AMQP 0-9-1 client: {seen}"),
        None => tracing::debug!(%peer, "not an AMQP 0-9-1 client: {seen}"),
    }
}

/// A login failed.
pub(super) fn log_refused_login(wire: &Wire, user: &str, why: &dyn Display, now: Moment) {
    let (peer, user, why) = (&wire.peer.address, printable(user, NAME), printable(&why.to_string(), TEXT));
    match wire.broker.strangers.logins.admit(wire.peer.source, now) {
        Some(unsaid) => tracing::warn!(%peer, %user, unsaid = some(unsaid), "login refused: {why}"),
        None => tracing::debug!(%peer, %user, "login refused: {why}"),
    }
}

/// A handshake came to an end for which the client is to blame. The log has said so already if its login `is_refused`.
pub(super) fn log_refusal(wire: &Wire, is_refused: bool, why: &str, now: Moment) {
    let (peer, why) = (&wire.peer.address, printable(why, TEXT));
    let admitted =
        if is_refused { None } else { wire.broker.strangers.handshakes.admit(wire.peer.source, now) };
    match admitted {
        Some(unsaid) => tracing::warn!(%peer, unsaid = some(unsaid), "connection refused: {why}"),
        None => tracing::debug!(%peer, "connection refused: {why}"),
    }
}

/// A client went in the middle of its handshake.
pub(super) fn log_departure(wire: &Wire, why: &str, now: Moment) {
    let peer = &wire.peer.address;
    match wire.broker.strangers.handshakes.admit(wire.peer.source, now) {
        Some(unsaid) => {
            tracing::info!(%peer, unsaid = some(unsaid), "connection closed during the handshake: {why}");
        }
        None => tracing::debug!(%peer, "connection closed during the handshake: {why}"),
    }
}

/// How much of a name a line has, in characters.
pub(super) const NAME: usize = 64;

/// How much of a text a line has, in characters.
pub(super) const TEXT: usize = 256;

/// A text that holds a client's words, as a log line may hold it: `longest` characters of it, none of them for control.
pub(super) fn printable(text: &str, longest: usize) -> String {
    text.chars()
        .take(longest)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// What a peer that sent these bytes probably is, for the operator.
fn guess(seen: &[u8]) -> String {
    match seen {
        [0x16, 0x03, ..] => "a TLS client on a plain port".to_owned(),
        [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', ..] | [b'H', b'E', b'A', b'D', ..] => {
            "HTTP on the AMQP port".to_owned()
        }
        [b'P', b'R', b'O', b'X', b'Y', b' ', ..] | [b'\r', b'\n', b'\r', b'\n', 0, ..] => {
            "a PROXY protocol header, and not from a proxy in listen.proxy_protocol".to_owned()
        }
        [b'A', b'M', b'Q', b'P', version @ ..] => format!("AMQP protocol {version:?}"),
        _ => format!("it begins with {}", seen.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_words_are_cut_and_have_no_control_characters() {
        assert_eq!(printable("a\nb\u{1b}[31m\u{9b}\u{e9}", TEXT), "a\\nb\\u{1b}[31m\\u{9b}\u{e9}");
        assert_eq!(printable(&"x".repeat(100), NAME).len(), NAME);
    }
}
