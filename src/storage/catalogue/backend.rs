//! The file of the catalogue as the database sees it.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::storage::disk::{DiskFile, may_pass, read_exact_at, write_all_at};

/// Bytes that an [`Overlay`] keeps together.
const BLOCK: usize = 4096;

/// An error of a sync is final. None of it may be taken for what passes, such as a full disk.
pub(super) fn of_sync(error: io::Error) -> io::Error {
    if may_pass(&error) { io::Error::other(error) } else { error }
}

/// Where the database's header has its flags, and the one that is set while it is open for writing.
const FLAGS: usize = 9;
const OPEN: u8 = 2;

/// Makes durable what is read from now on: journal files are given up for it, and it may be only in the operating
/// system's memory if the process before was killed. If a sync of that process failed, the system thinks that it has
/// written what is lost, and another sync does nothing. So the header of a database that was not closed is written
/// again as it is. That is enough, because pages are synced before a header speaks of them.
pub(super) fn make_durable(file: &dyn DiskFile) -> io::Result<()> {
    let len = file.len()?;
    let mut header = [0; BLOCK];
    // What is shorter is no database.
    if len >= BLOCK as u64 {
        read_exact_at(file, &mut header, 0)?;
        if header[FLAGS] & OPEN != 0 {
            file.set_len(len)?;
            write_all_at(file, &mut [IoSlice::new(&header)], 0)?;
        }
    }
    file.sync_all()
}

/// The first error of the disk. The database tells of it only the first time, and of some not at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// Keeps the error and gives one of its kind. That a file ends too soon is no error of the disk.
    fn keep(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        if kind != ErrorKind::UnexpectedEof {
            self.0.lock().get_or_insert(error);
        }
        kind.into()
    }

    pub(super) fn take(&self) -> Option<io::Error> {
        self.0.lock().take()
    }
}

/// A file that is read and written.
#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn DiskFile>,
    failure: Failure,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn DiskFile>, failure: Failure) -> Self {
        Self { file, failure }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len().map_err(|error| self.failure.keep(error))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact_at(&*self.file, out, offset).map_err(|error| self.failure.keep(error))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(|error| self.failure.keep(error))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|error| self.failure.keep(of_sync(error)))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        write_all_at(&*self.file, &mut [IoSlice::new(data)], offset).map_err(|error| self.failure.keep(error))
    }
}

/// A file that is only read: what is written to it is kept in memory, in place of what the file has there. So the
/// database can repair what a crash left and check what it finds, and the disk is as it was.
#[derive(Debug)]
pub(super) struct Overlay {
    file: Arc<dyn DiskFile>,
    failure: Failure,
    state: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    /// The file counts up to here; behind it are zeros.
    from_file: u64,
    blocks: HashMap<u64, Box<[u8; BLOCK]>>,
}

impl Overlay {
    pub(super) fn new(file: Arc<dyn DiskFile>, failure: Failure) -> io::Result<Self> {
        let len = file.len()?;
        let state = Mutex::new(Written { len, from_file: len, blocks: HashMap::new() });
        Ok(Self { file, failure, state })
    }

    /// Reads what the file has, and zeros where it does not count.
    fn read_file(&self, from_file: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(from_file.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (there, beyond) = out.split_at_mut(there);
        beyond.fill(0);
        read_exact_at(&*self.file, there, offset).map_err(|error| self.failure.keep(error))
    }
}

/// Refuses what goes beyond the end.
fn check_end(len: u64, offset: u64, count: usize) -> io::Result<()> {
    let end = offset.checked_add(count as u64);
    if end.is_some_and(|end| end <= len) { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// The blocks that `count` bytes from `offset` on touch: the number of each, where in it they begin, where among them
/// that is, and how many.
fn blocks(offset: u64, count: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let (number, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
        let part = (count - done).min(BLOCK - within);
        let begin = done;
        done += part;
        (part > 0).then_some((number, within, begin, part))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        check_end(state.len, offset, out.len())?;
        self.read_file(state.from_file, offset, out)?;
        for (number, within, begin, part) in blocks(offset, out.len()) {
            if let Some(block) = state.blocks.get(&number) {
                out[begin..begin + part].copy_from_slice(&block[within..within + part]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.len = len;
        state.from_file = state.from_file.min(len);
        let (whole, rest) = (len / BLOCK as u64, (len % BLOCK as u64) as usize);
        state.blocks.retain(|number, _| *number < len.div_ceil(BLOCK as u64));
        if let Some(block) = state.blocks.get_mut(&whole) {
            block[rest..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        check_end(state.len, offset, data.len())?;
        for (number, within, begin, part) in blocks(offset, data.len()) {
            if !state.blocks.contains_key(&number) {
                let mut block = Box::new([0; BLOCK]);
                self.read_file(state.from_file, number * BLOCK as u64, &mut block[..])?;
                state.blocks.insert(number, block);
            }
            if let Some(block) = state.blocks.get_mut(&number) {
                block[within..within + part].copy_from_slice(&data[begin..begin + part]);
            }
        }
        Ok(())
    }
}
