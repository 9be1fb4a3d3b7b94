//! One message in a queue.

use super::memory_of;
use crate::ids::{Location, Place};
use crate::message::Message;

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
    /// Where there is none.
    pub(super) const VACANT: Self = Self { message: None, place: Place::UNKNOWN, body_len: 0, packed: 0 };

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

    /// Whether it is a place for an entry and none.
    #[inline]
    pub(super) fn is_vacant(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
