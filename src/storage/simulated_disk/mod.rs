//! A disk in memory that loses, tears and refuses what a real one may, where and when it is told to.
//!
//! Every file and the directory exist twice: as the running process sees them and as they are known to be on the
//! medium. What lies between is a log of changes, in the order in which they were made; a sync moves its share of the
//! log to the medium, and [`SimulatedDisk::after_crash`] decides about the rest. The model is the one that
//! [`disk`](crate::storage::disk) states: sectors of 512 bytes arrive whole and in any order, except for the write
//! that [`Crash::TearLast`] tears at a byte; names arrive apart from contents; what a sync reported stays.
//!
//! A run is repeatable: it depends on the seed and on the calls made, as long as one thread makes them.

mod crash;
mod faults;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::storage::disk::{Disk, DiskFile, Open, Space, check_name};

pub use crash::Crash;
use faults::Verdict;
pub use faults::{Call, FaultKind, When};
use state::{Change, FileId, State};

/// The size of a disk without a capacity, all of it free.
const PLENTY: u64 = 1 << 40;

/// Files are in memory, so an offset gone wrong is an error here and not the end of the process.
const MAX_FILE_LEN: u64 = 1 << 32;

/// See the module. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    /// An empty disk. `seed` decides whatever is left to chance in its crashes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// How many calls of [`Disk`] and [`DiskFile`] were made, which is also the number of the last one: the first has
    /// number 1. Calls after the crash do not count.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().faults.calls()
    }

    /// Lets the process die at the call with number `operation`: it and all later ones have no effect and fail with
    /// [`ErrorKind::Other`] and the text "crashed". A number that has passed means the next call.
    pub fn crash_at(&self, operation: u64) {
        self.0.lock().faults.crash_at(operation);
    }

    /// Whether the call given to [`crash_at`](Self::crash_at) was reached.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.0.lock().faults.has_crashed()
    }

    /// The disk as the next start finds it if the process, or the machine, dies now or has died by
    /// [`crash_at`](Self::crash_at). It is another disk: unlocked, counting its calls from 1, without faults; the
    /// capacity stays. This one is left as it is, so that several crashes can be tried at one point; chance falls
    /// differently each time.
    #[must_use]
    pub fn after_crash(&self, how: Crash) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().after_crash(how))))
    }

    /// How many bytes the last write has that no sync followed, or 0: how far [`Crash::TearLast`] can go.
    #[must_use]
    pub fn last_unsynced_write(&self) -> usize {
        self.0.lock().last_write()
    }

    /// Makes certain calls fail. Of several faults for one call the first given counts. All but [`When::Every`]
    /// happen once.
    pub fn fail(&self, when: impl Into<When>, fault: FaultKind) {
        self.0.lock().faults.add(when.into(), fault);
    }

    /// Forgets all faults that have not happened yet, and ends those that go on.
    pub fn clear_faults(&self) {
        self.0.lock().faults.clear();
    }

    /// Limits the disk to `bytes`, counted as the lengths of all files that have a name or are open; holes count. A
    /// write that does not fit is cut short, and fails with ENOSPC if nothing of it fits.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = Some(bytes);
    }

    /// Flips one bit of a file at rest, the way a medium goes bad: what was unsynced of the file is synced first.
    /// `bit` is 0 to 7. [`ErrorKind::UnexpectedEof`] beyond the end.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mask = 1_u8.checked_shl(bit.into()).ok_or(ErrorKind::InvalidInput)?;
        let mut state = self.0.lock();
        let file = state.named(name)?;
        state.damage(file, |content| {
            let byte = usize::try_from(offset).ok().and_then(|offset| content.get_mut(offset));
            byte.map(|byte| *byte ^= mask).ok_or_else(|| ErrorKind::UnexpectedEof.into())
        })
    }

    /// Cuts a file at rest to `len`, as [`flip_bit`](Self::flip_bit) damages it. Longer than it is has no effect.
    pub fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.named(name)?;
        state.damage(file, |content| {
            content.truncate(usize::try_from(len).unwrap_or(usize::MAX));
            Ok(())
        })
    }

    /// All files as the running process sees them. Not counted as a call.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        state.names().map(|(name, content)| (name.clone(), content.to_vec())).collect()
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.0.lock();
        state.faults.begin(Call::List)?;
        Ok(state.names().map(|(name, _)| name.clone()).collect())
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.faults.begin(Call::Open)?;
        check_name(name)?;
        let file = match (how, state.named(name)) {
            (Open::Create, Ok(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Open::Create, Err(_)) => state.create(name),
            (Open::Read | Open::Write, file) => file?,
        };
        state.content(file).handles += 1;
        drop(state);
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file, writable: how != Open::Read }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.faults.begin(Call::Rename)?;
        check_name(from)?;
        check_name(to)?;
        let file = state.named(from)?;
        if from != to {
            state.change(Change::Rename { file, to: to.into() });
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.faults.begin(Call::Remove)?;
        check_name(name)?;
        let file = state.named(name)?;
        state.change(Change::Remove { name: name.into(), file });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        let lost = state.faults.begin(Call::SyncDir)? == Verdict::LoseSync;
        state.sync_names(lost);
        if lost { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn space(&self) -> io::Result<Space> {
        let mut state = self.0.lock();
        state.faults.begin(Call::Space)?;
        let free = state.free_space().unwrap_or(PLENTY);
        Ok(Space { free, total: state.capacity.unwrap_or(PLENTY) })
    }

    fn lock(&self) -> io::Result<Box<dyn Send>> {
        let mut state = self.0.lock();
        state.faults.begin(Call::Lock)?;
        if state.locked {
            return Err(io::Error::new(ErrorKind::WouldBlock, "the simulated disk is in use"));
        }
        state.locked = true;
        drop(state);
        Ok(Box::new(SimulatedLock(self.clone())))
    }
}

/// Holds the lock of a [`SimulatedDisk`].
struct SimulatedLock(SimulatedDisk);

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}

/// An open file of a [`SimulatedDisk`].
#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: FileId,
    writable: bool,
}

impl SimulatedFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(Errno::BADF.into()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let lost = state.faults.begin(Call::Sync)? == Verdict::LoseSync;
        state.sync_content(self.file, lost);
        if lost { Err(Errno::IO.into()) } else { Ok(()) }
    }
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.0.lock();
        state.faults.begin(Call::Len)?;
        Ok(state.content(self.file).live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        let most = state.faults.begin(Call::Read)?.most();
        let content = &state.content(self.file).live;
        let rest = usize::try_from(at).ok().and_then(|at| content.get(at..)).unwrap_or_default();
        let count = rest.len().min(buffer.len()).min(most);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        let most = state.faults.begin(Call::Write)?.most();
        self.check_writable()?;
        let mut bytes = Vec::new();
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        bytes.truncate(most);
        let end = check_end(at.checked_add(bytes.len() as u64))?;
        let grown = end.saturating_sub(state.content(self.file).live.len() as u64);
        if let Some(room) = state.free_space().filter(|room| grown > *room) {
            let fitting = (bytes.len() as u64).saturating_sub(grown - room);
            if fitting == 0 && !bytes.is_empty() {
                return Err(Errno::NOSPC.into());
            }
            bytes.truncate(usize::try_from(fitting).unwrap_or(usize::MAX));
        }
        let count = bytes.len();
        if count > 0 {
            state.change(Change::Write { file: self.file, at, bytes: bytes.into() });
        }
        Ok(count)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.faults.begin(Call::Allocate)?;
        self.check_writable()?;
        check_end(Some(len))?;
        let grown = len.saturating_sub(state.content(self.file).live.len() as u64);
        if state.free_space().is_some_and(|room| grown > room) {
            return Err(Errno::NOSPC.into());
        }
        if grown > 0 {
            state.change(Change::SetLen { file: self.file, len });
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.faults.begin(Call::SetLen)?;
        self.check_writable()?;
        check_end(Some(len))?;
        state.change(Change::SetLen { file: self.file, len });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        let mut state = self.disk.0.lock();
        let content = state.content(self.file);
        content.handles = content.handles.saturating_sub(1);
    }
}

/// Refuses a file length that memory is not made for.
fn check_end(end: Option<u64>) -> io::Result<u64> {
    end.filter(|end| *end <= MAX_FILE_LEN).ok_or_else(|| ErrorKind::FileTooLarge.into())
}
