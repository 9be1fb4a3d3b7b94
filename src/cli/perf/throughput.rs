//! `leveret perf throughput`.

use std::io::Write as _;

use clap::Args;

use super::compare::CompareOptions;
use super::options::{BrokerOptions, JsonOption, LoadOptions, TimingOptions};
use super::relay::{self, RelayOption};
use super::table::{Table, grouped};
use super::{Trouble, report};
use crate::perf::compare;
use crate::perf::floor::{Floor, WithFloor};
use crate::perf::load::Load;
use crate::perf::throughput::{Plan, Report};

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    timing: TimingOptions,
    /// Messages a second of all publishers together [default: as many as they can]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
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
        let floor = self.relay.plan(&plan.load, &plan.timing, None)?;
        let json = self.json.json.as_deref();
        let Some(found) = self.compare.measure("throughput", &plan, &self.broker, json)? else {
            return Ok(());
        };
        let mut table = table(&plan.load, &found);
        let relay = floor.map(|floor| relay::measure(&floor)).transpose()?;
        let relay = relay.map(|relay| Floor::of_throughput(relay, &found));
        if let Some(floor) = &relay {
            let more = match floor.cpu_multiple {
                Some(multiple) => format!("the broker takes {multiple:.1} times the CPU"),
                None => "the broker's CPU is not known".to_owned(),
            };
            let per = floor.report.relay_process.messages_per_cpu_second.unwrap_or_default();
            table.row("relay", format!("{}/CPU s", grouped(per)), more);
        }
        let found = WithFloor { report: found, relay };
        report::show("throughput", Some(&self.broker.url), (&plan, &found), &table, json)?;
        warn(&found.report);
        Ok(())
    }
}

pub(super) fn table(load: &Load, found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    table.row("measured", format!("{:.2} s", found.seconds), "");
    if load.publishers > 0 {
        table.count("published", found.counted.published, found.published_per_second);
    }
    if load.confirm > 0 {
        table.count("confirmed", found.counted.confirmed, found.confirmed_per_second);
        table.row("refused", grouped(found.counted.nacked as f64), "");
    }
    if load.consumers > 0 {
        table.count("consumed", found.counted.consumed, found.consumed_per_second);
        let total = &found.total;
        let more = format!("of {} expected", grouped(total.expected as f64));
        table.row("consumed in all", grouped(total.counts.consumed as f64), more);
    }
    if load.keep {
        table.row("kept", found.names.queues.join(" "), &found.names.exchange);
    }
    if let Some(usage) = &found.broker_process {
        table.usage("broker", usage, true);
    }
    table.usage("client", &found.client_process, false);
    table
}

/// Tells on standard error what did not go as it should, also to those who read JSON.
pub(super) fn warn(found: &impl compare::Report) {
    for text in found.faults() {
        // Without a console there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "leveret: {text}");
    }
}
