//! Reading items of a segment file.

use std::io;

use bytes::Bytes;

use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::storage::disk::{DiskFile, read_exact_at};
use crate::storage::group::u64_at;
use crate::storage::segment::header::SEGMENT_HEADER;
use crate::storage::segment::item::{ALIGNMENT, ITEM_HEADER, ItemHeader, Parts, REFERENCE_LEN, seal};
use crate::storage::segment::writer::may_refer;

/// How much is read at once for a single item: most are smaller.
const ITEM_CHUNK: usize = 4096;

/// A contiguous part of a segment with messages of one queue in rising position order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The number of the segment.
    pub segment: u64,
    /// The queue.
    pub queue: QueueId,
    /// Where its first item begins.
    pub from: u64,
    /// Where its last item, with what aligns the next, ends.
    pub until: u64,
}

/// An item whose header is sound. What it holds is read by [`RunReader::content`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    offset: u64,
    header: ItemHeader,
}

impl Item {
    /// The queue that the message is in.
    #[must_use]
    pub fn queue(&self) -> QueueId {
        self.header.queue
    }

    /// Its position there.
    #[must_use]
    pub fn position(&self) -> Position {
        self.header.position
    }

    /// Where the item begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the item, header included.
    #[must_use]
    pub fn item_len(&self) -> u64 {
        self.header.item_len()
    }

    /// Where the next item begins, if there is one.
    #[must_use]
    pub fn end(&self) -> u64 {
        (self.offset + self.item_len()).next_multiple_of(ALIGNMENT)
    }
}

/// What is found in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// An item with a sound header.
    Item(Item),
    /// A part in which no item is found: one or more items whose headers are damaged, or what is missing of the file.
    Damaged {
        /// Where it begins.
        from: u64,
        /// Where the next item begins, or the end of the run.
        to: u64,
    },
}

/// What an item holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// The message.
    Message(Message),
    /// The message is held by the item at this offset, see [`read_item`].
    Reference(u64),
    /// It is not what was written.
    Damaged,
}

/// Reads a run from the front to the end, in large pieces. It can be dropped after any item and another one begun at
/// its [`offset`](Self::offset). An error is one of reading, and leaves it where it was.
#[derive(Debug)]
pub struct RunReader<'a> {
    window: Window<'a>,
    seal: u32,
    /// Whose items they are; `None` for everybody's.
    queue: Option<QueueId>,
    at: u64,
    until: u64,
}

impl<'a> RunReader<'a> {
    /// Reads `run` of `file`, about `chunk` bytes at once, into `scratch`, whose content has no meaning before and
    /// after. Larger items are read whole if their content is asked for.
    pub fn new(
        file: &'a dyn DiskFile,
        run: &Run,
        chunk: usize,
        scratch: &'a mut Vec<u8>,
    ) -> io::Result<Self> {
        let Run { segment, queue, from, until } = *run;
        Self::over(file, segment, Some(queue), (from, until), chunk, scratch)
    }

    /// Reads the items of all queues in the whole of segment `number`.
    pub fn all(
        file: &'a dyn DiskFile,
        number: u64,
        chunk: usize,
        scratch: &'a mut Vec<u8>,
    ) -> io::Result<Self> {
        Self::over(file, number, None, (SEGMENT_HEADER, file.len()?), chunk, scratch)
    }

    /// Reads the items of `queue`, or of all, in a part of segment `number`.
    pub(super) fn over(
        file: &'a dyn DiskFile,
        number: u64,
        queue: Option<QueueId>,
        (from, until): (u64, u64),
        chunk: usize,
        scratch: &'a mut Vec<u8>,
    ) -> io::Result<Self> {
        let limit = until.min(file.len()?);
        let window = Window { file, bytes: scratch, start: 0, filled: 0, chunk, limit };
        Ok(Self { window, seal: seal(number), queue, at: from, until })
    }

    /// Where to go on: behind what was found last.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// What comes next; `None` at the end. Bodies are not looked at.
    pub fn read_next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.until {
            return Ok(None);
        }
        if let Some(item) = self.item_at(self.at)? {
            self.at = item.end();
            return Ok(Some(Found::Item(item)));
        }
        let from = self.at;
        let mut to = from.saturating_add(ALIGNMENT);
        while to < self.window.limit && self.item_at(to)?.is_none() {
            to += ALIGNMENT;
        }
        if to >= self.window.limit {
            to = self.until;
        }
        self.at = to;
        Ok(Some(Found::Damaged { from, to }))
    }

    /// What an item of this run holds.
    pub fn content(&mut self, item: &Item) -> io::Result<Content> {
        let data_at = item.offset + ITEM_HEADER as u64;
        let content = match item.header.parts {
            Parts::Message { contiguous, large } => {
                self.message(data_at, contiguous as usize, large, item.header.checksum)?.map(Content::Message)
            }
            Parts::Reference => {
                let data = self.window.get(data_at, REFERENCE_LEN)?;
                let target = u64_at(data, 0);
                let sound = crc32fast::hash(data) == item.header.checksum && may_refer(item.offset, target);
                sound.then_some(Content::Reference(target))
            }
        };
        Ok(content.unwrap_or(Content::Damaged))
    }

    fn message(
        &mut self,
        at: u64,
        contiguous: usize,
        large: Option<u32>,
        checksum: u32,
    ) -> io::Result<Option<Message>> {
        // First, so that the window holds what it can of both parts.
        self.window.get(at, contiguous)?;
        let large = match large {
            Some(large) => {
                let mut body = vec![0; large as usize];
                self.window.read(&mut body, at + contiguous as u64)?;
                Some(Bytes::from(body))
            }
            None => None,
        };
        Ok(Message::from_stored(self.window.get(at, contiguous)?, large, checksum))
    }

    /// The item at `at`, if one with a sound header is there that ends in time.
    fn item_at(&mut self, at: u64) -> io::Result<Option<Item>> {
        let left = self.window.limit.saturating_sub(at);
        if left < ITEM_HEADER as u64 {
            return Ok(None);
        }
        let header = self.window.get(at, ITEM_HEADER)?.first_chunk();
        let header = header.and_then(|header| ItemHeader::parse(header, self.seal));
        let header = header.filter(|header| {
            header.item_len() <= left && self.queue.is_none_or(|queue| queue == header.queue)
        });
        Ok(header.map(|header| Item { offset: at, header }))
    }
}

/// The message of the item that begins at `offset` of segment `number`, with the queue and position of that item;
/// `None` if it is damaged. If the item is a reference it is followed.
pub fn read_item(
    file: &dyn DiskFile,
    number: u64,
    offset: u64,
) -> io::Result<Option<(QueueId, Position, Message)>> {
    let mut scratch = Vec::new();
    let mut reader = RunReader::over(file, number, None, (0, u64::MAX), ITEM_CHUNK, &mut scratch)?;
    let Some(item) = reader.item_at(offset)? else { return Ok(None) };
    let mut content = reader.content(&item)?;
    if let Content::Reference(target) = content {
        let Some(target) = reader.item_at(target)? else { return Ok(None) };
        content = reader.content(&target)?;
    }
    match content {
        Content::Message(message) => Ok(Some((item.queue(), item.position(), message))),
        Content::Reference(_) | Content::Damaged => Ok(None),
    }
}

/// The piece of a file that was read last.
#[derive(Debug)]
struct Window<'a> {
    file: &'a dyn DiskFile,
    bytes: &'a mut Vec<u8>,
    /// Where in the file it begins.
    start: u64,
    /// How much of `bytes` is of the file.
    filled: usize,
    /// How much is read at once.
    chunk: usize,
    /// Nothing is read from here on. At most the length of the file.
    limit: u64,
}

impl Window<'_> {
    /// What is held from `at` on.
    fn held(&self, at: u64) -> &[u8] {
        let from = at.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.bytes[..self.filled].get(from..)).unwrap_or_default()
    }

    /// The `len` bytes at `at`, which end before the limit.
    fn get(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        if self.held(at).len() < len {
            let left = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
            let wanted = self.chunk.min(left).max(len);
            if self.bytes.len() < wanted {
                self.bytes.resize(wanted, 0);
            }
            self.filled = 0;
            read_exact_at(self.file, &mut self.bytes[..wanted], at)?;
            (self.start, self.filled) = (at, wanted);
        }
        Ok(&self.held(at)[..len])
    }

    /// Fills `buffer` from `at` on, without moving the window.
    fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let held = self.held(at);
        let held = &held[..held.len().min(buffer.len())];
        let (first, rest) = buffer.split_at_mut(held.len());
        first.copy_from_slice(held);
        read_exact_at(self.file, rest, at + held.len() as u64)
    }
}
