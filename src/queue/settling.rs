//! How deliveries end, and what a purge drops.

use std::ops::Range;

use super::figures::{Memory, Stored};
use super::{Link, Purged, Queue, Settle, State, Taken};
use crate::deaths::Reason;
use crate::ids::{ConsumerId, Position};
use crate::queue::arguments::QueueKind;

/// Positions that follow each other, as ranges.
fn rows(positions: impl Iterator<Item = Position>) -> impl Iterator<Item = Range<Position>> {
    let mut positions = positions.peekable();
    std::iter::from_fn(move || {
        let first = positions.next()?;
        let mut end = first.next();
        while positions.next_if_eq(&end).is_some() {
            end = end.next();
        }
        Some(first..end)
    })
}

impl<L: Link> Queue<L> {
    /// Settles deliveries at `positions`, given to `consumer` or taken by get or by a consumer that is gone. A
    /// position that is not outstanding is passed over, so settling twice does nothing the second time.
    ///
    /// `removed` is called for each message that left the queue by it, with whether it is stored. What becomes of others is
    /// told by [`take_events`](Self::take_events).
    pub fn settle(
        &mut self,
        consumer: Option<ConsumerId>,
        positions: impl Iterator<Item = Position>,
        how: Settle,
        mut removed: impl FnMut(Position, bool),
    ) {
        let leaves = how == Settle::Ack || how == Settle::Reject && self.rules.dead_letters.is_none();
        let credit = if leaves && self.runs.is_empty() && !self.deaths.has_returns() {
            rows(positions).map(|row| self.drop_row(row, &mut removed)).sum()
        } else {
            self.settle_each(positions, how, removed)
        };
        if how == Settle::Ack {
            self.counts.ack += u64::from(credit);
        }
        if let Some(consumer) = consumer.filter(|_| credit > 0) {
            self.consumers.give_credit(consumer, credit);
        }
        self.lower_relief();
        self.release_if_empty();
    }

    /// Drops those of neighbouring messages that are outstanding: what they change together is changed once. Returns how
    /// much credit that gives back.
    fn drop_row(&mut self, row: Range<Position>, removed: &mut impl FnMut(Position, bool)) -> u32 {
        let Some(lane) = self.lanes.of_mut(row.start) else { return 0 };
        let (mut memory, mut stored) = (Memory::default(), Stored::default());
        let (mut unacked, mut held) = ((0, 0), (0, 0));
        lane.entries.drop_range(row, |position, entry| {
            let (messages, bytes) = match entry.state() {
                State::Ready | State::Dead => return false,
                State::Unacked => &mut unacked,
                State::Held => &mut held,
            };
            *messages += 1;
            *bytes += entry.body_len();
            if let Some(message) = &entry.message {
                memory.add(message);
            }
            if entry.is_stored() {
                stored.add(entry.body_len());
            }
            removed(position, entry.is_stored());
            true
        });
        self.depth.unacked -= unacked.0;
        self.outstanding.unacked_bytes -= unacked.1;
        self.depth.held -= held.0;
        self.outstanding.held_bytes -= held.1;
        self.memory -= memory;
        self.stored -= stored;
        unacked.0 as u32
    }

    /// As [`settle`](Self::settle), one after the other. Returns how much credit that gives back.
    fn settle_each(
        &mut self,
        positions: impl Iterator<Item = Position>,
        how: Settle,
        mut removed: impl FnMut(Position, bool),
    ) -> u32 {
        let mut credit = 0;
        for position in positions {
            let Some(entry) = self.lanes.entry(position) else { continue };
            match entry.state() {
                State::Ready | State::Dead => continue,
                State::Unacked => {
                    self.depth.unacked -= 1;
                    self.outstanding.unacked_bytes -= entry.body_len();
                    credit += 1;
                }
                State::Held => {
                    self.depth.held -= 1;
                    self.outstanding.held_bytes -= entry.body_len();
                }
            }
            match how {
                Settle::Reject if self.rules.dead_letters.is_some() => self.kill(position, Reason::Rejected),
                Settle::Ack | Settle::Reject => {
                    removed(position, entry.is_stored());
                    self.deaths.forget_count(position);
                    self.forget(position);
                }
                Settle::Requeue | Settle::Fail => {
                    entry.set_redelivered();
                    if self.counts_one_more(position, how == Settle::Fail) {
                        self.make_ready(position);
                        self.requeued |= self.traits.kind == QueueKind::Classic;
                    }
                }
                Settle::Unsent => self.make_ready(position),
            }
        }
        credit
    }

    /// Puts an outstanding message back to its place.
    fn make_ready(&mut self, position: Position) {
        let Some(entry) = self.lanes.entry(position) else { return };
        entry.set_state(State::Ready);
        self.depth.ready += 1;
        self.depth.ready_bytes += entry.body_len();
        self.paging.came_back(position, entry);
        self.returned.insert(position);
    }

    /// Takes the entry of a message that has left the queue.
    #[inline]
    pub(super) fn forget(&mut self, position: Position) {
        let Some(entry) = self.lanes.remove(position) else { return };
        if let Some(message) = &entry.message {
            self.memory.remove(message);
        }
        if entry.is_stored() {
            self.stored.remove(entry.body_len());
        }
        if !self.runs.is_empty() {
            self.runs.remove(entry.place, position, entry.body_len());
        }
    }

    /// Drops all ready messages. Unacked ones stay, and those that are on their way to a dead-letter exchange. `removed`
    /// is called for each range of positions that was dropped.
    pub fn purge(&mut self, mut removed: impl FnMut(Range<Position>)) -> Purged {
        // Of what is in runs alone nothing tells how long each message is.
        let was_in_runs = !self.runs.is_empty();
        let returned = std::mem::take(&mut self.returned);
        let mut purged = Purged { count: self.depth.ready, taken: Vec::new() };
        let fresh: Vec<_> = self.lanes.iter().map(|lane| lane.fresh()).collect();
        for range in returned.ranges().chain(fresh) {
            if range.is_empty() {
                continue;
            }
            removed(range.clone());
            purged.taken.push(self.lanes.take_range(range.clone()));
            self.runs.remove_range(range);
        }
        self.lanes.iter_mut().for_each(|lane| lane.head = lane.entries.next());
        // The fewer messages are looked at; all of them may be many.
        let kept = self.depth.unacked + self.depth.held + self.deaths.dead();
        if kept < purged.count || was_in_runs {
            self.memory = self.lanes.entries().map(|(_, entry)| entry).sum();
            self.stored = self.lanes.entries().map(|(_, entry)| entry).sum();
        } else {
            self.memory -= purged.taken.iter().flat_map(Taken::iter).sum();
            self.stored -= purged.taken.iter().flat_map(Taken::iter).sum();
        }
        self.depth.ready = 0;
        self.depth.ready_bytes = 0;
        self.paging.emptied();
        let lanes = &self.lanes;
        self.deaths.purge(|position| lanes.get(position).is_some());
        self.release_if_empty();
        purged
    }

    /// The position that the next message with this priority gets.
    #[must_use]
    pub fn next_position(&self, message: &crate::message::Message) -> Position {
        let first = Position::first_of(self.traits.lane_of(message));
        self.lanes.of(first).map_or(first, |lane| lane.entries.next())
    }

    #[inline]
    pub(super) fn release_if_empty(&mut self) {
        let depth = &self.depth;
        if depth.ready + depth.unacked + depth.held + self.deaths.dead() > 0 {
            return;
        }
        self.has_lifetimes = false;
        if self.consumers.count() == 0 {
            self.lanes.release_if_empty();
        }
    }
}
