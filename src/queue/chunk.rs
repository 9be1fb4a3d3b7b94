//! Chunks of a queue's table: entries of neighbours, made when they are needed.
//!
//! A restart finds where messages are stored, perhaps of millions. To serve the first of them takes no entries for the
//! last, so that a chunk begins as a place in what was found, and its entries are made when one of them is asked for.

use std::cell::OnceCell;
use std::sync::Arc;

use super::entry::Entry;
use super::log::{MessageLog, Piece, StoredMessage};
use crate::ids::Place;

/// Slots of one chunk; a power of two.
pub(super) const CHUNK: u64 = 64;

/// Entries by the low bits of their positions.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) slots: [Entry; CHUNK as usize],
    pub(super) used: u8,
}

impl Chunk {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self { slots: [const { Entry::VACANT }; CHUNK as usize], used: 0 })
    }
}

/// A chunk of messages that a restart has found.
#[derive(Debug)]
pub(super) struct Unmade {
    log: Arc<MessageLog>,
    piece: Piece,
    redelivered: bool,
    /// Once somebody has looked at it.
    made: OnceCell<Box<Chunk>>,
}

impl Unmade {
    /// The chunk that a piece of `log` makes. All of it may have been delivered before, or none.
    pub(super) fn new(log: Arc<MessageLog>, piece: Piece, redelivered: bool) -> Self {
        Self { log, piece, redelivered, made: OnceCell::new() }
    }

    fn make(&self) -> Box<Chunk> {
        let mut chunk = Chunk::new();
        for message in self.log.piece(self.piece) {
            chunk.slots[(message.position.0 % CHUNK) as usize] = restored(message, self.redelivered);
            chunk.used += 1;
        }
        chunk
    }

    fn get(&self) -> &Chunk {
        self.made.get_or_init(|| self.make())
    }

    fn into_chunk(mut self) -> Box<Chunk> {
        self.made.take().unwrap_or_else(|| self.make())
    }
}

/// The entry of a message that a restart has found.
pub(super) fn restored(message: StoredMessage, redelivered: bool) -> Entry {
    let StoredMessage { address, body_len, stored_len, .. } = message;
    let mut entry = Entry::absent(Place::journal(address), body_len.into(), stored_len.into(), true);
    if redelivered {
        entry.set_redelivered();
    }
    entry
}

/// A place of the table: a chunk, or one that is not made yet, or neither.
#[derive(Debug, Default)]
pub(super) struct ChunkPlace {
    chunk: Option<Box<Chunk>>,
    /// What it is to be made of, as long as it is not. In a box, since a table may have far more places than chunks.
    unmade: Option<Box<Unmade>>,
}

impl ChunkPlace {
    /// Whether there is none.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.chunk.is_none() && self.unmade.is_none()
    }

    /// The chunk, to look at.
    #[inline]
    pub(super) fn get(&self) -> Option<&Chunk> {
        match &self.chunk {
            Some(chunk) => Some(chunk),
            None => self.unmade.as_ref().map(|unmade| unmade.get()),
        }
    }

    /// The chunk.
    #[inline]
    pub(super) fn get_mut(&mut self) -> Option<&mut Chunk> {
        self.make();
        self.chunk.as_deref_mut()
    }

    /// The chunk; the one that `make` makes if there is none.
    pub(super) fn get_or_insert_with(&mut self, make: impl FnOnce() -> Box<Chunk>) -> &mut Chunk {
        self.make();
        self.chunk.get_or_insert_with(make)
    }

    /// Puts a chunk that is made later where there is none.
    pub(super) fn put(&mut self, unmade: Unmade) {
        debug_assert!(self.is_none(), "there is a chunk");
        self.unmade = Some(Box::new(unmade));
    }

    #[inline]
    fn make(&mut self) {
        if self.chunk.is_none() {
            self.chunk = self.unmade.take().map(|unmade| unmade.into_chunk());
        }
    }

    /// Whether there is a chunk with nothing in it. One that is not made yet has something.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.chunk.as_ref().is_some_and(|chunk| chunk.used == 0)
    }

    /// Takes the chunk out, which is [done](Self::is_done).
    #[inline]
    pub(super) fn take_done(&mut self) -> Option<Box<Chunk>> {
        debug_assert!(self.is_done(), "something is in it");
        self.chunk.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Position;

    /// A chunk of messages at some positions, as a restart finds it.
    fn found(positions: &[u64], redelivered: bool) -> ChunkPlace {
        let message = |&at: &u64| StoredMessage {
            position: Position(at),
            address: 1000 + at,
            stored_len: 90,
            body_len: at as u32,
        };
        let log = Arc::new(positions.iter().map(message).collect::<MessageLog>());
        let pieces: Vec<Piece> = log.pieces(CHUNK).collect();
        let mut place = ChunkPlace::default();
        place.put(Unmade::new(log, pieces[0], redelivered));
        place
    }

    #[test]
    fn a_place_is_small() {
        assert_eq!(size_of::<ChunkPlace>(), 16);
    }

    fn told(chunk: &Chunk) -> Vec<(usize, Option<u64>, u64, bool)> {
        let used = chunk.slots.iter().enumerate().filter(|(_, entry)| !entry.is_vacant());
        let all: Vec<_> =
            used.map(|(at, entry)| (at, entry.address(), entry.body_len(), entry.redelivered())).collect();
        assert_eq!(all.len(), usize::from(chunk.used));
        assert!(
            chunk.slots.iter().all(|entry| entry.is_vacant() || entry.is_stored() && entry.memory() == 0)
        );
        all
    }

    #[test]
    fn a_chunk_is_made_by_whoever_asks_first() {
        for redelivered in [false, true] {
            let expected =
                [65, 66, 127].map(|at| (at as usize % 64, Some(1000 + at), at, redelivered)).to_vec();
            let place = found(&[65, 66, 127, 128], redelivered);
            assert!(!place.is_none() && !place.is_done() && place.chunk.is_none());
            assert_eq!(told(place.get().unwrap()), expected);
            let mut place = found(&[65, 66, 127], redelivered);
            assert_eq!(told(place.get_mut().unwrap()), expected);
            let mut place = found(&[65, 66, 127], redelivered);
            assert_eq!(told(place.get_or_insert_with(|| unreachable!("there is one"))), expected);
        }
    }

    #[test]
    fn what_was_looked_at_is_what_is_changed_and_comes_only_once() {
        let mut place = found(&[5], false);
        let log = place.unmade.as_ref().map(|unmade| Arc::downgrade(&unmade.log)).unwrap();
        let looked_at: *const Chunk = place.get().unwrap();
        assert!(std::ptr::eq(looked_at, place.get().unwrap()) && log.strong_count() == 1);
        let chunk = place.get_mut().unwrap();
        assert!(std::ptr::eq(looked_at, chunk));
        (chunk.slots[5], chunk.used) = (Entry::VACANT, 0);
        assert!(place.is_done() && log.strong_count() == 0);
        assert_eq!(told(place.get().unwrap()), []);
        assert!(place.take_done().is_some() && place.is_none());
        assert!(place.get().is_none() && place.get_mut().is_none());
    }
}
