//! `leveret perf connections`.

use std::time::Duration;

use clap::Args;

use super::compare::CompareOptions;
use super::options::{BrokerOptions, JsonOption, seconds};
use super::table::{Table, grouped};
use super::throughput::warn;
use super::{Trouble, report};
use crate::perf::connections::{Plan, Report};

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    /// Connections, each with one channel
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: u32,
    /// Connections to open a second; 0 for as many as go
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    rate: f64,
    /// Threads that open them
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    threads: u16,
    /// Seconds to hold them when all are open
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    hold: Duration,
    /// Seconds to wait before the broker's memory is looked at
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    settle: Duration,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Measures, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let plan = Plan {
            count: self.count as usize,
            rate: (self.rate != 0.0).then_some(self.rate),
            threads: self.threads.into(),
            hold: self.hold,
            settle: self.settle,
            pid: self.broker.pid,
        };
        let json = self.json.json.as_deref();
        let Some(found) = self.compare.measure("connections", &plan, &self.broker, json)? else {
            return Ok(());
        };
        report::show("connections", Some(&self.broker.url), (&plan, &found), &table(&found), json)?;
        warn(&found);
        Ok(())
    }
}

fn table(found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    table.count("opened", found.opened - found.base, found.opened_per_second);
    table.percentiles("open", &found.open);
    if let Some(bytes) = found.bytes_per_connection {
        let more = format!("without the first {}", found.base);
        table.row("memory of a connection", format!("{} B", grouped(bytes)), more);
    }
    if let Some(usage) = &found.broker_process {
        table.cost("broker", usage);
    }
    if let Some(usage) = &found.broker_process_held {
        table.row("broker CPU while held", format!("{:.2} s", usage.cpu_seconds), "");
    }
    table.row("client CPU", format!("{:.2} s", found.client_process.cpu_seconds), "");
    table
}
