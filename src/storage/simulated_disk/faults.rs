//! Which calls fail, and how.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

/// The calls of a disk and its files, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// `Disk::list`.
    List,
    /// `Disk::open`, in any way.
    Open,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove`.
    Remove,
    /// `Disk::sync_dir`.
    SyncDir,
    /// `Disk::space`.
    Space,
    /// `Disk::lock`.
    Lock,
    /// `DiskFile::len`.
    Len,
    /// `DiskFile::read_at`.
    Read,
    /// `DiskFile::write_at`.
    Write,
    /// `DiskFile::allocate`.
    Allocate,
    /// `DiskFile::set_len`.
    SetLen,
    /// `DiskFile::sync_data` and `DiskFile::sync_all`.
    Sync,
}

/// The calls a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The call with this number; the first of the disk has number 1.
    Operation(u64),
    /// The n-th call of a kind from now on; 1 is the next one.
    Nth(Call, u64),
    /// Every call of a kind from now on.
    Every(Call),
}

impl From<u64> for When {
    fn from(operation: u64) -> Self {
        Self::Operation(operation)
    }
}

/// What happens instead of the call. A call that fails has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// EIO. A sync that fails so has lost nothing; see [`LostSync`](Self::LostSync).
    Io,
    /// ENOSPC.
    NoSpace,
    /// EDQUOT.
    Quota,
    /// Another error, that loses nothing.
    Refused(Errno),
    /// EINTR.
    Interrupted,
    /// A read or write of at most so many bytes. No fault for other calls.
    Short(usize),
    /// A sync that fails with EIO and loses what it should have written: the process goes on reading its unsynced
    /// writes, later syncs succeed, and after a power cut the writes are gone. Linux does this. EIO for other calls.
    LostSync,
}

/// What a call that is not refused may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All it is asked.
    Whole,
    /// Move this many bytes.
    AtMost(usize),
    /// Lose what is unsynced, and report EIO.
    LoseSync,
}

impl Verdict {
    /// How many bytes a read or write may move.
    pub(super) fn most(self) -> usize {
        match self {
            Self::AtMost(bytes) => bytes,
            Self::Whole | Self::LoseSync => usize::MAX,
        }
    }
}

/// The calls made and the faults to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: u64,
    by_kind: BTreeMap<Call, u64>,
    /// The count in [`When::Nth`] is of all calls of the kind here.
    planned: Vec<(When, FaultKind)>,
    crash_at: Option<u64>,
    crashed: bool,
}

impl Faults {
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn has_crashed(&self) -> bool {
        self.crashed
    }

    pub(super) fn crash_at(&mut self, operation: u64) {
        self.crash_at = Some(operation);
    }

    pub(super) fn add(&mut self, when: When, fault: FaultKind) {
        let when = match when {
            When::Nth(call, n) => When::Nth(call, self.made(call).saturating_add(n)),
            when => when,
        };
        self.planned.push((when, fault));
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    fn made(&self, call: Call) -> u64 {
        self.by_kind.get(&call).copied().unwrap_or_default()
    }

    /// Counts a call and tells what becomes of it.
    pub(super) fn begin(&mut self, call: Call) -> io::Result<Verdict> {
        if self.crashed || self.crash_at.is_some_and(|at| at <= self.calls + 1) {
            self.crashed = true;
            return Err(io::Error::other("crashed"));
        }
        self.calls += 1;
        *self.by_kind.entry(call).or_default() += 1;
        let (calls, made) = (self.calls, self.made(call));
        let fault = self.planned.iter().find(|(when, _)| match *when {
            When::Operation(number) => number == calls,
            When::Nth(kind, n) => kind == call && n == made,
            When::Every(kind) => kind == call,
        });
        match fault.map(|(_, fault)| *fault) {
            None => Ok(Verdict::Whole),
            Some(FaultKind::Short(bytes)) => Ok(Verdict::AtMost(bytes)),
            Some(FaultKind::LostSync) if matches!(call, Call::Sync | Call::SyncDir) => Ok(Verdict::LoseSync),
            Some(FaultKind::Io | FaultKind::LostSync) => Err(Errno::IO.into()),
            Some(FaultKind::NoSpace) => Err(Errno::NOSPC.into()),
            Some(FaultKind::Quota) => Err(Errno::DQUOT.into()),
            Some(FaultKind::Refused(errno)) => Err(errno.into()),
            Some(FaultKind::Interrupted) => Err(Errno::INTR.into()),
        }
    }
}
