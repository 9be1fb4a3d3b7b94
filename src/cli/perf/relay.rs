//! `leveret perf relay`.

use std::process::Command;
use std::time::Duration;

use clap::Args;

use super::options::{JsonOption, seconds};
use super::table::Table;
use super::{Trouble, progress, report};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::perf::error::PerfError;
use crate::perf::load::{Load, Timing};
use crate::perf::relay::{self, Plan, Report};

/// How long the relay is measured beside a run that has a number of messages and no time.
const DURATION: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Bytes of a message's body
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=134_217_728))]
    size: u32,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Seconds before that are not counted
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warmup: Duration,
    /// Messages a second, to measure latency [default: as many as possible]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    #[command(flatten)]
    json: JsonOption,
    /// Be the relay: say on which port it listens, and copy from the first connection to the second
    #[arg(long, exclusive = true)]
    serve: bool,
}

impl Arguments {
    /// Measures, and shows what was found; or is the relay.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        if self.serve {
            let tell = |address| print(&format!("{address}\n")).map_err(std::io::Error::other);
            return Ok(relay::serve(tell).map_err(PerfError::Io)?);
        }
        let plan =
            Plan { size: self.size as usize, duration: self.duration, warmup: self.warmup, rate: self.rate };
        let found = measure(&plan)?;
        report::show("relay", None, (&plan, &found), &table(&found), self.json.json.as_deref())
    }
}

/// Whether to measure the relay too.
#[derive(Debug, Args)]
pub(super) struct RelayOption {
    /// Send the same bytes through `leveret perf relay` afterwards, and show what the broker takes as a multiple of it
    #[arg(long, conflicts_with = "compare")]
    relay: bool,
}

impl RelayOption {
    /// A run of the relay like the broker's, if there is to be one.
    pub(super) fn plan(
        &self,
        load: &Load,
        timing: &Timing,
        rate: Option<f64>,
    ) -> Result<Option<Plan>, PerfError> {
        match load.sizes.as_slice() {
            _ if !self.relay => Ok(None),
            [size] => Ok(Some(Plan {
                size: *size,
                duration: timing.duration.unwrap_or(DURATION),
                warmup: timing.warmup,
                rate,
            })),
            _ => Err(PerfError::Plan("--relay needs one --size".to_owned())),
        }
    }
}

/// Measures with a relay that is this program once more.
pub(super) fn measure(plan: &Plan) -> Result<Report, Trouble> {
    let stop = progress::stop_on_interrupt();
    let program = std::env::current_exe().map_err(Failure::Input)?;
    let mut command = Command::new(program);
    command.args(["perf", "relay", "--serve"]);
    Ok(relay::run(plan, &mut command, &stop)?)
}

fn table(found: &Report) -> Table {
    let mut table = Table::default();
    table.row("measured", format!("{:.2} s", found.seconds), "");
    table.row("message on the wire", format!("{} B", found.message_bytes), "");
    table.count("relayed", found.relayed, found.relayed_per_second);
    if let Some(times) = &found.latency {
        table.percentiles("latency", times);
    }
    table.usage("relay", &found.relay_process, false);
    table.usage("client", &found.client_process, false);
    table
}
