//! `leveret perf backlog`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::options::{BrokerOptions, JsonOption, pair, seconds};
use super::table::{Table, grouped, mebibytes};
use super::{Trouble, progress, report};
use crate::perf::backlog::{self, Done, Plan, Report, Restart, Step};
use crate::perf::run::Control;

/// What to do.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    /// File with the broker's pid, in place of --pid; it is read again after a restart
    #[arg(long, value_name = "FILE", conflicts_with = "pid")]
    pid_file: Option<PathBuf>,
    /// Messages to put into the queue
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    messages: u64,
    /// Bytes of a message's body
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(0..=134_217_728))]
    size: u32,
    /// Connections that fill the queue
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Messages that each publisher has in flight unconfirmed
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    confirm: u32,
    /// Connections that drain the queue
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    consumers: u16,
    /// Consumers acknowledge every N messages; 0 for consumers without acknowledgements
    #[arg(long, value_name = "N", default_value_t = 100)]
    ack: u32,
    /// Messages that a consumer may have unacknowledged; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 1000)]
    prefetch: u16,
    /// Argument of the queue, such as x-queue-type=quorum; can be repeated
    #[arg(long = "queue-args", value_name = "KEY=VALUE", value_parser = pair)]
    queue_args: Vec<(String, String)>,
    /// Kill the broker (SIGKILL) when the queue is full, and wait until somebody has started it again
    #[arg(long)]
    kill: bool,
    /// Kill the broker when the queue is full, and start it again by `sh -c COMMAND`
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,
    /// Seconds that it may take until messages can be consumed again
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    patience: Duration,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Measures, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let plan = Plan {
            messages: self.messages,
            size: self.size as usize,
            publishers: self.publishers.into(),
            confirm: self.confirm as usize,
            consumers: self.consumers.into(),
            ack: self.ack,
            prefetch: if self.ack == 0 { 0 } else { self.prefetch },
            queue_args: self.queue_args.clone(),
            kill: self.kill,
            restart: self.restart.clone(),
            patience: self.patience,
            pid: self.broker.pid,
            pid_file: self.pid_file.clone(),
        };
        let target = self.broker.target()?;
        let stop = progress::stop_on_interrupt();
        let mut control = Control { stop: &stop, progress: &mut progress::tell() };
        let found = backlog::run(&plan, &target, &mut control, &mut tell)?;
        let json = self.json.json.as_deref();
        report::show("backlog", Some(&target.url), (&plan, &found), &table(&found), json)?;
        if found.missing > 0 {
            let missing = grouped(found.missing as f64);
            // Without a console there is nobody to tell.
            let _ =
                writeln!(std::io::stderr(), "leveret: {missing} messages that were confirmed did not come");
        }
        Ok(())
    }
}

fn tell(done: Done<'_>) {
    progress::tell_line(|| match done {
        Done::Fill(step) => {
            format!("filled: {} messages, {}/s", grouped(step.messages as f64), grouped(step.per_second))
        }
        Done::Restart(restart) => {
            format!("restarted: first message after {:.3} s", restart.first_message_seconds)
        }
    });
}

fn table(found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    step(&mut table, "fill", &found.fill);
    if let Some(Restart { connected_seconds, first_message_seconds, rss_bytes }) = &found.restart {
        let more = format!("connected after {connected_seconds:.3} s");
        table.row("restart, first message", format!("{first_message_seconds:.3} s"), more);
        if let Some(bytes) = rss_bytes {
            table.row("restart, broker memory", mebibytes(*bytes), "");
        }
    }
    match &found.drain {
        Some(drain) => step(&mut table, "drain", drain),
        None => drop(table.row("drain", "not done", "")),
    }
    table
}

fn step(table: &mut Table, name: &str, step: &Step) {
    table.count(name, step.messages, step.per_second);
    if let Some(usage) = &step.broker_process {
        table.usage(&format!("{name}, broker"), usage, true);
    }
    table.usage(&format!("{name}, client"), &step.client_process, false);
}
