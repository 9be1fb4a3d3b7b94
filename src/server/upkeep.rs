//! What the broker's storage needs to have done in the background: checkpoints, and the memory budget of messages.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::checkpoint::Checkpoint;
use crate::server::memory::{give_back_memory, resident_bytes};

/// How often the journal's size and the memory are looked at, which is cheap.
const EVERY: Duration = Duration::from_millis(100);

/// Looks from one sweep of segments to the next.
const SWEEP: u32 = 10;

/// Keeps the journal within its budget, and messages within `memory` bytes, on a thread that may block, until `stop`.
/// A budget of 0 is none.
pub(super) async fn run(broker: Arc<Broker>, memory: u64, stop: CancellationToken) {
    let mut upkeep =
        Upkeep { broker, memory, stop: stop.clone(), looks: 0, unfinished: false, kept_by_allocator: 0 };
    loop {
        let work = tokio::task::spawn_blocking(move || {
            upkeep.look();
            upkeep
        });
        upkeep = match work.await {
            Ok(upkeep) => upkeep,
            Err(error) if error.is_panic() => {
                // What it was about is half done. The journal makes ending safe where going on is not.
                tracing::error!(%error, "a checkpoint panicked");
                std::process::abort();
            }
            Err(_) => return,
        };
        let pause = if upkeep.unfinished { Duration::ZERO } else { EVERY };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

struct Upkeep {
    broker: Arc<Broker>,
    memory: u64,
    stop: CancellationToken,
    looks: u32,
    /// The last checkpoint has freed something, and there may be more.
    unfinished: bool,
    /// What the process took, in bytes, when it was more than the budget, but what messages took was not.
    kept_by_allocator: u64,
}

impl Upkeep {
    fn look(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        let sweep = self.looks.is_multiple_of(SWEEP);
        // A broker that is to end has to be able to, also when the disk takes nothing.
        let checkpoint =
            self.broker.checkpoint_unless(sweep || self.unfinished, &|| self.stop.is_cancelled());
        let Checkpoint { files, segments, unfinished } = checkpoint;
        if files + segments > 0 {
            tracing::debug!(files, segments, "checkpoint: freed");
        }
        self.unfinished = unfinished;
        if sweep {
            give_back_memory();
        }
        if self.memory > 0 {
            self.relieve_memory(sweep);
        }
    }

    fn relieve_memory(&mut self, sweep: bool) {
        // All messages take less than the process: then there is nothing to count. That resident memory cannot be read
        // is told by the memory alarm.
        let resident = resident_bytes().unwrap_or(0);
        let is_over = resident > self.memory;
        // An allocator gives memory back late; until the process takes more, messages are counted less often.
        let may_free = sweep || resident > self.kept_by_allocator;
        if may_free && (is_over || self.broker.is_short_of_memory()) {
            let freed = self.broker.relieve_memory(self.memory);
            self.kept_by_allocator = if is_over && freed == 0 { resident } else { 0 };
        }
    }
}
