//! Messages that are stored: reads again what queues let go, from the journal and from segments.

mod journal_items;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::ids::{Location, Place, Position, QueueId};
use crate::message::Message;
use crate::queue::{Found, Load, Unread, Wanted, memory_of};
use crate::storage::disk::{DiskFile, may_pass};
use crate::storage::item::RawItem;
use crate::storage::journal::Journal;
use crate::storage::segment::{self, Content, RunReader, read_item};
use crate::storage::segments::Segments;
use crate::workers::{Job, OnPanic, Workers};

/// Threads that read. More would help disks that do several things at once; two keep one slow read from stopping all.
const READERS: usize = 2;

/// Between tries to open a file while too many are open.
const AGAIN: Duration = Duration::from_millis(50);

/// Bytes that are read at once.
const CHUNK: u64 = 1024 * 1024;

/// Where stored messages are.
#[derive(Debug)]
pub struct Bodies {
    /// The journal.
    pub journal: Arc<Journal>,
    disk: Option<OnDisk>,
    /// A run has gone since the last checkpoint.
    freed: AtomicBool,
}

#[derive(Debug)]
struct OnDisk {
    segments: Arc<Segments>,
    readers: Workers,
}

/// Stored messages that cannot be read.
#[derive(Debug)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub why: String,
}

/// What was read for a [`Load`], and what could not be.
#[derive(Debug)]
pub struct Outcome {
    /// What was read.
    pub read: Read,
    /// Where something is wrong. What was moved or removed meanwhile may be told of too.
    pub problems: Vec<Problem>,
}

/// What was read for a [`Load`].
#[derive(Debug)]
pub enum Read {
    /// Of a [`Load::Places`].
    Places(Vec<Found>),
    /// Of a [`Load::Run`].
    Run {
        /// What was to be read.
        unread: Unread,
        /// How far it was.
        next: u64,
        /// What was found.
        found: Vec<Found>,
        /// Some of what was passed by could not be told.
        gaps: bool,
    },
}

impl Bodies {
    /// Those of a broker that keeps everything in memory.
    #[must_use]
    pub fn in_memory(journal: Arc<Journal>) -> Self {
        Self { journal, disk: None, freed: AtomicBool::new(false) }
    }

    /// Those of a broker with a disk.
    ///
    /// # Errors
    /// If no threads can be started.
    pub fn on_disk(journal: Arc<Journal>, segments: Arc<Segments>) -> io::Result<Self> {
        // A queue that waits for what was to be read would wait for ever.
        let disk = Some(OnDisk { segments, readers: Workers::start("reader", READERS, OnPanic::Abort)? });
        Ok(Self { journal, disk, freed: AtomicBool::new(false) })
    }

    /// The segments, if there is a disk.
    #[must_use]
    pub fn segments(&self) -> Option<&Arc<Segments>> {
        self.disk.as_ref().map(|disk| &disk.segments)
    }

    /// Has a job done by the threads that read, or at once if there are none.
    pub fn submit(&self, job: Job) {
        match &self.disk {
            Some(disk) => disk.readers.submit(job),
            None => job(),
        }
    }

    /// Notes that a segment may have become needless.
    pub fn note_freed(&self) {
        self.freed.store(true, Ordering::Relaxed);
    }

    /// Whether a segment may have become needless since the last call.
    #[must_use]
    pub fn take_freed(&self) -> bool {
        self.freed.swap(false, Ordering::Relaxed)
    }

    /// Reads what `queue` wants. Blocks. What cannot be read counts as damaged.
    #[must_use]
    pub fn read(&self, queue: QueueId, load: Load) -> Outcome {
        let mut problems = Vec::new();
        let timing = self.journal.meters().reads.begin();
        let read = match load {
            Load::Places(wanted) => Read::Places(self.read_places(queue, wanted, &mut problems)),
            Load::Run(unread, bytes) => self.read_run(queue, unread, bytes, &mut problems),
        };
        let (Read::Places(found) | Read::Run { found, .. }) = &read;
        timing.end(found.iter().filter_map(|found| found.message.as_ref()).map(Message::stored_len).sum());
        Outcome { read, problems }
    }

    /// Reads messages that are each at a place of their own.
    pub fn read_places(
        &self,
        queue: QueueId,
        mut wanted: Vec<Wanted>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Found> {
        wanted.sort_unstable_by_key(|wanted| wanted.place);
        let mut found = Vec::with_capacity(wanted.len());
        let mut in_journal = Vec::new();
        for one in wanted {
            match one.place.location() {
                Location::Journal { address } => in_journal.push((address, one)),
                Location::Segment { number, offset } => {
                    let message = self.read_item(queue, one.position, number, offset, problems);
                    found.push(Found { position: one.position, place: one.place, message });
                }
                Location::Unknown => {}
            }
        }
        self.read_journal(&in_journal, problems, |wanted, address, item| {
            let message = item.and_then(|item| item.message());
            if let Some(message) = &message {
                message.set_stored_at(address);
            }
            found.push(Found { position: wanted.position, place: wanted.place, message });
        });
        found
    }

    /// Reads items at rising addresses of the journal, and hands each to `each`: sound, or `None`.
    pub fn read_journal(
        &self,
        wanted: &[(u64, Wanted)],
        problems: &mut Vec<Problem>,
        each: impl FnMut(&Wanted, u64, Option<RawItem<'_>>),
    ) {
        journal_items::read(&self.journal, wanted, problems, each);
    }

    fn read_item(
        &self,
        queue: QueueId,
        position: Position,
        number: u64,
        offset: u64,
        problems: &mut Vec<Problem>,
    ) -> Option<Message> {
        let item = self.segment_file(number).and_then(|file| twice(|| read_item(&*file, number, offset)));
        match item {
            Ok(Some((found, at, message))) if (found, at) == (queue, position) => return Some(message),
            Ok(_) => problems.push(Problem::damaged(segment::name_of(number), offset)),
            Err(error) => problems.push(Problem::unreadable(segment::name_of(number), offset, &error)),
        }
        None
    }

    /// That too many files are open says nothing of the messages: they are waited for, not taken for damaged. Those who
    /// wait are the threads that read; a checkpoint, which a shutdown waits for, reads the journal alone.
    fn segment_file(&self, number: u64) -> io::Result<Arc<dyn DiskFile>> {
        let Some(disk) = &self.disk else { return Err(io::ErrorKind::NotFound.into()) };
        let mut told = false;
        loop {
            match disk.segments.file(number) {
                Err(error) if may_pass(&error) && !self.journal.is_closing() => {
                    if !std::mem::replace(&mut told, true) {
                        let file = segment::name_of(number);
                        tracing::error!(file, %error, "stored messages wait until their file can be opened");
                    }
                    std::thread::sleep(AGAIN);
                }
                file => return file,
            }
        }
    }

    fn read_run(&self, queue: QueueId, unread: Unread, bytes: u64, problems: &mut Vec<Problem>) -> Read {
        let (segment, from) = (unread.segment, unread.from);
        let attempt = self.segment_file(segment).and_then(|file| {
            twice(|| {
                let mut problems = Vec::new();
                Ok((run(&*file, queue, &unread, bytes, &mut problems)?, problems))
            })
        });
        match attempt {
            Ok(((next, found, gaps), told)) => {
                problems.extend(told);
                Read::Run { unread, next, found, gaps }
            }
            Err(error) => {
                // None of the rest can be told.
                problems.push(Problem::unreadable(segment::name_of(segment), from, &error));
                Read::Run { next: unread.until, found: Vec::new(), gaps: true, unread }
            }
        }
    }
}

impl Problem {
    fn damaged(file: String, offset: u64) -> Self {
        Self { file, offset, why: "a stored message is damaged".to_owned() }
    }

    fn unreadable(file: String, offset: u64, error: &io::Error) -> Self {
        Self { file, offset, why: format!("stored messages cannot be read: {error}") }
    }
}

/// Reads a run until its messages take about `bytes` bytes of memory: how far it came, what it found, and whether something could not be told.
fn run(
    file: &dyn DiskFile,
    queue: QueueId,
    unread: &Unread,
    bytes: u64,
    problems: &mut Vec<Problem>,
) -> io::Result<(u64, Vec<Found>, bool)> {
    let Unread { segment: number, from, until, live } = unread;
    let number = *number;
    let mut scratch = Vec::new();
    let chunk = usize::try_from(bytes.clamp(4096, CHUNK)).unwrap_or(4096);
    let run = segment::Run { segment: number, queue, from: *from, until: *until };
    let mut reader = RunReader::new(file, &run, chunk, &mut scratch)?;
    let (mut found, mut taken, mut gaps) = (Vec::new(), 0, false);
    while taken < bytes {
        let item = match reader.read_next()? {
            None => break,
            Some(segment::Found::Damaged { from, .. }) => {
                problems.push(Problem::damaged(segment::name_of(number), from));
                gaps = true;
                continue;
            }
            Some(segment::Found::Item(item)) => item,
        };
        if !live.contains(item.position().0) {
            continue;
        }
        let message = match reader.content(&item)? {
            Content::Message(message) => Some(message),
            Content::Reference(target) => read_item(file, number, target)?.map(|(.., message)| message),
            Content::Damaged => None,
        };
        if message.is_none() {
            problems.push(Problem::damaged(segment::name_of(number), item.offset()));
        }
        taken += message.as_ref().map_or(0, memory_of);
        let place = Place::segment(number, item.offset()).unwrap_or_default();
        found.push(Found { position: item.position(), place, message });
    }
    Ok((reader.offset(), found, gaps))
}

/// A read that fails is tried once more: some errors pass.
fn twice<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    read().or_else(|_| read())
}
