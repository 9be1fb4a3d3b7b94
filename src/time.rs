//! Time as a value. Nothing below `server` reads a clock; whoever calls passes the [`Now`] it read once per batch, or
//! gave a [`Clock`] before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A moment on the broker's monotonic clock, in milliseconds since the process began to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `by` later; saturates, so a huge timeout means never.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// That much earlier, but not before the clock began.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The time as one batch of work sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For intervals and deadlines: never goes back.
    pub moment: Moment,
    /// Milliseconds since 1970, for what people and other programs read, and for what outlives the process. Runs with
    /// the monotonic clock from what the system's said at the start.
    pub unix_ms: u64,
}

/// Where the broker reads the time that no batch brings along: what waits in queues has deadlines.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Reads it, in milliseconds since 1970.
    Read(fn() -> u64),
    /// A made-up time that somebody sets.
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// Milliseconds since 1970.
    #[inline]
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match self {
            Self::Read(read) => read(),
            Self::Set(time) => time.load(Ordering::Relaxed),
        }
    }
}

impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Read(_), Self::Read(_)) => true,
            (Self::Set(a), Self::Set(b)) => a.load(Ordering::Relaxed) == b.load(Ordering::Relaxed),
            _ => false,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::Set(Arc::new(AtomicU64::new(Now::at(0).unix_ms)))
    }
}

impl Now {
    /// A made-up time, for tests and simulations.
    #[must_use]
    pub const fn at(ms: u64) -> Self {
        Self { moment: Moment(ms), unix_ms: 1_700_000_000_000 + ms }
    }
}
