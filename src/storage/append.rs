//! Appending to the journal: records and messages are copied into the buffer of the file they will be in.

use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::output::Output;
use crate::storage::files::FileState;
use crate::storage::item;
use crate::storage::journal::Inner;
use crate::storage::record::{Alike, Record, put_enqueued};

/// Records on their way to one file.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) file: u64,
    /// The position before the first record.
    pub(super) base: u64,
    /// The body address of the first item.
    pub(super) address: u64,
    pub(super) count: u32,
    pub(super) records: Vec<u8>,
    pub(super) bodies: Output,
}

impl Buffer {
    fn new(file: u64, base: u64, address: u64, memory: Memory) -> Self {
        let mut bodies = Output::new();
        bodies.adopt(memory.bodies);
        Self { file, base, address, count: 0, records: memory.records, bodies }
    }

    /// Bytes of its records and bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.records.len() as u64 + self.bodies.queued()
    }

    /// Its memory, once it is written.
    pub(super) fn into_memory(mut self) -> Memory {
        let mut bodies = self.bodies.release().unwrap_or_default();
        self.records.clear();
        for kept in [&mut self.records, &mut bodies] {
            if kept.capacity() > KEPT_MEMORY {
                *kept = Vec::new();
            }
        }
        Memory { records: self.records, bodies }
    }
}

/// Most bytes of each part of a buffer that are kept for the next one.
const KEPT_MEMORY: usize = 256 * 1024;

/// The memory of a buffer that was written, for the next one: a busy journal does not grow one for each group.
#[derive(Debug, Default)]
pub(super) struct Memory {
    records: Vec<u8>,
    bodies: Vec<u8>,
}

/// Records of definitions that are encoded beforehand, so that many of them are appended in no time.
#[derive(Debug, Default)]
pub struct Encoded {
    count: u32,
    bytes: Vec<u8>,
}

impl Encoded {
    /// Adds a record, which must not be of a message.
    pub fn record(&mut self, record: &Record<'_>) {
        debug_assert!(!matches!(record, Record::Enqueued { .. }), "a message is stored with its record");
        self.count += 1;
        record.encode(&mut self.bytes);
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A batch being appended, under the journal's lock. It is applied whole after a crash, or not at all.
pub struct Append<'a> {
    inner: &'a mut Inner,
    keeps: bool,
    held_back: Option<HeldBack>,
}

/// What has no record yet: the next one may go on where it ends.
#[derive(Clone, Copy, Debug)]
enum HeldBack {
    Removed(QueueId, Position, u64),
    Enqueued(Alike),
}

impl<'a> Append<'a> {
    pub(super) fn new(inner: &'a mut Inner, keeps: bool) -> Self {
        Self { inner, keeps, held_back: None }
    }

    /// Adds a record to the batch.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>) {
        match *record {
            Record::Enqueued { queue, position, message } => self.enqueue(queue, position, message, false),
            _ => {
                self.finish();
                self.put(record);
            }
        }
    }

    /// Adds records to the batch.
    pub fn encoded(&mut self, records: &Encoded) {
        self.finish();
        self.inner.end += u64::from(records.count);
        if self.keeps
            && let Some(buffer) = self.inner.buffers.back_mut()
        {
            buffer.count += records.count;
            buffer.records.extend_from_slice(&records.bytes);
        }
    }

    /// Adds the removal of a message. Those of neighbours, one after the other, become one record.
    #[inline]
    pub fn removed(&mut self, queue: QueueId, position: Position) {
        self.removed_range(queue, position, 1);
    }

    /// Adds the removal of all messages at `count` positions from `position` on.
    pub fn removed_range(&mut self, queue: QueueId, position: Position, count: u64) {
        if let Some(HeldBack::Removed(last, from, so_far)) = &mut self.held_back
            && *last == queue
            && from.0 + *so_far == position.0
        {
            *so_far += count;
            return;
        }
        self.finish();
        self.held_back = Some(HeldBack::Removed(queue, position, count));
    }

    /// Puts down what was kept back.
    pub(super) fn finish(&mut self) {
        match self.held_back.take() {
            None => {}
            Some(HeldBack::Removed(queue, position, count)) => {
                self.put(&Record::Removed { queue, position, count });
            }
            Some(HeldBack::Enqueued(alike)) => self.put_with(|out| alike.encode(out)),
        }
    }

    #[inline]
    fn hold_back(&mut self, next: Alike) {
        match &mut self.held_back {
            Some(HeldBack::Enqueued(alike)) if alike.goes_on_with(&next) => alike.count += 1,
            _ => {
                self.finish();
                self.held_back = Some(HeldBack::Enqueued(next));
            }
        }
    }

    fn put(&mut self, record: &Record<'_>) {
        self.put_with(|out| record.encode(out));
    }

    fn put_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.inner.end += 1;
        if self.keeps
            && let Some(buffer) = self.inner.buffers.back_mut()
        {
            buffer.count += 1;
            encode(&mut buffer.records);
        }
    }

    /// The message to put into a queue: a copy, if the file that holds it is being retired or is gone. By where a
    /// message is stored all queues are found that it is in, so that it must not move for one that is not yet known.
    #[must_use]
    pub fn own(&self, message: Message) -> Message {
        if !(1..self.inner.retiring).contains(&message.stored_at()) {
            return message;
        }
        let (contiguous, large) = message.stored();
        Message::from_stored(contiguous, large.cloned(), message.checksum()).unwrap_or(message)
    }

    /// Adds the record of a message whose file is being retired: stored anew for the first queue it is in, and
    /// referred to for the others.
    pub fn store_again(&mut self, queue: QueueId, position: Position, message: &Message) {
        self.enqueue(queue, position, message, true);
    }

    fn enqueue(&mut self, queue: QueueId, position: Position, message: &Message, moves: bool) {
        let stored_at = message.stored_at();
        if stored_at > 0 && stored_at >= self.inner.retiring {
            self.finish();
            self.put_with(|out| put_enqueued(out, queue, position, message, Some(stored_at)));
            return;
        }
        if message.has_lifetime() {
            self.finish();
            self.put_with(|out| put_enqueued(out, queue, position, message, None));
        } else {
            let (stored_len, body_len) = (item::stored_len(message), message.body_len());
            self.hold_back(Alike { queue, position, count: 1, stored_len, body_len });
        }
        let Inner { buffers, next_address, .. } = &mut *self.inner;
        let Some(buffer) = buffers.back_mut().filter(|_| self.keeps) else { return };
        let (contiguous, large) = message.stored();
        let header = item::encode_header(message, item::seal(buffer.file));
        buffer.bodies.append(|out| {
            out.extend_from_slice(&header);
            out.extend_from_slice(contiguous);
        });
        if let Some(large) = large {
            buffer.bodies.refer(large.clone());
        }
        // A message in a file that is being retired keeps its old place until it is moved on purpose: by that the
        // queues that refer to it are found.
        if stored_at == 0 || moves {
            message.set_stored_at(*next_address);
        }
        *next_address += item::stored_len(message);
    }
}

impl Inner {
    /// Makes sure that the last buffer may take a batch: that there is one, and that its file is not full.
    pub(super) fn prepare(&mut self) {
        let newest = self.files.back().map_or(0, |file| file.number);
        // One that was planned and got no record yet is not passed over: files have no gaps.
        let is_fresh = |file: &FileState| file.begun.is_none() && file.base == self.end;
        let full = self.files.is_empty()
            || (self.planned >= self.file_size && !self.files.back().is_some_and(is_fresh));
        let file = if full { newest + 1 } else { newest };
        if full {
            self.planned = 0;
            let (base, address) = (self.end, self.next_address);
            let bodies = Default::default();
            self.files.push_back(FileState {
                number: file,
                base,
                address,
                begun: None,
                bytes: 0,
                end: 0,
                bodies,
            });
        }
        if self.buffers.back().is_none_or(|buffer| buffer.file != file) {
            let memory = std::mem::take(&mut self.memory);
            self.buffers.push_back(Buffer::new(file, self.end, self.next_address, memory));
        }
    }

    pub(super) fn buffered(&self) -> u64 {
        self.buffers.back().map_or(0, Buffer::bytes)
    }
}
