//! A queue's messages in a chunked table indexed by position.
//!
//! A position is a message's address for life, so finding one is arithmetic, and a chunk is freed when all it held
//! is gone, however long its neighbours stay. Messages of which only a segment knows have no entry.

use std::collections::VecDeque;
use std::ops::Range;

use super::chunk::{CHUNK, Chunk, ChunkPlace, Unmade};
use super::entry::Entry;
use crate::ids::Position;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Chunks in order; none where nothing is but there is something on both sides.
    chunks: VecDeque<ChunkPlace>,
    /// Number of the first chunk.
    first: u64,
    /// The position that the next message gets.
    next: Position,
    /// How many chunks there are.
    count: usize,
    /// A freed chunk kept for the next one, so that a short queue does not allocate per chunk.
    spare: Option<Box<Chunk>>,
}

/// What a range of the table held.
#[derive(Debug, Default)]
pub(super) struct Taken {
    chunks: Vec<ChunkPlace>,
    entries: Vec<(Position, Entry)>,
}

impl Taken {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let chunks = self.chunks.iter().filter_map(ChunkPlace::get);
        let whole = chunks.flat_map(|chunk| &chunk.slots).filter(|entry| !entry.is_vacant());
        whole.chain(self.entries.iter().map(|(_, entry)| entry))
    }
}

impl Entries {
    /// The position that the next [`push`](Self::push) gives.
    #[inline]
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// About how many bytes the table takes. Chunks that are not made yet count as if they were.
    pub(super) fn memory(&self) -> u64 {
        (self.count * size_of::<Chunk>()) as u64
    }

    /// Appends an entry.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) -> Position {
        let position = self.next;
        self.next = position.next();
        let last = self.first + self.chunks.len() as u64;
        match self.chunks.back_mut().and_then(ChunkPlace::get_mut) {
            Some(chunk) if position.0 / CHUNK + 1 == last => {
                chunk.slots[(position.0 % CHUNK) as usize] = entry;
                chunk.used += 1;
            }
            _ => self.insert(position, entry),
        }
        position
    }

    /// Puts an entry at a position that has none.
    pub(super) fn insert(&mut self, position: Position, entry: Entry) {
        self.next = self.next.max(position.next());
        let chunk = self.chunk_for(position.0 / CHUNK);
        let slot = &mut chunk.slots[(position.0 % CHUNK) as usize];
        debug_assert!(slot.is_vacant(), "{position:?} has an entry");
        *slot = entry;
        chunk.used += 1;
    }

    /// The chunk with this number.
    fn chunk_for(&mut self, number: u64) -> &mut Chunk {
        let index = self.index_for(number);
        let Self { chunks, count, spare, .. } = self;
        chunks[index].get_or_insert_with(|| {
            *count += 1;
            spare.take().unwrap_or_else(Chunk::new)
        })
    }

    /// Where the chunk with this number is, or is to be.
    fn index_for(&mut self, number: u64) -> usize {
        if self.chunks.is_empty() {
            self.first = number;
        }
        while number < self.first {
            self.chunks.push_front(ChunkPlace::default());
            self.first -= 1;
        }
        while number - self.first >= self.chunks.len() as u64 {
            self.chunks.push_back(ChunkPlace::default());
        }
        (number - self.first) as usize
    }

    /// Puts the entries of a chunk that has none: they are made when one of them is asked for. `last` is the last of
    /// their positions.
    pub(super) fn put_unmade(&mut self, last: Position, unmade: Unmade) {
        self.next = self.next.max(last.next());
        let index = self.index_for(last.0 / CHUNK);
        self.chunks[index].put(unmade);
        self.count += 1;
    }

    /// The next message gets `position`, or a later one.
    pub(super) fn skip_to(&mut self, position: Position) {
        self.next = position.max(self.next);
    }

    fn slot(&self, position: Position) -> Option<(usize, usize)> {
        let index = (position.0 / CHUNK).checked_sub(self.first)?;
        let index = usize::try_from(index).ok()?;
        (index < self.chunks.len()).then_some((index, (position.0 % CHUNK) as usize))
    }

    /// The entry at `position`, if there is one.
    #[inline]
    pub(super) fn entry(&mut self, position: Position) -> Option<&mut Entry> {
        let (index, slot) = self.slot(position)?;
        let entry = &mut self.chunks[index].get_mut()?.slots[slot];
        (!entry.is_vacant()).then_some(entry)
    }

    /// As [`entry`](Self::entry), to look at.
    #[inline]
    pub(super) fn get(&self, position: Position) -> Option<&Entry> {
        let (index, slot) = self.slot(position)?;
        let entry = &self.chunks[index].get()?.slots[slot];
        (!entry.is_vacant()).then_some(entry)
    }

    /// The entries from `position` on that lie in one chunk with it, also vacant ones. They are to stay what they are of
    /// both.
    #[inline]
    pub(super) fn neighbours(&mut self, position: Position) -> &mut [Entry] {
        let Some((index, slot)) = self.slot(position) else { return &mut [] };
        self.chunks[index].get_mut().map_or(&mut [], |chunk| &mut chunk.slots[slot..])
    }

    /// Takes the entry at `position` out.
    #[inline]
    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        let (index, slot) = self.slot(position)?;
        let chunk = self.chunks[index].get_mut()?;
        if chunk.slots[slot].is_vacant() {
            return None;
        }
        let entry = std::mem::take(&mut chunk.slots[slot]);
        chunk.used -= 1;
        self.free_if_done(index);
        Some(entry)
    }

    /// Drops the entries of a range for which `gone` says so.
    #[inline]
    pub(super) fn drop_range(
        &mut self,
        range: Range<Position>,
        mut gone: impl FnMut(Position, &mut Entry) -> bool,
    ) {
        let mut next = range.start;
        while let Some(at) = self.next_chunk(next).filter(|at| *at < range.end)
            && let Some((index, slot)) = self.slot(at)
            && let Some(chunk) = self.chunks[index].get_mut()
        {
            let count = (range.end.0 - at.0).min(CHUNK - slot as u64);
            let slots = &mut chunk.slots[slot..slot + count as usize];
            let mut left = chunk.used;
            for (position, entry) in (at.0..).map(Position).zip(slots) {
                if !entry.is_vacant() && gone(position, entry) {
                    *entry = Entry::VACANT;
                    left -= 1;
                }
            }
            chunk.used = left;
            self.free_if_done(index);
            next = Position(at.0 + count);
        }
    }

    /// Frees the chunk at `index` if nothing is left in it. The newest one stays while it has room: the next push goes
    /// there.
    #[inline]
    fn free_if_done(&mut self, index: usize) {
        if self.chunks[index].is_done() && self.next.0 / CHUNK != self.first + index as u64 {
            self.spare = self.chunks[index].take_done();
            self.count -= 1;
            self.trim();
        }
    }

    /// Lets go of places for chunks at both ends.
    fn trim(&mut self) {
        while self.chunks.front().is_some_and(ChunkPlace::is_none) {
            self.chunks.pop_front();
            self.first += 1;
        }
        while self.chunks.back().is_some_and(ChunkPlace::is_none) {
            self.chunks.pop_back();
        }
    }

    /// Takes all entries of a range out. Whole chunks are moved, not looked at: the cost is that of a pointer for 64
    /// messages.
    pub(super) fn take_range(&mut self, range: Range<Position>) -> Taken {
        let mut taken = Taken::default();
        let (start, end) = (range.start.0.max(self.first * CHUNK), range.end.0);
        let mut at = start;
        while at < end && at / CHUNK - self.first < self.chunks.len() as u64 {
            let chunk_end = (at / CHUNK + 1) * CHUNK;
            let index = (at / CHUNK - self.first) as usize;
            if at.is_multiple_of(CHUNK) && chunk_end <= end {
                let chunk = std::mem::take(&mut self.chunks[index]);
                if !chunk.is_none() {
                    self.count -= 1;
                    taken.chunks.push(chunk);
                }
            } else {
                let all = (at..chunk_end.min(end)).map(Position);
                taken
                    .entries
                    .extend(all.filter_map(|position| Some((position, self.remove_only(position)?))));
            }
            at = chunk_end;
        }
        self.drop_if_empty(start);
        self.drop_if_empty(end);
        self.trim();
        taken
    }

    /// Takes an entry out and leaves its chunk.
    fn remove_only(&mut self, position: Position) -> Option<Entry> {
        let (index, slot) = self.slot(position)?;
        let chunk = self.chunks[index].get_mut()?;
        if chunk.slots[slot].is_vacant() {
            return None;
        }
        chunk.used -= 1;
        Some(std::mem::take(&mut chunk.slots[slot]))
    }

    /// Drops the chunk around a position if it holds nothing.
    fn drop_if_empty(&mut self, position: u64) {
        if let Some((index, _)) = self.slot(Position(position))
            && self.chunks[index].is_done()
        {
            self.chunks[index] = ChunkPlace::default();
            self.count -= 1;
        }
    }

    /// The entries from `from` on with their positions, lowest first.
    pub(super) fn iter_from(&self, from: Position) -> impl Iterator<Item = (Position, &Entry)> {
        let skipped = (from.0 / CHUNK).saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.chunks.len());
        let chunks = (self.first + skipped as u64..).zip(self.chunks.range(skipped..));
        chunks
            .filter_map(|(number, chunk)| Some((number, chunk.get()?)))
            .flat_map(|(number, chunk)| (number * CHUNK..).map(Position).zip(&chunk.slots))
            .filter(move |(position, entry)| *position >= from && !entry.is_vacant())
    }

    /// The first position from `from` on at which there is a chunk: between them there are no entries.
    pub(super) fn next_chunk(&self, from: Position) -> Option<Position> {
        let skipped = (from.0 / CHUNK).saturating_sub(self.first);
        let mut index = usize::try_from(skipped).ok()?;
        while self.chunks.get(index)?.is_none() {
            index += 1;
        }
        Some(from.max(Position((self.first + index as u64) * CHUNK)))
    }

    /// Whether it holds no memory for messages.
    #[cfg(test)]
    pub(super) fn is_released(&self) -> bool {
        self.chunks.capacity() == 0 && self.spare.is_none()
    }

    /// Frees what an empty table keeps for its next message.
    pub(super) fn release_if_empty(&mut self) {
        if self.chunks.iter().all(|chunk| chunk.is_none() || chunk.is_done()) {
            self.chunks = VecDeque::new();
            self.spare = None;
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::chunk::restored;
    use super::super::log::{MessageLog, StoredMessage};
    use super::*;
    use crate::message::{Body, MessageBuilder};
    use crate::protocol::properties::Properties;

    fn entry(n: u64) -> Entry {
        let properties = Properties::parse(&[0, 0]).unwrap();
        let message = MessageBuilder::default().build("", "q", properties, Body::Borrowed(&n.to_be_bytes()));
        Entry::new(message, false)
    }

    fn number_of(entry: &Entry) -> u64 {
        u64::from_be_bytes(entry.message.as_ref().unwrap().body().try_into().unwrap())
    }

    fn numbers(entries: &Entries) -> Vec<u64> {
        let told = |(position, entry): (Position, &Entry)| {
            assert_eq!(number_of(entry), position.0);
            position.0
        };
        entries.iter_from(Position(0)).map(told).collect()
    }

    fn chunks(entries: &Entries) -> impl DoubleEndedIterator<Item = &Chunk> {
        entries.chunks.iter().filter_map(ChunkPlace::get)
    }

    fn filled(n: u64) -> Entries {
        let mut entries = Entries::default();
        for i in 0..n {
            assert_eq!(entries.push(entry(i)), Position(i));
        }
        entries
    }

    #[test]
    fn chunks_go_when_all_in_them_is_gone() {
        let mut entries = filled(1000);
        for i in 1..1000 {
            assert_eq!(number_of(&entries.remove(Position(i)).unwrap()), i);
        }
        // Position 0 and the newest chunk are left.
        assert_eq!((chunks(&entries).count(), entries.count), (2, 2));
        assert!(entries.entry(Position(0)).is_some());
        entries.remove(Position(0));
        assert_eq!(entries.chunks.len(), 1);
        assert!(entries.remove(Position(500)).is_none());
        assert_eq!(entries.push(entry(1000)), Position(1000));
        assert!(entries.entry(Position(1000)).is_some());
    }

    #[test]
    fn a_table_that_was_released_goes_on_numbering() {
        let mut entries = filled(70);
        for i in 0..70 {
            entries.remove(Position(i));
        }
        entries.release_if_empty();
        assert!(entries.is_released());
        assert_eq!(entries.push(entry(70)), Position(70));
        assert_eq!(numbers(&entries), [70]);
        assert!(entries.entry(Position(69)).is_none());
    }

    #[test]
    fn entries_may_come_in_any_order_and_new_ones_come_after() {
        for (positions, next) in [
            (vec![], 0),
            (vec![], 200),
            (vec![64, 3, 1000], 1001),
            (vec![5], 700),
            (vec![63], 64),
            (vec![900, 5, 600], 901),
        ] {
            let mut entries = Entries::default();
            for &position in &positions {
                entries.insert(Position(position), entry(position));
            }
            entries.skip_to(Position(next));
            for new in next..next + 130 {
                assert_eq!(entries.push(entry(new)), Position(new));
            }
            let mut all: Vec<u64> = positions.iter().copied().chain(next..next + 130).collect();
            all.sort_unstable();
            assert_eq!(numbers(&entries), all);
            let late: Vec<u64> = all.iter().copied().filter(|&position| position >= 600).collect();
            let from = entries.iter_from(Position(600)).map(|(position, _)| position.0);
            assert_eq!(from.collect::<Vec<_>>(), late);
            for position in all {
                assert_eq!(number_of(&entries.remove(Position(position)).unwrap()), position);
            }
        }
    }

    #[test]
    fn a_full_last_chunk_is_freed_too() {
        let mut entries = filled(64);
        for i in 0..64 {
            entries.remove(Position(i));
        }
        assert_eq!((entries.chunks.len(), entries.count), (0, 0));
        assert_eq!(entries.push(entry(64)), Position(64));
    }

    #[test]
    fn a_range_is_taken_and_the_rest_stays_where_it_was() {
        for (count, range, gone) in [
            (200, 0..200, 0),
            (200, 70..200, 0),
            (200, 70..200, 70),
            (200, 128..200, 65),
            (192, 70..192, 1),
            (130, 128..130, 0),
            (60, 30..60, 2),
            (500, 64..128, 0),
            (500, 63..129, 0),
            (500, 0..300, 300),
            (500, 100..101, 0),
            (500, 400..400, 0),
        ] {
            let mut entries = filled(count);
            for n in 0..gone {
                entries.remove(Position(n));
            }
            let taken = entries.take_range(Position(range.start)..Position(range.end));
            let mut found: Vec<u64> = taken.iter().map(number_of).collect();
            found.sort_unstable();
            assert_eq!(found, (range.start.max(gone)..range.end.max(gone)).collect::<Vec<_>>());
            let mut kept: Vec<u64> = (gone..count).filter(|n| !range.contains(n)).collect();
            assert_eq!(numbers(&entries), kept, "{count} {range:?} {gone}");
            assert_eq!(entries.count, chunks(&entries).count());
            for n in count..count + 200 {
                assert_eq!(entries.push(entry(n)), Position(n));
                kept.push(n);
            }
            assert_eq!(numbers(&entries), kept);
            for n in kept {
                assert_eq!(number_of(&entries.remove(Position(n)).unwrap()), n);
            }
            assert!(entries.chunks.len() <= 1);
        }
        assert_eq!(Entries::default().take_range(Position(0)..Position(9)).iter().count(), 0);
    }

    #[test]
    fn of_a_range_that_goes_which_is_told_and_empty_chunks_are_freed() {
        for (range, odd_only, gone) in
            [(0..300, false, 0..0), (10..290, true, 0..0), (64..192, false, 100..200), (0..900, true, 0..130)]
        {
            let mut entries = filled(300);
            (gone.start..gone.end).for_each(|n| drop(entries.remove(Position(n))));
            let mut asked = Vec::new();
            entries.drop_range(Position(range.start)..Position(range.end), |position, entry| {
                assert_eq!(number_of(entry), position.0);
                asked.push(position.0);
                !odd_only || !position.0.is_multiple_of(2)
            });
            let there = |n: &u64| !gone.contains(n);
            let expected: Vec<u64> = (range.start..range.end.min(300)).filter(there).collect();
            assert_eq!(asked, expected);
            let stays = |n: &u64| there(n) && (!range.contains(n) || odd_only && n.is_multiple_of(2));
            let kept: Vec<u64> = (0..300).filter(stays).collect();
            assert_eq!(numbers(&entries), kept);
            let used: usize = chunks(&entries).map(|chunk| usize::from(chunk.used)).sum();
            assert_eq!((used, entries.count), (kept.len(), chunks(&entries).count()));
            // The newest one is where the next message goes.
            assert!(chunks(&entries).rev().skip(1).all(|chunk| chunk.used > 0));
            assert_eq!(entries.push(entry(300)), Position(300));
        }
    }

    proptest! {
        #[test]
        fn a_table_that_a_restart_finds_is_as_one_that_was_filled(
            positions in prop::collection::btree_set(0_u64..700, 1..500),
            steps in prop::collection::vec((0_u8..7, 0_u64..750, 0_u64..200), 0..12),
        ) {
            let message =
                |&at: &u64| StoredMessage { position: Position(at), address: at + 1, stored_len: 30, body_len: 7 };
            let log = Arc::new(positions.iter().map(message).collect::<MessageLog>());
            let (mut found, mut filled) = (Entries::default(), Entries::default());
            for piece in log.pieces(CHUNK) {
                let last = log.piece(piece).last().unwrap().position;
                found.put_unmade(last, Unmade::new(log.clone(), piece, false));
            }
            log.iter().for_each(|message| filled.insert(message.position, restored(message, false)));
            let all = |entries: &Entries| -> Vec<_> {
                entries.iter_from(Position(0)).map(|(position, entry)| (position, entry.address())).collect()
            };
            for (what, at, len) in steps {
                let (from, to) = (Position(at), Position(at + len));
                prop_assert_eq!((found.next(), found.memory()), (filled.next(), filled.memory()));
                prop_assert_eq!(found.next_chunk(from), filled.next_chunk(from));
                match what {
                    0 => prop_assert_eq!(all(&found), all(&filled)),
                    1 => prop_assert_eq!(found.get(from).is_some(), filled.get(from).is_some()),
                    2 => prop_assert_eq!(found.remove(from).is_some(), filled.remove(from).is_some()),
                    3 => prop_assert_eq!(found.push(entry(1)), filled.push(entry(1))),
                    4 => {
                        let taken = [found.take_range(from..to), filled.take_range(from..to)];
                        let [found, filled] = taken.map(|taken| taken.iter().count());
                        prop_assert_eq!(found, filled);
                    }
                    5 => [&mut found, &mut filled]
                        .map(|entries| entries.drop_range(from..to, |position, _| position.0 % 3 > 0))
                        .into_iter()
                        .collect(),
                    _ => prop_assert_eq!(found.neighbours(from).len(), filled.neighbours(from).len()),
                }
            }
            prop_assert_eq!(all(&found), all(&filled));
        }
    }

    #[test]
    fn the_next_chunk_skips_what_is_not_there() {
        let mut entries = Entries::default();
        assert_eq!(entries.next_chunk(Position(0)), None);
        for position in [5, 1000] {
            entries.insert(Position(position), entry(position));
        }
        let next = |from| entries.next_chunk(Position(from)).map(|position| position.0);
        assert_eq!([next(0), next(7), next(64), next(1023)], [Some(0), Some(7), Some(960), Some(1023)]);
        assert_eq!(next(1024), None);
    }
}
