//! A queue's messages in a chunked table indexed by position.
//!
//! A position is a message's address for life, so finding one is arithmetic, and a chunk is freed when all it held
//! is gone, however long its neighbours stay. Messages of which only a segment knows have no entry.

use std::collections::VecDeque;
use std::ops::Range;

use super::memory_of;
use crate::ids::{Location, Place, Position};
use crate::message::Message;

/// Slots of one chunk; a power of two.
const CHUNK: u64 = 64;

/// What holds a message that is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits to be delivered.
    Ready,
    /// Delivered, and the consumer will acknowledge it.
    Unacked,
    /// Handed to a consumer that does not acknowledge, and not yet written to its socket.
    Held,
    /// On its way to the dead-letter exchange.
    Dead,
}

/// One message in the queue: 24 bytes, for there may be millions.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The message, unless it has left memory.
    pub(super) message: Option<Message>,
    /// Where it is stored; unknown while only the message itself knows, or if it is not stored.
    pub(super) place: Place,
    body_len: u32,
    /// State and flags in the low bits. Above them how much longer than its body it is where it is stored, once the
    /// message has left memory.
    packed: u32,
}

/// The state of a slot that holds nothing is 0.
const STATE: u32 = 0b111;
const READY: u32 = 1;
const UNACKED: u32 = 2;
const HELD: u32 = 3;
const DEAD: u32 = 4;
const REDELIVERED: u32 = 1 << 3;
const STORED: u32 = 1 << 4;
const OVERHEAD_SHIFT: u32 = 5;

impl Entry {
    /// A ready message. `stored` says whether storage keeps it for this queue.
    #[inline]
    pub(super) fn new(message: Message, stored: bool) -> Self {
        let body_len = clamped(message.body_len());
        let packed = READY | if stored { STORED } else { 0 };
        Self { message: Some(message), place: Place::UNKNOWN, body_len, packed }
    }

    /// A ready message that is not in memory.
    pub(super) fn absent(place: Place, body_len: u64, stored_len: u64, stored: bool) -> Self {
        let packed = READY | if stored { STORED } else { 0 };
        let mut entry = Self { message: None, place, body_len: clamped(body_len), packed };
        entry.set_stored_len(stored_len);
        entry
    }

    /// What does not fit is a hint that is too short: whoever reads the message finds its true length.
    fn set_stored_len(&mut self, stored_len: u64) {
        let overhead = clamped(stored_len.saturating_sub(self.body_len())).min(u32::MAX >> OVERHEAD_SHIFT);
        self.packed = self.packed & !(u32::MAX << OVERHEAD_SHIFT) | overhead << OVERHEAD_SHIFT;
    }

    /// Takes the message out of memory, if it is there.
    pub(super) fn take_message(&mut self) -> Option<Message> {
        let message = self.message.take()?;
        self.set_stored_len(message.stored_len());
        Some(message)
    }

    fn is_vacant(&self) -> bool {
        self.packed & STATE == 0
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        match self.packed & STATE {
            UNACKED => State::Unacked,
            HELD => State::Held,
            DEAD => State::Dead,
            _ => State::Ready,
        }
    }

    #[inline]
    pub(super) fn set_state(&mut self, state: State) {
        let bits = match state {
            State::Ready => READY,
            State::Unacked => UNACKED,
            State::Held => HELD,
            State::Dead => DEAD,
        };
        self.packed = self.packed & !STATE | bits;
    }

    /// Whether it was delivered before and came back.
    #[inline]
    pub(super) fn redelivered(&self) -> bool {
        self.packed & REDELIVERED != 0
    }

    pub(super) fn set_redelivered(&mut self) {
        self.packed |= REDELIVERED;
    }

    /// Whether storage keeps it for this queue.
    #[inline]
    pub(super) fn is_stored(&self) -> bool {
        self.packed & STORED != 0
    }

    #[inline]
    pub(super) fn body_len(&self) -> u64 {
        u64::from(self.body_len)
    }

    /// About how many bytes it takes where it is stored.
    pub(super) fn stored_len(&self) -> u64 {
        match &self.message {
            Some(message) => message.stored_len(),
            None => self.body_len() + u64::from(self.packed >> OVERHEAD_SHIFT),
        }
    }

    /// About how many bytes of memory its message takes: none if it is not there.
    #[inline]
    pub(super) fn memory(&self) -> u64 {
        self.message.as_ref().map_or(0, memory_of)
    }

    /// The body address of its message, if that lies in the journal.
    pub(super) fn address(&self) -> Option<u64> {
        match (self.place.location(), &self.message) {
            (Location::Journal { address }, _) => Some(address),
            (Location::Unknown, Some(message)) => Some(message.stored_at()).filter(|&address| address > 0),
            _ => None,
        }
    }
}

/// The length as it fits an entry. No message is as long as what does not.
fn clamped(len: u64) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[derive(Debug)]
struct Chunk {
    slots: [Entry; CHUNK as usize],
    used: u8,
}

impl Chunk {
    fn new() -> Box<Self> {
        Box::new(Self { slots: [const { VACANT }; CHUNK as usize], used: 0 })
    }
}

const VACANT: Entry = Entry { message: None, place: Place::UNKNOWN, body_len: 0, packed: 0 };

/// The table.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Chunks in order; `None` where nothing is but there is something on both sides.
    chunks: VecDeque<Option<Box<Chunk>>>,
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
#[expect(clippy::vec_box, reason = "chunks are moved as they are, not copied")]
pub(super) struct Taken {
    chunks: Vec<Box<Chunk>>,
    entries: Vec<(Position, Entry)>,
}

impl Taken {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let whole = self.chunks.iter().flat_map(|chunk| &chunk.slots).filter(|entry| !entry.is_vacant());
        whole.chain(self.entries.iter().map(|(_, entry)| entry))
    }
}

impl Entries {
    /// The position that the next [`push`](Self::push) gives.
    #[inline]
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// About how many bytes the table takes.
    pub(super) fn memory(&self) -> u64 {
        (self.count * size_of::<Chunk>()) as u64
    }

    /// Appends an entry.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) -> Position {
        let position = self.next;
        self.next = position.next();
        let last = self.first + self.chunks.len() as u64;
        match self.chunks.back_mut() {
            Some(Some(chunk)) if position.0 / CHUNK + 1 == last => {
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
        if self.chunks.is_empty() {
            self.first = number;
        }
        while number < self.first {
            self.chunks.push_front(None);
            self.first -= 1;
        }
        while number - self.first >= self.chunks.len() as u64 {
            self.chunks.push_back(None);
        }
        let Self { chunks, first, count, spare, .. } = self;
        chunks[(number - *first) as usize].get_or_insert_with(|| {
            *count += 1;
            spare.take().unwrap_or_else(Chunk::new)
        })
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
        let entry = &mut self.chunks[index].as_mut()?.slots[slot];
        (!entry.is_vacant()).then_some(entry)
    }

    /// As [`entry`](Self::entry), to look at.
    #[inline]
    pub(super) fn get(&self, position: Position) -> Option<&Entry> {
        let (index, slot) = self.slot(position)?;
        let entry = &self.chunks[index].as_ref()?.slots[slot];
        (!entry.is_vacant()).then_some(entry)
    }

    /// The entries from `position` on that lie in one chunk with it, also vacant ones. They are to stay what they are of
    /// both.
    #[inline]
    pub(super) fn neighbours(&mut self, position: Position) -> &mut [Entry] {
        let Some((index, slot)) = self.slot(position) else { return &mut [] };
        self.chunks[index].as_mut().map_or(&mut [], |chunk| &mut chunk.slots[slot..])
    }

    /// Takes the entry at `position` out.
    #[inline]
    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        let (index, slot) = self.slot(position)?;
        let chunk = self.chunks[index].as_mut()?;
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
            && let Some(chunk) = &mut self.chunks[index]
        {
            let count = (range.end.0 - at.0).min(CHUNK - slot as u64);
            let slots = &mut chunk.slots[slot..slot + count as usize];
            let mut left = chunk.used;
            for (position, entry) in (at.0..).map(Position).zip(slots) {
                if !entry.is_vacant() && gone(position, entry) {
                    *entry = VACANT;
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
        let is_done = self.chunks[index].as_ref().is_some_and(|chunk| chunk.used == 0);
        if is_done && self.next.0 / CHUNK != self.first + index as u64 {
            self.spare = self.chunks[index].take();
            self.count -= 1;
            self.trim();
        }
    }

    /// Lets go of places for chunks at both ends.
    fn trim(&mut self) {
        while let Some(None) = self.chunks.front() {
            self.chunks.pop_front();
            self.first += 1;
        }
        while let Some(None) = self.chunks.back() {
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
                if let Some(chunk) = self.chunks[index].take() {
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
        let chunk = self.chunks[index].as_mut()?;
        if chunk.slots[slot].is_vacant() {
            return None;
        }
        chunk.used -= 1;
        Some(std::mem::take(&mut chunk.slots[slot]))
    }

    /// Drops the chunk around a position if it holds nothing.
    fn drop_if_empty(&mut self, position: u64) {
        if let Some((index, _)) = self.slot(Position(position))
            && self.chunks[index].as_ref().is_some_and(|chunk| chunk.used == 0)
        {
            self.chunks[index] = None;
            self.count -= 1;
        }
    }

    /// The entries from `from` on with their positions, lowest first.
    pub(super) fn iter_from(&self, from: Position) -> impl Iterator<Item = (Position, &Entry)> {
        let skipped = (from.0 / CHUNK).saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.chunks.len());
        let chunks = (self.first + skipped as u64..).zip(self.chunks.range(skipped..));
        chunks
            .filter_map(|(number, chunk)| Some((number, chunk.as_ref()?)))
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
        if self.chunks.iter().flatten().all(|chunk| chunk.used == 0) {
            self.chunks = VecDeque::new();
            self.spare = None;
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
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

    fn filled(n: u64) -> Entries {
        let mut entries = Entries::default();
        for i in 0..n {
            assert_eq!(entries.push(entry(i)), Position(i));
        }
        entries
    }

    #[test]
    fn an_entry_is_small_and_says_what_it_was_made_of() {
        assert_eq!(size_of::<Entry>(), 24);
        for (body, stored) in [(0, 30), (128, 200), (1 << 30, (1 << 30) + 140_000)] {
            let mut entry = Entry::absent(Place::journal(7), body, stored, true);
            assert_eq!((entry.body_len(), entry.stored_len(), entry.address()), (body, stored, Some(7)));
            for state in [State::Ready, State::Unacked, State::Dead, State::Held] {
                entry.set_state(state);
                assert_eq!(entry.state(), state);
            }
            assert!(!entry.redelivered() && entry.is_stored() && !entry.is_vacant());
            entry.set_redelivered();
            assert!(entry.redelivered() && entry.state() == State::Held);
        }
        assert!(Entry::absent(Place::UNKNOWN, 1, u64::MAX, false).stored_len() > 1 << 26);
    }

    #[test]
    fn chunks_go_when_all_in_them_is_gone() {
        let mut entries = filled(1000);
        for i in 1..1000 {
            assert_eq!(number_of(&entries.remove(Position(i)).unwrap()), i);
        }
        // Position 0 and the newest chunk are left.
        assert_eq!((entries.chunks.iter().flatten().count(), entries.count), (2, 2));
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
            assert_eq!(entries.count, entries.chunks.iter().flatten().count());
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
            let used: usize = entries.chunks.iter().flatten().map(|chunk| usize::from(chunk.used)).sum();
            assert_eq!((used, entries.count), (kept.len(), entries.chunks.iter().flatten().count()));
            // The newest one is where the next message goes.
            assert!(entries.chunks.iter().flatten().rev().skip(1).all(|chunk| chunk.used > 0));
            assert_eq!(entries.push(entry(300)), Position(300));
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
