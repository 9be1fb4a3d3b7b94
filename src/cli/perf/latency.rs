//! `leveret perf latency`.

use clap::Args;

use super::options::{BrokerOptions, JsonOption, LoadOptions, TimingOptions};
use super::table::{Table, grouped};
use super::throughput::warn;
use super::{Trouble, progress, report};
use crate::perf::latency::{self, Plan, Report};
use crate::perf::run::Control;

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    timing: TimingOptions,
    /// Messages a second of all publishers together
    #[arg(long, value_name = "N", default_value_t = 1000.0)]
    rate: f64,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Measures, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let target = self.broker.target()?;
        let plan = Plan {
            load: self.load.load(),
            timing: self.timing.timing(),
            rate: self.rate,
            pid: self.broker.pid,
        };
        let stop = progress::stop_on_interrupt();
        let mut control = Control { stop: &stop, progress: &mut progress::tell() };
        let found = latency::run(&plan, &target, &mut control)?;
        let table = table(&found);
        report::show("latency", Some(&target.url), (&plan, &found), &table, self.json.json.as_deref())?;
        warn(&found.total, found.blocked.as_deref());
        Ok(())
    }
}

fn table(found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    table.row("measured", format!("{:.2} s", found.seconds), "");
    table.row("messages", grouped(found.latency.count as f64), "");
    table.percentiles("latency", &found.latency);
    if let Some(times) = &found.confirm_latency {
        table.percentiles("confirm", times);
    }
    if let Some(usage) = &found.broker_process {
        table.usage("broker", usage, true);
    }
    table.usage("client", &found.client_process, false);
    table
}
