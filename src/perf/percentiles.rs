//! How long things took: a histogram, and what is told of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::clock::nanos;
use super::error::PerfError;

/// Longest time that is told apart; what takes longer counts as this long.
const LONGEST: Duration = Duration::from_secs(3600);

/// Digits that are kept of each time.
const DIGITS: u8 = 3;

/// Times, to three digits of nanoseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

/// Percentiles of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many times there are; all others are 0 if this is.
    pub count: u64,
    /// The mean.
    pub mean_us: f64,
    /// The shortest.
    pub min_us: f64,
    /// Half of them are not longer.
    pub p50_us: f64,
    /// 90 of 100 are not longer.
    pub p90_us: f64,
    /// 99 of 100 are not longer.
    pub p99_us: f64,
    /// 999 of 1,000 are not longer.
    pub p99_9_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Times {
    /// No times yet.
    ///
    /// # Errors
    ///
    /// None that are known: the bounds are valid.
    pub fn new() -> Result<Self, PerfError> {
        let histogram = Histogram::new_with_bounds(1, nanos(LONGEST), DIGITS);
        histogram.map(Self).map_err(|error| PerfError::Plan(format!("no histogram: {error}")))
    }

    /// Adds one, in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Adds those of another thread.
    ///
    /// # Errors
    ///
    /// None that are known: all have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<(), PerfError> {
        self.0.add(&other.0).map_err(|error| PerfError::Plan(format!("no histogram: {error}")))
    }

    /// What is told of them.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        if self.0.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean() / 1000.0,
            min_us: micros(self.0.min()),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: micros(self.0.max()),
        }
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut times = Times::new().expect("a histogram");
        assert_eq!(times.percentiles(), Percentiles::default());
        for micros in 1..=1000 {
            times.record(micros * 1000);
        }
        let told = times.percentiles();
        assert_eq!(told.count, 1000);
        for (value, expected) in [(told.p50_us, 500.0), (told.p99_us, 990.0), (told.max_us, 1000.0)] {
            assert!((value - expected).abs() <= expected / 500.0, "{value} for {expected}");
        }
    }

    #[test]
    fn no_time_is_too_short_or_too_long() {
        let mut times = Times::new().expect("a histogram");
        times.record(0);
        times.record(u64::MAX);
        let mut sum = Times::new().expect("a histogram");
        sum.add(&times).expect("the same bounds");
        let told = sum.percentiles();
        assert_eq!(told.count, 2);
        assert!(told.max_us >= 3.6e9 * 0.99);
    }
}
