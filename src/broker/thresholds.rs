//! From where on there is too little memory, or too little room on the disk: as the configuration says at the start, and
//! as somebody says while the broker runs, until it ends. Those who watch both look here.

use parking_lot::Mutex;

/// How little free space on the disk is too little.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FreeLimit {
    /// [2 GiB](Self::USUAL), or a [twentieth](Self::SHARE) of the disk if that is less.
    Auto,
    /// This part of the disk, from 0 to 1. 0 is never.
    Fraction(f64),
    /// Bytes. 0 is never.
    Bytes(u64),
}

impl FreeLimit {
    /// The most that [`Auto`](Self::Auto) is: 2 GiB.
    pub const USUAL: u64 = 2 << 30;

    /// The disk divided by this is the most that [`Auto`](Self::Auto) is.
    pub const SHARE: u64 = 20;

    /// The limit in bytes on a disk of `total` bytes; 0 is never.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Auto => Self::USUAL.min(total / Self::SHARE),
            // A fraction of a disk need not be exact, and a part of a u64 is one.
            Self::Fraction(part) => (total as f64 * part) as u64,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Thresholds {
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    watermark: u64,
    machine: Option<u64>,
    free: FreeLimit,
}

impl Default for Thresholds {
    /// No limit of memory, and what is usual for the disk.
    fn default() -> Self {
        Self { known: Mutex::new(Known { watermark: 0, machine: None, free: FreeLimit::Auto }) }
    }
}

impl Thresholds {
    /// What the configuration says: bytes of memory above which publishers are blocked, of how many the machine or
    /// container has if that is known, and how little may be free on the disk.
    pub fn begin(&self, watermark: u64, machine: Option<u64>, free: FreeLimit) {
        *self.known.lock() = Known { watermark, machine, free };
    }

    /// Bytes of memory above which publishers are blocked; 0 is never.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.known.lock().watermark
    }

    /// Sets them.
    pub fn set_memory(&self, bytes: u64) {
        self.known.lock().watermark = bytes;
    }

    /// How little may be free on the disk.
    #[must_use]
    pub fn disk(&self) -> FreeLimit {
        self.known.lock().free
    }

    /// Sets it.
    pub fn set_disk(&self, limit: FreeLimit) {
        self.known.lock().free = limit;
    }

    /// So much of the machine's memory, in bytes; `None` if that is not known.
    #[must_use]
    pub fn of_machine(&self, part: f64) -> Option<u64> {
        let machine = self.known.lock().machine?;
        // A part of memory need not be exact, and what is too large is the largest.
        Some((machine as f64 * part) as u64)
    }
}
