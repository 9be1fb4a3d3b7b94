//! `leveret perf latency`.

use clap::Args;

use super::compare::CompareOptions;
use super::options::{BrokerOptions, JsonOption, LoadOptions, TimingOptions};
use super::relay::{self, RelayOption};
use super::table::{Table, grouped, micros};
use super::throughput::warn;
use super::{Trouble, report};
use crate::perf::floor::{Floor, WithFloor};
use crate::perf::latency::{Plan, Report};

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
    compare: CompareOptions,
    #[command(flatten)]
    relay: RelayOption,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Measures, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let plan = Plan {
            load: self.load.load(),
            timing: self.timing.timing(),
            rate: self.rate,
            pid: self.broker.pid,
        };
        let floor = self.relay.plan(&plan.load, &plan.timing, Some(plan.rate))?;
        let json = self.json.json.as_deref();
        let Some(found) = self.compare.measure("latency", &plan, &self.broker, json)? else { return Ok(()) };
        let mut table = table(&found);
        let relay = floor.map(|floor| relay::measure(&floor)).transpose()?;
        let relay = relay.map(|relay| Floor::of_latency(relay, &found));
        if let Some(floor) = &relay {
            let times = floor.report.latency.unwrap_or_default();
            let more = |multiple: Option<f64>| {
                multiple.map_or_else(String::new, |multiple| {
                    format!("the broker takes {multiple:.1} times as long")
                })
            };
            table.row("relay p50", micros(times.p50_us), more(floor.p50_multiple));
            table.row("relay p99", micros(times.p99_us), more(floor.p99_multiple));
        }
        let found = WithFloor { report: found, relay };
        report::show("latency", Some(&self.broker.url), (&plan, &found), &table, json)?;
        warn(&found.report);
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
