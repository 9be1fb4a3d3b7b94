//! Time within a run: nanoseconds since it began, and waiting until a moment.

#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

use std::num::NonZero;
use std::time::{Duration, Instant};

/// How long before a moment a sleep ends and the rest is waited for by looking at the clock: a thread that slept is woken
/// some tens of microseconds late.
pub const SPIN: Duration = Duration::from_micros(60);

/// The clock of a run, shared by its threads. Monotonic.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// How long it has been running.
    #[inline]
    #[must_use]
    pub fn now(self) -> Duration {
        self.origin.elapsed()
    }

    /// The same in nanoseconds, as messages carry it.
    #[inline]
    #[must_use]
    pub fn nanos(self) -> u64 {
        nanos(self.now())
    }
}

/// A duration in nanoseconds; as many as there can be if it is over 584 years.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Lets the calling thread's timers fire when they are due, instead of up to 50 microseconds later. Without it, as on
/// systems other than Linux, [`SPIN`] covers most of that.
pub fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(NonZero::new(1));
}
