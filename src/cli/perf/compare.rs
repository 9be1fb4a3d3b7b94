//! One broker, or two side by side: carries out what a command measures and shows it.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use clap::Args;
use serde::Serialize;

use super::options::BrokerOptions;
use super::progress::{self, Line};
use super::table::{Table, figure};
use super::{Trouble, report};
use crate::perf::compare::{Comparison, Measurement, Report, Side, alternate};
use crate::perf::run::Control;
use crate::perf::url::Url;

/// A second broker.
#[derive(Debug, Args)]
pub(super) struct CompareOptions {
    /// Another broker: runs take turns between the two, and medians and their ratio are shown
    #[arg(long, value_name = "URL", value_parser = Url::parse)]
    compare: Option<Url>,
    /// How often each of the two is measured
    #[arg(long, value_name = "N", default_value_t = 5, requires = "compare",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Pid of the other broker on this machine
    #[arg(long, value_name = "PID", requires = "compare")]
    compare_pid: Option<u32>,
}

/// A comparison as JSON has it.
#[derive(Debug, Serialize)]
struct Found<R> {
    compare_url: String,
    compare_pid: Option<u32>,
    #[serde(flatten)]
    comparison: Comparison<R>,
}

impl CompareOptions {
    /// Measures one broker and returns what was found of it, or both, shows that and returns None.
    pub(super) fn measure<P>(
        &self,
        command: &str,
        plan: &P,
        broker: &BrokerOptions,
        json: Option<&Path>,
    ) -> Result<Option<P::Report>, Trouble>
    where
        P: Measurement,
        P::Progress: Line,
    {
        let target = broker.target()?;
        let stop = progress::stop_on_interrupt();
        let Some(other) = &self.compare else {
            let mut control = Control { stop: &stop, progress: &mut progress::tell() };
            return Ok(Some(plan.measure(&target, &mut control)?));
        };
        let other_target = broker.target_of(other)?;
        let other_plan = plan.with_pid(self.compare_pid);
        let rounds = usize::from(self.rounds);
        let is_stopped = || stop.load(Ordering::Relaxed);
        let comparison = alternate(rounds, is_stopped, |round, side| {
            let (plan, target) = match side {
                Side::First => (plan, &target),
                Side::Second => (&other_plan, &other_target),
            };
            progress::tell_line(|| format!("round {} of {rounds}: {}", round + 1, target.url));
            plan.measure(target, &mut Control { stop: &stop, progress: &mut progress::tell() })
        })?;
        let table = table(&comparison, &target.url, other);
        if comparison.rounds < rounds {
            // Without a console there is nobody to tell.
            let _ =
                writeln!(std::io::stderr(), "leveret: {} of {rounds} rounds were made", comparison.rounds);
        }
        warn_of(&comparison);
        let found = Found { compare_url: other.to_string(), compare_pid: self.compare_pid, comparison };
        report::show(command, Some(&target.url), (plan, &found), &table, json)?;
        Ok(None)
    }
}

/// Tells on standard error in which runs something did not go as it should: medians hide it.
fn warn_of<R: Report>(comparison: &Comparison<R>) {
    for (side, runs) in [("first", &comparison.first), ("second", &comparison.second)] {
        for (round, run) in runs.iter().enumerate() {
            for text in run.faults() {
                // Without a console there is nobody to tell.
                let _ = writeln!(std::io::stderr(), "leveret: round {}, {side}: {text}", round + 1);
            }
        }
    }
}

fn table<R>(comparison: &Comparison<R>, first: &Url, second: &Url) -> Table {
    let mut table = Table::default();
    table.row("first", first.to_string(), "");
    table.row("second", second.to_string(), format!("medians of {} rounds", comparison.rounds));
    for compared in &comparison.compared {
        let (Some(one), Some(other)) = (compared.first, compared.second) else { continue };
        let ratio = compared.ratio.map_or_else(|| "no ratio".to_owned(), |ratio| format!("{ratio:.2} times"));
        table.row(&compared.figure.replace('_', " "), figure(one), format!("{}  {ratio}", figure(other)));
    }
    table
}
