//! Keys of access tokens, fetched from where the configuration says: from a key set, or from an issuer that says where
//! its key set is (OpenID Connect Discovery). No URL comes from a client.
//!
//! It is done by a thread of its own, so that a key server which hangs holds up nobody but who waits for its keys.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::key_ring::{Fetched, KeyRing};
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

impl KeySource {
    /// What becomes of keys that were fetched from one source, or from none, when there is another one, or none.
    #[must_use]
    pub fn after(before: Option<&Self>, now: Option<&Self>) -> Fetched {
        let from =
            |source: Option<&Self>| source.map(|source| (source.place.clone(), source.authorities.clone()));
        match (before == now, now.is_some() && from(before) == from(now)) {
            (true, _) => Fetched::Stay,
            (_, true) => Fetched::StayForNow,
            _ => Fetched::Go,
        }
    }
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
pub fn start(ring: Arc<KeyRing>, source: KeySource) {
    let thread = std::thread::Builder::new().name("keys".to_owned());
    let own = ring.clone();
    // It is not waited for in the end: it may be in the middle of a fetch, which changes nothing.
    if let Err(error) = thread.spawn(move || run(&own, &source)) {
        tracing::error!(%error, "the keys of access tokens cannot be fetched");
        ring.close();
    }
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
