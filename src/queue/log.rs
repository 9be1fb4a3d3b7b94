//! The messages of a queue that are in the journal. There may be millions, and most are alike: those of one size that lie one
//! after the other are kept as one row.

use std::ops::Range;

use crate::ids::Position;

/// Bits of a row's first address; the others are how many messages it has, less one.
const ADDRESS_BITS: u32 = 56;

/// Body addresses end here. No journal writes half as many bytes: a check gives addresses of the other half to what it finds
/// without knowing where it belongs.
pub const ADDRESSES: u64 = 1 << ADDRESS_BITS;

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
    pub fn push(&mut self, message: StoredMessage) {
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

    /// Adds `count` that are alike, the first of which is given. None of their addresses is beyond [`ADDRESSES`].
    pub fn push_alike(&mut self, first: StoredMessage, count: u64) {
        let mut done = 0;
        while done < count {
            self.push(StoredMessage {
                position: Position(first.position.0 + done),
                address: first.address + done * u64::from(first.stored_len),
                ..first
            });
            done += 1;
            // The others follow it in its row.
            if let Some(row) = self.rows.last_mut() {
                let more = (MOST - row.count()).min(count - done);
                row.packed += more * ADDRESSES;
                self.len += more as usize;
                done += more;
            }
        }
    }

    /// Keeps those only that are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&StoredMessage) -> bool) {
        *self = self.iter().filter(|message| keep(message)).collect();
    }

    /// Puts them in the order of their positions. Of several at one position only the last stays.
    pub fn order(&mut self) {
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

/// Neighbours in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The row of the first one, and which of its messages that is.
    row: usize,
    at: u8,
    count: u32,
}

impl MessageLog {
    /// Pieces of neighbours whose positions are the same when divided by `by`. The messages are in order.
    pub(super) fn pieces(&self, by: u64) -> impl Iterator<Item = Piece> + '_ {
        let (mut row, mut at) = (0, 0);
        std::iter::from_fn(move || {
            let number = self.rows.get(row)?.message(at).position.0 / by;
            let mut piece = Piece { row, at: at as u8, count: 0 };
            while let Some(next) =
                self.rows.get(row).filter(|next| next.message(at).position.0 / by == number)
            {
                let count = (by - next.message(at).position.0 % by).min(next.count() - at);
                piece.count += count as u32;
                at += count;
                if at == next.count() {
                    (row, at) = (row + 1, 0);
                }
            }
            Some(piece)
        })
    }

    /// The messages of a piece, by ranges of positions with the bytes of each body in them.
    pub(super) fn ranges(&self, piece: Piece) -> impl Iterator<Item = (Range<u64>, u32)> + '_ {
        let (mut row, mut at, mut left) = (piece.row, u64::from(piece.at), u64::from(piece.count));
        std::iter::from_fn(move || {
            let this = self.rows.get(row).filter(|_| left > 0)?;
            let count = left.min(this.count() - at);
            let first = this.position.0 + at;
            (row, at, left) = (row + 1, 0, left - count);
            Some((first..first + count, this.body_len))
        })
    }

    /// The messages of a piece.
    pub(super) fn piece(&self, piece: Piece) -> impl Iterator<Item = StoredMessage> + '_ {
        let first = std::iter::once(u64::from(piece.at)).chain(std::iter::repeat(0));
        let rows = self.rows[piece.row.min(self.rows.len())..].iter().zip(first);
        rows.flat_map(|(row, from)| (from..row.count()).map(|at| row.message(at))).take(piece.count as usize)
    }
}

impl FromIterator<StoredMessage> for MessageLog {
    fn from_iter<I: IntoIterator<Item = StoredMessage>>(messages: I) -> Self {
        let mut log = Self::default();
        messages.into_iter().for_each(|message| log.push(message));
        log
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

    proptest! {
        #[test]
        fn alike_ones_go_in_together_as_one_by_one(runs in prop::collection::vec((0_u64..3, 12_u32..14, 0_u64..700), 0..8)) {
            let (mut together, mut single) = (MessageLog::default(), MessageLog::default());
            let (mut position, mut address) = (1, 9);
            for (gap, stored_len, count) in runs {
                position += gap;
                let message = |at| StoredMessage {
                    position: Position(position + at),
                    address: address + at * u64::from(stored_len),
                    stored_len,
                    body_len: 5,
                };
                together.push_alike(message(0), count);
                (0..count).for_each(|at| single.push(message(at)));
                (position, address) = (position + count, address + count * u64::from(stored_len));
            }
            prop_assert_eq!(together, single);
        }

        #[test]
        fn pieces_are_all_of_it_and_each_of_one_number(messages in messages(), by in prop::sample::select(vec![1_u64, 3, 64, 1000])) {
            let mut log: MessageLog = messages.into_iter().collect();
            log.order();
            let mut numbers = Vec::new();
            let mut all = Vec::new();
            for piece in log.pieces(by) {
                let one_by_one: Vec<StoredMessage> = log.piece(piece).collect();
                let number = one_by_one[0].position.0 / by;
                prop_assert!(one_by_one.iter().all(|message| message.position.0 / by == number));
                let told = log.ranges(piece).flat_map(|(range, body_len)| range.map(move |at| (at, body_len)));
                prop_assert!(told.eq(one_by_one.iter().map(|message| (message.position.0, message.body_len))));
                numbers.push(number);
                all.extend(one_by_one);
            }
            prop_assert!(numbers.is_sorted_by(|one, next| one < next));
            prop_assert!(log.iter().eq(all));
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
