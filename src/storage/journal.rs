//! The journal: the one way by which durable state changes.
//!
//! [`Journal::append`] copies a batch of records into a buffer under a short lock, numbers them and never waits. One
//! writer thread puts what has gathered down as a group and syncs it if anyone waits for that. Two positions follow:
//! *written* survives a kill of the process, *durable* a power cut. Whoever promised something waits for the one it
//! needs by [`Journal::wake_at`].
//!
//! A journal without a disk keeps nothing: its records are written and durable at once, or, in a
//! [stepped](Journal::stepped) journal, when a test says so.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::{JoinHandle, Thread};

use parking_lot::Mutex;

use crate::ids::{Lsn, Position, Progress, QueueId};
use crate::lock::{Rank, RankedMutex};
use crate::message::Message;
use crate::output::Output;
use crate::storage::disk::Disk;
use crate::storage::image::Image;
use crate::storage::options::JournalOptions;
use crate::storage::record::{Record, put_enqueued};
use crate::storage::room::Room;
use crate::storage::{recovery, writer};

/// Bytes that a group adds to its records and bodies at most.
const GROUP_OVERHEAD: u64 = 128;

/// Retired files that may wait for a newer file to be begun of itself.
const RETIRED_LIMIT: usize = 3;

/// Unwritten bytes from which on publishers should wait.
const BACKLOG_LIMIT: u64 = 32 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    room: Option<Arc<Room>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What appenders, waiters and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) inner: RankedMutex<Inner>,
    pub(super) written: AtomicU64,
    pub(super) durable: AtomicU64,
    /// Bytes in buffers that are not written.
    pub(super) backlog: AtomicU64,
    /// The disk has no room for more.
    pub(super) full: AtomicBool,
    /// Writing or syncing failed: nothing will be durable any more.
    pub(super) failed: AtomicBool,
    keeps: Keeps,
}

/// What becomes of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    /// Nothing is kept; positions follow at once.
    Nothing,
    /// Nothing is kept; positions follow by hand.
    NothingByHand,
    Disk,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    end: u64,
    /// What is to be written, oldest first; each buffer becomes groups of one file.
    pub(super) buffers: VecDeque<Buffer>,
    /// The files there are, oldest first. The last one is appended to.
    pub(super) files: VecDeque<FileState>,
    /// Files that are not needed any more, though no newer file on disk says so yet.
    pub(super) retired: Vec<FileState>,
    /// Names of files that may be written over.
    pub(super) spare: Vec<String>,
    /// How full the newest file is going to be, and how full it may get.
    planned: u64,
    file_size: u64,
    /// Messages stored up to here are stored again instead of being referred to: their file is about to go.
    retiring: u64,
    pub(super) waiters: Vec<(Progress, Waker)>,
    pub(super) writer: Option<Thread>,
    pub(super) parked: Parked,
    pub(super) stop: bool,
}

/// What the writer thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parked {
    #[default]
    No,
    /// It sleeps until there is something to write.
    Idle,
    /// It lets more gather, until somebody waits.
    Gathering,
}

/// A journal file as appenders see it.
#[derive(Clone, Debug)]
pub(super) struct FileState {
    /// Its number, which is its epoch.
    pub(super) number: u64,
    /// The position before its first record.
    pub(super) base: u64,
    /// Its name; empty until the writer has opened it.
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Records on their way to one file.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) file: u64,
    pub(super) base: u64,
    pub(super) count: u32,
    pub(super) records: Vec<u8>,
    pub(super) bodies: Output,
}

impl Buffer {
    fn new(file: u64, base: u64) -> Self {
        Self { file, base, count: 0, records: Vec::new(), bodies: Output::new() }
    }
}

/// A batch being appended, under the journal's lock. It is applied whole after a crash, or not at all.
pub struct Append<'a> {
    inner: &'a mut Inner,
    keeps: bool,
}

impl Append<'_> {
    /// Adds a record to the batch.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>) {
        if let Record::Enqueued { queue, position, message } = *record {
            self.enqueue(queue, position, message, false);
            return;
        }
        self.inner.end += 1;
        if self.keeps
            && let Some(buffer) = self.inner.buffers.back_mut()
        {
            buffer.count += 1;
            record.encode(&mut buffer.records);
        }
    }

    /// The message to put into a queue: a copy, if the file that holds it is being retired or is gone. By where a
    /// message is stored all queues are found that it is in, so that it must not move for one that is not yet known.
    #[must_use]
    pub fn own(&self, message: Message) -> Message {
        if !(1..=self.inner.retiring).contains(&message.stored_at()) {
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
        self.inner.end += 1;
        let Inner { buffers, end, retiring, .. } = &mut *self.inner;
        let Some(buffer) = buffers.back_mut().filter(|_| self.keeps) else { return };
        buffer.count += 1;
        let stored_at = message.stored_at();
        if stored_at > *retiring {
            put_enqueued(&mut buffer.records, queue, position, message, Some(stored_at));
            return;
        }
        put_enqueued(&mut buffer.records, queue, position, message, None);
        let (contiguous, large) = message.stored();
        buffer.bodies.append(|out| out.extend_from_slice(contiguous));
        if let Some(large) = large {
            buffer.bodies.refer(large.clone());
        }
        // A message in a file that is being retired keeps its old place until it is moved on purpose: by that the
        // queues that refer to it are found.
        if stored_at == 0 || moves {
            message.set_stored_at(*end);
        }
    }
}

impl Inner {
    /// Makes sure that the last buffer may take a batch: that there is one, and that its file is not full.
    fn prepare(&mut self) {
        let newest = self.files.back().map_or(0, |file| file.number);
        // One that was planned and got no record yet is not passed over: files have no gaps.
        let is_fresh = |file: &FileState| file.name.is_empty() && file.base == self.end;
        let full = self.files.is_empty()
            || (self.planned >= self.file_size && !self.files.back().is_some_and(is_fresh));
        let file = if full { newest + 1 } else { newest };
        if full {
            self.planned = 0;
            self.files.push_back(FileState { number: file, base: self.end, name: String::new(), bytes: 0 });
        }
        if self.buffers.back().is_none_or(|buffer| buffer.file != file) {
            self.buffers.push_back(Buffer::new(file, self.end));
        }
    }

    fn buffered(&self) -> u64 {
        self.buffers.back().map_or(0, |buffer| buffer.records.len() as u64 + buffer.bodies.queued())
    }
}

impl Journal {
    /// A journal whose records are written and durable as soon as they are appended.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::without_disk(Keeps::Nothing)
    }

    /// A journal whose positions move only by [`advance`](Self::advance), for tests and simulations of what waits.
    #[must_use]
    pub fn stepped() -> Self {
        Self::without_disk(Keeps::NothingByHand)
    }

    fn without_disk(keeps: Keeps) -> Self {
        let shared = Arc::new(Shared::new(keeps, Inner::default(), 0));
        Self { shared, room: None, thread: Mutex::new(None) }
    }

    /// Opens the journal of a data directory: reads what is there, and starts the writer thread. `failed` is called
    /// once if the journal cannot go on.
    ///
    /// # Errors
    /// If the disk fails, or a part of the journal that was durable is damaged; the error names file and offset.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<(Self, Image)> {
        let recovered = recovery::recover(&*disk)?;
        let recovery::Recovered { image, files, spare, tail } = recovered;
        let inner = Inner { end: tail.end, files, spare, file_size: options.file_size, ..Inner::default() };
        let inner = Inner { planned: options.file_size, ..inner };
        let shared = Arc::new(Shared::new(Keeps::Disk, inner, tail.end));
        let room = Arc::new(Room::new(disk.clone(), &options));
        let thread = writer::start(shared.clone(), disk, room.clone(), options, tail, failed)?;
        Ok((Self { shared, room: Some(room), thread: Mutex::new(Some(thread)) }, image))
    }

    /// Appends what `batch` records, in one piece, and returns the position behind it.
    #[inline]
    pub fn append(&self, batch: impl FnOnce(&mut Append<'_>)) -> Lsn {
        let mut inner = self.shared.inner.lock();
        let keeps = self.shared.keeps == Keeps::Disk;
        if !keeps {
            batch(&mut Append { inner: &mut inner, keeps });
            let end = inner.end;
            if self.shared.keeps == Keeps::Nothing {
                self.shared.written.store(end, Ordering::Release);
                self.shared.durable.store(end, Ordering::Release);
            }
            return Lsn(end);
        }
        inner.prepare();
        let (before, from) = (inner.end, inner.buffered());
        batch(&mut Append { inner: &mut inner, keeps });
        if inner.end == before {
            return Lsn(inner.end);
        }
        let added = inner.buffered() - from;
        inner.planned += added + GROUP_OVERHEAD;
        self.shared.backlog.fetch_add(added, Ordering::Relaxed);
        let end = Lsn(inner.end);
        let writer = self.shared.wake_writer(&mut inner, Parked::Idle);
        drop(inner);
        if let Some(writer) = writer {
            writer.unpark();
        }
        end
    }

    /// The position behind everything appended so far.
    #[must_use]
    pub fn end(&self) -> Lsn {
        Lsn(self.shared.inner.lock().end)
    }

    /// How far the journal has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Whether so much is unwritten that publishers should wait until it is.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.shared.backlog.load(Ordering::Relaxed) > BACKLOG_LIMIT
    }

    /// Whether the disk has no room for more, or none but what the reserve gave.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed) || self.room().is_some_and(Room::is_reserve_spent)
    }

    /// The room on the journal's disk; `None` if it keeps nothing.
    #[must_use]
    pub fn room(&self) -> Option<&Room> {
        self.room.as_deref()
    }

    /// Whether writing or syncing failed: nothing becomes durable any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Wakes `waker` once when both positions of `at` are reached; at once if they are.
    pub fn wake_at(&self, at: Progress, waker: &Waker) {
        let mut inner = self.shared.inner.lock();
        if reached(self.progress(), at) {
            drop(inner);
            waker.wake_by_ref();
            return;
        }
        inner.waiters.push((at, waker.clone()));
        let asleep = inner.parked;
        let writer = self.shared.wake_writer(&mut inner, asleep);
        drop(inner);
        if let Some(writer) = writer {
            writer.unpark();
        }
    }

    /// Waits until the journal is durable up to `lsn`. For threads that may block. Returns whether it is: not if the
    /// journal has failed.
    #[must_use]
    pub fn wait_durable(&self, lsn: Lsn) -> bool {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        self.wake_at(Progress { durable: lsn, ..Progress::default() }, &waker);
        while self.progress().durable < lsn {
            if self.shared.failed.load(Ordering::Acquire) {
                return false;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        true
    }

    /// Moves a stepped journal's positions, at most to its end, and wakes who waited for them.
    pub fn advance(&self, to: Progress) {
        let end = self.end().0;
        self.shared.advance(to.written.0.min(end), to.durable.0.min(end));
    }

    /// How many of the oldest files are to go for the journal to have at most so many bytes and files. The newest
    /// one never is.
    #[must_use]
    pub fn surplus(&self, bytes: u64, files: u64) -> usize {
        let inner = self.shared.inner.lock();
        let too_many = inner.files.len().saturating_sub(usize::try_from(files).unwrap_or(usize::MAX));
        let mut size: u64 = inner.files.iter().map(|file| file.bytes).sum();
        let too_large = inner.files.iter().take_while(|file| {
            let over = size > bytes;
            size -= file.bytes;
            over
        });
        too_many.max(too_large.count()).min(inner.files.len().saturating_sub(1))
    }

    /// Begins to retire up to `files` of the oldest files, none that reaches further than `until`: from now on
    /// messages stored in them are stored again when they are enqueued. What is in them and still needed is to be
    /// appended anew; then [`end_retire`](Self::end_retire). Returns the position up to which they reach.
    #[must_use]
    pub fn begin_retire(&self, until: Lsn, files: usize) -> Option<Lsn> {
        let mut inner = self.shared.inner.lock();
        let ends = inner.files.iter().skip(1).take(files).map(|next| next.base);
        let bound = ends.take_while(|end| *end <= until.0).last()?;
        inner.retiring = bound;
        Some(Lsn(bound))
    }

    /// Ends what [`begin_retire`](Self::begin_retire) began, when all that was appended since is durable: the files may
    /// be written over as soon as a newer one on disk says so.
    pub fn end_retire(&self) {
        let mut inner = self.shared.inner.lock();
        while inner.files.get(1).is_some_and(|next| next.base <= inner.retiring)
            && let Some(file) = inner.files.pop_front()
        {
            inner.retired.push(file);
        }
        if inner.retired.len() >= RETIRED_LIMIT {
            // Enough waits for a newer file to say so: the next record begins one.
            inner.planned = inner.file_size;
        }
    }

    /// Writes and syncs everything and ends the writer thread.
    pub fn close(&self) {
        let writer = {
            let mut inner = self.shared.inner.lock();
            inner.stop = true;
            inner.parked = Parked::No;
            inner.writer.clone()
        };
        if let Some(writer) = writer {
            writer.unpark();
        }
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn new(keeps: Keeps, inner: Inner, end: u64) -> Self {
        Self {
            inner: RankedMutex::new(Rank::Journal, inner),
            written: AtomicU64::new(end),
            durable: AtomicU64::new(end),
            backlog: AtomicU64::new(0),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            keeps,
        }
    }

    fn progress(&self) -> Progress {
        // Durable first: it must not be ahead of the written position read after it.
        let durable = Lsn(self.durable.load(Ordering::Acquire));
        Progress { written: Lsn(self.written.load(Ordering::Acquire)), durable }
    }

    /// The writer, if it sleeps in this way; unpark it when the lock is gone.
    fn wake_writer(&self, inner: &mut Inner, asleep: Parked) -> Option<Thread> {
        if asleep == Parked::No || inner.parked != asleep {
            return None;
        }
        inner.parked = Parked::No;
        inner.writer.clone()
    }

    /// Publishes new positions and wakes who waited for them.
    pub(super) fn advance(&self, written: u64, durable: u64) {
        let due: Vec<Waker> = {
            let mut inner = self.inner.lock();
            self.written.fetch_max(written, Ordering::AcqRel);
            self.durable.fetch_max(durable, Ordering::AcqRel);
            let progress = self.progress();
            inner.waiters.extract_if(.., |(at, _)| reached(progress, *at)).map(|(_, waker)| waker).collect()
        };
        due.iter().for_each(Waker::wake_by_ref);
    }
}

fn reached(progress: Progress, at: Progress) -> bool {
    at.written <= progress.written && at.durable <= progress.durable
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn append(journal: &Journal) -> Lsn {
        journal.append(|batch| batch.record(&Record::Removed { queue: QueueId(1), position: Position(1) }))
    }

    #[test]
    fn in_memory_everything_is_durable_at_once() {
        let journal = Journal::in_memory();
        let lsn = append(&journal);
        assert_eq!(journal.progress(), Progress { written: lsn, durable: lsn });
    }

    #[test]
    fn waiters_are_woken_once_when_both_positions_are_there() {
        let journal = Journal::stepped();
        let (first, second) = (append(&journal), append(&journal));
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(counter.clone());
        let woken = || counter.0.load(Ordering::Relaxed);
        journal.wake_at(Progress { written: second, durable: first }, &waker);
        journal.advance(Progress { written: second, durable: Lsn::ZERO });
        assert_eq!(woken(), 0);
        journal.advance(Progress { written: second, durable: second });
        assert_eq!(woken(), 1);
        journal.advance(Progress { written: Lsn(99), durable: Lsn(99) });
        assert_eq!((woken(), journal.progress().durable), (1, second));
        journal.wake_at(Progress { written: first, durable: first }, &waker);
        assert_eq!(woken(), 2);
    }
}
