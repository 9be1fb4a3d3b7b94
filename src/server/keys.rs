//! Keys of access tokens, fetched from where the configuration says: from a key set, or from an issuer that says where
//! its key set is (OpenID Connect Discovery). No URL comes from a client.
//!
//! It is done by a thread of its own, so that a key server which hangs holds up nobody but who waits for its keys.

use std::io;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::key_ring::KeyRing;
use crate::identity::oauth::KeySet;
use crate::server::asking::Asking;

#[cfg(test)]
mod tests;

/// Where keys are, and how often they are fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySource {
    /// Where to ask.
    pub place: KeyPlace,
    /// Certificate authorities in PEM that are believed besides those of the system.
    pub authorities: Vec<u8>,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// From one fetch to the next.
    pub refresh: Duration,
    /// The least time from a fetch to one that an unknown key asks for.
    pub rest: Duration,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyPlace {
    /// The URL of a key set.
    Set(String),
    /// The URL of an issuer, who tells the URL of the key set.
    Issuer(String),
}

/// How soon it is tried again after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// Fetches keys into `ring` until that is closed.
///
/// # Errors
/// If the operating system has no more threads.
pub(super) fn start(ring: Arc<KeyRing>, source: KeySource) -> io::Result<()> {
    // It is not waited for in the end: it may be in the middle of a fetch, which changes nothing.
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || run(&ring, &source)).map(|_| ())
}

fn run(ring: &KeyRing, source: &KeySource) {
    loop {
        // What panics has failed; the hook has logged it.
        let outcome = catch_unwind(|| fetch(source)).unwrap_or_else(|_| Err("it panicked".to_owned()));
        let pause = match &outcome {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the keys of access tokens were fetched");
                source.refresh
            }
            Err(why) => {
                tracing::warn!("the keys of access tokens cannot be fetched, those there are stay: {why}");
                source.refresh.min(RETRY)
            }
        };
        ring.put(outcome.ok());
        if !ring.rest(source.rest) || !ring.wait(pause.saturating_sub(source.rest)) {
            return;
        }
    }
}

/// Fetches the keys once, and blocks meanwhile.
fn fetch(source: &KeySource) -> Result<KeySet, String> {
    let asking = Asking::new(&source.authorities, source.timeout)?;
    let url = match &source.place {
        KeyPlace::Set(url) => url.clone(),
        KeyPlace::Issuer(issuer) => asking.discover(issuer)?.address("jwks_uri")?,
    };
    let set = asking.get(&url)?;
    KeySet::from_jwks(&set).map_err(|error| format!("{url}: {error}"))
}
