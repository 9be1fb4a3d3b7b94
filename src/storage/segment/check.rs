//! Checking a whole segment file.

use std::io::{self, ErrorKind};

use roaring::RoaringTreemap;

use crate::ids::{Position, QueueId};
use crate::storage::disk::DiskFile;
use crate::storage::segment::header::{HeaderError, SEGMENT_HEADER, read_header};
use crate::storage::segment::item::ALIGNMENT;
use crate::storage::segment::reader::{Content, Found, RunReader};

/// How much is read at once.
const CHUNK: usize = 1024 * 1024;

/// What is in a segment file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages that are sound.
    pub messages: u64,
    /// References to sound messages.
    pub references: u64,
    /// Bytes of both, item headers included.
    pub bytes: u64,
    /// What is not sound, in the order of the file.
    pub damaged: Vec<Damage>,
}

/// A damaged part of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins: with an item, or with the file for the header block.
    pub offset: u64,
    /// How many bytes up to the next sound item header.
    pub len: u64,
    /// The queue and the position of the message that is lost, if they are known.
    pub message: Option<(QueueId, Position)>,
}

/// Reads the whole of segment `number`. [`ErrorKind::InvalidData`] if it has another format version.
pub fn check(file: &dyn DiskFile, number: u64) -> io::Result<Report> {
    let mut report = Report::default();
    match read_header(file)? {
        Ok(header) if header.number == number => {}
        Err(error @ HeaderError::Version) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
        Ok(_) | Err(HeaderError::Damaged) => {
            report.damaged.push(Damage { offset: 0, len: SEGMENT_HEADER, message: None });
        }
    }
    let mut scratch = Vec::new();
    let range = (SEGMENT_HEADER, file.len()?);
    let mut reader = RunReader::over(file, number, None, range, CHUNK, &mut scratch)?;
    // References lead backwards, so their targets are known.
    let mut sound = RoaringTreemap::new();
    while let Some(found) = reader.read_next()? {
        let item = match found {
            Found::Item(item) => item,
            Found::Damaged { from, to } => {
                report.damaged.push(Damage { offset: from, len: to - from, message: None });
                continue;
            }
        };
        match reader.content(&item)? {
            Content::Message(_) => {
                report.messages += 1;
                sound.insert(item.offset() / ALIGNMENT);
            }
            Content::Reference(target) if sound.contains(target / ALIGNMENT) => report.references += 1,
            Content::Reference(_) | Content::Damaged => {
                let message = Some((item.queue(), item.position()));
                report.damaged.push(Damage { offset: item.offset(), len: item.item_len(), message });
                continue;
            }
        }
        report.bytes += item.item_len();
    }
    Ok(report)
}
