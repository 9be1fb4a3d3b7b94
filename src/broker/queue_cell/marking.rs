//! How the journal knows which messages of a queue may have been delivered.

use super::{QueueCell, State};
use crate::ids::Position;
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

    fn append_mark(&self, position: Position) {
        let record = Record::DeliveredThrough { queue: self.id, position };
        self.bodies.journal.append(|batch| batch.record(&record));
    }

    /// Marks what waits here as delivered, for a consumer that has come.
    pub(super) fn mark_waiting(&self, state: &mut State) {
        // Messages to come are marked with the first of them.
        if !self.spec.durable || state.queue.depth().ready == 0 {
            return;
        }
        let State { queue, changed, .. } = state;
        queue.mark_ahead(MARK_AHEAD, |position| {
            self.append_mark(position);
            *changed = true;
        });
    }
}
