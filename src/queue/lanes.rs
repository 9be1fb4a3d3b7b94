//! A queue's messages by priority: a table for each, one behind the other in the order of delivery.
//!
//! The highest eight bits of a position are its *lane*, and lane 0 has the highest priority. So positions are the order
//! of delivery whatever the priorities are, and a queue without priorities has one lane with dense positions from 0.

use std::ops::Range;

use super::entries::{Entries, Taken};
use super::entry::Entry;
use crate::ids::Position;

/// The messages of one priority.
#[derive(Debug, Default)]
pub(super) struct Lane {
    number: u8,
    pub(super) entries: Entries,
    /// The first position that was never delivered. All from here on are ready.
    pub(super) head: Position,
    /// Entries below it were looked at for bodies to let go.
    pub(super) swept: Position,
    /// Messages below it may have been delivered before the last restart.
    pub(super) flagged_below: Position,
    /// Messages below it may have been delivered, as storage knows it.
    pub(super) mark: Position,
}

impl Lane {
    fn new(number: u8) -> Self {
        let first = Position::first_of(number);
        let mut entries = Entries::default();
        entries.skip_to(first);
        Self { number, entries, head: first, swept: first, flagged_below: first, mark: first }
    }

    /// Its number.
    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// The positions that were never delivered.
    pub(super) fn fresh(&self) -> Range<Position> {
        self.head..self.entries.next()
    }

    /// All positions it can ever have.
    pub(super) fn all(&self) -> Range<Position> {
        Position::first_of(self.number)..self.entries.next()
    }
}

/// All lanes that ever had a message, by number. The first one is always there.
#[derive(Debug)]
pub(super) struct Lanes(Vec<Lane>);

impl Default for Lanes {
    fn default() -> Self {
        Self(vec![Lane::new(0)])
    }
}

impl Lanes {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.0.iter_mut()
    }

    /// The lane that a position belongs to, if it ever had a message.
    #[inline]
    pub(super) fn of(&self, position: Position) -> Option<&Lane> {
        let number = position.lane();
        match self.0.first() {
            Some(first) if first.number == number => Some(first),
            _ => self.0.binary_search_by_key(&number, |lane| lane.number).ok().map(|at| &self.0[at]),
        }
    }

    /// As [`of`](Self::of), to change.
    #[inline]
    pub(super) fn of_mut(&mut self, position: Position) -> Option<&mut Lane> {
        let number = position.lane();
        if number == self.0[0].number {
            return self.0.first_mut();
        }
        let at = self.0.binary_search_by_key(&number, |lane| lane.number).ok()?;
        self.0.get_mut(at)
    }

    /// The lane with this number.
    #[inline]
    pub(super) fn lane(&mut self, number: u8) -> &mut Lane {
        if number == self.0[0].number {
            return &mut self.0[0];
        }
        self.another_lane(number)
    }

    fn another_lane(&mut self, number: u8) -> &mut Lane {
        let at = match self.0.binary_search_by_key(&number, |lane| lane.number) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, Lane::new(number));
                at
            }
        };
        &mut self.0[at]
    }

    /// The first position that was never delivered.
    #[inline]
    pub(super) fn first_fresh(&self) -> Option<Position> {
        self.0.iter().map(Lane::fresh).find(|fresh| fresh.start < fresh.end).map(|fresh| fresh.start)
    }

    /// The lane with the first position that was never delivered.
    #[inline]
    pub(super) fn first_with_fresh(&mut self) -> Option<&mut Lane> {
        self.0.iter_mut().find(|lane| !lane.fresh().is_empty())
    }

    /// The entry at `position`, if there is one.
    #[inline]
    pub(super) fn entry(&mut self, position: Position) -> Option<&mut Entry> {
        self.of_mut(position)?.entries.entry(position)
    }

    /// As [`entry`](Self::entry), to look at.
    #[inline]
    pub(super) fn get(&self, position: Position) -> Option<&Entry> {
        self.of(position)?.entries.get(position)
    }

    /// Puts an entry at a position that has none.
    pub(super) fn insert(&mut self, position: Position, entry: Entry) {
        self.lane(position.lane()).entries.insert(position, entry);
    }

    /// Takes the entry at `position` out.
    #[inline]
    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        self.of_mut(position)?.entries.remove(position)
    }

    /// Takes all entries of a range of one lane out.
    pub(super) fn take_range(&mut self, range: Range<Position>) -> Taken {
        self.of_mut(range.start).map(|lane| lane.entries.take_range(range)).unwrap_or_default()
    }

    /// All entries with their positions, in the order of these.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Position, &Entry)> {
        self.entries_from(Position::default())
    }

    /// The entries from `from` on with their positions, in the order of these.
    pub(super) fn entries_from(&self, from: Position) -> impl Iterator<Item = (Position, &Entry)> {
        let lanes = self.0.iter().filter(move |lane| lane.number >= from.lane());
        lanes.flat_map(move |lane| lane.entries.iter_from(from.max(Position::first_of(lane.number))))
    }

    /// The first position from `from` on at which there is a chunk of a table: between them there are no entries.
    pub(super) fn next_chunk(&self, from: Position) -> Option<Position> {
        let lanes = self.0.iter().filter(|lane| lane.number >= from.lane());
        let chunk = |lane: &Lane| {
            let from = from.max(Position::first_of(lane.number));
            lane.entries.next_chunk(from).filter(|at| *at < lane.entries.next())
        };
        lanes.filter_map(chunk).next()
    }

    /// About how many bytes the tables take.
    pub(super) fn memory(&self) -> u64 {
        self.0.iter().map(|lane| lane.entries.memory()).sum()
    }

    /// Frees what empty tables keep for their next message.
    pub(super) fn release_if_empty(&mut self) {
        self.0.iter_mut().for_each(|lane| lane.entries.release_if_empty());
    }

    /// Whether it holds no memory for messages.
    #[cfg(test)]
    pub(super) fn is_released(&self) -> bool {
        self.0.iter().all(|lane| lane.entries.is_released())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Place;

    fn entry() -> Entry {
        Entry::absent(Place::UNKNOWN, 1, 1, false)
    }

    #[test]
    fn positions_are_in_the_order_of_lanes_and_then_of_coming() {
        let mut lanes = Lanes::default();
        let mut given = Vec::new();
        for lane in [3, 0, 255, 3, 0, 9, 255] {
            given.push(lanes.lane(lane).entries.push(entry()));
        }
        let numbers: Vec<_> = given.iter().map(|position| position.lane()).collect();
        assert_eq!(numbers, [3, 0, 255, 3, 0, 9, 255]);
        assert!(given[0] < given[3] && given[1] < given[4] && given[4] < given[0] && given[5] < given[2]);
        given.sort_unstable();
        assert_eq!(lanes.entries().map(|(position, _)| position).collect::<Vec<_>>(), given);
        assert_eq!(lanes.first_fresh(), Some(given[0]));
        assert_eq!(
            lanes.entries_from(given[3]).map(|(position, _)| position).collect::<Vec<_>>(),
            given[3..]
        );
        assert_eq!(lanes.next_chunk(Position::first_of(4)), Some(Position::first_of(9)));
        assert_eq!(lanes.next_chunk(Position(u64::MAX)), None);
        for position in given {
            assert!(lanes.entry(position).is_some() && lanes.remove(position).is_some());
            assert!(lanes.get(position).is_none() && lanes.remove(position).is_none());
        }
        assert!(lanes.of(Position::first_of(77)).is_none());
    }
}
