//! A queue's messages in a chunked table indexed by position.
//!
//! A position is a message's address for life, so finding one is arithmetic, and a chunk is freed when all it held
//! is gone, however long its neighbours stay.

use std::collections::VecDeque;

use crate::ids::Position;
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
}

/// One message in the queue.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    pub(super) state: State,
    /// It was delivered before and came back.
    pub(super) redelivered: bool,
}

#[derive(Debug)]
struct Chunk {
    slots: [Option<Entry>; CHUNK as usize],
    used: u8,
}

impl Chunk {
    fn new() -> Box<Self> {
        Box::new(Self { slots: [const { None }; CHUNK as usize], used: 0 })
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Chunks in order; `None` where all are gone but an older chunk still stands.
    chunks: VecDeque<Option<Box<Chunk>>>,
    /// Number of the first chunk.
    first: u64,
    /// The position that the next message gets.
    next: Position,
    /// A freed chunk kept for the next one, so that a short queue does not allocate per chunk.
    spare: Option<Box<Chunk>>,
}

impl Entries {
    /// The position that the next [`push`](Self::push) gives.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// Appends a ready message.
    #[inline]
    pub(super) fn push(&mut self, message: Message) -> Position {
        let position = self.next;
        let index = position.0 / CHUNK;
        if self.chunks.is_empty() {
            self.first = index;
        }
        if index - self.first == self.chunks.len() as u64 {
            let chunk = self.spare.take().unwrap_or_else(Chunk::new);
            self.chunks.push_back(Some(chunk));
        }
        if let Some(Some(chunk)) = self.chunks.back_mut() {
            chunk.slots[(position.0 % CHUNK) as usize] =
                Some(Entry { message, state: State::Ready, redelivered: false });
            chunk.used += 1;
        }
        self.next = position.next();
        position
    }

    /// Puts a message back to the position it had before a restart. Positions come in rising order.
    pub(super) fn restore(&mut self, position: Position, message: Message, redelivered: bool) {
        let index = position.0 / CHUNK;
        if self.chunks.is_empty() {
            self.first = index;
        }
        while self.first + (self.chunks.len() as u64) < index {
            self.chunks.push_back(None);
        }
        if self.first + (self.chunks.len() as u64) == index {
            self.chunks.push_back(Some(Chunk::new()));
        }
        if let Some(Some(chunk)) = self.chunks.back_mut() {
            chunk.slots[(position.0 % CHUNK) as usize] =
                Some(Entry { message, state: State::Ready, redelivered });
            chunk.used += 1;
        }
        self.next = position.next();
    }

    /// The next message gets `position`, or a later one.
    pub(super) fn skip_to(&mut self, position: Position) {
        let index = position.0 / CHUNK;
        self.next = position.max(self.next);
        // A push goes to the last chunk, or to the one after it.
        if !self.chunks.is_empty() && self.first + (self.chunks.len() as u64) < index {
            while self.first + (self.chunks.len() as u64) < index {
                self.chunks.push_back(None);
            }
        }
    }

    fn slot(&mut self, position: Position) -> Option<(usize, usize)> {
        let index = (position.0 / CHUNK).checked_sub(self.first)?;
        let index = usize::try_from(index).ok()?;
        (index < self.chunks.len()).then_some((index, (position.0 % CHUNK) as usize))
    }

    /// The message at `position`, if it is still there.
    #[inline]
    pub(super) fn entry(&mut self, position: Position) -> Option<&mut Entry> {
        let (index, slot) = self.slot(position)?;
        self.chunks[index].as_mut()?.slots[slot].as_mut()
    }

    /// Takes the message at `position` out.
    #[inline]
    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        let (index, slot) = self.slot(position)?;
        let chunk = self.chunks[index].as_mut()?;
        let entry = chunk.slots[slot].take()?;
        chunk.used -= 1;
        // The newest chunk stays while it has room: the next push goes there.
        let has_room = self.next.0 / CHUNK == self.first + index as u64;
        if chunk.used == 0 && !has_room {
            self.spare = self.chunks[index].take();
            while let Some(None) = self.chunks.front() {
                self.chunks.pop_front();
                self.first += 1;
            }
        }
        Some(entry)
    }

    /// Takes all messages from `from` on out, as a table of their own. Positions go on from where they were.
    ///
    /// Whole chunks are moved, not looked at: the cost is that of a pointer for 64 messages.
    pub(super) fn split_off(&mut self, from: Position) -> Self {
        let Some((index, slot)) = self.slot(from) else { return Self::default() };
        let mut tail = self.chunks.split_off(index + 1);
        let mut first = Chunk::new();
        if let Some(last) = self.chunks.back_mut()
            && let Some(chunk) = last
        {
            for (kept, moved) in chunk.slots.iter_mut().zip(&mut first.slots).skip(slot) {
                *moved = kept.take();
                first.used += u8::from(moved.is_some());
            }
            chunk.used -= first.used;
            if chunk.used == 0 {
                *last = None;
            }
        }
        tail.push_front(Some(first));
        let tail = Self { chunks: tail, first: self.first + index as u64, next: self.next, spare: None };
        self.close_gap();
        tail
    }

    /// Makes the last chunk the one of the next position again, after chunks were taken from the end.
    fn close_gap(&mut self) {
        if self.chunks.iter().flatten().all(|chunk| chunk.used == 0) {
            self.chunks = VecDeque::new();
            return;
        }
        let Ok(chunks) = usize::try_from(self.next.0.div_ceil(CHUNK) - self.first) else { return };
        if self.chunks.len() < chunks {
            self.chunks.resize_with(chunks, || None);
        }
        let has_room = !self.next.0.is_multiple_of(CHUNK);
        if let Some(last) = self.chunks.back_mut()
            && has_room
            && last.is_none()
        {
            *last = Some(self.spare.take().unwrap_or_else(Chunk::new));
        }
    }

    /// All messages with their positions, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Position, &Entry)> {
        let chunks = (self.first..).zip(&self.chunks);
        chunks.filter_map(|(number, chunk)| Some((number, chunk.as_ref()?))).flat_map(|(number, chunk)| {
            let positions = (number * CHUNK..).map(Position);
            positions.zip(&chunk.slots).filter_map(|(position, slot)| Some((position, slot.as_ref()?)))
        })
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, MessageBuilder};
    use crate::protocol::properties::Properties;

    fn message(n: u64) -> Message {
        let properties = Properties::parse(&[0, 0]).unwrap();
        MessageBuilder::default().build("", "q", properties, Body::Borrowed(&n.to_be_bytes()))
    }

    fn filled(n: u64) -> Entries {
        let mut entries = Entries::default();
        for i in 0..n {
            assert_eq!(entries.push(message(i)), Position(i));
        }
        entries
    }

    #[test]
    fn chunks_go_when_all_in_them_is_gone() {
        let mut entries = filled(1000);
        for i in 1..1000 {
            assert_eq!(entries.remove(Position(i)).unwrap().message.body(), i.to_be_bytes());
        }
        // Position 0 and the newest chunk are left.
        assert_eq!(entries.chunks.iter().flatten().count(), 2);
        assert!(entries.entry(Position(0)).is_some());
        entries.remove(Position(0));
        assert_eq!(entries.chunks.len(), 1);
        assert!(entries.remove(Position(500)).is_none());
        assert_eq!(entries.push(message(1000)), Position(1000));
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
        assert_eq!(entries.push(message(70)), Position(70));
        assert_eq!(entries.entry(Position(70)).unwrap().message.body(), 70u64.to_be_bytes());
        assert!(entries.entry(Position(69)).is_none());
    }

    #[test]
    fn restored_messages_are_where_they_were_and_new_ones_come_after() {
        for (positions, next) in
            [(vec![], 0), (vec![], 200), (vec![3, 64, 1000], 1001), (vec![5], 700), (vec![63], 64)]
        {
            let mut entries = Entries::default();
            for &position in &positions {
                entries.restore(Position(position), message(position), true);
            }
            entries.skip_to(Position(next));
            for new in next..next + 130 {
                assert_eq!(entries.push(message(new)), Position(new));
            }
            let all: Vec<u64> = positions.iter().copied().chain(next..next + 130).collect();
            assert_eq!(entries.iter().map(|(position, _)| position.0).collect::<Vec<_>>(), all);
            for position in all {
                let entry = entries.remove(Position(position)).unwrap();
                assert_eq!(entry.message.body(), position.to_be_bytes());
            }
        }
    }

    #[test]
    fn a_full_last_chunk_is_freed_too() {
        let mut entries = filled(64);
        for i in 0..64 {
            entries.remove(Position(i));
        }
        assert_eq!(entries.chunks.len(), 0);
        assert_eq!(entries.push(message(64)), Position(64));
    }

    #[test]
    fn a_split_keeps_every_message_at_its_position() {
        for (count, from, gone) in [
            (200, 0, 0),
            (200, 70, 0),
            (200, 70, 70),
            (200, 128, 65),
            (192, 70, 1),
            (130, 128, 0),
            (60, 30, 2),
        ] {
            let mut entries = filled(count);
            for n in 0..gone {
                entries.remove(Position(n));
            }
            let tail = entries.split_off(Position(from));
            let numbers = |entries: &Entries| -> Vec<u64> {
                let told = |(position, entry): (Position, &Entry)| {
                    assert_eq!(entry.message.body(), position.0.to_be_bytes());
                    position.0
                };
                entries.iter().map(told).collect()
            };
            assert_eq!(numbers(&tail), (from..count).collect::<Vec<_>>());
            assert_eq!(numbers(&entries), (gone..from).collect::<Vec<_>>());
            assert_eq!(entries.chunks.capacity() == 0, gone == from, "{count} {from} {gone}");
            for n in count..count + 200 {
                assert_eq!(entries.push(message(n)), Position(n));
            }
            let kept: Vec<u64> = (gone..from).chain(count..count + 200).collect();
            assert_eq!(numbers(&entries), kept);
            assert!(entries.entry(Position(from)).is_none());
            for n in kept {
                assert_eq!(entries.remove(Position(n)).unwrap().message.body(), n.to_be_bytes());
            }
            assert!(entries.chunks.len() <= 1);
        }
    }

    #[test]
    fn nothing_is_split_off_an_end() {
        let mut entries = filled(128);
        assert_eq!(entries.split_off(Position(128)).iter().count(), 0);
        assert_eq!(entries.iter().count(), 128);
        assert_eq!(Entries::default().split_off(Position(0)).iter().count(), 0);
    }
}
