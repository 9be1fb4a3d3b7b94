//! `leveret perf queues`.

use clap::Args;

use super::compare::CompareOptions;
use super::options::{BrokerOptions, JsonOption, pair};
use super::table::{Table, grouped, mebibytes, micros};
use super::{Trouble, report};
use crate::perf::queues::{Plan, Report};

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    /// Queues
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    count: u32,
    /// Queues, exchange and messages that do not survive a restart
    #[arg(long)]
    transient: bool,
    /// Requests to send before the first is answered
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    depth: u16,
    /// Argument of the queues, such as x-queue-type=quorum; can be repeated
    #[arg(long = "queue-args", value_name = "KEY=VALUE", value_parser = pair)]
    queue_args: Vec<(String, String)>,
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
            count: self.count as usize,
            transient: self.transient,
            depth: self.depth.into(),
            queue_args: self.queue_args.clone(),
            size: self.size as usize,
            pid: self.broker.pid,
        };
        let json = self.json.json.as_deref();
        let Some(found) = self.compare.measure("queues", &plan, &self.broker, json)? else { return Ok(()) };
        report::show("queues", Some(&self.broker.url), (&plan, &found), &table(&found), json)
    }
}

fn table(found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    let stages = [
        ("declare", &found.declare),
        ("bind", &found.bind),
        ("publish", &found.publish),
        ("delete", &found.delete),
    ];
    for (name, stage) in stages {
        let times = format!("p50 {}  p99 {}", micros(stage.times.p50_us), micros(stage.times.p99_us));
        table.row(name, format!("{}/s", grouped(stage.per_second)), times);
    }
    if let (Some(before), Some(with)) = (found.rss_before_bytes, found.rss_with_queues_bytes) {
        table.row("memory with queues", mebibytes(with), format!("{} before", mebibytes(before)));
    }
    if let Some(usage) = &found.broker_process {
        table.cost("broker", usage);
    }
    table.row("client CPU", format!("{:.2} s", found.client_process.cpu_seconds), "");
    table
}
