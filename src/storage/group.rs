//! Write groups: what one write of the journal puts down, a header block with all records and a body block.
//!
//! A group is valid if its header's checksum is right, its epoch is its file's and its sequence and chain follow the
//! group before. Zeros and stale epochs are the end. Bodies have checksums of their own, in their records.

/// First bytes of a group.
pub(super) const MAGIC: [u8; 4] = *b"LGRP";

/// Size of the fixed part of the header block.
pub(super) const FIXED: usize = 64;

/// Groups begin at multiples of this, so that they can be looked for behind damage.
pub(super) const ALIGNMENT: u64 = 64;

/// Where the checksum stands; it covers everything else of the header block.
const CHECKSUM_AT: usize = 60;

/// The fixed part of a group's header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// Bytes of records behind the fixed part.
    pub(super) records_len: u32,
    /// Bytes of bodies behind the records.
    pub(super) bodies_len: u64,
    /// How many records.
    pub(super) records: u32,
    /// The epoch of the file.
    pub(super) epoch: u64,
    /// Counts groups over all files.
    pub(super) sequence: u64,
    /// The position before the first record.
    pub(super) base: u64,
    /// The position known durable when this was written.
    pub(super) durable: u64,
    /// The checksum of the group before, in the same or the file before.
    pub(super) chain: u32,
}

impl GroupHeader {
    /// Bytes of the whole group.
    pub(super) fn len(&self) -> u64 {
        // Read before the checksum is: the lengths may be anything.
        (FIXED as u64 + u64::from(self.records_len)).saturating_add(self.bodies_len)
    }

    /// The fixed part over `records`, and its checksum.
    pub(super) fn encode(&self, records: &[u8]) -> ([u8; FIXED], u32) {
        let mut fixed = [0; FIXED];
        fixed[0..4].copy_from_slice(&MAGIC);
        fixed[4..8].copy_from_slice(&self.records_len.to_le_bytes());
        fixed[8..16].copy_from_slice(&self.bodies_len.to_le_bytes());
        fixed[16..20].copy_from_slice(&self.records.to_le_bytes());
        fixed[20..28].copy_from_slice(&self.epoch.to_le_bytes());
        fixed[28..36].copy_from_slice(&self.sequence.to_le_bytes());
        fixed[36..44].copy_from_slice(&self.base.to_le_bytes());
        fixed[44..52].copy_from_slice(&self.durable.to_le_bytes());
        fixed[52..56].copy_from_slice(&self.chain.to_le_bytes());
        let checksum = checksum(&fixed, records);
        fixed[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        (fixed, checksum)
    }

    /// Reads a fixed part, without checking its checksum; `None` if it is none.
    pub(super) fn parse(fixed: &[u8; FIXED]) -> Option<(Self, u32)> {
        if fixed[0..4] != MAGIC || fixed[56..CHECKSUM_AT] != [0; 4] {
            return None;
        }
        let header = Self {
            records_len: u32_at(fixed, 4),
            bodies_len: u64_at(fixed, 8),
            records: u32_at(fixed, 16),
            epoch: u64_at(fixed, 20),
            sequence: u64_at(fixed, 28),
            base: u64_at(fixed, 36),
            durable: u64_at(fixed, 44),
            chain: u32_at(fixed, 52),
        };
        Some((header, u32_at(fixed, CHECKSUM_AT)))
    }

    /// Whether `checksum` is that of this fixed part over `records`.
    pub(super) fn is_sound(fixed: &[u8; FIXED], records: &[u8], expected: u32) -> bool {
        checksum(fixed, records) == expected
    }
}

/// Where the next group begins if one ends at `end`.
pub(super) fn align(end: u64) -> u64 {
    end.next_multiple_of(ALIGNMENT)
}

fn checksum(fixed: &[u8; FIXED], records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&fixed[..CHECKSUM_AT]);
    hasher.update(records);
    // A block of zeros must not be sound.
    hasher.finalize() ^ 0x4C45_5645
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}
