//! `leveret perf churn`.

use std::time::Duration;

use clap::Args;

use super::compare::CompareOptions;
use super::options::{BrokerOptions, JsonOption, seconds};
use super::table::Table;
use super::{Trouble, report};
use crate::perf::churn::{Plan, Report};

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    /// Clients that come and go at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    clients: u16,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// End after so many cycles of all clients together
    #[arg(long, value_name = "N")]
    cycles: Option<u64>,
    /// Messages to publish in each cycle
    #[arg(long, value_name = "N", default_value_t = 0)]
    publish: u16,
    /// Bytes of a message's body
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    size: u32,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Measures, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let plan = Plan {
            clients: self.clients.into(),
            duration: self.duration,
            cycles: self.cycles,
            publish: self.publish.into(),
            size: self.size as usize,
            pid: self.broker.pid,
        };
        let json = self.json.json.as_deref();
        let Some(found) = self.compare.measure("churn", &plan, &self.broker, json)? else { return Ok(()) };
        report::show("churn", Some(&self.broker.url), (&plan, &found), &table(&found), json)
    }
}

fn table(found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    table.row("measured", format!("{:.2} s", found.seconds), "");
    table.count("cycles", found.cycles, found.cycles_per_second);
    table.percentiles("cycle", &found.cycle);
    table.percentiles("connect", &found.connect);
    if let Some(usage) = &found.broker_process {
        table.cost("broker", usage);
    }
    table.row("client CPU", format!("{:.2} s", found.client_process.cpu_seconds), "");
    table
}
