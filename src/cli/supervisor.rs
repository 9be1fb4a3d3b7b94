//! What a service manager hears of the broker, in the way of systemd (sd_notify): that it is ready, reads its
//! configuration again, is alive, and ends. Without a service manager that asked for it nothing is said.

use std::sync::Arc;

use sd_notify::NotifyState;
use tracing::{debug, info, warn};

use crate::broker::Broker;

/// Clients can connect.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] comes after it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "the service manager is not told of the reload"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says again and again that the broker is alive, if the service manager wants to hear it (WatchdogSec). Each time a
/// new task has to have its turn on a worker thread and to get hold of the list of connections, so that silence means
/// workers that hang, or a lock that is never given back.
pub(super) async fn prove_life(broker: Arc<Broker>) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    info!(within = ?within, "the service manager watches");
    loop {
        let proof = Arc::clone(&broker);
        let alive = tokio::spawn(async move { proof.registry.len() });
        if let Err(error) = alive.await {
            warn!(%error, "the service manager is not told that the broker is alive");
        } else {
            tell(&[NotifyState::Watchdog]);
        }
        // As systemd asks for it.
        tokio::time::sleep(within / 2).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager cannot be told: {state:?}");
    }
}
