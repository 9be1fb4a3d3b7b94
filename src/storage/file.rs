//! The header of a journal file.

use std::io;

use crate::storage::disk::{DiskFile, read_exact_at};
use crate::storage::group::{u32_at, u64_at};

/// Where the first group begins.
pub(super) const FILE_HEADER: u64 = 4096;

/// Bytes of the header that are used.
const USED: usize = 64;

/// No journal counts so far. What comes after a count below can be computed without a thought of overflow.
const LIMIT: u64 = 1 << 62;

const MAGIC: [u8; 8] = *b"LEVJRNL\x02";

/// What a file continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// Files are numbered from 1, without gaps; the number is the epoch of the groups in it.
    pub(super) number: u64,
    /// The number of its first group.
    pub(super) sequence: u64,
    /// The position before its first record. Everything before is on disk.
    pub(super) base: u64,
    /// The checksum of the group before.
    pub(super) chain: u32,
    /// The oldest file that was needed when this one was begun: from it on all have to be there.
    pub(super) oldest: u64,
    /// The body address of its first item.
    pub(super) address: u64,
}

impl FileHeader {
    /// The header block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; FILE_HEADER as usize];
        block[0..8].copy_from_slice(&MAGIC);
        block[8..16].copy_from_slice(&self.number.to_le_bytes());
        block[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        block[24..32].copy_from_slice(&self.base.to_le_bytes());
        block[32..36].copy_from_slice(&self.chain.to_le_bytes());
        block[40..48].copy_from_slice(&self.oldest.to_le_bytes());
        block[48..56].copy_from_slice(&self.address.to_le_bytes());
        let checksum = crc32fast::hash(&block[..USED - 4]);
        block[USED - 4..USED].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    /// Reads a header block; `None` if it is none, or of a format this program does not know.
    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        if block.len() < USED
            || block[0..8] != MAGIC
            || crc32fast::hash(&block[..USED - 4]) != u32_at(block, USED - 4)
        {
            return None;
        }
        let header = Self {
            number: u64_at(block, 8),
            sequence: u64_at(block, 16),
            base: u64_at(block, 24),
            chain: u32_at(block, 32),
            oldest: u64_at(block, 40),
            address: u64_at(block, 48),
        };
        let counts = [header.number, header.sequence, header.base, header.address];
        (header.number > 0 && counts.iter().all(|count| *count < LIMIT)).then_some(header)
    }

    /// Reads a block that is [foreign](Self::is_foreign) as if it were not: `None` unless only the version is damaged.
    pub(super) fn parse_as_own(block: &mut [u8]) -> Option<Self> {
        block.get_mut(..8)?.copy_from_slice(&MAGIC);
        Self::parse(block)
    }

    /// Reads the length of a file and its header block, which is zeros if it is not whole.
    pub(super) fn read_block(file: &dyn DiskFile) -> io::Result<(u64, Vec<u8>)> {
        let len = file.len()?;
        let mut block = vec![0; FILE_HEADER as usize];
        if len >= FILE_HEADER {
            read_exact_at(file, &mut block, 0)?;
        }
        Ok((len, block))
    }

    /// Whether the block is a journal header of another format version.
    pub(super) fn is_foreign(block: &[u8]) -> bool {
        block.len() >= 8 && block[0..7] == MAGIC[0..7] && block[7] != MAGIC[7]
    }
}
