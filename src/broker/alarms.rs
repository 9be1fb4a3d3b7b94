//! Alarms: while one is on, connections that publish are blocked; consumers go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of all alarms.
#[derive(Debug, Default)]
pub struct Alarms {
    memory: AtomicBool,
    disk: Arc<AtomicBool>,
    /// The disk alarm was on when it was looked at last: storage raises it by itself.
    disk_noted: AtomicBool,
}

impl Alarms {
    /// No memory alarm, and the disk alarm that storage raises as well.
    pub(super) fn new(disk: Arc<AtomicBool>) -> Self {
        Self { disk, ..Self::default() }
    }

    /// Why publishers are blocked now, in RabbitMQ's words, if they are.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match (self.memory.load(Ordering::Acquire), self.disk.load(Ordering::Acquire)) {
            (false, false) => None,
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (true, true) => Some("low on memory & disk"),
        }
    }

    /// Whether the memory alarm is on.
    #[must_use]
    pub fn is_memory_on(&self) -> bool {
        self.memory.load(Ordering::Acquire)
    }

    /// Whether the disk alarm is on.
    #[must_use]
    pub fn is_disk_on(&self) -> bool {
        self.disk.load(Ordering::Acquire)
    }

    /// Sets the disk alarm. Returns whether that changed it.
    pub(super) fn set_disk(&self, on: bool) -> bool {
        self.disk.swap(on, Ordering::AcqRel) != on
    }

    /// Notes that the disk alarm is on or off. Returns whether that is news, whoever has set it.
    pub(super) fn note_disk(&self, on: bool) -> bool {
        self.disk_noted.swap(on, Ordering::AcqRel) != on
    }

    /// Sets the memory alarm. Returns whether that changed it; then the connections have to be woken.
    pub(super) fn set_memory(&self, on: bool) -> bool {
        self.memory.swap(on, Ordering::AcqRel) != on
    }
}
