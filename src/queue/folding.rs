//! What a checkpoint and a restart have to do with a queue: which of its messages lie in an old part of the journal,
//! that they were moved to a segment, and how it is made again of what is stored.

use std::ops::Range;

use super::{Entry, Link, Queue, Run, State, memory_of};
use crate::ids::{Location, Place, Position};
use crate::message::Message;

/// A stored message of a queue before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredMessage {
    /// Its position.
    pub position: Position,
    /// Where it is.
    pub place: Place,
    /// Bytes of its body.
    pub body_len: u64,
    /// Bytes it takes where it is.
    pub stored_len: u64,
}

/// A queue before a restart.
#[derive(Debug, Default)]
pub struct Restored {
    /// Messages that no run has, in rising order of their positions.
    pub messages: Vec<RestoredMessage>,
    /// What lies in segments.
    pub runs: Vec<Run>,
    /// Messages below it may have been delivered.
    pub delivered: Position,
    /// New messages get positions from here on.
    pub next: Position,
}

/// A message that lies in the part of the journal that was asked for.
#[derive(Clone, Debug)]
pub struct StoredHere {
    /// Its position.
    pub position: Position,
    /// Its body address.
    pub address: u64,
    /// About how many bytes it takes there.
    pub stored_len: u64,
    /// The message, if it is in memory.
    pub message: Option<Message>,
}

/// A message that is in memory only.
#[derive(Clone, Debug)]
pub struct Unstored {
    /// Its position.
    pub position: Position,
    /// The message.
    pub message: Message,
}

impl<L: Link> Queue<L> {
    /// A queue as it was before a restart. Everything is ready and nothing in memory.
    #[must_use]
    pub fn restored(content: Restored) -> Self {
        let mut queue = Self { flagged_below: content.delivered, ..Self::default() };
        let mut ready: Vec<Range<u64>> = Vec::new();
        for message in content.messages {
            let RestoredMessage { position, place, body_len, stored_len } = message;
            let mut entry = Entry::absent(place, body_len, stored_len, true);
            if position < content.delivered {
                entry.set_redelivered();
            }
            queue.entries.insert(position, entry);
            queue.depth.ready += 1;
            queue.depth.ready_bytes += body_len;
            extend(&mut ready, position.0);
        }
        for run in content.runs {
            queue.depth.ready += run.live.len();
            queue.depth.ready_bytes += run.bytes;
            run.live.iter().for_each(|position| extend(&mut ready, position));
            queue.runs.add(run);
        }
        ready.sort_unstable_by_key(|range| range.start);
        for range in ready {
            queue.returned.insert_range(Position(range.start)..Position(range.end));
            queue.entries.skip_to(Position(range.end));
        }
        queue.entries.skip_to(content.next);
        queue.head = queue.entries.next();
        queue.paging.sweep_from(queue.head);
        queue.paging.left(queue.depth.ready);
        queue
    }

    /// Adds to `found` the messages from `from` on that lie in the journal below the body address `below`, looking at
    /// about `slots` of them. Returns where to go on.
    ///
    /// From now on their entries say where they are. The message itself may be stored anew for another queue, and tell
    /// of that place then.
    pub fn stored_below(
        &mut self,
        below: u64,
        from: Position,
        slots: usize,
        found: &mut Vec<StoredHere>,
    ) -> Option<Position> {
        let mut at = from;
        for _ in 0..slots {
            at = self.entries.next_chunk(at).filter(|at| *at < self.entries.next())?;
            if let Some(entry) = self.entries.entry(at).filter(|entry| entry.is_stored())
                && let Some(address) = entry.address().filter(|&address| address < below)
            {
                entry.place = Place::journal(address);
                let (stored_len, message) = (entry.stored_len(), entry.message.clone());
                found.push(StoredHere { position: at, address, stored_len, message });
            }
            at = at.next();
        }
        Some(at)
    }

    /// Whether the message at `position` is still there, and lies in the journal at `address`.
    pub fn is_stored_at(&mut self, position: Position, address: u64) -> bool {
        self.entries.entry(position).is_some_and(|entry| entry.address() == Some(address))
    }

    /// The message at `position` was stored again in the journal, at `address`, and can be read there.
    pub fn stored_again(&mut self, position: Position, address: u64) {
        if let Some(entry) = self.entries.entry(position) {
            entry.place = Place::journal(address);
        }
    }

    /// Messages were written to a run, each at its offset: those of `items` that are still there now belong to it.
    /// `run.live` and `run.bytes` are of no account. A long run may be told of in several calls, in order.
    pub fn moved(&mut self, mut run: Run, items: &[(Position, u64)]) {
        run.live.clear();
        run.bytes = 0;
        let read = self.runs.read_up_to(&run);
        for &(position, offset) in items {
            let Some(place) = Place::segment(run.segment, offset) else { continue };
            let Some(entry) = self.entries.entry(position) else { continue };
            // Something else may have moved it first.
            if matches!(entry.place.location(), Location::Segment { .. }) {
                continue;
            }
            entry.place = place;
            run.live.insert(position.0);
            run.bytes += entry.body_len();
            let ready = entry.state() == State::Ready;
            if run.transient
                && let Some(message) = entry.take_message()
            {
                self.memory -= memory_of(&message);
                self.paging.left(u64::from(ready));
            }
            // What a run tells needs no entry, unless its reader is past it.
            let told = !(entry.redelivered() && position >= self.flagged_below) && offset >= read;
            if ready && entry.message.is_none() && told {
                self.entries.remove(position);
            }
        }
        self.runs.add(run);
        self.lower_relief();
    }

    /// Messages of a run were copied to another: what of `from` is still there now lies in `to`, each at its offset.
    pub fn rewritten(&mut self, from: (u64, u64), to: Run, items: &[(Position, u64)]) {
        self.runs.rewrite(from, to, items, &mut self.entries);
    }

    /// Adds to `found` ready messages in memory that are not stored, from `from` on and up to about `bytes`, looking at
    /// about `slots` entries. Returns where to go on.
    pub fn unstored(
        &self,
        from: Position,
        bytes: u64,
        slots: usize,
        found: &mut Vec<Unstored>,
    ) -> Option<Position> {
        let mut taken = 0;
        for (looked, (position, entry)) in self.entries.iter_from(from).enumerate() {
            if looked == slots || taken >= bytes {
                return Some(position);
            }
            let unstored = !entry.is_stored() && entry.place == Place::UNKNOWN;
            if let Some(message) =
                entry.message.as_ref().filter(|_| unstored && entry.state() == State::Ready)
            {
                taken += memory_of(message);
                found.push(Unstored { position, message: message.clone() });
            }
        }
        None
    }

    /// What lies in segments.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// What lies in segments, as it is to be remembered: with the positions of messages that cannot be read, so that
    /// nobody takes their files for needless.
    pub fn stored_runs(&self) -> impl Iterator<Item = Run> {
        self.runs.stored()
    }

    /// Whether a run has gone since the last call: its file may be needless.
    pub fn take_freed(&mut self) -> bool {
        self.runs.take_freed()
    }
}

/// Adds a position to ranges of which the last one may end just before it.
fn extend(ranges: &mut Vec<Range<u64>>, position: u64) {
    match ranges.last_mut() {
        Some(last) if last.end == position => last.end += 1,
        _ => ranges.push(position..position + 1),
    }
}
