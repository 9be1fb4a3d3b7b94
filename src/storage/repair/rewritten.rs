//! The segments that a repair writes.

use std::collections::{HashMap, VecDeque};
use std::io;

use roaring::RoaringTreemap;

use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::storage::disk::{Disk, Open};
use crate::storage::files::{FileState, Finder};
use crate::storage::image::{MessageLog, RunImage, StoredMessage};
use crate::storage::segment::{self, Content, Found, Kind, RunReader, SegmentWriter, read_item};
use crate::storage::verify::Window;

/// Bytes after which another file is begun.
const FILE_SIZE: u64 = 1024 * 1024 * 1024;

/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

/// Where a message was: the number of its segment, or none for the journal, and where in it.
type Old = (Option<u64>, u64);

/// See the module.
pub(super) struct Rewritten<'a> {
    disk: &'a dyn Disk,
    first: u64,
    next: u64,
    writer: Option<SegmentWriter>,
    /// Where in the file that is being written the messages are that it has, by where they were.
    stored: HashMap<Old, u64>,
}

/// A run that is being written.
struct Growing {
    queue: QueueId,
    done: Vec<RunImage>,
    current: Option<RunImage>,
}

impl<'a> Rewritten<'a> {
    /// New segments get numbers from `first` on.
    pub(super) fn new(disk: &'a dyn Disk, first: u64) -> Self {
        Self { disk, first, next: first, writer: None, stored: HashMap::new() }
    }

    /// The highest number that was given.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Completes the last file.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.stored.clear();
        self.writer.take().map_or(Ok(()), |writer| writer.finish().map(|_| ()))
    }

    /// Removes everything again.
    pub(super) fn discard(&mut self) {
        self.writer = None;
        for number in self.first..self.next {
            // What stays is of no use to anybody, and removed by the next start.
            let _ = self.disk.remove(&segment::name_of(number));
        }
    }

    /// Copies what is sound of a run.
    pub(super) fn copy_run(&mut self, queue: QueueId, run: &RunImage) -> io::Result<Vec<RunImage>> {
        let RunImage { segment: number, from, until, ref live, .. } = *run;
        let file = match self.disk.open(&segment::name_of(number), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut growing = Growing { queue, done: Vec::new(), current: None };
        let mut scratch = Vec::new();
        let stretch = segment::Run { segment: number, queue, from, until };
        let mut reader = RunReader::new(&*file, &stretch, CHUNK, &mut scratch)?;
        let mut left = live.clone();
        while let Some(found) = reader.read_next()? {
            let Found::Item(item) = found else { continue };
            if !left.remove(item.position().0) {
                continue;
            }
            let (old, message) = match reader.content(&item)? {
                Content::Message(message) => (item.offset(), Some(message)),
                Content::Reference(target) => {
                    (target, read_item(&*file, number, target)?.map(|(.., message)| message))
                }
                Content::Damaged => continue,
            };
            if let Some(message) = message {
                self.append(&mut growing, item.position(), (Some(number), old), &message)?;
            }
        }
        Ok(growing.end())
    }

    /// Copies what is sound of a queue's messages in the journal.
    pub(super) fn copy_messages(
        &mut self,
        queue: QueueId,
        messages: &MessageLog,
        files: &VecDeque<FileState>,
    ) -> io::Result<Vec<RunImage>> {
        let mut growing = Growing { queue, done: Vec::new(), current: None };
        let mut finder = Finder::new(files);
        let mut window = Window::default();
        for StoredMessage { position, address, stored_len, .. } in messages.iter() {
            let Some(located) = finder.find(address) else { continue };
            if let Some(message) = window.read(&located, stored_len)? {
                self.append(&mut growing, position, (None, address), &message)?;
            }
        }
        Ok(growing.end())
    }

    fn append(
        &mut self,
        growing: &mut Growing,
        position: Position,
        old: Old,
        message: &Message,
    ) -> io::Result<()> {
        if self.writer.as_ref().is_some_and(|writer| writer.offset() >= FILE_SIZE) {
            self.finish()?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let number = self.next;
                self.next += 1;
                self.writer.insert(SegmentWriter::create(self.disk, number, Kind::Durable)?)
            }
        };
        let offset = match self.stored.get(&old) {
            Some(target) => writer.append_reference(growing.queue, position, *target)?,
            None => {
                let offset = writer.append(growing.queue, position, message)?;
                self.stored.insert(old, offset);
                offset
            }
        };
        growing.add(writer.number(), position, (offset, writer.offset()), message.body_len());
        Ok(())
    }
}

impl Growing {
    fn add(&mut self, segment: u64, position: Position, (from, until): (u64, u64), body_len: u64) {
        if self.current.as_ref().is_some_and(|run| run.segment != segment) {
            self.done.extend(self.current.take());
        }
        let begin = || RunImage { segment, from, until, bytes: 0, live: RoaringTreemap::new() };
        let run = self.current.get_or_insert_with(begin);
        run.until = until;
        run.bytes += body_len;
        run.live.insert(position.0);
    }

    fn end(mut self) -> Vec<RunImage> {
        self.done.extend(self.current.take());
        self.done
    }
}
