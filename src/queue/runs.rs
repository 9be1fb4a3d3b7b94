//! What of a queue lies in segment files: runs of messages, each a stretch of one file in rising order of positions.
//!
//! A message in a run needs no entry in the table: the run knows which of its positions are still there. It gets an
//! entry when it is read.

use std::collections::BTreeMap;
use std::ops::Range;

use roaring::RoaringTreemap;

use super::lanes::Lanes;
use crate::ids::{Location, Place, Position};

/// A stretch of a segment file that holds messages of one queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The file's number.
    pub segment: u64,
    /// Where its first message's item begins.
    pub from: u64,
    /// Where its last item ends.
    pub until: u64,
    /// Body bytes of the messages that are there. After a crash it may be an estimate.
    pub bytes: u64,
    /// The positions of the messages that are there.
    pub live: RoaringTreemap,
    /// It is not synced, and nothing after a restart.
    pub transient: bool,
}

/// A run as the queue has it.
#[derive(Debug)]
struct Held {
    run: Run,
    /// Up to here it was read: whatever lies before and is still there has an entry.
    cursor: u64,
    /// Positions that cannot be read. They are no messages of the queue any more, but what is left of them stays where
    /// it is.
    damaged: RoaringTreemap,
}

/// All runs of a queue.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// By segment and offset, as places name them.
    held: BTreeMap<(u64, u64), Held>,
    /// A run has gone since somebody asked: its file may be needless.
    freed: bool,
}

/// A stretch of a run to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// The segment file's number.
    pub segment: u64,
    /// Where to begin: the beginning of an item.
    pub from: u64,
    /// Where the run ends.
    pub until: u64,
    /// The positions that are there. Others are not wanted.
    pub live: RoaringTreemap,
}

impl Runs {
    /// Adds a run, or to one that is there.
    pub(super) fn add(&mut self, mut run: Run) {
        let key = (run.segment, run.from);
        if let Some(held) = self.held.get_mut(&key) {
            held.run.live |= run.live;
            held.run.bytes += run.bytes;
            held.run.live.optimize();
            return;
        }
        if run.live.is_empty() {
            self.freed = true;
            return;
        }
        run.live.optimize();
        let cursor = run.from;
        self.held.insert(key, Held { run, cursor, damaged: RoaringTreemap::new() });
    }

    /// Whether there is a run at this place.
    pub(super) fn has(&self, run: &Run) -> bool {
        self.held.contains_key(&(run.segment, run.from))
    }

    /// How far the run was read that is at this place.
    pub(super) fn read_up_to(&self, run: &Run) -> u64 {
        self.held.get(&(run.segment, run.from)).map_or(run.from, |held| held.cursor)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.held.values().map(|held| &held.run)
    }

    /// The runs with their damaged messages among those that are there.
    pub(super) fn stored(&self) -> impl Iterator<Item = Run> {
        self.held.values().map(|held| Run { live: &held.run.live | &held.damaged, ..held.run.clone() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether a run has gone since the last call.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    fn at(&mut self, segment: u64, offset: u64) -> Option<(&(u64, u64), &mut Held)> {
        let (key, held) = self.held.range_mut(..=(segment, offset)).next_back()?;
        (key.0 == segment && offset < held.run.until).then_some((key, held))
    }

    /// The message at `position`, which lies at `place`, is gone.
    pub(super) fn remove(&mut self, place: Place, position: Position, body_len: u64) {
        let Location::Segment { number, offset } = place.location() else { return };
        let Some((&key, held)) = self.at(number, offset) else { return };
        if held.run.live.remove(position.0) {
            held.run.bytes = held.run.bytes.saturating_sub(body_len);
        }
        if held.run.live.is_empty() {
            self.drop_if_empty(key);
        }
    }

    /// All messages of a range of positions are gone, those without entries too.
    pub(super) fn remove_range(&mut self, range: Range<Position>) {
        let (from, end) = (range.start.0, range.end.0);
        let mut empty = Vec::new();
        for (key, held) in &mut self.held {
            let before = held.run.live.len();
            let gone = held.run.live.remove_range(from..end);
            held.damaged.remove_range(from..end);
            if gone > 0 {
                let share = u128::from(held.run.bytes) * u128::from(gone) / u128::from(before);
                held.run.bytes = held.run.bytes.saturating_sub(u64::try_from(share).unwrap_or(u64::MAX));
            }
            if held.run.live.is_empty() && held.damaged.is_empty() {
                empty.push(*key);
            }
        }
        empty.into_iter().for_each(|key| self.drop_if_empty(key));
    }

    fn drop_if_empty(&mut self, key: (u64, u64)) {
        if self.held.get(&key).is_some_and(|held| held.run.live.is_empty() && held.damaged.is_empty()) {
            self.held.remove(&key);
            self.freed = true;
        }
    }

    /// What to read for the message at `position`, which has no entry.
    pub(super) fn unread(&self, position: Position) -> Option<Unread> {
        let holds = |held: &&Held| held.cursor < held.run.until && held.run.live.contains(position.0);
        let Held { run, cursor, .. } = self.held.values().find(holds)?;
        Some(Unread { segment: run.segment, from: *cursor, until: run.until, live: run.live.clone() })
    }

    /// A run was read from `from` to `next`. Nothing if it was read meanwhile, or is gone.
    pub(super) fn advance(&mut self, segment: u64, from: u64, next: u64) -> bool {
        let Some((_, held)) = self.at(segment, from).filter(|(_, held)| held.cursor == from) else {
            return false;
        };
        held.cursor = next;
        true
    }

    /// Whether the run at `place` has `position`, and whether that is transient.
    pub(super) fn holds(&mut self, place: Place, position: Position) -> Option<bool> {
        let Location::Segment { number, offset } = place.location() else { return None };
        let (_, held) = self.at(number, offset)?;
        held.run.live.contains(position.0).then_some(held.run.transient)
    }

    /// The positions of a run that were passed by when it was read up to `next`: all below `below` that have no entry.
    pub(super) fn passed(
        &mut self,
        segment: u64,
        from: u64,
        below: Option<u64>,
        mut has_entry: impl FnMut(Position) -> bool,
    ) -> Vec<Position> {
        let Some((_, held)) = self.at(segment, from) else { return Vec::new() };
        let passed = held.run.live.iter().take_while(|&position| below.is_none_or(|below| position < below));
        passed.map(Position).filter(|&position| !has_entry(position)).collect()
    }

    /// What of the run `from` is still there lies in the run `to` now, each message at its offset.
    pub(super) fn rewrite(
        &mut self,
        from: (u64, u64),
        mut to: Run,
        items: &[(Position, u64)],
        lanes: &mut Lanes,
    ) {
        let Some(old) = self.held.get_mut(&from) else { return };
        (to.live, to.bytes, to.transient) = (RoaringTreemap::new(), 0, old.run.transient);
        for &(position, offset) in items {
            let Some(place) = Place::segment(to.segment, offset) else { continue };
            if !old.run.live.remove(position.0) {
                continue;
            }
            to.live.insert(position.0);
            if let Some(entry) = lanes.entry(position) {
                entry.place = place;
            }
        }
        // What cannot be read stays where it is, and is nothing that counts.
        to.bytes = std::mem::take(&mut old.run.bytes);
        self.drop_if_empty(from);
        self.add(to);
    }

    /// The message at `position` cannot be read. Returns whether storage keeps it.
    pub(super) fn damage(&mut self, segment: u64, offset: u64, position: Position) -> bool {
        let Some((_, held)) = self.at(segment, offset) else { return true };
        if held.run.live.remove(position.0) {
            held.damaged.insert(position.0);
        }
        !held.run.transient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(segment: u64, from: u64, until: u64, live: Range<u64>) -> Run {
        let live: RoaringTreemap = live.collect();
        Run { segment, from, until, bytes: live.len() * 10, live, transient: false }
    }

    fn place(number: u64, offset: u64) -> Place {
        Place::segment(number, offset).unwrap()
    }

    #[test]
    fn a_run_goes_with_its_last_message_and_says_so() {
        let mut runs = Runs::default();
        runs.add(run(1, 4096, 5000, 0..3));
        runs.add(run(1, 5000, 6000, 3..5));
        runs.remove(place(1, 4999), Position(1), 10);
        runs.remove(place(1, 4096), Position(0), 10);
        runs.remove(place(1, 4096), Position(0), 10);
        runs.remove(place(2, 4096), Position(2), 10);
        runs.remove(place(1, 6000), Position(4), 10);
        assert_eq!(
            runs.iter().map(|run| (run.live.len(), run.bytes)).collect::<Vec<_>>(),
            [(1, 10), (2, 20)]
        );
        assert!(!runs.take_freed());
        runs.remove(place(1, 4200), Position(2), 10);
        assert_eq!(runs.iter().count(), 1);
        assert!(runs.take_freed() && !runs.take_freed());
        runs.remove_range(Position(0)..Position(100));
        assert!(runs.is_empty() && runs.take_freed());
    }

    #[test]
    fn a_range_takes_its_share_of_the_bytes() {
        let mut runs = Runs::default();
        runs.add(run(1, 4096, 5000, 0..100));
        runs.remove_range(Position(90)..Position(200));
        assert_eq!(runs.iter().map(|run| (run.live.len(), run.bytes)).collect::<Vec<_>>(), [(90, 900)]);
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let mut runs = Runs::default();
        runs.add(run(1, 4096, 5000, 0..10));
        let unread = runs.unread(Position(3)).unwrap();
        assert_eq!((unread.from, unread.until), (4096, 5000));
        assert!(runs.advance(1, 4096, 4500));
        assert!(!runs.advance(1, 4096, 4500));
        assert_eq!(runs.unread(Position(7)).unwrap().from, 4500);
        assert!(runs.advance(1, 4500, 5000));
        assert_eq!(runs.unread(Position(7)), None);
        assert_eq!(runs.unread(Position(70)), None);
    }
}
