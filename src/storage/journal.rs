//! The journal: the one way by which durable state changes.
//!
//! [`Journal::append`] copies a batch of records into a buffer under a short lock, numbers them and never waits. One
//! writer thread puts what has gathered down as a group and syncs it if anyone waits for that. Two positions follow:
//! *written* survives a kill of the process, *durable* a power cut. Whoever promised something waits for the one it
//! needs by [`Journal::wake_at`].
//!
//! A journal without a disk keeps nothing: its records are written and durable at once, or, in a
//! [stepped](Journal::stepped) journal, when a test says so.

mod reading;
mod retiring;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::marker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{JoinHandle, Thread};

use parking_lot::Mutex;

use crate::ids::{Lsn, Progress};
use crate::lock::{Rank, RankedMutex};
pub use crate::storage::append::{Append, Encoded};
use crate::storage::append::{Buffer, Memory};
pub use crate::storage::base::Base;
use crate::storage::disk::Disk;
use crate::storage::files::{Begun, FileState};
pub use crate::storage::files::{Held, Located};
use crate::storage::image::Image;
use crate::storage::meters::Meters;
use crate::storage::options::{JournalOptions, Sync};
use crate::storage::pacing::Served;
use crate::storage::room::Room;
use crate::storage::{recovery, writer};
pub use retiring::{DAMAGED_PREFIX, JournalUsage, Retiring};

/// How many times the files that a checkpoint leaves there may be before publishers wait for one.
const TOO_MANY: u64 = 2;

/// Bytes that a group adds to its records and bodies at most.
const GROUP_OVERHEAD: u64 = 128;

/// Unwritten bytes from which on publishers should wait.
const BACKLOG_LIMIT: u64 = 32 * 1024 * 1024;

/// Wakes tasks for the writer's thread, which knows nothing of what they run on.
pub trait WakeTasks: Debug + Send + marker::Sync {
    /// Has all of them woken soon. Some may be there more than once. It must not wait for anything.
    fn wake(&self, tasks: Vec<Waker>);
}

/// See the module.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    /// Where its files are, and the room there.
    disk: Option<(Arc<dyn Disk>, Arc<Room>)>,
    thread: Mutex<Option<JoinHandle<()>>>,
    found_end: Lsn,
}

/// What appenders, waiters and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) inner: RankedMutex<Inner>,
    pub(super) written: AtomicU64,
    pub(super) durable: AtomicU64,
    /// Items at lower body addresses are written.
    written_address: AtomicU64,
    /// Up to here a sync has returned. Without [`Sync::Always`] that is not what is called durable.
    pub(super) synced: AtomicU64,
    /// Bytes in buffers that are not written.
    pub(super) backlog: AtomicU64,
    /// There are more files than checkpoints should let there be.
    oversized: AtomicBool,
    /// The disk has no room for more.
    pub(super) full: AtomicBool,
    /// Writing or syncing failed: nothing will be durable any more.
    pub(super) failed: AtomicBool,
    keeps: Keeps,
    pub(super) meters: Meters,
    /// Who wakes tasks, if not the writer itself.
    wakes: OnceLock<Box<dyn WakeTasks>>,
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
    pub(super) end: u64,
    /// The body address of the next item.
    pub(super) next_address: u64,
    /// What is to be written, oldest first; each buffer becomes groups of one file.
    pub(super) buffers: VecDeque<Buffer>,
    pub(super) memory: Memory,
    /// The files that are needed, oldest first. The last one is appended to.
    pub(super) files: VecDeque<FileState>,
    /// Files that may be written over, unless somebody reads from them.
    pub(super) spare: Vec<Begun>,
    /// How full the newest file is going to be, and how full it may get.
    pub(super) planned: u64,
    pub(super) file_size: u64,
    /// Messages at lower addresses are stored again instead of being referred to: their file is gone or about to go.
    pub(super) retiring: u64,
    /// Files with lower numbers are being retired.
    retiring_files: u64,
    /// The number of the first file that is needed according to the catalogue, if its last commit is on disk.
    said_retired: u64,
    pub(super) waiters: Vec<(Progress, Waker)>,
    /// Those to wake when files were retired.
    retire_waiters: Vec<Waker>,
    /// So many files are too many for publishers to go on.
    too_many_files: usize,
    /// Who waits for a sync, whatever the options say, and up to where.
    pub(super) sync_waiters: Vec<(u64, Thread)>,
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
    /// It lets so many bytes gather for the one whom it has just served, until several wait.
    Expecting(u64),
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
        let shared = Arc::new(Shared::new(keeps, Inner::default(), Progress::default()));
        Self { shared, disk: None, thread: Mutex::new(None), found_end: Lsn::ZERO }
    }

    /// Opens the journal of a data directory: reads the headers of what is there, applies them to what `base` has, and
    /// starts the writer thread. `failed` is called once if the journal cannot go on.
    ///
    /// What was read and is not proven to be on disk counts as written; the writer makes it durable first of all.
    ///
    /// # Errors
    /// If the disk fails, a part of the journal that was durable is damaged, or `base` is not that of this journal; the
    /// error names file and offset.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        base: Base,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<(Self, Image)> {
        let recovered = recovery::recover(&*disk, base)?;
        let recovery::Recovered { image, files, spare, tail, proven, unproven } = recovered;
        let first_address = files.front().map_or(tail.address, |file| file.address);
        let inner = Inner {
            end: tail.end,
            next_address: tail.address,
            files,
            spare,
            // The next record begins a file.
            planned: options.file_size,
            file_size: options.file_size,
            too_many_files: usize::try_from(TOO_MANY * options.most_files()).unwrap_or(usize::MAX),
            retiring: first_address,
            ..Inner::default()
        };
        let durable = if options.sync == Sync::Always { proven } else { tail.end };
        let progress = Progress { written: Lsn(tail.end), durable: Lsn(durable) };
        let shared = Arc::new(Shared::new(Keeps::Disk, inner, progress));
        shared.written_address.store(tail.address, Ordering::Release);
        shared.synced.store(proven, Ordering::Release);
        let room = Arc::new(Room::new(disk.clone(), &options));
        let found_end = Lsn(tail.end);
        let thread =
            writer::start(shared.clone(), disk.clone(), room.clone(), options, tail, unproven, failed)?;
        let (disk, thread) = (Some((disk, room)), Mutex::new(Some(thread)));
        Ok((Self { shared, disk, thread, found_end }, image))
    }

    /// Appends what `batch` records, in one piece, and returns the position behind it.
    #[inline]
    pub fn append(&self, batch: impl FnOnce(&mut Append<'_>)) -> Lsn {
        let mut inner = self.shared.inner.lock();
        let keeps = self.shared.keeps == Keeps::Disk;
        if keeps {
            inner.prepare();
        }
        let (before, from) = (inner.end, inner.buffered());
        let mut append = Append::new(&mut inner, keeps);
        batch(&mut append);
        append.finish();
        let end = Lsn(inner.end);
        if !keeps {
            if self.shared.keeps == Keeps::Nothing {
                self.shared.written.store(end.0, Ordering::Release);
                self.shared.durable.store(end.0, Ordering::Release);
            }
            return end;
        }
        if end.0 == before {
            return end;
        }
        let added = inner.buffered() - from;
        inner.planned += added + GROUP_OVERHEAD;
        self.shared.backlog.fetch_add(added, Ordering::Relaxed);
        let asleep = match inner.parked {
            Parked::Expecting(bytes) if inner.has_gathered(bytes) => inner.parked,
            _ => Parked::Idle,
        };
        let writer = self.shared.wake_writer(&mut inner, asleep);
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

    /// The position behind everything that was there when it was opened.
    #[must_use]
    pub fn found_end(&self) -> Lsn {
        self.found_end
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

    /// Whether the disk takes nothing more, or only what the reserve gave room for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_stuck() || self.room().is_some_and(Room::is_reserve_spent)
    }

    /// Whether nothing can be written until the disk takes it.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// The room on the journal's disk; `None` if it keeps nothing.
    #[must_use]
    pub fn room(&self) -> Option<&Room> {
        self.disk.as_ref().map(|(_, room)| &**room)
    }

    /// What storage counts: how often it writes, syncs and reads, and how long that takes.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    /// Whether writing or syncing failed: nothing becomes durable any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Whether [`close`](Self::close) was called: whoever waits for the disk has to give up.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.shared.inner.lock().stop
    }

    /// Storage has failed elsewhere: nothing becomes durable any more.
    pub fn fail(&self) {
        self.shared.failed.store(true, Ordering::Release);
    }

    /// Has whoever waits here woken by `wakes` and not by the writer's thread. Only the first call counts.
    pub fn wake_by(&self, wakes: Box<dyn WakeTasks>) {
        let _ = self.shared.wakes.set(wakes);
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
        let is_expected = matches!(inner.parked, Parked::Expecting(_)) && inner.waits_alone();
        let asleep = if is_expected { Parked::No } else { inner.parked };
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
        self.wait_durable_unless(lsn, || false)
    }

    /// As [`wait_durable`](Self::wait_durable), until `given_up` says so, which is asked every now and then.
    #[must_use]
    pub fn wait_durable_unless(&self, lsn: Lsn, given_up: impl Fn() -> bool) -> bool {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        self.wake_at(Progress { durable: lsn, ..Progress::default() }, &waker);
        while self.progress().durable < lsn {
            if self.shared.failed.load(Ordering::Acquire) || given_up() {
                return false;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        true
    }

    /// As [`wait_durable`](Self::wait_durable), for what must survive a power cut whatever the options say: it is
    /// synced, but not more than was appended. Returns whether it is: not if the journal has failed, or is closed.
    #[must_use]
    pub fn wait_synced(&self, lsn: Lsn) -> bool {
        self.wait_synced_unless(lsn, || false)
    }

    /// As [`wait_synced`](Self::wait_synced), until `given_up` says so, which is asked every now and then.
    #[must_use]
    pub fn wait_synced_unless(&self, lsn: Lsn, given_up: impl Fn() -> bool) -> bool {
        if self.shared.keeps != Keeps::Disk {
            return true;
        }
        let mut inner = self.shared.inner.lock();
        let lsn = lsn.0.min(inner.end);
        let is_synced = || self.shared.synced.load(Ordering::Acquire) >= lsn;
        inner.sync_waiters.push((lsn, std::thread::current()));
        let asleep = inner.parked;
        let writer = self.shared.wake_writer(&mut inner, asleep);
        drop(inner);
        if let Some(writer) = writer {
            writer.unpark();
        }
        while !is_synced() {
            if self.shared.failed.load(Ordering::Acquire) || self.shared.inner.lock().stop || given_up() {
                return is_synced();
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
    fn new(keeps: Keeps, inner: Inner, progress: Progress) -> Self {
        Self {
            inner: RankedMutex::new(Rank::Journal, inner),
            written: AtomicU64::new(progress.written.0),
            durable: AtomicU64::new(progress.durable.0),
            written_address: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            backlog: AtomicU64::new(0),
            oversized: AtomicBool::new(false),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            keeps,
            meters: Meters::default(),
            wakes: OnceLock::new(),
        }
    }

    /// Looks whether there are too many files.
    pub(super) fn note_files(&self, inner: &Inner) {
        self.oversized.store(inner.files.len() > inner.too_many_files, Ordering::Relaxed);
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

    /// Publishes that items below `address` are written; then the positions by [`advance`](Self::advance).
    pub(super) fn advance_address(&self, address: u64) {
        self.written_address.store(address, Ordering::Release);
    }

    /// Publishes new positions and wakes who waited for them. Returns who that was.
    pub(super) fn advance(&self, written: u64, durable: u64) -> Served {
        let due: Vec<Waker> = {
            let mut inner = self.inner.lock();
            self.written.fetch_max(written, Ordering::AcqRel);
            self.durable.fetch_max(durable, Ordering::AcqRel);
            let progress = self.progress();
            inner.waiters.extract_if(.., |(at, _)| reached(progress, *at)).map(|(_, waker)| waker).collect()
        };
        let served = match due.split_first() {
            None => return Served::Nobody,
            Some((one, others)) if others.iter().all(|waker| waker.will_wake(one)) => {
                Served::One(one.clone())
            }
            Some(_) => Served::Several,
        };
        match self.wakes.get() {
            Some(wakes) => wakes.wake(due),
            None => due.into_iter().for_each(Waker::wake),
        }
        served
    }
}

impl Inner {
    /// Bytes in the buffer that is written next.
    pub(super) fn gathered(&self) -> u64 {
        self.buffers.front().map_or(0, Buffer::bytes)
    }

    /// Whether the next group has so many bytes, or as many as it can have.
    fn has_gathered(&self, bytes: u64) -> bool {
        self.buffers.len() > 1 || self.gathered() >= bytes
    }

    /// Whether all who wait are the same task.
    pub(super) fn waits_alone(&self) -> bool {
        let Some(((_, first), others)) = self.waiters.split_first() else { return true };
        others.iter().all(|(_, waker)| waker.will_wake(first))
    }
}

fn reached(progress: Progress, at: Progress) -> bool {
    at.written <= progress.written && at.durable <= progress.durable
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::ids::{Position, QueueId};

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn append(journal: &Journal) -> Lsn {
        journal.append(|batch| batch.removed(QueueId(1), Position(1)))
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

    #[test]
    fn it_is_told_whether_one_alone_was_woken() {
        let journal = Journal::stepped();
        let (first, second, third) = (append(&journal), append(&journal), append(&journal));
        let waker = || Waker::from(Arc::new(Counter(AtomicUsize::new(0))));
        let (one, other) = (waker(), waker());
        for (durable, waker) in
            [(first, &one), (first, &one), (second, &one), (second, &other), (third, &other)]
        {
            journal.wake_at(Progress { durable, ..Progress::default() }, waker);
        }
        let alone = || journal.shared.inner.lock().waits_alone();
        let served = |lsn: Lsn| journal.shared.advance(lsn.0, lsn.0);
        assert!(matches!(served(first), Served::One(woken) if woken.will_wake(&one)));
        assert!(!alone());
        assert!(matches!(served(second), Served::Several));
        assert!(alone());
        assert!(matches!(served(third), Served::One(woken) if woken.will_wake(&other)));
        assert!(matches!(served(third), Served::Nobody));
        assert!(alone());
    }
}
