//! Writing a segment file.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use crate::ids::{Place, Position, QueueId};
use crate::message::Message;
use crate::storage::disk::{Disk, DiskFile, Open, write_all_at};
use crate::storage::segment::header::{Header, SEGMENT_HEADER};
use crate::storage::segment::item::{ALIGNMENT, ItemHeader, Parts, seal};
use crate::storage::segment::{Kind, name_of};

/// How much is gathered for one write.
const WRITE_SIZE: usize = 1024 * 1024;

/// Parts of this size are written from where they are.
pub(super) const DIRECT: usize = 64 * 1024;

/// Writes one segment file. Dropped before [`finish`](Self::finish) it leaves a file that is of no use, and that the
/// caller removes by its name.
#[derive(Debug)]
pub struct SegmentWriter {
    file: Arc<dyn DiskFile>,
    number: u64,
    seal: u32,
    kind: Kind,
    /// What is not written yet.
    buffer: Vec<u8>,
    /// Bytes of the file before the buffer.
    written: u64,
    /// A write failed, and nobody knows how far it came.
    failed: bool,
}

impl SegmentWriter {
    /// Begins segment `number`, a number below 2^28. A file of that name is a leftover of a process that died before
    /// anything referred to it; it is removed.
    pub fn create(disk: &dyn Disk, number: u64, kind: Kind) -> io::Result<Self> {
        if Place::segment(number, 0).is_none() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "there are no more segment numbers"));
        }
        let name = name_of(number);
        let file = match disk.open(&name, Open::Create) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                disk.remove(&name)?;
                disk.open(&name, Open::Create)?
            }
            opened => opened?,
        };
        let mut buffer = Vec::with_capacity(WRITE_SIZE + 3 * DIRECT);
        buffer.extend_from_slice(&Header { number, kind }.encode());
        Ok(Self { file, number, seal: seal(number), kind, buffer, written: 0, failed: false })
    }

    /// The number of the segment.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the next item goes: the end of the run before and the begin of the next.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends a message and returns the offset of its item. Within a run positions rise.
    ///
    /// [`ErrorKind::FileTooLarge`] at an offset of 16 GiB, which a [`Place`] cannot name; nothing is appended then,
    /// and the segment can be finished. After a failed write everything fails.
    pub fn append(&mut self, queue: QueueId, position: Position, message: &Message) -> io::Result<u64> {
        let (contiguous, large) = message.stored();
        let large = large.map(|large| &large[..]);
        let checksum = if message.is_persistent() {
            message.checksum()
        } else {
            // Nobody has computed it for a message that was not to be kept.
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(contiguous);
            hasher.update(large.unwrap_or_default());
            hasher.finalize()
        };
        self.append_raw(queue, position, contiguous, large, checksum)
    }

    /// As [`append`](Self::append), of what a message [stores](Message::stored), with its checksum. It is not
    /// compared: a message that is damaged stays so. [`ErrorKind::InvalidInput`] for parts that no message has: an
    /// empty contiguous one, or 4 GiB.
    pub fn append_raw(
        &mut self,
        queue: QueueId,
        position: Position,
        contiguous: &[u8],
        large: Option<&[u8]>,
        checksum: u32,
    ) -> io::Result<u64> {
        let parts = Parts::of_message(contiguous.len(), large.map(<[u8]>::len)).ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidInput, "a segment holds no message of this size")
        })?;
        let offset = self.begin(&ItemHeader { parts, queue, position, checksum })?;
        for part in [contiguous, large.unwrap_or_default()] {
            if part.len() < DIRECT {
                self.buffer.extend_from_slice(part);
            } else {
                self.write(part)?;
            }
        }
        self.end()?;
        Ok(offset)
    }

    /// Appends a reference to the message whose item begins at `target` in this segment, and returns the offset of
    /// the reference's item. [`ErrorKind::InvalidInput`] if no item can begin there; otherwise fails as
    /// [`append`](Self::append).
    pub fn append_reference(&mut self, queue: QueueId, position: Position, target: u64) -> io::Result<u64> {
        if !may_refer(self.offset(), target) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a reference to what is not in the segment"));
        }
        let data = target.to_le_bytes();
        let checksum = crc32fast::hash(&data);
        let offset = self.begin(&ItemHeader { parts: Parts::Reference, queue, position, checksum })?;
        self.buffer.extend_from_slice(&data);
        self.end()?;
        Ok(offset)
    }

    /// Writes what is left, syncs the file if it is durable, and returns its length. Its name is durable when the
    /// caller has synced the directory. After an error the file is of no use.
    pub fn finish(mut self) -> io::Result<u64> {
        self.check()?;
        self.write(&[])?;
        if self.kind == Kind::Durable {
            self.file.sync_all()?;
        }
        Ok(self.written)
    }

    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("an earlier write of the segment failed")) } else { Ok(()) }
    }

    fn begin(&mut self, header: &ItemHeader) -> io::Result<u64> {
        self.check()?;
        let offset = self.offset();
        if Place::segment(self.number, offset).is_none() {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "the segment is full"));
        }
        self.buffer.extend_from_slice(&header.encode(self.seal));
        Ok(offset)
    }

    fn end(&mut self) -> io::Result<()> {
        let padding = self.offset().next_multiple_of(ALIGNMENT) - self.offset();
        self.buffer.resize(self.buffer.len() + padding as usize, 0);
        if self.buffer.len() >= WRITE_SIZE { self.write(&[]) } else { Ok(()) }
    }

    /// Writes the buffer, and `part` behind it.
    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.failed = true;
        let mut slices = [IoSlice::new(&self.buffer), IoSlice::new(part)];
        write_all_at(&*self.file, &mut slices, self.written)?;
        self.failed = false;
        self.written += (self.buffer.len() + part.len()) as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Pretends that so much was written before.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.written = offset - self.buffer.len() as u64;
    }
}

/// Whether an item at `offset` may refer to one at `target`: they refer backwards only.
pub(super) fn may_refer(offset: u64, target: u64) -> bool {
    target >= SEGMENT_HEADER && target < offset && target.is_multiple_of(ALIGNMENT)
}
