//! The header of an item in a segment file.

use crate::ids::{Position, QueueId};
use crate::storage::group::{u32_at, u64_at};

/// Bytes of an item before its data.
pub(super) const ITEM_HEADER: usize = 32;

/// Items begin at multiples of this, so that they can be looked for behind damage.
pub(super) const ALIGNMENT: u64 = 8;

/// The data of a reference: an offset.
pub(super) const REFERENCE_LEN: usize = 8;

/// Stands for the length of the contiguous part where there is a reference.
const REFERENCE: u32 = u32::MAX;

/// Where the header's own checksum stands; it covers everything before.
const CHECKSUM_AT: usize = 28;

/// What lies behind an item's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// A message, by the lengths of its parts. The contiguous one is never empty, so that zeros are no item.
    Message { contiguous: u32, large: Option<u32> },
    /// The offset of the item in this file that has the message.
    Reference,
}

impl Parts {
    /// A message with parts of these lengths; `None` if none has such, or it cannot be written.
    pub(super) fn of_message(contiguous: usize, large: Option<usize>) -> Option<Self> {
        let length = |length: usize| u32::try_from(length).ok().filter(|length| *length < u32::MAX);
        let large = match large {
            Some(large) => Some(length(large)?),
            None => None,
        };
        Some(Self::Message { contiguous: length(contiguous).filter(|length| *length > 0)?, large })
    }
}

/// The header of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ItemHeader {
    pub(super) parts: Parts,
    pub(super) queue: QueueId,
    pub(super) position: Position,
    /// Of the data.
    pub(super) checksum: u32,
}

impl ItemHeader {
    pub(super) fn encode(&self, seal: u32) -> [u8; ITEM_HEADER] {
        let (contiguous, large) = match self.parts {
            Parts::Message { contiguous, large } => (contiguous, large.map_or(0, |large| large + 1)),
            Parts::Reference => (REFERENCE, 0),
        };
        let mut bytes = [0; ITEM_HEADER];
        bytes[0..4].copy_from_slice(&contiguous.to_le_bytes());
        bytes[4..8].copy_from_slice(&large.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.queue.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.0.to_le_bytes());
        bytes[24..CHECKSUM_AT].copy_from_slice(&(self.checksum ^ seal).to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]) ^ seal;
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if it is not sound.
    pub(super) fn parse(bytes: &[u8; ITEM_HEADER], seal: u32) -> Option<Self> {
        if crc32fast::hash(&bytes[..CHECKSUM_AT]) ^ seal != u32_at(bytes, CHECKSUM_AT) {
            return None;
        }
        let parts = match (u32_at(bytes, 0), u32_at(bytes, 4)) {
            (0, _) => return None,
            (REFERENCE, 0) => Parts::Reference,
            (REFERENCE, _) => return None,
            (contiguous, large) => Parts::Message { contiguous, large: large.checked_sub(1) },
        };
        Some(Self {
            parts,
            queue: QueueId(u64_at(bytes, 8)),
            position: Position(u64_at(bytes, 16)),
            checksum: u32_at(bytes, 24) ^ seal,
        })
    }

    /// Bytes of the item without what aligns the next one.
    pub(super) fn item_len(&self) -> u64 {
        let data = match self.parts {
            Parts::Message { contiguous, large } => u64::from(contiguous) + u64::from(large.unwrap_or(0)),
            Parts::Reference => REFERENCE_LEN as u64,
        };
        ITEM_HEADER as u64 + data
    }
}

/// Differs from segment to segment, and with it all checksums: what got from one into another is not sound there.
pub(super) fn seal(number: u64) -> u32 {
    (number as u32).wrapping_mul(0x9E37_79B9)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(
            contiguous in 1..u32::MAX,
            large in proptest::option::of(0..u32::MAX),
            reference in any::<bool>(),
            (queue, position, checksum, number) in any::<(u64, u64, u32, u64)>(),
            flip in 0..ITEM_HEADER * 8,
        ) {
            let parts = if reference { Parts::Reference } else { Parts::Message { contiguous, large } };
            let header = ItemHeader { parts, queue: QueueId(queue), position: Position(position), checksum };
            let mut bytes = header.encode(seal(number));
            prop_assert_eq!(ItemHeader::parse(&bytes, seal(number)), Some(header));
            prop_assert_eq!(ItemHeader::parse(&bytes, seal(number.wrapping_add(1))), None);
            bytes[flip / 8] ^= 1 << (flip % 8);
            prop_assert_eq!(ItemHeader::parse(&bytes, seal(number)), None);
        }
    }

    #[test]
    fn zeros_are_no_item() {
        let empty = ItemHeader {
            parts: Parts::Message { contiguous: 0, large: None },
            queue: QueueId(0),
            position: Position(0),
            checksum: 0,
        };
        assert_eq!(ItemHeader::parse(&empty.encode(seal(1)), seal(1)), None);
        // The number whose seal makes the checksum of zeros a zero.
        let zeros = [0; ITEM_HEADER];
        assert_eq!(ItemHeader::parse(&zeros, crc32fast::hash(&zeros[..CHECKSUM_AT])), None);
    }

    #[test]
    fn parts_that_cannot_be_written_are_none() {
        let too_long = u32::MAX as usize;
        assert_eq!(Parts::of_message(0, None), None);
        assert_eq!(Parts::of_message(too_long, None), None);
        assert_eq!(Parts::of_message(1, Some(too_long)), None);
        assert!(Parts::of_message(too_long - 1, Some(too_long - 1)).is_some());
    }
}
