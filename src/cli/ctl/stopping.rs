//! The commands that end the broker of this machine: by the signal that its service manager would send.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use rustix::process::{Pid, Signal, kill_process};

use super::broker::Broker;
use super::options::Options;
use super::waiting::{number_in, runs};
use super::{TIMED_OUT, UNAVAILABLE, USAGE};
use crate::cli::client::Target;
use crate::cli::failure::Failure;

/// How long the end is waited for if nothing else is said, in seconds.
const PATIENCE: u64 = 300;

/// How often it is looked whether the process is still there.
const EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// End the broker of this machine, and wait until its process is gone
    Shutdown(Shutdown),
    /// The same
    Stop(Stop),
}

#[derive(Debug, Args)]
pub(super) struct Shutdown {
    /// Do not wait for it
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// It is no failure if no broker runs
    #[arg(long)]
    idempotent: bool,
    /// A file with the number of the process; it has to be that of the broker
    pidfile: Option<PathBuf>,
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::Shutdown(Shutdown { no_wait }) => end(broker, None, !no_wait),
        Command::Stop(Stop { idempotent, pidfile }) => match end(broker, pidfile.as_deref(), true) {
            Err(Failure::NoBroker { .. }) if *idempotent => broker.say("no broker runs"),
            outcome => outcome,
        },
    }
}

fn end(broker: &Broker<'_>, pidfile: Option<&Path>, is_awaited: bool) -> Result<(), Failure> {
    if matches!(broker.client.target(), Target::Remote(_)) {
        let text = "only a broker on this machine can be stopped, by a signal".to_owned();
        return Err(Failure::RefusedAs { code: USAGE, text });
    }
    // The number by which this process knows it, also from within another namespace.
    let found = broker.client.process().map_err(|error| broker.silence(error))?;
    let refused = |text| Err(Failure::RefusedAs { code: UNAVAILABLE, text });
    let Some(pid) = found.and_then(Pid::from_raw) else {
        return refused("the process of the broker cannot be seen from here".to_owned());
    };
    let number = pid.as_raw_nonzero().get();
    if let Some(other) = pidfile.and_then(number_in).filter(|other| *other != number) {
        return refused(format!("the file has the number {other}, the broker is process {number}"));
    }
    if let Err(error) = kill_process(pid, Signal::TERM) {
        return refused(format!("process {number} cannot be told to end: {error}"));
    }
    if !is_awaited {
        return broker.say(&format!("process {number} was told to end"));
    }
    await_end(number, broker.options)?;
    broker.say(&format!("process {number} has ended"))
}

fn await_end(number: i32, options: &Options) -> Result<(), Failure> {
    let times = (options.patience(PATIENCE).as_millis() / EVERY.as_millis()).max(1);
    for _ in 0..times {
        if !runs(number) {
            return Ok(());
        }
        std::thread::sleep(EVERY);
    }
    let text = format!("it took too long: process {number} was told to end, and still runs");
    Err(Failure::RefusedAs { code: TIMED_OUT, text })
}
