//! The commands that wait for a broker to be there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use rustix::process::{Pid, test_kill_process};

use super::broker::{About, Broker};
use super::options::Options;
use super::{TIMED_OUT, UNAVAILABLE};
use crate::cli::failure::Failure;
use crate::cli::print;

/// How long is waited if nothing else is said, in seconds.
const PATIENCE: u64 = 300;

/// How often the broker is asked.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Wait until the broker answers
    AwaitStartup,
    /// Wait until the broker answers, or the process ends that it is to be
    Wait(Wait),
    /// Wait until so many nodes run; there is one
    AwaitOnlineNodes {
        /// How many
        count: u32,
    },
}

#[derive(Debug, Args)]
pub(super) struct Wait {
    /// A file with the number of the process; it is waited for too
    #[arg(conflicts_with = "pid")]
    pidfile: Option<PathBuf>,
    /// The number of the process
    #[arg(short = 'P', long)]
    pid: Option<i32>,
}

/// Runs a command.
pub(super) fn run(command: &Command, options: &Options) -> Result<(), Failure> {
    let (pidfile, mut pid) = match command {
        Command::AwaitOnlineNodes { count } if *count > 1 => {
            let text = format!("there is one node, and there are never {count}");
            return Err(Failure::RefusedAs { code: UNAVAILABLE, text });
        }
        Command::AwaitStartup | Command::AwaitOnlineNodes { .. } => (None, None),
        Command::Wait(Wait { pidfile, pid }) => (pidfile.as_deref(), *pid),
    };
    let times = (options.patience(PATIENCE).as_millis() / EVERY.as_millis()).max(1);
    let mut last = None;
    for _ in 0..times {
        if pid.is_none() {
            pid = pidfile.and_then(number_in);
        }
        if let Some(pid) = pid
            && !runs(pid)
        {
            return Err(Failure::RefusedAs { code: UNAVAILABLE, text: format!("process {pid} has ended") });
        }
        if pidfile.is_none() || pid.is_some() {
            // Anew each time: what the broker is found by may not be there yet.
            match Broker::find(options).and_then(|broker| broker.get(&["whoami"], About::default())) {
                Ok(_) if options.is_silent() => return Ok(()),
                Ok(_) => return print("the broker is running\n"),
                Err(failure @ Failure::Config(_)) => return Err(failure),
                Err(failure) => last = Some(failure),
            }
        }
        std::thread::sleep(EVERY);
    }
    let why = match last {
        Some(failure) => failure.to_string(),
        None => "there is no number of a process in the file".to_owned(),
    };
    Err(Failure::RefusedAs { code: TIMED_OUT, text: format!("it took too long: {why}") })
}

/// The number of a process that a file has.
pub(super) fn number_in(path: &Path) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether there is such a process, and it has not ended.
pub(super) fn runs(pid: i32) -> bool {
    let Some(named) = Pid::from_raw(pid) else { return false };
    // One that belongs to somebody else is there too.
    !matches!(test_kill_process(named), Err(rustix::io::Errno::SRCH)) && !is_unreaped(pid)
}

/// Whether a process has ended and nobody has asked yet how, where the system has files about processes. What it is called
/// stands before its state, and may have brackets in it.
fn is_unreaped(pid: i32) -> bool {
    let told = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    told.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
