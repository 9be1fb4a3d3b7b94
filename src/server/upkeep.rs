//! What the broker's storage needs to have done in the background: checkpoints, and the memory budget of messages.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::checkpoint::Checkpoint;
use crate::server::memory::resident_bytes;

/// How often the journal's size and the memory are looked at, which is cheap.
const EVERY: Duration = Duration::from_millis(100);

/// Looks from one sweep of segments to the next.
const SWEEP: u32 = 10;

/// Keeps the journal within its budget, and messages within `memory` bytes, on a thread that may block, until `stop`.
/// A budget of 0 is none.
pub(super) async fn run(broker: Arc<Broker>, memory: u64, stop: CancellationToken) {
    let mut looks = 0_u32;
    let mut unfinished = false;
    loop {
        looks = looks.wrapping_add(1);
        let broker = broker.clone();
        let sweep = unfinished || looks.is_multiple_of(SWEEP);
        let work = tokio::task::spawn_blocking(move || look(&broker, memory, sweep));
        unfinished = match work.await {
            Ok(unfinished) => unfinished,
            Err(error) => {
                tracing::error!(%error, "a checkpoint panicked");
                false
            }
        };
        let pause = if unfinished { Duration::ZERO } else { EVERY };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Looks once. Returns whether there is more to do at once.
fn look(broker: &Broker, memory: u64, sweep: bool) -> bool {
    let Checkpoint { files, segments, unfinished } = broker.checkpoint(sweep);
    if files + segments > 0 {
        tracing::debug!(files, segments, "checkpoint: freed");
    }
    // All messages take less than the process: then there is nothing to count. That resident memory cannot be read is
    // told by the memory alarm.
    let may_be_over = || resident_bytes().is_ok_and(|resident| resident > memory);
    if memory > 0 && (may_be_over() || broker.is_short_of_memory()) {
        broker.relieve_memory(memory);
    }
    unfinished
}
