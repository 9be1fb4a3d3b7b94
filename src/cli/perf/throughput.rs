//! `leveret perf throughput`.

use std::io::Write as _;

use clap::Args;

use super::options::{BrokerOptions, JsonOption, LoadOptions, TimingOptions};
use super::table::{Table, grouped};
use super::{Trouble, progress, report};
use crate::perf::run::Control;
use crate::perf::throughput::{self, Plan, Report, Total};

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
        let found = throughput::run(&plan, &target, &mut control)?;
        let table = table(&plan, &found);
        report::show("throughput", Some(&target.url), (&plan, &found), &table, self.json.json.as_deref())?;
        warn(&found.total, found.blocked.as_deref());
        Ok(())
    }
}

fn table(plan: &Plan, found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    table.row("measured", format!("{:.2} s", found.seconds), "");
    if plan.load.publishers > 0 {
        table.count("published", found.counted.published, found.published_per_second);
    }
    if plan.load.confirm > 0 {
        table.count("confirmed", found.counted.confirmed, found.confirmed_per_second);
        table.row("refused", grouped(found.counted.nacked as f64), "");
    }
    if plan.load.consumers > 0 {
        table.count("consumed", found.counted.consumed, found.consumed_per_second);
        let total = &found.total;
        let more = format!("of {} expected", grouped(total.expected as f64));
        table.row("consumed in all", grouped(total.counts.consumed as f64), more);
    }
    if plan.load.keep {
        table.row("kept", found.names.queues.join(" "), &found.names.exchange);
    }
    if let Some(usage) = &found.broker_process {
        table.usage("broker", usage, true);
    }
    table.usage("client", &found.client_process, false);
    table
}

/// Tells on standard error what did not go as it should, also to those who read JSON.
pub(super) fn warn(total: &Total, blocked: Option<&str>) {
    let mut told = Vec::new();
    if total.missing > 0 {
        told.push(format!(
            "{} messages did not come to their consumers in time",
            grouped(total.missing as f64)
        ));
    }
    if total.unconfirmed > 0 {
        told.push(format!("{} messages were not confirmed in time", grouped(total.unconfirmed as f64)));
    }
    if total.counts.nacked > 0 {
        told.push(format!("the broker refused {} messages", grouped(total.counts.nacked as f64)));
    }
    if let Some(reason) = blocked {
        told.push(format!("the broker blocked publishers: {reason}"));
    }
    for text in told {
        // Without a console there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "leveret: {text}");
    }
}
