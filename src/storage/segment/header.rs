//! The header block of a segment file.

use std::io;

use thiserror::Error;

use crate::storage::disk::{DiskFile, read_exact_at};
use crate::storage::group::{u32_at, u64_at};
use crate::storage::segment::Kind;

/// Where the first item begins.
pub(super) const SEGMENT_HEADER: u64 = 4096;

/// Bytes of the header that are used.
const USED: usize = 64;

const MAGIC: [u8; 8] = *b"LEVSEGM\x02";

/// What a segment says of itself. Its items can be read without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the segment, which is also in its name.
    pub number: u64,
    /// What it promises.
    pub kind: Kind,
}

/// Why a header block was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Written by a program that this one does not understand.
    #[error("it has another format version; this program does not read it")]
    Version,
    /// No header of a segment.
    #[error("the file's header is damaged")]
    Damaged,
}

impl Header {
    /// The header block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; SEGMENT_HEADER as usize];
        block[0..8].copy_from_slice(&MAGIC);
        block[8..16].copy_from_slice(&self.number.to_le_bytes());
        block[16] = match self.kind {
            Kind::Durable => 0,
            Kind::Transient => 1,
        };
        let checksum = crc32fast::hash(&block[..USED - 4]);
        block[USED - 4..USED].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    /// Reads a header block, or as much of it as there is.
    pub fn parse(block: &[u8]) -> Result<Self, HeaderError> {
        if block.len() >= 8 && block[0..7] == MAGIC[0..7] && block[7] != MAGIC[7] {
            return Err(HeaderError::Version);
        }
        if block.len() < USED
            || block[0..8] != MAGIC
            || crc32fast::hash(&block[..USED - 4]) != u32_at(block, USED - 4)
        {
            return Err(HeaderError::Damaged);
        }
        let kind = match block[16] {
            0 => Kind::Durable,
            1 => Kind::Transient,
            _ => return Err(HeaderError::Damaged),
        };
        Ok(Self { number: u64_at(block, 8), kind })
    }
}

/// Reads the header of a segment file. An error is one of reading; a file without a header that this program
/// understands gives the inner one.
pub fn read_header(file: &dyn DiskFile) -> io::Result<Result<Header, HeaderError>> {
    let mut block = [0; USED];
    let filled = usize::try_from(file.len()?).unwrap_or(USED).min(USED);
    read_exact_at(file, &mut block[..filled], 0)?;
    Ok(Header::parse(&block[..filled]))
}
