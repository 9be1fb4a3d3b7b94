//! The one place that reads a clock.
#![allow(clippy::disallowed_methods, reason = "this is where the clock is read")]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Moment, Now};

static START: OnceLock<(Instant, Duration)> = OnceLock::new();

/// When the process began to count, on both clocks.
fn start() -> (Instant, Duration) {
    *START.get_or_init(|| (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// The time now. Read it once per batch.
#[must_use]
pub fn now() -> Now {
    // One second ahead, so that a moment is never zero and intervals before the start can be told.
    let (start, unix) = start();
    let elapsed = start.elapsed();
    Now { moment: Moment(millis(elapsed + Duration::from_secs(1))), unix_ms: millis(unix + elapsed) }
}

/// Milliseconds since 1970, as [`now`] has them.
#[must_use]
pub fn unix_ms() -> u64 {
    now().unix_ms
}

/// Milliseconds since 1970 as the system's clock has them now, for comparison with what other machines wrote. It may jump.
#[must_use]
pub fn system_unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The tokio instant at which `moment` is reached.
#[must_use]
pub fn instant(moment: Moment) -> tokio::time::Instant {
    let since_start = Duration::from_millis(moment.0).saturating_sub(Duration::from_secs(1));
    let far = Duration::from_secs(30 * 365 * 24 * 3600);
    (start().0 + since_start.min(far)).into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
