//! Log lines that strangers can cause, held to a bearable number.

use std::time::Duration;

use parking_lot::Mutex;

use crate::time::Moment;

/// Lines of one kind within [`PERIOD`].
const LINES: u32 = 10;

/// See [`LINES`].
const PERIOD: Duration = Duration::from_secs(10);

/// Lets ten lines pass in ten seconds and counts the others.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Moment>,
    said: u32,
    unsaid: u64,
}

impl Throttle {
    /// Whether a line may be said now; with it goes how many were not since the last that was.
    pub fn admit(&self, now: Moment) -> Option<u64> {
        let mut window = self.0.lock();
        if window.began.is_none_or(|began| now.since(began) >= PERIOD) {
            (window.began, window.said) = (Some(now), 0);
        }
        if window.said == LINES {
            window.unsaid += 1;
            return None;
        }
        window.said += 1;
        Some(std::mem::take(&mut window.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_pass_and_the_next_tells_how_many_did_not() {
        let throttle = Throttle::default();
        for _ in 0..LINES {
            assert_eq!(throttle.admit(Moment(5)), Some(0));
        }
        assert_eq!((throttle.admit(Moment(6)), throttle.admit(Moment(10_004))), (None, None));
        assert_eq!(throttle.admit(Moment(10_005)), Some(2));
        assert_eq!(throttle.admit(Moment(10_006)), Some(0));
    }
}
