//! How long a file system takes to make a small write durable: what every broker that promises so has to wait for.

#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::clock::nanos;
use super::error::PerfError;
use super::percentiles::{Percentiles, Times};

/// Bytes of each write.
const WRITE: usize = 4096;

/// The most writes that have a place of their own in the file; after so many it begins again.
const PLACES: u64 = 4096;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// A directory on the file system. A file is made in it, and removed.
    pub dir: PathBuf,
    /// How many writes.
    pub count: u64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Bytes of each write.
    pub write_bytes: usize,
    /// A write with its `fdatasync`.
    pub sync: Percentiles,
}

/// Measures: writes of 4 KiB one after the other into a file that is filled with zeros before, each with an `fdatasync`.
/// `stop` ends it early.
///
/// # Errors
///
/// If there is nothing to do, or the file cannot be written.
pub fn run(plan: &Plan, stop: &AtomicBool) -> Result<Report, PerfError> {
    if plan.count == 0 {
        return Err(PerfError::Plan("--count should be 1 at least".to_owned()));
    }
    let failed = |error| PerfError::File { path: plan.dir.clone(), error };
    let mut file = tempfile::Builder::new().prefix("leveret-perf-").tempfile_in(&plan.dir).map_err(failed)?;
    let places = plan.count.min(PLACES);
    for _ in 0..places {
        file.write_all(&[0; WRITE]).map_err(failed)?;
    }
    let file = file.as_file();
    file.sync_all().map_err(failed)?;
    let mut times = Times::new()?;
    let block = [0xA5; WRITE];
    for number in 0..plan.count {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        file.write_all_at(&block, number % places * WRITE as u64).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        times.record(nanos(began.elapsed()));
    }
    Ok(Report { write_bytes: WRITE, sync: times.percentiles() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_is_timed_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let plan = Plan { dir: dir.path().to_owned(), count: 20 };
        let report = run(&plan, &AtomicBool::new(false)).expect("a report");
        assert_eq!(report.sync.count, 20);
        assert!(report.sync.min_us > 0.0 && report.sync.max_us >= report.sync.p50_us);
        assert_eq!(dir.path().read_dir().expect("a directory").count(), 0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let stop = AtomicBool::new(false);
        let error = run(&Plan { dir: "/nonexistent".into(), count: 1 }, &stop).expect_err("no directory");
        assert!(error.to_string().contains("/nonexistent"), "{error}");
        assert!(run(&Plan { dir: "/".into(), count: 0 }, &stop).is_err());
    }
}
