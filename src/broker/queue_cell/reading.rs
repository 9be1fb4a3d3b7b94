//! Reading messages of a queue that are not in memory.

use super::{QueueCell, State, wake};
use crate::queue::Load;
use crate::storage::bodies::{Outcome, Problem, Read};

impl QueueCell {
    /// Has read what a queue that is locked needs next. Returns whether something is being read.
    pub(super) fn load(&self, state: &mut State) -> bool {
        let load = state.queue.plan_load();
        let lost = state.queue.take_lost();
        if lost > 0 {
            tracing::error!(queue = ?self.spec.name, messages = lost, "messages are nowhere, and left out of the queue");
        }
        if let Some(load) = load
            && let Some(cell) = self.me.upgrade()
        {
            self.bodies.submit(Box::new(move || cell.carry_out(load)));
        }
        state.queue.is_loading()
    }

    /// Reads, and delivers what was read.
    fn carry_out(&self, load: Load) {
        let Outcome { read, problems } = self.bodies.read(self.id, load);
        let mut wakes = Vec::new();
        let (damaged, getters) = {
            // Of a queue that was deleted meanwhile nothing is wanted, but who waits for it is to be told.
            let mut state = self.state.lock();
            let damaged = match read {
                Read::Places(found) => state.queue.loaded(found),
                Read::Run { unread, next, found, gaps } => state.queue.loaded_run(&unread, next, found, gaps),
            };
            self.deliver(&mut state, &mut wakes);
            (damaged, std::mem::take(&mut state.getters))
        };
        wake(wakes);
        // This thread is to read, not to route.
        if self.agenda.has_letters() {
            self.agenda.wake();
        }
        getters.iter().for_each(|outlet| outlet.wake());
        // Otherwise they were moved or removed while they were read.
        if damaged > 0 {
            tracing::error!(queue = ?self.spec.name, messages = damaged, "stored messages are left out of the queue");
            for Problem { file, offset, why } in problems {
                tracing::error!(queue = ?self.spec.name, file, offset, "{why}");
            }
        }
    }
}
