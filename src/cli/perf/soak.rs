//! `leveret perf soak`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;

use super::options::{BrokerOptions, JsonOption, pair, seconds};
use super::table::{Table, grouped, mebibytes};
use super::{Trouble, progress, report};
use crate::perf::error::PerfError;
use crate::perf::run::Control;
use crate::perf::soak::{self, Counts, Plan, Progress, Report};

/// What to do.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Connections that consume
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    consumers: u16,
    /// Durable queues; publisher and consumer number i use queue i modulo N
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    queues: u16,
    /// Name of the queues, each followed by its number [default: a new one]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Argument of the queues, such as x-queue-type=quorum; can be repeated
    #[arg(long = "queue-args", value_name = "KEY=VALUE", value_parser = pair)]
    queue_args: Vec<(String, String)>,
    /// Messages a second of all publishers together
    #[arg(long, value_name = "N", default_value_t = 1000.0)]
    rate: f64,
    /// Bytes of a message's body; several with commas between are taken in turn
    #[arg(long, value_name = "BYTES", default_value = "24,128,1024,20000", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(0..=134_217_728))]
    size: Vec<u32>,
    /// Messages that each publisher has in flight unconfirmed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    confirm: u32,
    /// Messages of each publisher that may wait to be consumed; then it waits too
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    backlog: u32,
    /// Messages that a consumer may have unacknowledged
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    prefetch: u16,
    /// Consumers acknowledge every N messages
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    ack: u32,
    /// Consumers give every Nth message back to its queue once; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    requeue: u64,
    /// How long, in seconds or as 30m or 8h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = long)]
    duration: Duration,
    /// Seconds after which a confirmed message that does not come is lost
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    patience: Duration,
    /// Seconds that a broker may be away
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    reconnect: Duration,
    /// Do not remove the queues afterwards
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Runs, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let plan = Plan {
            publishers: self.publishers.into(),
            consumers: self.consumers.into(),
            queues: self.queues.into(),
            name: self.name.clone(),
            queue_args: self.queue_args.clone(),
            rate: self.rate,
            sizes: self.size.iter().map(|size| *size as usize).collect(),
            confirm: self.confirm as usize,
            backlog: self.backlog as usize,
            prefetch: self.prefetch,
            ack: self.ack,
            requeue: self.requeue,
            duration: self.duration,
            patience: self.patience,
            reconnect: self.reconnect,
            keep: self.keep,
            pid: self.broker.pid,
        };
        let target = self.broker.target()?;
        let stop = progress::stop_on_interrupt();
        let found = soak::run(&plan, &target, &mut Control { stop: &stop, progress: &mut tell() })?;
        report::show("soak", Some(&target.url), (&plan, &found), &table(&found), self.json.json.as_deref())?;
        if let Some(why) = &found.not_removed {
            // Without a console there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "leveret: the queues could not be removed: {why}");
        }
        match found.violations {
            0 => Ok(()),
            violations => Err(PerfError::Violations(violations).into()),
        }
    }
}

/// Tells events and a line a minute on standard error, and on a terminal a line a second.
fn tell() -> impl FnMut(&Progress) {
    let is_terminal = std::io::stderr().is_terminal();
    move |progress| {
        let text = match progress {
            Progress::Event(text) => format!("leveret: {text}"),
            Progress::State { is_lasting, .. } if !is_lasting && !is_terminal => return,
            Progress::State { elapsed, counts, received_per_second, rss_bytes, .. } => {
                line(*elapsed, counts, *received_per_second, *rss_bytes)
            }
        };
        // Without a console there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

fn line(elapsed: Duration, counts: &Counts, received: f64, rss_bytes: Option<u64>) -> String {
    let memory = rss_bytes.map_or_else(String::new, |bytes| format!("  broker {}", mebibytes(bytes)));
    format!(
        "{:>7.0} s  confirmed {:>13}  received {:>13}  {:>9}/s  reconnects {}  violations {}{memory}",
        elapsed.as_secs_f64(),
        grouped(counts.confirmed as f64),
        grouped(counts.received as f64),
        grouped(received),
        grouped(counts.reconnects as f64),
        grouped(counts.violations() as f64),
    )
}

fn table(found: &Report) -> Table {
    let mut table = Table::default();
    table.row("broker", &found.broker.product, &found.broker.version);
    table.row("time", format!("{:.0} s", found.seconds), "");
    let counts = &found.counts;
    let rows = [
        ("published", counts.published),
        ("confirmed", counts.confirmed),
        ("refused", counts.refused),
        ("unconfirmed at the end of a connection", counts.doubtful),
        ("received", counts.received),
        ("redelivered", counts.redelivered),
        ("reconnects", counts.reconnects),
        ("late", counts.late),
        ("lost", counts.lost),
        ("duplicates", counts.duplicates),
        ("reordered", counts.reordered),
        ("corrupt", counts.corrupt),
        ("unknown", counts.unknown),
    ];
    for (name, count) in rows {
        table.row(name, grouped(count as f64), "");
    }
    if let Some(usage) = &found.broker_process {
        table.usage("broker", usage, true);
    }
    table.usage("client", &found.client_process, false);
    table
}

/// A time with a unit, or a number of seconds.
fn long(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'h') => (&text[..text.len() - 1], 3600),
        Some(b'm') => (&text[..text.len() - 1], 60),
        _ => return seconds(text),
    };
    let wrong = || "should be a number of seconds, or as 30m or 8h, a week at most".to_owned();
    let number: f64 = number.parse().map_err(|_| wrong())?;
    seconds(&(number * f64::from(unit)).to_string()).map_err(|_| wrong())
}

/// A name that has room for a number behind it.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 240 {
        return Err("should have 1 to 240 bytes".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_have_units() {
        let of = ["90", "1.5m", "8h"].map(|text| long(text).expect("a time").as_secs());
        assert_eq!(of, [90, 90, 28_800]);
        for wrong in ["", "h", "-1h", "x", "200h", "nanh"] {
            assert!(long(wrong).is_err(), "{wrong}");
        }
    }
}
