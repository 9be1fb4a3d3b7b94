//! The commands about the broker's log.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::broker::{About, Broker};
use super::node::node;
use crate::cli::failure::Failure;
use crate::cli::print;

/// How often the broker is asked what is new.
const EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Show the last lines of the log
    LogTail(Tail),
    /// Show what the broker logs from now on
    LogTailStream(Follow),
    /// Print where the log is
    LogLocation,
    /// Open the log file anew, after the old one was moved away
    RotateLogs,
    /// Set the least severe level that is logged, until the restart or the next reload
    SetLogLevel {
        /// off, error, warn, info, debug or trace
        level: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    /// So many lines; the broker keeps up to 1000
    #[arg(short = 'N', long, value_name = "LINES", default_value_t = 50)]
    number: usize,
}

#[derive(Debug, Args)]
pub(super) struct Follow {
    /// For so many seconds [default: without an end]
    #[arg(short, long, value_name = "SECONDS")]
    duration: Option<u64>,
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::LogTail(Tail { number }) => {
            let (lines, _) = lines(broker, 0)?;
            print(&lines[lines.len().saturating_sub(*number)..].concat())
        }
        Command::LogTailStream(Follow { duration }) => follow(broker, duration.map(Duration::from_secs)),
        Command::LogLocation => {
            let node = node(broker)?;
            let files = node["log_files"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let files: String = files.map(|file| format!("{file}\n")).collect();
            print(if files.is_empty() { "<stdout>\n" } else { &files })
        }
        Command::RotateLogs => broker.post(&["log", "rotation"], &json!({}), About::default()).map(|_| ()),
        Command::SetLogLevel { level } => {
            let body = json!({ "level": level });
            broker.put(&["log", "level"], &body, About::default()).map(|_| ())
        }
    }
}

/// What was logged after the line of this number, and the number of the last line.
fn lines(broker: &Broker<'_>, after: u64) -> Result<(Vec<String>, u64), Failure> {
    let told = broker.get_at(format!("/log?after={after}"), About::default())?;
    let line = |line: &Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        format!("{} {:>5} {}: {}\n", text("time"), text("level").to_uppercase(), text("target"), text("text"))
    };
    let lines = told["lines"].as_array().map(|lines| lines.iter().map(line).collect());
    Ok((lines.unwrap_or_default(), told["last"].as_u64().unwrap_or(after)))
}

fn follow(broker: &Broker<'_>, duration: Option<Duration>) -> Result<(), Failure> {
    let mut looks = duration.map(|duration| duration.as_millis() / EVERY.as_millis());
    let (_, mut last) = lines(broker, 0)?;
    while looks != Some(0) {
        looks = looks.map(|looks| looks - 1);
        std::thread::sleep(EVERY);
        let (new, until) = lines(broker, last)?;
        last = until;
        print(&new.concat())?;
    }
    Ok(())
}
