//! Threads that do the same work side by side, and somebody who watches them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::Duration;

use super::clock::Clock;
use super::error::PerfError;
use super::run::Control;

/// How often progress is told.
const TELL: Duration = Duration::from_secs(1);

/// How often to look whether the threads have ended, or should.
const LOOK: Duration = Duration::from_millis(2);

/// How work that is counted in one number is going.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// What is counted, as `opened`.
    pub what: &'static str,
    /// Time since the work began.
    pub elapsed: Duration,
    /// How many there are by now.
    pub done: u64,
    /// How many a second, since the last time.
    pub per_second: f64,
}

/// What the threads have in common.
#[derive(Debug)]
pub struct Floor {
    /// Began with the work.
    pub clock: Clock,
    done: AtomicU64,
    stop: AtomicBool,
}

impl Floor {
    /// Whether to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Notes so much as done.
    pub fn add(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Sleeps until a moment, or until it is time to end.
    pub fn sleep_until(&self, moment: Duration) {
        while !self.is_stopped() {
            let left = moment.saturating_sub(self.clock.now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

/// Has `work` done by so many threads, each with its number, and returns what they return in the order of their numbers.
/// They are told to end when the run is to be stopped, or one of them fails.
///
/// # Errors
///
/// The first failure of a thread.
pub fn work<T: Send>(
    threads: usize,
    what: &'static str,
    control: &mut Control<'_, Tally>,
    work: impl Fn(&Floor, usize) -> Result<T, PerfError> + Sync,
) -> Result<Vec<T>, PerfError> {
    let floor = Floor { clock: Clock::start(), done: AtomicU64::new(0), stop: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        let (floor, work) = (&floor, &work);
        let run = move |number| {
            let done = catch_unwind(AssertUnwindSafe(|| work(floor, number)));
            let done = done.unwrap_or(Err(PerfError::Panicked("thread")));
            if done.is_err() {
                floor.stop.store(true, Ordering::Relaxed);
            }
            done
        };
        let mut started = Vec::with_capacity(threads);
        let mut failed = None;
        for number in 0..threads {
            match Builder::new().name(what.to_owned()).spawn_scoped(scope, move || run(number)) {
                Ok(thread) => started.push(thread),
                Err(error) => {
                    floor.stop.store(true, Ordering::Relaxed);
                    failed = Some(PerfError::Thread(error));
                    break;
                }
            }
        }
        let mut told = (Duration::ZERO, 0);
        while !started.iter().all(|thread| thread.is_finished()) {
            if control.stop.load(Ordering::Relaxed) {
                floor.stop.store(true, Ordering::Relaxed);
            }
            std::thread::sleep(LOOK);
            let now = floor.clock.now();
            if now >= told.0 + TELL {
                let done = floor.done.load(Ordering::Relaxed);
                let per_second = (done - told.1) as f64 / (now - told.0).as_secs_f64();
                (control.progress)(&Tally { what, elapsed: now, done, per_second });
                told = (now, done);
            }
        }
        let ended =
            started.into_iter().map(|thread| thread.join().unwrap_or(Err(PerfError::Panicked("thread"))));
        let done: Result<Vec<T>, PerfError> = ended.collect();
        failed.map_or(done, Err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_stop<T>(stop: &AtomicBool, then: impl FnOnce(&mut Control<'_, Tally>) -> T) -> T {
        then(&mut Control { stop, progress: &mut |_| {} })
    }

    #[test]
    fn results_come_in_order_and_one_failure_ends_all() {
        let stop = AtomicBool::new(false);
        let all = with_stop(&stop, |control| work(3, "counted", control, |_, number| Ok(number * 2)));
        assert_eq!(all.expect("results"), [0, 2, 4]);
        let failing = |floor: &Floor, number| {
            if number == 1 {
                return Err(PerfError::HungUp("a test"));
            }
            floor.sleep_until(Duration::MAX);
            Ok(())
        };
        let error = with_stop(&stop, |control| work(3, "counted", control, failing)).expect_err("a failure");
        assert!(matches!(error, PerfError::HungUp("a test")), "{error}");
        let panicking = |_: &Floor, _| -> Result<(), PerfError> { panic!("as a test wants it") };
        let error = with_stop(&stop, |control| work(1, "counted", control, panicking)).expect_err("a panic");
        assert!(matches!(error, PerfError::Panicked(_)), "{error}");
    }

    #[test]
    fn an_order_from_outside_ends_all() {
        let stop = AtomicBool::new(true);
        let waiting = |floor: &Floor, _| {
            floor.sleep_until(Duration::MAX);
            Ok(floor.is_stopped())
        };
        let ended = with_stop(&stop, |control| work(2, "counted", control, waiting));
        assert_eq!(ended.expect("results"), [true, true]);
    }
}
