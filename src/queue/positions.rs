//! A set of queue positions, kept as ranges: a channel that dies with a million unacked messages gives back a few
//! ranges, not a million numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::ids::Position;

/// Positions in order, merged where they touch.
#[derive(Debug, Default)]
pub(super) struct PositionSet {
    /// First position of each range to the position after its last.
    ranges: BTreeMap<u64, u64>,
}

impl PositionSet {
    pub(super) fn first(&self) -> Option<Position> {
        self.ranges.first_key_value().map(|(&from, _)| Position(from))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds a position that is not in the set.
    pub(super) fn insert(&mut self, position: Position) {
        self.insert_range(position..position.next());
    }

    /// Adds a range of positions of which none is in the set. Ranges may come in any order.
    pub(super) fn insert_range(&mut self, range: Range<Position>) {
        let (mut from, mut end) = (range.start.0, range.end.0);
        if from >= end {
            return;
        }
        if let Some((&before, &before_end)) = self.ranges.range(..from).next_back() {
            debug_assert!(before_end <= from, "positions from {from} are in the set already");
            if before_end == from {
                from = before;
            }
        }
        if let Some(after_end) = self.ranges.remove(&end) {
            end = after_end;
        }
        self.ranges.insert(from, end);
    }

    /// Takes a position out, wherever it is. Returns whether it was in the set.
    pub(super) fn remove(&mut self, position: Position) -> bool {
        let at = position.0;
        let Some((&from, &end)) = self.ranges.range(..=at).next_back().filter(|(_, end)| **end > at) else {
            return false;
        };
        self.ranges.remove(&from);
        if from < at {
            self.ranges.insert(from, at);
        }
        if at + 1 < end {
            self.ranges.insert(at + 1, end);
        }
        true
    }

    /// The ranges of positions from the lowest on.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<Position>> {
        self.ranges.iter().map(|(&from, &end)| Position(from)..Position(end))
    }

    /// The ranges of positions within `bounds`, from the lowest on. None of the set's ranges crosses them.
    pub(super) fn ranges_in(&self, bounds: Range<Position>) -> impl Iterator<Item = Range<Position>> {
        let ranges = self.ranges.range(bounds.start.0..bounds.end.0.max(bounds.start.0));
        ranges.map(|(&from, &end)| Position(from)..Position(end))
    }

    /// Whether a position is in the set.
    pub(super) fn contains(&self, position: Position) -> bool {
        let before = self.ranges.range(..=position.0).next_back();
        before.is_some_and(|(_, end)| *end > position.0)
    }

    /// Takes the lowest position out.
    pub(super) fn pop_first(&mut self) -> Option<Position> {
        let (from, end) = self.ranges.pop_first()?;
        if from + 1 < end {
            self.ranges.insert(from + 1, end);
        }
        Some(Position(from))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_plain_set(ops in prop::collection::vec(prop::option::weighted(0.7, 0u64..60), 1..300)) {
            let (mut set, mut model) = (PositionSet::default(), BTreeSet::new());
            for (step, op) in ops.into_iter().enumerate() {
                match op {
                    Some(at) if step % 7 == 0 => prop_assert_eq!(set.remove(Position(at)), model.remove(&at)),
                    Some(at) if step % 5 == 0 && model.range(at..at + 4).next().is_none() => {
                        set.insert_range(Position(at)..Position(at + 4));
                        model.extend(at..at + 4);
                    }
                    Some(at) if model.insert(at) => set.insert(Position(at)),
                    Some(_) => {}
                    None => prop_assert_eq!(set.pop_first().map(|p| p.0), model.pop_first()),
                }
                let len: u64 = set.ranges.iter().map(|(from, end)| end - from).sum();
                prop_assert_eq!(len, model.len() as u64);
                prop_assert_eq!(set.first().map(|p| p.0), model.first().copied());
                let touching = set.ranges.iter().zip(set.ranges.iter().skip(1)).any(|(a, b)| a.1 >= b.0);
                prop_assert!(!touching, "neighbours are merged: {:?}", set.ranges);
            }
        }
    }
}
