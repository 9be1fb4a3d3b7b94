//! Time as a value. Nothing below `server` reads a clock; whoever calls passes the [`Now`] it read once per batch.

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
    /// Milliseconds since 1970, for what people and other programs read. May jump.
    pub unix_ms: u64,
}

impl Now {
    /// A made-up time, for tests and simulations.
    #[must_use]
    pub const fn at(ms: u64) -> Self {
        Self { moment: Moment(ms), unix_ms: 1_700_000_000_000 + ms }
    }
}
