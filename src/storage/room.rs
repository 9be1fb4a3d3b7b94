//! The room on the disk: how much is left, and a reserve for when nothing is.
//!
//! The reserve is a file that only takes space. When a write meets a full disk the file is removed, so that what
//! consumers settle, a checkpoint and a shutdown are still written while publishers are blocked. It is made again when
//! there is enough room.
//!
//! Publishers are to be blocked before that, by the alarm. Whoever watches the disk sets it and clears it; the writer
//! sets it too when it finds less free than the limit, since a fast one fills a small disk between two looks.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::storage::disk::{Disk, Open, Space, may_pass};
use crate::storage::options::JournalOptions;

/// The name of the reserve's file.
pub const RESERVE_NAME: &str = "reserve";

/// The most that the reserve takes.
const LARGEST_RESERVE: u64 = 16 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Room {
    disk: Arc<dyn Disk>,
    /// Bytes of the reserve.
    size: u64,
    /// Locked while the file is made or removed.
    reserve: Mutex<Reserve>,
    /// Free bytes below which the alarm is set; 0 until a watch tells.
    limit: AtomicU64,
    alarm: Arc<AtomicBool>,
}

/// What is known of the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserve {
    /// It was not looked for yet, or the disk did not take it.
    Missing,
    /// It is there.
    Held,
    /// It was given up to a full disk.
    Spent,
    /// It cannot be made, for a reason that does not pass.
    Impossible,
}

impl Room {
    /// The room on `disk`, for a journal with these options. Does not touch the disk.
    pub(super) fn new(disk: Arc<dyn Disk>, options: &JournalOptions) -> Self {
        let size = LARGEST_RESERVE.min(options.file_size / 4);
        let reserve = Mutex::new(Reserve::Missing);
        Self { disk, size, reserve, limit: AtomicU64::new(0), alarm: Arc::default() }
    }

    /// The size of the disk and what is free of it.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }

    /// The alarm: whether publishers are to be blocked.
    #[must_use]
    pub fn alarm(&self) -> Arc<AtomicBool> {
        self.alarm.clone()
    }

    /// Whether the alarm is on.
    #[must_use]
    pub fn is_alarmed(&self) -> bool {
        self.alarm.load(Ordering::Acquire)
    }

    /// Sets the free bytes below which a write raises the alarm; 0 is never.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Raises the alarm if less is free than the limit. For whoever has just taken some of it.
    pub fn check_limit(&self) {
        let limit = self.limit.load(Ordering::Relaxed);
        let may_raise = limit > 0 && !self.alarm.load(Ordering::Relaxed);
        if may_raise && self.disk.space().is_ok_and(|space| space.free < limit) {
            self.alarm.store(true, Ordering::Release);
        }
    }

    /// Gives the reserve up, because a write met a full disk, and raises the alarm. Returns whether there was one: then the write is worth
    /// another try at once.
    pub fn release_reserve(&self) -> bool {
        let mut reserve = self.reserve.lock();
        // That the name is gone need not be durable: the next start takes a reserve that came back.
        match self.disk.remove(RESERVE_NAME) {
            Ok(()) => {
                *reserve = Reserve::Spent;
                self.alarm.store(true, Ordering::Release);
                tracing::warn!(bytes = self.size, "the disk is full; the reserve is used");
                true
            }
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => {
                tracing::warn!(%error, "the reserve cannot be removed");
                false
            }
        }
    }

    /// Whether the reserve was given up and not made again since.
    #[must_use]
    pub fn is_reserve_spent(&self) -> bool {
        *self.reserve.lock() == Reserve::Spent
    }

    /// Makes the reserve if it is missing, and if of `free` bytes at least `keep` are free afterwards. Blocks while
    /// zeros are written. Returns whether it was made.
    ///
    /// # Errors
    /// If it cannot be made for a reason that [does not pass](may_pass). It is not tried again then.
    pub fn restore_reserve(&self, free: u64, keep: u64) -> io::Result<bool> {
        let mut reserve = self.reserve.lock();
        if matches!(*reserve, Reserve::Held | Reserve::Impossible) {
            return Ok(false);
        }
        let made = self.make(free, keep);
        *reserve = match &made {
            Ok(true) => Reserve::Held,
            Ok(false) => *reserve,
            Err(_) => Reserve::Impossible,
        };
        made
    }

    /// Whether the file is there with its full length afterwards. It is not synced: if a crash cuts it, it is made
    /// again.
    fn make(&self, free: u64, keep: u64) -> io::Result<bool> {
        let found = match self.disk.open(RESERVE_NAME, Open::Write) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) if may_pass(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let there = match &found {
            Some(file) => file.len()?,
            None => 0,
        };
        let missing = self.size.saturating_sub(there);
        if missing > 0 && free < keep.saturating_add(missing) {
            return Ok(false);
        }
        let file = match found {
            Some(file) => file,
            None => match self.disk.open(RESERVE_NAME, Open::Create) {
                Err(error) if may_pass(&error) => return Ok(false),
                file => file?,
            },
        };
        if there > self.size {
            file.set_len(self.size)?;
        }
        match file.allocate(self.size) {
            Ok(()) => Ok(true),
            Err(error) => {
                drop(file);
                match self.disk.remove(RESERVE_NAME) {
                    // What there is of it is made longer the next time.
                    Err(left) if !may_pass(&left) => Err(left),
                    _ if may_pass(&error) => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::storage::simulated_disk::{Call, Crash, FaultKind, SimulatedDisk, When};

    const SIZE: u64 = 1000;

    fn room(disk: &SimulatedDisk) -> Room {
        let options = JournalOptions { file_size: 4 * SIZE, ..JournalOptions::default() };
        Room::new(Arc::new(disk.clone()), &options)
    }

    fn disk_of(capacity: u64) -> SimulatedDisk {
        let disk = SimulatedDisk::new(1);
        disk.set_capacity(capacity);
        disk
    }

    fn len(disk: &SimulatedDisk) -> Option<usize> {
        disk.snapshot().get(RESERVE_NAME).map(Vec::len)
    }

    #[test]
    fn it_is_made_given_up_and_made_again() {
        let disk = disk_of(5000);
        let room = room(&disk);
        assert!(!room.release_reserve() && !room.is_reserve_spent(), "there is none yet");
        assert!(room.restore_reserve(5000, 4000).unwrap());
        assert_eq!((len(&disk), room.space().unwrap().free), (Some(1000), 4000));
        assert!(!room.restore_reserve(4000, 0).unwrap(), "it is there");

        assert!(room.release_reserve() && room.is_reserve_spent());
        assert_eq!((len(&disk), room.space().unwrap().free), (None, 5000));
        assert!(!room.release_reserve() && room.is_reserve_spent());

        assert!(!room.restore_reserve(4999, 4000).unwrap());
        assert_eq!(len(&disk), None);
        assert!(room.is_reserve_spent());
        assert!(room.restore_reserve(5000, 4000).unwrap());
        assert!(!room.is_reserve_spent());
        assert_eq!(len(&disk), Some(1000));
    }

    #[test]
    fn the_alarm_is_raised_below_the_limit_and_when_the_reserve_goes() {
        let disk = disk_of(1000);
        let room = room(&disk);
        let alarm = room.alarm();
        let is_raised = || {
            room.check_limit();
            alarm.swap(false, Ordering::Relaxed)
        };
        assert!(!is_raised(), "there is no limit yet");
        room.set_limit(1000);
        assert!(!is_raised());
        room.set_limit(1001);
        assert!(is_raised() && is_raised());
        room.set_limit(0);
        assert!(room.restore_reserve(1000, 0).unwrap() && !is_raised());
        assert!(room.release_reserve() && is_raised());
        room.set_limit(1001);
        disk.fail(When::Every(Call::Space), FaultKind::Io);
        assert!(!is_raised());
    }

    #[test]
    fn one_that_is_there_is_taken_whatever_is_free() {
        for (left, free, taken) in [(1000, 0, true), (1700, 0, true), (600, 499, false), (600, 500, true)] {
            let disk = SimulatedDisk::new(1);
            disk.open(RESERVE_NAME, Open::Create).unwrap().allocate(left).unwrap();
            assert_eq!(room(&disk).restore_reserve(free, 100).unwrap(), taken, "{left} {free}");
            assert_eq!(len(&disk), Some(if taken { 1000 } else { left as usize }));
        }
    }

    #[test]
    fn one_that_was_not_looked_for_is_given_up_too() {
        let disk = SimulatedDisk::new(1);
        disk.open(RESERVE_NAME, Open::Create).unwrap().allocate(SIZE).unwrap();
        let room = room(&disk);
        assert!(room.release_reserve() && room.is_reserve_spent());
    }

    #[test]
    fn a_full_disk_is_no_error_and_leaves_nothing_behind() {
        let disk = disk_of(500);
        let room = room(&disk);
        // Somebody else took what was free.
        assert!(!room.restore_reserve(1 << 30, 0).unwrap());
        assert_eq!(len(&disk), None);
        disk.fail(When::Nth(Call::Open, 2), FaultKind::Quota);
        assert!(!room.restore_reserve(1 << 30, 0).unwrap());
        disk.set_capacity(1000);
        assert!(room.restore_reserve(1 << 30, 0).unwrap());
    }

    #[test]
    fn a_disk_that_takes_nothing_for_now_is_tried_again() {
        for errno in [Errno::ROFS, Errno::FBIG, Errno::MFILE] {
            for calls in [&[Call::Open][..], &[Call::Allocate], &[Call::Allocate, Call::Remove]] {
                let disk = disk_of(1000);
                let room = room(&disk);
                let refuse = |call: &Call| disk.fail(When::Every(*call), FaultKind::Refused(errno));
                calls.iter().for_each(refuse);
                assert!(!room.restore_reserve(1000, 0).unwrap(), "{errno} of {calls:?}");
                disk.clear_faults();
                assert!(room.restore_reserve(1000, 0).unwrap(), "{errno} of {calls:?}");
                assert_eq!(len(&disk), Some(1000));
            }
        }
    }

    #[test]
    fn another_error_is_told_once_and_blocks_nobody() {
        for call in [Call::Open, Call::Len, Call::Allocate] {
            let disk = SimulatedDisk::new(1);
            let room = room(&disk);
            disk.open(RESERVE_NAME, Open::Create).unwrap();
            assert!(room.release_reserve());
            disk.open(RESERVE_NAME, Open::Create).unwrap();
            disk.fail(When::Every(call), FaultKind::Io);
            assert!(room.restore_reserve(1 << 30, 0).is_err(), "{call:?}");
            assert!(!room.is_reserve_spent());
            disk.clear_faults();
            assert!(!room.restore_reserve(1 << 30, 0).unwrap());
        }
        let disk = disk_of(1000);
        let room = room(&disk);
        assert!(room.restore_reserve(1000, 0).unwrap());
        disk.fail(When::Nth(Call::Remove, 1), FaultKind::Io);
        assert!(!room.release_reserve());
        assert!(room.release_reserve());
    }

    #[test]
    fn whatever_a_crash_leaves_of_it_is_used() {
        let disk = disk_of(3000);
        assert!(room(&disk).restore_reserve(3000, 0).unwrap());
        for how in Crash::EACH {
            let after = disk.after_crash(how);
            assert!(room(&after).restore_reserve(3000, 0).unwrap(), "{how:?}");
            assert_eq!(len(&after), Some(1000));
        }
    }
}
