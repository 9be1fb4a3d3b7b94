//! What a checkpoint, the memory budget and a restart have to do with a queue.

use super::QueueCell;
use crate::ids::Position;
use crate::message::Message;
use crate::queue::{Restored, Run, StoredHere, Unstored};
use crate::storage::catalogue::{StoredQueue, StoredRun};
use crate::storage::image::{QueueImage, RunImage};

/// Entries of a queue that are looked at under one lock.
const SLOTS: usize = 4096;

/// Messages that are moved under one lock.
const SLICE: usize = 256;

impl QueueCell {
    /// All messages that lie in the journal below a body address.
    pub(in crate::broker) fn stored_below(&self, address: u64) -> Vec<StoredHere> {
        let mut found = Vec::new();
        let mut from = Some(Position::default());
        while let Some(next) = from {
            from = self.state.lock().queue.stored_below(address, next, SLOTS, &mut found);
        }
        found
    }

    /// Stores messages again at the journal's end: those that still lie at the address given with them. Returns where
    /// they are then. [`stored_again`](Self::stored_again) is due when that is written: until then they are read where
    /// they were.
    pub(in crate::broker) fn store_again(
        &self,
        messages: &[(Position, u64, Message)],
    ) -> Vec<(Position, u64)> {
        let mut stored = Vec::with_capacity(messages.len());
        for slice in messages.chunks(SLICE) {
            let mut state = self.state.lock();
            if state.gone {
                break;
            }
            let queue = &mut state.queue;
            self.bodies.journal.append(|batch| {
                for (position, address, message) in slice {
                    if queue.is_stored_at(*position, *address) {
                        batch.store_again(self.id, *position, message);
                        stored.push((*position, message.stored_at()));
                    }
                }
            });
        }
        stored
    }

    /// What was stored again is written.
    pub(in crate::broker) fn stored_again(&self, stored: &[(Position, u64)]) {
        for slice in stored.chunks(SLOTS) {
            let mut state = self.state.lock();
            for (position, address) in slice {
                state.queue.stored_again(*position, *address);
            }
        }
    }

    /// Messages were written to a segment, each at its offset.
    pub(in crate::broker) fn moved(&self, run: &Run, items: &[(Position, u64)]) {
        for slice in items.chunks(SLOTS) {
            let mut state = self.state.lock();
            if state.gone {
                // Nobody needs the segment on its account.
                self.bodies.note_freed();
                return;
            }
            state.queue.moved(run.clone(), slice);
            state.changed = true;
            self.note_freed(&mut state);
        }
    }

    /// What is still there of the run `from` was copied to another segment.
    pub(in crate::broker) fn rewritten(&self, from: (u64, u64), to: Run, items: &[(Position, u64)]) {
        let mut state = self.state.lock();
        if !state.gone {
            state.queue.rewritten(from, to, items);
            state.changed = true;
        }
    }

    /// What lies in segments.
    pub(in crate::broker) fn runs(&self) -> Vec<Run> {
        self.state.lock().queue.runs().cloned().collect()
    }

    /// The segments that it needs, each with the bytes that are there of it.
    pub(in crate::broker) fn count_segments(&self, mut count: impl FnMut(u64, u64)) {
        self.state.lock().queue.runs().for_each(|run| count(run.segment, run.bytes));
    }

    /// What the catalogue is to say of the queue, if that has changed since the last call.
    pub(in crate::broker) fn take_changed(&self) -> Option<StoredQueue> {
        let mut state = self.state.lock();
        if !std::mem::take(&mut state.changed) || state.gone {
            return None;
        }
        let durable = state.queue.stored_runs().filter(|run| !run.transient);
        let runs = durable.map(|run| {
            let Run { segment, from, until, bytes, live, .. } = run;
            StoredRun { segment, from, until, bytes, live }
        });
        let runs = runs.collect();
        Some(StoredQueue { id: self.id, marks: state.queue.marks(), runs })
    }

    /// What [`take_changed`](Self::take_changed) gave did not come into the catalogue.
    pub(in crate::broker) fn set_changed(&self) {
        self.state.lock().changed = true;
    }

    /// How many bytes of messages stay in memory whatever comes.
    pub(in crate::broker) fn keep(&self, bytes: u64) {
        self.state.lock().queue.keep(bytes);
    }

    /// Behind the messages that are wanted in memory next.
    pub(in crate::broker) fn tail(&self) -> Position {
        self.state.lock().queue.tail()
    }

    /// Lets all bodies go that are stored and not wanted at once. Returns how many bytes of memory the queue takes now.
    pub(in crate::broker) fn relieve_all(&self) -> u64 {
        let mut state = self.state.lock();
        state.queue.note_written(self.bodies.journal.written_address());
        state.queue.relieve_all();
        state.queue.memory()
    }

    /// Up to about `bytes` of ready messages that are not stored, from `from` on, and where to go on.
    pub(in crate::broker) fn unstored(
        &self,
        from: Position,
        bytes: u64,
    ) -> (Vec<Unstored>, Option<Position>) {
        let mut found = Vec::new();
        let state = self.state.lock();
        let next = if state.gone { None } else { state.queue.unstored(from, bytes, SLOTS, &mut found) };
        (found, next)
    }
}

/// What storage has of a queue, as the queue takes it.
pub(super) fn restored(image: QueueImage) -> Restored {
    let QueueImage { messages, runs, marks } = image;
    let run = |run: RunImage| {
        let RunImage { segment, from, until, bytes, live } = run;
        Run { segment, from, until, bytes, live, transient: false }
    };
    Restored { messages, runs: runs.into_iter().map(run).collect(), marks }
}
