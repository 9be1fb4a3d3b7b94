//! How the journal knows which messages of a queue may have been delivered.

use super::{QueueCell, State};
use crate::ids::{Lsn, Position};
use crate::storage::record::Record;

/// How far ahead of the deliveries a queue marks them in the journal: one record for so many messages.
const MARK_AHEAD: u64 = 4096;

impl QueueCell {
    pub(super) fn mark_delivered(&self, state: &mut State) {
        if !self.spec.durable {
            return;
        }
        let State { queue, changed, .. } = state;
        queue.mark_delivered(MARK_AHEAD, |position| {
            self.append_mark(position);
            *changed = true;
        });
    }

    fn append_mark(&self, position: Position) -> Lsn {
        let record = Record::DeliveredThrough { queue: self.id, position };
        self.bodies.journal.append(|batch| batch.record(&record))
    }

    /// Marks what waits here as delivered, for a consumer that is to have it from when the journal is written up to what this
    /// returns: after a crash it is known then that it may have been delivered. What is not in memory is read meanwhile.
    pub fn mark_waiting(&self) -> Lsn {
        let mut marked_at = Lsn::ZERO;
        if !self.spec.durable {
            return marked_at;
        }
        let mut state = self.state.lock();
        let State { queue, changed, .. } = &mut *state;
        // Messages to come are marked with the first of them.
        if queue.depth().ready > 0 {
            queue.mark_ahead(MARK_AHEAD, |position| {
                marked_at = self.append_mark(position);
                *changed = true;
            });
            self.load(&mut state);
        }
        marked_at
    }
}
