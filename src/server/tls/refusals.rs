//! Failed handshakes in the log: a line each, but not for each of a flood.

use crate::server::clock;
use crate::throttle::Throttle;

/// What went wrong. Each kind has its own measure of lines, so that a flood of one does not hide another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was not TLS.
    NotTls,
    /// No version or cipher suite in common.
    Version,
    /// The client's certificate, or the lack of one.
    Certificate,
    /// The client said that it does not go on.
    Alert,
    /// The client went without a word.
    Gone,
    /// It was not done in time.
    Timeout,
    /// Anything else.
    Other,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Refusals([Throttle; Kind::Other as usize + 1]);

impl Refusals {
    pub(super) fn log(&self, peer: &str, kind: Kind, why: &str) {
        match self.0[kind as usize].admit(clock::now().moment) {
            None => {}
            Some(0) => tracing::warn!(peer, "TLS handshake failed: {why}"),
            Some(unsaid) => tracing::warn!(peer, unsaid, "TLS handshake failed: {why}"),
        }
    }
}
