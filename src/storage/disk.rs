//! The disk as storage sees it: one flat directory of files, behind a trait small enough to be simulated.
//!
//! [`RealDisk`] is the file system; [`SimulatedDisk`](crate::storage::simulated_disk::SimulatedDisk) is the same in
//! memory, with crashes and faults. Nothing else in storage opens a file.
//!
//! What a caller may count on after a power cut, and no more:
//! - the content and the length of a file as of its last successful sync;
//! - the names in the directory as of the last successful [`Disk::sync_dir`]. A synced file whose name was not synced
//!   is lost, and a rename may be durable before the content of what was renamed.
//!
//! A sync that failed must not be tried again: the kernel may have dropped what it could not write, and the next
//! sync would succeed over the loss. For the same reason a file is not closed between a write and its sync.

#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

/// The name of the lock file. It is no file of the disk: not listed, and refused wherever a name is given.
const LOCK_NAME: &str = "lock";

/// How much [`DiskFile::allocate`] writes at once.
const ZEROS: &[u8] = &[0; 64 * 1024];

/// One flat directory. Names are plain file names: not empty, without `/` and NUL, neither `.` nor `..` nor `lock`;
/// others are refused with [`ErrorKind::InvalidInput`].
pub trait Disk: Send + Sync + Debug {
    /// The names of all files, sorted. Whatever is no regular file, or has a name that is not UTF-8, is left out.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file. A name that leads to anything but a regular file is refused with [`ErrorKind::InvalidInput`];
    /// a symbolic link is not followed.
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of the file that has it. A crash leaves the old state or the new one;
    /// the new one is durable after [`sync_dir`](Self::sync_dir).
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Durable after [`sync_dir`](Self::sync_dir), but may be so long before. The space is free when
    /// nobody has the file open any more.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names created, changed and removed so far durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// How large the disk is, and how much of it is free.
    fn space(&self) -> io::Result<Space>;

    /// Locks the directory against other processes, and other openings of it in this one, until the lock is dropped.
    /// If somebody else holds it the error is [`ErrorKind::WouldBlock`] and says who.
    fn lock(&self) -> io::Result<Box<dyn Send>>;

    /// As [`lock`](Self::lock), but writes nothing: `None` if there is no lock file to be locked.
    fn lock_as_is(&self) -> io::Result<Option<Box<dyn Send>>> {
        self.lock().map(Some)
    }
}

/// The size of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary user may still use.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading. [`ErrorKind::NotFound`] if it does not exist.
    Read,
    /// For reading and writing. [`ErrorKind::NotFound`] if it does not exist.
    Write,
    /// A new one, for reading and writing. [`ErrorKind::AlreadyExists`] if there is one.
    Create,
}

/// An open file. Offsets and lengths are in bytes.
///
/// A full disk shows as [`ErrorKind::StorageFull`] or [`ErrorKind::QuotaExceeded`]; see [`may_pass`] for what else
/// comes to an end.
pub trait DiskFile: Send + Sync + Debug {
    /// The length of the file.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no content.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads from `at` on and returns how much was read: perhaps less than `buffer` holds, and 0 only at the end or
    /// for an empty buffer. See [`read_exact_at`].
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes `slices` one after the other from `at` on and returns how much was written, perhaps less than there is.
    /// Extends the file; a gap reads as zeros. See [`write_all_at`].
    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize>;

    /// Lengthens the file to `len` with written zeros, so that its blocks are reserved and a later sync has only data
    /// to write. Does nothing to a file that is as long. If it fails the file is as long as before.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file to `len`, or lengthens it with a hole that reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable. An error is final: see the module.
    fn sync_data(&self) -> io::Result<()>;

    /// As [`sync_data`](Self::sync_data), times and permissions included.
    fn sync_all(&self) -> io::Result<()>;
}

/// Reads until `buffer` is full. [`ErrorKind::UnexpectedEof`] if the file ends before.
pub fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let (mut rest, mut at) = (buffer, at);
    while !rest.is_empty() {
        match file.read_at(rest, at) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                rest = &mut rest[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `slices`, which it consumes by moving their starts. [`ErrorKind::WriteZero`] if the file takes no
/// more; after an error some of it may have been written.
pub fn write_all_at(file: &dyn DiskFile, slices: &mut [IoSlice<'_>], at: u64) -> io::Result<()> {
    let (mut rest, mut at) = (slices, at);
    // Slices without content at the front would make a write of nothing look like a full file.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_at(rest, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut rest, written);
                at += written as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an error says that the disk has no room: it may have some later.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Whether an error of anything but a sync says that the disk takes nothing for now: it [is full](is_full), a limit on
/// the size of files is reached, it is mounted read-only, or too many files are open. The same may be tried again.
#[must_use]
pub fn may_pass(error: &io::Error) -> bool {
    let refusals = [Errno::FBIG, Errno::ROFS, Errno::MFILE, Errno::NFILE];
    is_full(error) || Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

/// Refuses what is no plain file name.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    let plain = !name.is_empty() && !name.contains(['/', '\0']) && !matches!(name, "." | ".." | LOCK_NAME);
    if plain { Ok(()) } else { Err(invalid(format!("{name:?} is no file name of a disk"))) }
}

fn invalid(told: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, told)
}

/// A directory of the file system, held open: what happens to its path later does not matter.
#[derive(Debug)]
pub struct RealDisk {
    directory: File,
    /// For messages only.
    path: PathBuf,
}

impl RealDisk {
    /// Opens the directory, and creates it with whatever leads to it, for its owner only, if it is missing. Its name
    /// is durable afterwards. A directory that exists keeps its permissions.
    pub fn open(path: &Path) -> io::Result<Self> {
        create_durably(path)?;
        Ok(Self { directory: open_directory(path)?, path: path.to_path_buf() })
    }

    /// As [`open`](Self::open), for a directory that is to have nothing in it, and not to be in the directory `other`.
    ///
    /// # Errors
    /// [`ErrorKind::DirectoryNotEmpty`] if there is anything, and [`ErrorKind::InvalidInput`] if it is in the other.
    pub fn open_empty(path: &Path, other: &Path) -> io::Result<Self> {
        if is_within(path, other)? {
            return Err(invalid(format!("{} is in {}", path.display(), other.display())));
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let disk = Self::open(path).map_err(named)?;
        for entry in Dir::read_from(&disk.directory)? {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                let told = format!("{} is not empty", path.display());
                return Err(io::Error::new(ErrorKind::DirectoryNotEmpty, told));
            }
        }
        Ok(disk)
    }

    /// Opens a directory that is there, and changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it is not.
    pub fn open_as_is(path: &Path) -> io::Result<Self> {
        Ok(Self { directory: open_directory(path)?, path: path.to_path_buf() })
    }

    /// Locks a lock file.
    fn hold(&self, file: &File) -> io::Result<()> {
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let holder = lock_holder(file).map_or_else(String::new, |pid| format!(" (pid {pid})"));
                let told = format!("{} is in use by another process{holder}", self.path.display());
                Err(io::Error::new(ErrorKind::WouldBlock, told))
            }
        }
    }

    /// Opens a regular file of the directory, for this process only.
    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // A named pipe would wait for its other end without NONBLOCK; to a regular file it means nothing.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mode = Mode::RUSR | Mode::WUSR;
        let irregular = || invalid(format!("{}: not a regular file", self.path.join(name).display()));
        let opened = retry_on_intr(|| rustix::fs::openat(&self.directory, name, flags, mode));
        let file = File::from(opened.map_err(|error| match error {
            Errno::LOOP | Errno::ISDIR | Errno::NXIO => irregular(),
            error => error.into(),
        })?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let kind = match entry.file_type() {
                // Not every file system tells with the name.
                FileType::Unknown => match self.kind_of(name) {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    kind => kind?,
                },
                kind => kind,
            };
            if kind == FileType::RegularFile && name != LOCK_NAME {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let flags = match how {
            Open::Read => OFlags::RDONLY,
            Open::Write => OFlags::RDWR,
            Open::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        Ok(Arc::new(RealFile(self.open_file(name, flags)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        Ok(retry_on_intr(|| rustix::fs::renameat(&self.directory, from, &self.directory, to))?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()))?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let told = retry_on_intr(|| rustix::fs::fstatvfs(&self.directory))?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Ok(Space { free: bytes(told.f_bavail), total: bytes(told.f_blocks) })
    }

    fn lock(&self) -> io::Result<Box<dyn Send>> {
        let file = self.open_file(LOCK_NAME, OFlags::RDWR | OFlags::CREATE)?;
        self.hold(&file)?;
        // The lock is the file's, not its content's: a pid left by a process that died misleads nobody.
        // That there is no room for it is no reason not to start.
        let told = file
            .set_len(0)
            .and_then(|()| file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0));
        if let Err(error) = told {
            tracing::warn!(%error, "the pid cannot be written into the lock file");
        }
        Ok(Box::new(file))
    }

    fn lock_as_is(&self) -> io::Result<Option<Box<dyn Send>>> {
        let file = match self.open_file(LOCK_NAME, OFlags::RDONLY) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        self.hold(&file)?;
        Ok(Some(Box::new(file)))
    }
}

impl RealDisk {
    fn kind_of(&self, name: &str) -> io::Result<FileType> {
        let stat = retry_on_intr(|| rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW))?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }
}

/// The pid in a lock file that another process holds, if it has written it yet.
fn lock_holder(file: &File) -> Option<u32> {
    let mut content = [0; 16];
    let read = file.read_at(&mut content, 0).ok()?;
    std::str::from_utf8(&content[..read]).ok()?.trim_end().parse().ok()
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?))
}

/// Whether `path`, of which only the beginning may exist, is the directory `other` or leads into it.
fn is_within(path: &Path, other: &Path) -> io::Result<bool> {
    let other = other.canonicalize()?;
    for exists in path.ancestors() {
        let Ok(found) = exists.canonicalize() else { continue };
        // Where a way back leads from what does not exist yet is not known.
        let is_plain = path.strip_prefix(exists).is_ok_and(|rest| !rest.components().any(is_way_back));
        return if is_plain {
            Ok(found.starts_with(other))
        } else {
            Err(invalid(format!("{} goes back by ..", path.display())))
        };
    }
    Ok(false)
}

fn is_way_back(component: Component<'_>) -> bool {
    component == Component::ParentDir
}

/// Creates a directory and its missing ancestors, each durable in the one above it.
fn create_durably(path: &Path) -> io::Result<()> {
    let exists = |path: &Path| path.as_os_str().is_empty() || path.is_dir();
    let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !exists(path)).collect();
    let was_there = missing.is_empty();
    if was_there {
        // It may be the work of a process that was killed before it could sync the directory above.
        missing.push(path);
    }
    for path in missing.into_iter().rev() {
        if !was_there {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
                made => made?,
            }
        }
        let Some(parent) = path.parent() else { continue };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match open_directory(parent).and_then(|parent| parent.sync_all()) {
            // Made by somebody else, in a place of which only the name may be used.
            Err(error) if was_there && error.kind() == ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// A file of a [`RealDisk`].
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, at) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pwritev(&self.0, slices, at))?)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let before = self.len()?;
        let mut at = before;
        while at < len {
            let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZEROS.len());
            if let Err(error) = self.0.write_all_at(&ZEROS[..count], at) {
                // Of the two errors the first says what is wrong; the caller gets the file back as it was if at all
                // possible, because a disk that is full to the last byte helps nobody.
                let _ = self.0.set_len(before);
                return Err(error);
            }
            at += count as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // F_FULLFSYNC on macOS, where fdatasync leaves the data in the drive's cache.
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}
