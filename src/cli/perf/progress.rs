//! How a run is going: a line a second on a terminal, and the wish to end it.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::table::grouped;
use crate::perf::crew::Tally;
use crate::perf::run::{Phase, Progress};

/// The exit code after a second interrupt, as shells have it.
const INTERRUPTED: i32 = 130;

/// Set when somebody wants what is being done to end, the same in the whole program: with the first interrupt it ends well, with the second at once.
pub(super) fn stop_on_interrupt() -> Arc<AtomicBool> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    STOP.get_or_init(listen).clone()
}

fn listen() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    // Without it an interrupt ends the program as it would any other.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return stop };
    let listen = move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                set.store(true, Ordering::Relaxed);
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(INTERRUPTED);
            }
        });
    };
    let _ = std::thread::Builder::new().name("interrupts".to_owned()).spawn(listen);
    stop
}

/// What can be told in a line.
pub(super) trait Line {
    /// The line.
    fn line(&self) -> String;
}

/// Tells how a run is going, if there is a terminal to tell it on.
pub(super) fn tell<P: Line>() -> impl FnMut(&P) {
    move |progress| tell_line(|| progress.line())
}

/// Tells a line, if there is a terminal to tell it on.
pub(super) fn tell_line(line: impl FnOnce() -> String) {
    if io::stderr().is_terminal() {
        // Without a console there is nobody to tell.
        let _ = writeln!(io::stderr(), "{}", line());
    }
}

impl Line for Progress {
    fn line(&self) -> String {
        line(self)
    }
}

impl Line for Tally {
    fn line(&self) -> String {
        format!(
            "{:>5.0} s  {:<9} {:>11}  {:>11}/s",
            self.elapsed.as_secs_f64(),
            self.what,
            grouped(self.done as f64),
            grouped(self.per_second),
        )
    }
}

fn line(progress: &Progress) -> String {
    let phase = match progress.phase {
        Phase::WarmUp => "warm-up",
        Phase::Measure => "measure",
        Phase::Drain => "drain",
    };
    let blocked = progress.blocked.as_ref().map(|reason| format!("  blocked: {reason}")).unwrap_or_default();
    format!(
        "{:>5.0} s  {phase:<8} published {:>11}/s  confirmed {:>11}/s  consumed {:>11}/s{blocked}",
        progress.elapsed.as_secs_f64(),
        grouped(progress.published),
        grouped(progress.confirmed),
        grouped(progress.consumed),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_tells_rates_and_why_there_are_none() {
        let progress = Progress {
            phase: Phase::Measure,
            elapsed: Duration::from_secs(3),
            published: 1_234_567.8,
            confirmed: 0.0,
            consumed: 999.0,
            blocked: Some("low on memory".to_owned()),
        };
        let line = line(&progress);
        for part in ["3 s", "measure", "1,234,568/s", " 0/s", " 999/s", "blocked: low on memory"] {
            assert!(line.contains(part), "{line}");
        }
    }
}
