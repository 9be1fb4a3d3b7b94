//! What a checkpoint and a restart have to do with a queue: which of its messages lie in an old part of the journal,
//! that they were moved to a segment, and how it is made again of what is stored.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::chunk::{CHUNK, Unmade, restored};
use super::lanes::Lane;
use super::log::MessageLog;
use super::rules::Traits;
use super::{Entry, Link, Queue, Run, State, memory_of};
use crate::deaths::Reason;
use crate::ids::{Location, Place, Position};
use crate::message::Message;

/// A queue before a restart.
#[derive(Debug, Default)]
pub struct Restored {
    /// Messages in the journal, in rising order of their positions. No run has them.
    pub messages: MessageLog,
    /// What lies in segments.
    pub runs: Vec<Run>,
    /// What else is known.
    pub marks: Marks,
}

/// What storage knows of a queue beside where its messages are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// How far each lane has come, by rising numbers.
    pub lanes: Vec<LaneState>,
    /// Messages that are on their way to the dead-letter exchange, first to die first.
    pub dead: Vec<(Position, Reason)>,
    /// How often messages came back, by rising positions.
    pub counts: Vec<(Position, u32)>,
    /// There may be messages with a lifetime of their own.
    pub has_lifetimes: bool,
}

/// How far a lane has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// Its number.
    pub number: u8,
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
    /// A queue as it was before a restart. Everything is ready, or dead, and nothing in memory.
    #[must_use]
    pub fn restored(traits: Traits, content: Restored) -> Self {
        let Restored { messages, runs, marks } = content;
        let mut queue = Self { has_lifetimes: marks.has_lifetimes, ..Self::new(traits) };
        for &LaneState { number, delivered, .. } in &marks.lanes {
            let lane = queue.lanes.lane(number);
            (lane.flagged_below, lane.mark) = (delivered, delivered);
        }
        let mut ready = queue.restore_messages(messages, &marks.dead);
        for run in runs {
            queue.depth.ready += run.live.len();
            queue.depth.ready_bytes += run.bytes;
            queue.stored.add_many(run.live.len(), run.bytes);
            run.live.iter().for_each(|position| extend(&mut ready, position..position + 1));
            queue.runs.add(run);
        }
        ready.sort_unstable_by_key(|range| range.start);
        for range in ready {
            queue.returned.insert_range(Position(range.start)..Position(range.end));
            queue.lanes.lane(Position(range.start).lane()).entries.skip_to(Position(range.end));
        }
        for &LaneState { number, delivered, next } in &marks.lanes {
            // Past the mark, so that a new message is not taken for one that may have been delivered.
            queue.lanes.lane(number).entries.skip_to(next.max(delivered));
        }
        for lane in queue.lanes.iter_mut() {
            lane.head = lane.entries.next();
            lane.swept = lane.head;
        }
        queue.paging.lack(queue.depth.ready);
        queue.restore_deaths(&marks.dead, marks.counts);
        queue
    }

    /// Puts what is in the journal into the table. Returns the positions of those that are ready.
    fn restore_messages(&mut self, messages: MessageLog, dead: &[(Position, Reason)]) -> Vec<Range<u64>> {
        let messages = Arc::new(messages);
        let dead: BTreeSet<u64> = dead.iter().map(|(position, _)| position.0).collect();
        let mut ready = Vec::new();
        for piece in messages.pieces(CHUNK) {
            let (mut first, mut end) = (u64::MAX, 0);
            for (range, body_len) in messages.ranges(piece) {
                (first, end) = (first.min(range.start), range.end);
                let count = range.end - range.start;
                let body_len = u64::from(body_len);
                self.stored.add_many(count, count * body_len);
                let dying = dead.range(range.clone()).count() as u64;
                self.depth.ready += count - dying;
                self.depth.ready_bytes += (count - dying) * body_len;
                if dying == 0 {
                    extend(&mut ready, range);
                } else {
                    let alive = range.filter(|position| !dead.contains(position));
                    alive.for_each(|position| extend(&mut ready, position..position + 1));
                }
            }
            let lane = self.lanes.lane(Position(first).lane());
            let flagged = lane.flagged_below.0;
            let are_alike = (end <= flagged || flagged <= first) && dead.range(first..end).next().is_none();
            if are_alike {
                let unmade = Unmade::new(messages.clone(), piece, first < flagged);
                lane.entries.put_unmade(Position(end - 1), unmade);
                continue;
            }
            for message in messages.piece(piece) {
                let position = message.position;
                let mut entry = restored(message, position.0 < flagged);
                if dead.contains(&position.0) {
                    entry.set_state(State::Dead);
                }
                lane.entries.insert(position, entry);
            }
        }
        ready
    }

    /// Those that have an entry are dead at once; the others are when they are read.
    fn restore_deaths(&mut self, dead: &[(Position, Reason)], counts: Vec<(Position, u32)>) {
        for &(position, reason) in dead {
            match self.lanes.get(position) {
                Some(entry) => self.deaths.add(position, entry.body_len(), reason),
                None if self.is_ready(position) => {
                    self.deaths.restore_doomed(position, reason);
                    self.paging.want();
                }
                None => {}
            }
        }
        for (position, count) in counts {
            if self.lanes.get(position).is_some() || self.is_ready(position) {
                self.deaths.restore_count(position, count);
            }
        }
    }

    /// Moves the marks of lanes on before their messages have been delivered up to them: `ahead` positions further than what
    /// was delivered. Calls `marked` for each with its new mark.
    #[inline]
    pub fn mark_delivered(&mut self, ahead: u64, marked: impl FnMut(Position)) {
        // With nothing out nothing was delivered just now: the head moves by a purge and a restart too.
        if self.depth.unacked + self.depth.held > 0 {
            self.mark_ahead(ahead, marked);
        }
    }

    /// As [`mark_delivered`](Self::mark_delivered), of what will be delivered.
    #[inline]
    pub fn mark_ahead(&mut self, ahead: u64, mut marked: impl FnMut(Position)) {
        // The record has the time of half the way to get to the disk.
        for lane in self.lanes.iter_mut().filter(|lane| lane.head.0 + ahead / 2 > lane.mark.0) {
            lane.mark = Position(lane.head.0 + ahead);
            marked(lane.mark);
        }
    }

    /// What storage is to know of it.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let lane = |lane: &Lane| LaneState {
            number: lane.number(),
            delivered: lane.mark,
            next: lane.entries.next(),
        };
        let is_stored = |position| self.lanes.get(position).is_none_or(Entry::is_stored);
        Marks {
            lanes: self.lanes.iter().map(lane).collect(),
            dead: self.deaths.marks().filter(|(position, _)| is_stored(*position)).collect(),
            counts: self.deaths.counts().filter(|(position, _)| is_stored(*position)).collect(),
            has_lifetimes: self.has_lifetimes,
        }
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
            at = self.lanes.next_chunk(at)?;
            if let Some(entry) = self.lanes.entry(at).filter(|entry| entry.is_stored())
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
        self.lanes.entry(position).is_some_and(|entry| entry.address() == Some(address))
    }

    /// The message at `position` was stored again in the journal, at `address`, and can be read there.
    pub fn stored_again(&mut self, position: Position, address: u64) {
        if let Some(entry) = self.lanes.entry(position) {
            entry.place = Place::journal(address);
        }
    }

    /// Messages were written to a run, each at its offset: those of `items` that are still there now belong to it.
    /// `run.live` and `run.bytes` are of no account. A long run may be told of in several calls, in order.
    pub fn moved(&mut self, mut run: Run, items: &[(Position, u64)]) {
        run.live.clear();
        run.bytes = 0;
        // A read that is under way looks for what the run had when it was planned, and passes the rest by.
        let is_being_read = self.paging.is_loading() && self.runs.has(&run);
        let read = self.runs.read_up_to(&run);
        for &(position, offset) in items {
            let Some(place) = Place::segment(run.segment, offset) else { continue };
            let Some(entry) = self.lanes.entry(position) else { continue };
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
                let memory = self.memory.remove(&message);
                self.paging.note_gone(1);
                if ready {
                    self.paging.left(position, memory);
                }
            }
            // What a run tells needs no entry, unless its reader is past it.
            let flagged = entry.redelivered();
            let absent = entry.message.is_none();
            let Some(lane) = self.lanes.of_mut(position) else { continue };
            let told = !(flagged && position >= lane.flagged_below) && offset >= read && !is_being_read;
            if ready && absent && told {
                lane.entries.remove(position);
            }
        }
        self.runs.add(run);
        self.lower_relief();
    }

    /// Messages of a run were copied to another: what of `from` is still there now lies in `to`, each at its offset.
    pub fn rewritten(&mut self, from: (u64, u64), to: Run, items: &[(Position, u64)]) {
        self.runs.rewrite(from, to, items, &mut self.lanes);
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
        for (looked, (position, entry)) in self.lanes.entries_from(from).enumerate() {
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
fn extend(ranges: &mut Vec<Range<u64>>, by: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == by.start => last.end = by.end,
        _ => ranges.push(by),
    }
}
