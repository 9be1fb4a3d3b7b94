//! `leveret perf fanout`.

use clap::Args;

use super::compare::CompareOptions;
use super::options::{BrokerOptions, JsonOption, MessageOptions, TimingOptions};
use super::throughput::{table, warn};
use super::{Trouble, report};
use crate::perf::load::{ExchangeKind, Load};
use crate::perf::throughput::Plan;

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Queues that each message goes to, each with a consumer
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    queues: u16,
    #[command(flatten)]
    messages: MessageOptions,
    #[command(flatten)]
    timing: TimingOptions,
    /// Messages a second of all publishers together [default: as many as they can]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Measures, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let queues = usize::from(self.queues);
        let load = Load {
            publishers: self.publishers.into(),
            consumers: queues,
            queues,
            exchange_type: ExchangeKind::Fanout,
            ..self.messages.load()
        };
        let plan = Plan { load, timing: self.timing.timing(), rate: self.rate, pid: self.broker.pid };
        let json = self.json.json.as_deref();
        let Some(found) = self.compare.measure("fanout", &plan, &self.broker, json)? else { return Ok(()) };
        let table = table(&plan.load, &found);
        report::show("fanout", Some(&self.broker.url), (&plan, &found), &table, json)?;
        warn(&found);
        Ok(())
    }
}
