//! The journal's writer thread: takes what has gathered, writes it as one group, syncs if anyone waits for that.
//!
//! While one group is written and synced the next gathers, so that one sync serves all who wait: group commit
//! without a timer. What nobody waits for is written within a few milliseconds and synced within the window.

use std::io::{self, IoSlice};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::output::MAX_SLICES;
use crate::storage::append::Buffer;
use crate::storage::disk::{Disk, DiskFile, Open, is_full, may_pass, read_exact_at, write_all_at};
use crate::storage::file::{FILE_HEADER, FileHeader};
use crate::storage::files::Begun;
use crate::storage::group::{FIXED, GroupHeader, align};
use crate::storage::journal::{Inner, Parked, Shared};
use crate::storage::options::{JournalOptions, Sync};
use crate::storage::pacing::{Expected, Pacing, Served};
use crate::storage::recovery::Unproven;
use crate::storage::room::Room;

/// How long records wait for more if nobody waits for them.
const GATHER: Duration = Duration::from_millis(5);

/// How long written records that nobody waits for may stay unsynced.
const SYNC_WINDOW: Duration = Duration::from_millis(100);

/// How long the thread sleeps when there is nothing to do. Whoever has something wakes it.
const IDLE: Duration = Duration::from_secs(3600);

/// How far the file is filled with zeros ahead of what is written, so that a sync is one of data only: as far again as
/// the file goes, between these two. Whoever writes first after a start waits for the least.
const AHEAD: RangeInclusive<u64> = 256 * 1024..=4 * 1024 * 1024;

/// Between tries when the disk takes nothing.
const RETRY: Duration = Duration::from_millis(200);

/// How much is written again at once.
const AGAIN_CHUNK: usize = 1024 * 1024;

/// Where the journal ends, and what the next group continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The position behind the last record.
    pub(super) end: u64,
    /// The body address behind the last item.
    pub(super) address: u64,
    /// The next group's number.
    pub(super) sequence: u64,
    /// The last group's checksum.
    pub(super) chain: u32,
}

struct Writer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    room: Arc<Room>,
    options: JournalOptions,
    tail: Tail,
    current: Option<Current>,
    /// When the oldest write was that is not synced.
    unsynced_since: Option<Instant>,
    /// The position up to which a sync returned: what the next groups prove.
    synced: u64,
    pacing: Pacing,
    /// Bytes of the records and bodies that were written last.
    bytes: u64,
}

/// The file being written.
struct Current {
    file: Arc<dyn DiskFile>,
    number: u64,
    at: u64,
    allocated: u64,
}

/// Starts the thread. Before anything else it makes what is `unproven` durable.
pub(super) fn start(
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    room: Arc<Room>,
    options: JournalOptions,
    tail: Tail,
    unproven: Option<Unproven>,
    failed: impl FnOnce(&io::Error) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let synced = tail.end;
    let mut writer = Writer {
        shared: shared.clone(),
        disk,
        room,
        options,
        tail,
        current: None,
        unsynced_since: None,
        synced,
        pacing: Pacing::default(),
        bytes: 0,
    };
    std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
        let _abort = AbortOnPanic;
        shared.inner.lock().writer = Some(std::thread::current());
        if let Err(error) = writer.prove(unproven).and_then(|()| writer.run()) {
            // Never tried again: after a failed sync nobody knows what is on disk.
            tracing::error!(%error, "the journal failed; nothing is confirmed any more");
            shared.failed.store(true, Ordering::Release);
            failed(&error);
        }
    })
}

/// Nobody would write any more, and everybody would wait for it.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Writer {
    /// Makes durable what a start has read and built upon. It may be in the operating system's memory only; and after
    /// a sync that failed it may be there, not on the disk, and not be written for another sync. So it is written again
    /// as it was read, before all files and their names are synced.
    fn prove(&mut self, unproven: Option<Unproven>) -> io::Result<()> {
        let Some(Unproven { file, from, until, broken }) = unproven else { return Ok(()) };
        let mut chunk = Vec::new();
        self.write_again(&*file, 0..FILE_HEADER, &mut chunk)?;
        self.write_again(&*file, from..until, &mut chunk)?;
        if let Some(at) = broken {
            // Or the group would still stand there when the next file has gone on without it.
            self.write_or_wait(&*file, &[IoSlice::new(&[0; FIXED])], at)?;
        }
        let files: Vec<_> = {
            let inner = self.shared.inner.lock();
            inner.files.iter().filter_map(|file| Some(file.begun.as_ref()?.file.clone())).collect()
        };
        files.iter().try_for_each(|file| file.sync_all())?;
        self.disk.sync_dir()?;
        self.synced();
        Ok(())
    }

    fn write_again(&self, file: &dyn DiskFile, range: Range<u64>, chunk: &mut Vec<u8>) -> io::Result<()> {
        for at in range.clone().step_by(AGAIN_CHUNK) {
            let len = usize::try_from(range.end - at).unwrap_or(AGAIN_CHUNK).min(AGAIN_CHUNK);
            chunk.resize(len, 0);
            read_exact_at(file, chunk, at)?;
            self.write_or_wait(file, &[IoSlice::new(chunk)], at)?;
        }
        Ok(())
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let (buffer, stop) = self.next_buffer();
            match buffer {
                Some(buffer) if buffer.count == 0 => {}
                Some(buffer) => {
                    self.write(buffer)?;
                    if self.is_sync_wanted() || self.until_sync().is_some_and(|left| left.is_zero()) {
                        self.sync()?;
                    }
                }
                None => {
                    if self.unsynced_since.is_some() || self.is_sync_wanted() {
                        self.sync()?;
                    }
                    if stop {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// How long until what is written is to be synced; `None` if nothing is.
    fn until_sync(&self) -> Option<Duration> {
        let window = match self.options.sync {
            Sync::Always => SYNC_WINDOW,
            Sync::Every(interval) => interval,
            Sync::Never => return None,
        };
        self.unsynced_since.map(|since| window.saturating_sub(since.elapsed()))
    }

    /// Waits for something to write. `None` when there is nothing and a sync is due, or the journal is to close.
    fn next_buffer(&mut self) -> (Option<Buffer>, bool) {
        let (mut gathered, mut waited) = (false, false);
        loop {
            let until_sync = self.until_sync();
            let unsynced = self.unsynced_since.is_some();
            let wait = {
                let mut inner = self.shared.inner.lock();
                let sync_wanted = inner.sync_waiters.iter().any(|(lsn, _)| *lsn > self.synced);
                let waited_for = sync_wanted || !inner.waiters.is_empty();
                inner.parked = Parked::No;
                let expected = if sync_wanted || inner.stop { None } else { self.expected(&inner) };
                match inner.buffers.front() {
                    Some(_) if let Some((bytes, left)) = expected => {
                        waited = true;
                        inner.parked = Parked::Expecting(bytes);
                        left
                    }
                    Some(_) if inner.stop || waited_for || gathered => {
                        let buffer = inner.buffers.pop_front();
                        self.pacing.begin(buffer.as_ref().map_or(0, Buffer::bytes), waited.then(now));
                        return (buffer, inner.stop);
                    }
                    Some(_) => {
                        gathered = true;
                        inner.parked = Parked::Gathering;
                        GATHER
                    }
                    None if inner.stop => return (None, true),
                    None if until_sync.is_some_and(|left| left.is_zero()) => return (None, false),
                    None if sync_wanted || unsynced && waited_for => return (None, false),
                    None => {
                        inner.parked = Parked::Idle;
                        until_sync.unwrap_or(IDLE)
                    }
                }
            };
            std::thread::park_timeout(wait);
        }
    }

    /// How many bytes the next group should have, if it has fewer and it is worth waiting for them, and how long.
    fn expected(&self, inner: &Inner) -> Option<(u64, Duration)> {
        let Expected { bytes, until } = self.pacing.expected()?;
        let left = until.saturating_duration_since(now());
        let is_short = inner.buffers.len() == 1 && inner.gathered() < bytes;
        (is_short && inner.waits_alone() && !left.is_zero()).then_some((bytes, left))
    }

    fn is_sync_wanted(&self) -> bool {
        let inner = self.shared.inner.lock();
        if inner.sync_waiters.iter().any(|(lsn, _)| *lsn > self.synced) {
            return true;
        }
        let durable = self.shared.durable.load(Ordering::Acquire);
        self.options.sync == Sync::Always && inner.waiters.iter().any(|(at, _)| at.durable.0 > durable)
    }

    fn write(&mut self, mut buffer: Buffer) -> io::Result<()> {
        self.open_file(buffer.file)?;
        let (bodies, bodies_len) = (buffer.address, buffer.bodies.queued());
        let bytes = buffer.bytes();
        let header = GroupHeader {
            records_len: u32::try_from(buffer.records.len()).map_err(io::Error::other)?,
            bodies_len,
            records: buffer.count,
            epoch: buffer.file,
            sequence: self.tail.sequence,
            base: buffer.base,
            durable: self.synced,
            chain: self.tail.chain,
        };
        let (fixed, checksum) = header.encode(&buffer.records);
        let Some(current) = &mut self.current else { return Err(io::Error::other("no journal file")) };
        let start = current.at;
        self.fill_ahead(header.len())?;
        // Bodies first, then the header that makes them count: one write unless the bodies are many slices.
        let shared = self.shared.clone();
        let timing = shared.meters.writes.begin();
        self.put(start, &fixed, &mut buffer)?;
        timing.end(header.len());
        let (number, end) = (buffer.file, buffer.base + u64::from(buffer.count));
        let memory = buffer.into_memory();
        self.tail =
            Tail { end, address: bodies + bodies_len, sequence: self.tail.sequence + 1, chain: checksum };
        self.unsynced_since.get_or_insert_with(now);
        self.bytes = bytes;
        if let Some(current) = &mut self.current {
            current.at = align(start + header.len());
            let mut inner = self.shared.inner.lock();
            if let Some(file) = inner.files.iter_mut().rev().find(|file| file.number == number) {
                file.bytes = current.at.max(current.allocated);
                file.end = current.at;
                file.bodies.push(bodies, start + header.len() - bodies_len, bodies_len);
            }
            inner.memory = memory;
        }
        self.shared.advance_address(self.tail.address);
        self.room.check_limit();
        self.shared.backlog.fetch_sub(bytes, Ordering::Relaxed);
        let written = self.tail.end;
        let durable = if self.options.sync == Sync::Always { 0 } else { written };
        self.shared.advance(written, durable);
        Ok(())
    }

    /// Writes a whole group at `at`.
    fn put(&self, at: u64, fixed: &[u8; FIXED], buffer: &mut Buffer) -> io::Result<()> {
        let Some(current) = &self.current else { return Err(io::Error::other("no journal file")) };
        let mut slices = vec![IoSlice::new(fixed), IoSlice::new(&buffer.records)];
        let mut at = at;
        let mut head = (FIXED + buffer.records.len()) as u64;
        loop {
            let mut bodies = [IoSlice::new(&[]); MAX_SLICES];
            let filled = buffer.bodies.slices(&mut bodies);
            slices.extend_from_slice(&bodies[..filled]);
            let len: usize = bodies[..filled].iter().map(|slice| slice.len()).sum();
            self.write_or_wait(&*current.file, &slices, at)?;
            at += head + len as u64;
            head = 0;
            slices = Vec::new();
            buffer.bodies.advance(len);
            if buffer.bodies.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes; if the disk takes nothing, raises the alarm and tries again until it does. If it is full the reserve goes
    /// first.
    fn write_or_wait(&self, file: &dyn DiskFile, slices: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        loop {
            let mut slices = slices.to_vec();
            match write_all_at(file, &mut slices, at) {
                Ok(()) => {
                    if self.shared.full.swap(false, Ordering::Relaxed) {
                        tracing::info!("the journal has room again");
                    }
                    return Ok(());
                }
                Err(error) => self.wait_for_room(error)?,
            }
        }
    }

    /// Waits before the next try if the reason may pass, and the journal is not to close. Not if the reserve gives room.
    ///
    /// # Errors
    /// The error itself, if it is another or there is no time to wait.
    fn wait_for_room(&self, error: io::Error) -> io::Result<()> {
        if !may_pass(&error) {
            return Err(error);
        }
        let full = is_full(&error);
        if full && self.room.release_reserve() {
            return Ok(());
        }
        if self.shared.inner.lock().stop {
            return Err(error);
        }
        if !self.shared.full.swap(true, Ordering::Relaxed) {
            if full {
                tracing::error!(%error, "the disk is full; nothing is confirmed until there is room");
            } else {
                tracing::error!(%error, "the disk takes nothing; nothing is confirmed until it does");
            }
        }
        std::thread::sleep(RETRY);
        Ok(())
    }

    /// Fills the file with zeros ahead of the next write. That the disk takes nothing is no harm: the write will tell.
    fn fill_ahead(&mut self, len: u64) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let ahead = current.at.clamp(*AHEAD.start(), *AHEAD.end()).min(self.options.file_size);
        if current.at + len + ahead / 4 <= current.allocated {
            return Ok(());
        }
        let until = current.at + len + ahead;
        match current.file.allocate(until) {
            // This syncs the groups before too, so that it must not fail unseen.
            Ok(()) => current.file.sync_all()?,
            Err(error) if may_pass(&error) => {}
            Err(error) => return Err(error),
        }
        current.allocated = until;
        Ok(())
    }

    /// Makes the file with `number` the current one.
    fn open_file(&mut self, number: u64) -> io::Result<()> {
        if self.current.as_ref().is_some_and(|current| current.number == number) {
            return Ok(());
        }
        if let Some(current) = &self.current {
            // The next file's header says that everything before it is on disk, whenever else there are syncs.
            current.file.sync_data()?;
            self.synced();
        }
        let oldest = self.shared.inner.lock().files.front().map_or(number, |file| file.number);
        let Tail { end: base, address, sequence, chain } = self.tail;
        let header = FileHeader { number, sequence, base, chain, oldest, address };
        let Begun { name, file } = loop {
            match self.begin_file(&header) {
                Ok(begun) => break begun,
                Err(error) => self.wait_for_room(error)?,
            }
        };
        // Not tried again, as no sync is.
        file.sync_all()?;
        self.disk.sync_dir()?;
        let allocated = file.len()?;
        let mut inner = self.shared.inner.lock();
        inner.spare.retain(|spare| spare.name != name);
        if let Some(state) = inner.files.iter_mut().find(|state| state.number == number) {
            state.begun = Some(Begun { name, file: file.clone() });
            state.bytes = allocated;
            state.end = FILE_HEADER;
        }
        self.shared.note_files(&inner);
        drop(inner);
        self.current = Some(Current { file, number, at: FILE_HEADER, allocated });
        Ok(())
    }

    /// Writes a header into a spare file, or a new one.
    fn begin_file(&self, header: &FileHeader) -> io::Result<Begun> {
        let spare = self.shared.inner.lock().spare.iter().rev().find(|spare| !spare.is_pinned()).cloned();
        let begun = match spare {
            Some(spare) => spare,
            None => {
                let name = format!("journal-{:08}", header.number);
                let file = match self.disk.open(&name, Open::Create) {
                    // Begun before, when the disk was full.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.disk.open(&name, Open::Write)?
                    }
                    other => other?,
                };
                Begun { name: name.into(), file }
            }
        };
        write_all_at(&*begun.file, &mut [IoSlice::new(&header.encode())], 0)?;
        Ok(begun)
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(current) = &self.current
            && (self.options.sync != Sync::Never || self.is_sync_wanted())
        {
            let shared = self.shared.clone();
            let timing = shared.meters.syncs.begin();
            current.file.sync_data()?;
            let took = timing.end(0);
            // Before anybody hears of it, and sends more.
            let gathered = self.shared.inner.lock().gathered();
            let served = self.synced();
            self.pacing.served(served, self.bytes, gathered, took, now());
        }
        self.unsynced_since = None;
        self.shared.advance(self.tail.end, self.tail.end);
        Ok(())
    }

    /// Everything written is on disk. Returns whom that was told.
    fn synced(&mut self) -> Served {
        self.unsynced_since = None;
        self.synced = self.tail.end;
        self.shared.synced.store(self.synced, Ordering::Release);
        let served = self.shared.advance(self.tail.end, self.tail.end);
        let mut inner = self.shared.inner.lock();
        let reached = inner.sync_waiters.extract_if(.., |(lsn, _)| *lsn <= self.synced);
        reached.for_each(|(_, waiting)| waiting.unpark());
        served
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "only how long ago a write was, and how long to wait for the next, is asked by the thread that writes"
)]
fn now() -> Instant {
    Instant::now()
}
