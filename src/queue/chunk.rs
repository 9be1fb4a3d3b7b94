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
pub(super) struct Folded {
    log: Arc<MessageLog>,
    piece: Piece,
    redelivered: bool,
    /// Once somebody has looked at it.
    unfolded: OnceCell<Box<Chunk>>,
}

impl Folded {
    /// The chunk that a piece of `log` makes. All of it may have been delivered before, or none.
    pub(super) fn new(log: Arc<MessageLog>, piece: Piece, redelivered: bool) -> Self {
        Self { log, piece, redelivered, unfolded: OnceCell::new() }
    }

    fn unfold(&self) -> Box<Chunk> {
        let mut chunk = Chunk::new();
        for message in self.log.piece(self.piece) {
            chunk.slots[(message.position.0 % CHUNK) as usize] = restored(message, self.redelivered);
            chunk.used += 1;
        }
        chunk
    }

    fn get(&self) -> &Chunk {
        self.unfolded.get_or_init(|| self.unfold())
    }

    fn into_chunk(mut self) -> Box<Chunk> {
        self.unfolded.take().unwrap_or_else(|| self.unfold())
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
pub(super) struct Held {
    chunk: Option<Box<Chunk>>,
    folded: Option<Folded>,
}

impl Held {
    /// Whether there is none.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.chunk.is_none() && self.folded.is_none()
    }

    /// The chunk, to look at.
    #[inline]
    pub(super) fn get(&self) -> Option<&Chunk> {
        match &self.chunk {
            Some(chunk) => Some(chunk),
            None => self.folded.as_ref().map(Folded::get),
        }
    }

    /// The chunk.
    #[inline]
    pub(super) fn get_mut(&mut self) -> Option<&mut Chunk> {
        self.unfold();
        self.chunk.as_deref_mut()
    }

    /// The chunk; the one that `make` makes if there is none.
    pub(super) fn get_or_insert_with(&mut self, make: impl FnOnce() -> Box<Chunk>) -> &mut Chunk {
        self.unfold();
        self.chunk.get_or_insert_with(make)
    }

    /// Puts a chunk that is made later where there is none.
    pub(super) fn fold(&mut self, folded: Folded) {
        debug_assert!(self.is_none(), "there is a chunk");
        self.folded = Some(folded);
    }

    #[inline]
    fn unfold(&mut self) {
        if self.folded.is_some() {
            self.chunk = self.folded.take().map(Folded::into_chunk);
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
        self.chunk.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Position;

    /// A chunk of messages at some positions, as a restart finds it.
    fn folded(positions: &[u64], redelivered: bool) -> Held {
        let message = |&at: &u64| StoredMessage {
            position: Position(at),
            address: 1000 + at,
            stored_len: 90,
            body_len: at as u32,
        };
        let log = Arc::new(positions.iter().map(message).collect::<MessageLog>());
        let pieces: Vec<Piece> = log.pieces(CHUNK).collect();
        let mut held = Held::default();
        held.fold(Folded::new(log, pieces[0], redelivered));
        held
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
    fn a_folded_chunk_is_made_by_whoever_asks_first() {
        for redelivered in [false, true] {
            let expected =
                [65, 66, 127].map(|at| (at as usize % 64, Some(1000 + at), at, redelivered)).to_vec();
            let held = folded(&[65, 66, 127, 128], redelivered);
            assert!(!held.is_none() && !held.is_done() && held.chunk.is_none());
            assert_eq!(told(held.get().unwrap()), expected);
            let mut held = folded(&[65, 66, 127], redelivered);
            assert_eq!(told(held.get_mut().unwrap()), expected);
            let mut held = folded(&[65, 66, 127], redelivered);
            assert_eq!(told(held.get_or_insert_with(|| unreachable!("there is one"))), expected);
        }
    }

    #[test]
    fn what_was_looked_at_is_what_is_changed_and_comes_only_once() {
        let mut held = folded(&[5], false);
        let log = held.folded.as_ref().map(|folded| Arc::downgrade(&folded.log)).unwrap();
        let looked_at: *const Chunk = held.get().unwrap();
        assert!(std::ptr::eq(looked_at, held.get().unwrap()) && log.strong_count() == 1);
        let chunk = held.get_mut().unwrap();
        assert!(std::ptr::eq(looked_at, chunk));
        (chunk.slots[5], chunk.used) = (Entry::VACANT, 0);
        assert!(held.is_done() && log.strong_count() == 0);
        assert_eq!(told(held.get().unwrap()), []);
        assert!(held.take_done().is_some() && held.is_none());
        assert!(held.get().is_none() && held.get_mut().is_none());
    }
}
