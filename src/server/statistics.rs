//! Takes the samples of which rates and charts are made.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::server::clock;

/// The shortest interval. One of zero would be none.
const SHORTEST: Duration = Duration::from_millis(100);

/// Takes one sample in each interval, on threads that may block, until `stop`.
pub(super) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut ticks = interval(broker.statistics.options().interval.max(SHORTEST));
    // After a stall the next ones come at their usual distance.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let broker = broker.clone();
        let sample = move || broker.statistics.sample(&broker, clock::now());
        if let Err(error) = tokio::task::spawn_blocking(sample).await {
            tracing::error!(%error, "a sample panicked; there will be no more");
            return;
        }
    }
}
