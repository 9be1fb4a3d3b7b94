//! Copies of a data directory. Until a copy is whole and on disk a marker lies beside it, and no broker starts on it.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::storage::disk::{Disk, DiskFile, Open, read_exact_at, write_all_at};
use crate::storage::room::RESERVE_NAME;
use crate::storage::{catalogue, recovery, segment};

/// The name of the marker.
pub const INCOMPLETE: &str = "backup-incomplete";

/// What is in the marker, for a person who finds it.
const MARKER_TEXT: &[u8] = b"This directory is a copy that was not completed. It can be removed.\n";

/// Bytes that are read and written at once.
const CHUNK: usize = 1024 * 1024;

/// Bytes after which a file is synced: what the operating system holds back is in the way of the journal's own syncs
/// if both are on one disk.
const SYNC_EVERY: u64 = 16 * 1024 * 1024;

/// What a copy has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// How far a copy is, and a way to stop it, for another thread.
#[derive(Debug, Default)]
pub struct Watch {
    done: AtomicU64,
    of: AtomicU64,
    stopped: AtomicBool,
}

impl Watch {
    /// Bytes that are copied, and of how many. Both are 0 before it is known; the second is an estimate.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed))
    }

    /// Lets the copy fail soon.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Fails once it is to stop.
    pub fn check(&self) -> io::Result<()> {
        if self.stopped.load(Ordering::Relaxed) { Err(io::Error::other("it was stopped")) } else { Ok(()) }
    }
}

/// A copy being made. Dropped before it is [finished](Self::finish), it is removed again; what cannot be removed stays
/// marked as incomplete.
#[derive(Debug)]
pub struct Backup<'a> {
    disk: &'a dyn Disk,
    watch: &'a Watch,
    names: Vec<String>,
    bytes: u64,
    buffer: Vec<u8>,
    finished: bool,
}

impl<'a> Backup<'a> {
    /// Begins a copy on `disk`.
    ///
    /// # Errors
    /// [`ErrorKind::DirectoryNotEmpty`] if there are files, or the disk's.
    pub fn begin(disk: &'a dyn Disk, watch: &'a Watch) -> io::Result<Self> {
        if !disk.list()?.is_empty() {
            return Err(not_empty());
        }
        let marker = match disk.open(INCOMPLETE, Open::Create) {
            // Somebody else was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(not_empty()),
            marker => marker?,
        };
        let buffer = vec![0; CHUNK];
        let backup = Self { disk, watch, names: Vec::new(), bytes: 0, buffer, finished: false };
        write_all_at(&*marker, &mut [IoSlice::new(MARKER_TEXT)], 0)?;
        marker.sync_all()?;
        disk.sync_dir()?;
        Ok(backup)
    }

    /// Says how many bytes there will be.
    ///
    /// # Errors
    /// [`ErrorKind::StorageFull`] if there is no room for them.
    pub fn expect(&self, bytes: u64) -> io::Result<()> {
        self.watch.of.store(bytes, Ordering::Relaxed);
        let free = self.disk.space()?.free;
        if bytes > free {
            let told = format!("the copy takes {bytes} bytes, and {free} are free there");
            return Err(io::Error::new(ErrorKind::StorageFull, told));
        }
        Ok(())
    }

    /// Fails once the copy is to stop.
    ///
    /// # Errors
    /// If it is.
    pub fn check(&self) -> io::Result<()> {
        self.watch.check()
    }

    /// Copies the first `len` bytes of a file. They are on disk when this returns; the name is when all is
    /// [finished](Self::finish).
    ///
    /// # Errors
    /// If one of the disks fails, the file is shorter, or the copy is to stop.
    pub fn copy(&mut self, name: &str, source: &dyn DiskFile, len: u64) -> io::Result<()> {
        let copied = |error| told(error, "copy of", name);
        let file = self.disk.open(name, Open::Create).map_err(copied)?;
        self.names.push(name.to_owned());
        let (mut at, mut synced) = (0, 0);
        while at < len {
            self.check()?;
            let count = usize::try_from(len - at).unwrap_or(CHUNK).min(CHUNK);
            let chunk = &mut self.buffer[..count];
            read_exact_at(source, chunk, at).map_err(|error| told(error, "reading", name))?;
            write_all_at(&*file, &mut [IoSlice::new(chunk)], at).map_err(copied)?;
            at += count as u64;
            self.watch.done.fetch_add(count as u64, Ordering::Relaxed);
            if at - synced >= SYNC_EVERY {
                file.sync_data().map_err(copied)?;
                synced = at;
            }
        }
        file.sync_all().map_err(copied)?;
        self.bytes += len;
        Ok(())
    }

    /// Makes the names durable and takes the marker away.
    ///
    /// # Errors
    /// If the disk fails; the copy is not to be used then.
    pub fn finish(mut self) -> io::Result<Report> {
        self.disk.sync_dir()?;
        self.disk.remove(INCOMPLETE)?;
        // What follows cannot undo that the copy is whole.
        self.finished = true;
        self.disk.sync_dir()?;
        Ok(Report { files: self.names.len(), bytes: self.bytes })
    }

    fn discard(&self) -> io::Result<()> {
        self.names.iter().try_for_each(|name| self.disk.remove(name))?;
        // The marker goes last, after a power cut too.
        self.disk.sync_dir()?;
        self.disk.remove(INCOMPLETE)
    }
}

impl Drop for Backup<'_> {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.discard()
        {
            tracing::warn!(%error, "an incomplete copy cannot be removed; it is marked");
        }
    }
}

/// Refuses a directory with a copy that was not completed.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if it is one, or the disk's.
pub fn check_complete(disk: &dyn Disk) -> io::Result<()> {
    if disk.list()?.iter().any(|name| name == INCOMPLETE) {
        let told = format!("{INCOMPLETE}: it is a copy that was not completed");
        return Err(io::Error::new(ErrorKind::InvalidData, told));
    }
    Ok(())
}

/// Copies the data directory of a broker that does not run. It is locked meanwhile.
///
/// # Errors
/// [`ErrorKind::WouldBlock`] if a broker uses it, [`ErrorKind::NotFound`] if there is no broker's data, that of
/// [`Backup::begin`], or the disks'.
pub fn copy_directory(source: &dyn Disk, target: &dyn Disk, watch: &Watch) -> io::Result<Report> {
    // Before the lock, which is a file: none is left in a directory that has nothing to do with a broker.
    if !source.list()?.iter().any(|name| is_data(name) || name == RESERVE_NAME) {
        return Err(io::Error::new(ErrorKind::NotFound, "there is no data of a broker"));
    }
    let _lock = source.lock()?;
    check_complete(source)?;
    let mut files = Vec::new();
    for name in source.list()?.into_iter().filter(|name| is_data(name)) {
        let file = source.open(&name, Open::Read).map_err(|error| told(error, "reading", &name))?;
        files.push((name, file.len()?));
    }
    let mut backup = Backup::begin(target, watch)?;
    backup.expect(files.iter().map(|(_, len)| len).sum())?;
    for (name, len) in files {
        let file = source.open(&name, Open::Read).map_err(|error| told(error, "reading", &name))?;
        backup.copy(&name, &*file, len)?;
    }
    backup.finish()
}

/// Whether a file is part of what a start reads.
fn is_data(name: &str) -> bool {
    name == catalogue::NAME || name.starts_with(recovery::PREFIX) || segment::number_of(name).is_some()
}

fn not_empty() -> io::Error {
    io::Error::new(ErrorKind::DirectoryNotEmpty, "the directory of the copy is not empty")
}

/// Adds to an error what was being done.
fn told(error: io::Error, what: &str, name: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {name}: {error}"))
}
