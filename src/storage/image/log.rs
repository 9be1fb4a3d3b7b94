//! The messages of a queue that are in the journal. There may be millions, and most are alike: those of one size that lie one
//! after the other are kept as one row.

use crate::ids::Position;

/// Bits of a row's first address; the others are how many messages it has, less one.
const ADDRESS_BITS: u32 = 56;

/// Body addresses end here. No journal writes half as many bytes: a check gives addresses of the other half to what it finds
/// without knowing where it belongs.
pub(in crate::storage) const ADDRESSES: u64 = 1 << ADDRESS_BITS;

/// The most messages of a row.
const MOST: u64 = 1 << (u64::BITS - ADDRESS_BITS);

/// Rows from which on there is made room for more in large steps.
const LONG: usize = 4096;

/// A message in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the queue.
    pub position: Position,
    /// Its body address.
    pub address: u64,
    /// Bytes of its item there.
    pub stored_len: u32,
    /// Bytes of its body.
    pub body_len: u32,
}

/// Messages in the order in which they were put here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageLog {
    rows: Vec<Row>,
    len: usize,
}

/// Messages that are alike: each has the next position, and its item the next address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    position: Position,
    /// The first address, and above it how many follow.
    packed: u64,
    stored_len: u32,
    body_len: u32,
}

impl Row {
    fn count(&self) -> u64 {
        (self.packed >> ADDRESS_BITS) + 1
    }

    /// The position behind the last one.
    fn end(&self) -> u64 {
        self.position.0 + self.count()
    }

    fn message(&self, at: u64) -> StoredMessage {
        StoredMessage {
            position: Position(self.position.0 + at),
            address: (self.packed & (ADDRESSES - 1)) + at * u64::from(self.stored_len),
            stored_len: self.stored_len,
            body_len: self.body_len,
        }
    }
}

impl MessageLog {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = StoredMessage> + '_ {
        self.rows.iter().flat_map(|row| (0..row.count()).map(|at| row.message(at)))
    }

    /// Adds one. Its address is below [`ADDRESSES`].
    #[inline]
    pub(super) fn push(&mut self, message: StoredMessage) {
        self.len += 1;
        if let Some(row) = self.rows.last_mut() {
            let count = row.count();
            if count < MOST && row.message(count) == message {
                row.packed += ADDRESSES;
                return;
            }
        }
        let StoredMessage { position, address, stored_len, body_len } = message;
        let rows = self.rows.len();
        // Each step copies all of it, and room that is not touched costs nothing.
        if rows == self.rows.capacity() && rows >= LONG {
            self.rows.reserve(3 * rows);
        }
        self.rows.push(Row { position, packed: address, stored_len, body_len });
    }

    /// Keeps those only that are to be kept.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&StoredMessage) -> bool) {
        *self = self.iter().filter(|message| keep(message)).collect();
    }

    /// Puts them in the order of their positions. Of several at one position only the last stays.
    pub(super) fn order(&mut self) {
        // Most are in order.
        if self.rows.is_sorted_by(|row, next| row.end() <= next.position.0) {
            return;
        }
        let mut messages: Vec<StoredMessage> = self.iter().collect();
        // Stable, so that of those at one position the last stays the last.
        messages.sort_by_key(|message| message.position);
        messages.dedup_by(|later, kept| {
            let same = later.position == kept.position;
            if same {
                *kept = *later;
            }
            same
        });
        *self = messages.into_iter().collect();
    }
}

impl FromIterator<StoredMessage> for MessageLog {
    fn from_iter<I: IntoIterator<Item = StoredMessage>>(messages: I) -> Self {
        let mut log = Self::default();
        messages.into_iter().for_each(|message| log.push(message));
        log
    }
}

impl IntoIterator for MessageLog {
    type Item = StoredMessage;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { rows: self.rows.into_iter(), row: None, at: 0 }
    }
}

/// All messages of a log.
#[derive(Debug)]
pub struct IntoIter {
    rows: std::vec::IntoIter<Row>,
    row: Option<Row>,
    at: u64,
}

impl Iterator for IntoIter {
    type Item = StoredMessage;

    #[inline]
    fn next(&mut self) -> Option<StoredMessage> {
        if self.row.is_none_or(|row| self.at == row.count()) {
            (self.row, self.at) = (Some(self.rows.next()?), 0);
        }
        let message = self.row?.message(self.at);
        self.at += 1;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Messages of which many are alike, and some go back.
    fn messages() -> impl Strategy<Value = Vec<StoredMessage>> {
        let piece = (0_u64..600, 0_u64..50_000, 12_u32..15, 0_u32..2, 1_u64..600);
        prop::collection::vec(piece, 0..8).prop_map(|pieces| {
            let message = |(position, address, stored_len, body_len, count): (u64, u64, u32, u32, u64)| {
                (0..count).map(move |at| StoredMessage {
                    position: Position(position + at),
                    address: address + at * u64::from(stored_len),
                    stored_len,
                    body_len,
                })
            };
            pieces.into_iter().flat_map(message).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(messages in messages()) {
            let log: MessageLog = messages.iter().copied().collect();
            prop_assert_eq!((log.len(), log.is_empty()), (messages.len(), messages.is_empty()));
            prop_assert_eq!(&log.iter().collect::<Vec<_>>(), &messages);
            prop_assert_eq!(log.into_iter().collect::<Vec<_>>(), messages);
        }

        #[test]
        fn the_last_at_a_position_stays_and_only_what_is_to_be_kept(messages in messages(), by in 2_u64..5) {
            let last: BTreeMap<u64, StoredMessage> =
                messages.iter().map(|message| (message.position.0, *message)).collect();
            let mut log: MessageLog = messages.into_iter().collect();
            log.order();
            prop_assert!(log.iter().eq(last.values().copied()));
            log.retain(|message| message.position.0 % by != 0);
            prop_assert!(log.iter().eq(last.into_values().filter(|message| message.position.0 % by != 0)));
        }
    }

    #[test]
    fn alike_messages_take_one_row() {
        let message = |at| StoredMessage {
            position: Position(at),
            address: 7 + 100 * at,
            stored_len: 100,
            body_len: 60,
        };
        let log: MessageLog = (0..2 * MOST).map(message).collect();
        assert_eq!((log.rows.len(), log.len() as u64), (2, 2 * MOST));
        let far = StoredMessage { address: ADDRESSES - 1, ..message(0) };
        assert_eq!(MessageLog::from_iter([far]).iter().next(), Some(far));
    }
}
