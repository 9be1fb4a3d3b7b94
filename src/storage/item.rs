//! A message as it lies in the body block of a journal group, or in a segment: a header, then its one or two parts.
//!
//! The header is three `u32`, little-endian: bytes of the contiguous part; bytes of the large part plus one, or zero if
//! there is none; the message's checksum XOR the *seal* of the file. A file that is written over gets another number
//! and so another seal: what is left of an earlier life is not taken for a message.

use bytes::Bytes;

use crate::message::{ITEM_HEADER, Message};

/// Bytes of an item's header.
pub const HEADER: usize = ITEM_HEADER;

/// The seal of the file with this number.
#[must_use]
pub fn seal(number: u64) -> u32 {
    (number as u32).wrapping_mul(0x9E37_79B9)
}

/// Bytes that the message takes as an item.
#[must_use]
pub fn stored_len(message: &Message) -> u64 {
    let (contiguous, large) = message.stored();
    (HEADER + contiguous.len() + large.map_or(0, Bytes::len)) as u64
}

/// The header of the message's item in a file with this seal.
#[must_use]
pub fn encode_header(message: &Message, seal: u32) -> [u8; HEADER] {
    let (contiguous, large) = message.stored();
    // A message is far below 4 GiB. One that were not would not be read again, by its lengths.
    let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut header = [0; HEADER];
    header[0..4].copy_from_slice(&len(contiguous.len()).to_le_bytes());
    header[4..8].copy_from_slice(&large.map_or(0, |large| len(large.len() + 1)).to_le_bytes());
    header[8..12].copy_from_slice(&(message.checksum() ^ seal).to_le_bytes());
    header
}

/// How long the item with this header says it is.
#[must_use]
pub fn len(header: &[u8; HEADER]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *header;
    let large = u32::from_le_bytes([e, f, g, h]).saturating_sub(1);
    HEADER as u64 + u64::from(u32::from_le_bytes([a, b, c, d])) + u64::from(large)
}

/// An item's parts as they lie there, their checksum not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawItem<'a> {
    /// The contiguous part.
    pub contiguous: &'a [u8],
    /// The part that is apart.
    pub large: Option<&'a [u8]>,
    /// The checksum that both should have.
    pub checksum: u32,
}

impl<'a> RawItem<'a> {
    /// The parts of the item that `bytes` begins with, in a file with this seal; `None` if it is not whole.
    #[must_use]
    pub fn parse(bytes: &'a [u8], seal: u32) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h, checksum @ ..] = *header;
        let contiguous = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
        let large = u32::from_le_bytes([e, f, g, h]).checked_sub(1);
        let large_len = usize::try_from(large.unwrap_or(0)).ok()?;
        let (contiguous, rest) = rest.split_at_checked(contiguous)?;
        let (second, _) = rest.split_at_checked(large_len)?;
        let checksum = u32::from_le_bytes(checksum) ^ seal;
        Some(Self { contiguous, large: large.map(|_| second), checksum })
    }

    /// Bytes of the whole item.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an item has a header at least")]
    pub fn len(&self) -> usize {
        HEADER + self.contiguous.len() + self.large.map_or(0, <[u8]>::len)
    }

    /// Whether the parts have their checksum.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.contiguous);
        hasher.update(self.large.unwrap_or_default());
        hasher.finalize() == self.checksum
    }

    /// The message, if it is unchanged.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        Message::from_stored(self.contiguous, self.large.map(Bytes::copy_from_slice), self.checksum)
    }
}

/// The message whose item `bytes` begins with, and how many bytes the item takes. `None` if there is none that is
/// whole, unchanged, and of a file with this seal.
#[must_use]
pub fn parse(bytes: &[u8], seal: u32) -> Option<(Message, usize)> {
    let item = RawItem::parse(bytes, seal)?;
    Some((item.message()?, item.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Body, MessageBuilder};
    use crate::output::COPY_LIMIT;
    use crate::protocol::properties::{Properties, PropertiesBuilder};

    fn item(size: usize, seal: u32) -> (Message, Vec<u8>) {
        let raw = PropertiesBuilder::new().set_delivery_mode(2).finish();
        let body = vec![7; size];
        let properties = Properties::parse(&raw).unwrap();
        let message = MessageBuilder::default().build("x", "key", properties, Body::Owned(body));
        let mut bytes = encode_header(&message, seal).to_vec();
        let (contiguous, large) = message.stored();
        bytes.extend_from_slice(contiguous);
        bytes.extend_from_slice(large.map_or(&[], |large| large));
        (message, bytes)
    }

    #[test]
    fn an_item_is_read_in_its_file_only() {
        for size in [0, 1, COPY_LIMIT, COPY_LIMIT + 1, 100_000] {
            let (message, bytes) = item(size, seal(7));
            assert_eq!(bytes.len() as u64, stored_len(&message));
            let followed = [&bytes[..], b"more"].concat();
            let (found, len) = parse(&followed, seal(7)).unwrap();
            assert_eq!((found.body(), len), (message.body(), bytes.len()));
            assert!(parse(&followed, seal(8)).is_none());
            assert!(parse(&bytes[..bytes.len() - 1], seal(7)).is_none());
        }
    }

    proptest! {
        #[test]
        fn a_changed_item_is_none(
            size in prop_oneof![0_usize..50, COPY_LIMIT + 1..COPY_LIMIT + 50],
            at in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let (message, mut bytes) = item(size, seal(7));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(parse(&bytes, seal(7)).is_none());
            drop(message);
        }

        /// The two lengths are under no checksum of their own, but they have to fit what they divide.
        #[test]
        fn parts_divided_elsewhere_are_none(by in 1_u32..2000, more in any::<bool>()) {
            let (_, mut bytes) = item(COPY_LIMIT + 1, seal(7));
            let (first, large) = (&bytes[0..4], &bytes[4..8]);
            let first = u32::from_le_bytes(first.try_into().unwrap());
            let large = u32::from_le_bytes(large.try_into().unwrap());
            let (first, large) =
                if more { (first + by, large - by) } else { (first.saturating_sub(by), large + by) };
            bytes[0..4].copy_from_slice(&first.to_le_bytes());
            bytes[4..8].copy_from_slice(&large.to_le_bytes());
            prop_assert!(parse(&bytes, seal(7)).is_none());
        }

        #[test]
        fn anything_else_is_none_without_a_panic(bytes in any::<Vec<u8>>(), seal in any::<u32>()) {
            prop_assert!(parse(&bytes, seal).is_none());
        }
    }
}
