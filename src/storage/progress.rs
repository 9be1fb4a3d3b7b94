//! How far a start is that takes long.

use std::time::{Duration, Instant};

/// Between lines in the log.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between looks at the clock, in bytes.
const STEP: u64 = 1024 * 1024;

/// Logs once a second how much of the journal is read.
pub(super) struct Progress {
    of: u64,
    /// Bytes of the files that are done.
    before: u64,
    next_look: u64,
    told: Instant,
}

impl Progress {
    /// Begins to read `of` bytes.
    pub(super) fn new(of: u64) -> Self {
        Self { of, before: 0, next_look: STEP, told: now() }
    }

    /// So far is the file that is being read.
    pub(super) fn is_at(&mut self, at: u64) {
        let bytes = self.before.saturating_add(at);
        if bytes < self.next_look {
            return;
        }
        self.next_look = bytes + STEP;
        let now = now();
        if now.duration_since(self.told) >= INTERVAL {
            self.told = now;
            let of = self.of;
            tracing::info!(bytes, of, "reading the journal");
        }
    }

    /// A file of so many bytes is done.
    pub(super) fn file_done(&mut self, len: u64) {
        self.before = self.before.saturating_add(len);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "only how long a start takes is asked, by the thread that starts"
)]
fn now() -> Instant {
    Instant::now()
}
