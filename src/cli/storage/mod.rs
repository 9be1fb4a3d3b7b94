//! `leveret storage`: what is done with a data directory as a whole.

mod backup;
mod report;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::{Place, print};
use crate::storage::disk::{Disk as _, RealDisk};
use crate::storage::repair::Repair;
use crate::storage::verify::{Report, verify};

const BACKUP_HELP: &str = "\
A broker that runs makes the copy itself and goes on meanwhile. Everything it had
confirmed before is in the copy. To restore, start a broker on it.

Example:
  leveret storage backup --data-dir /var/lib/leveret /backup/leveret-monday";

const VERIFY_HELP: &str = "\
Reads everything in the data directory, bodies included, and changes nothing. It
does not look at a directory that a broker is using, and no broker starts on it
meanwhile.

Exit codes:
  0  sound: a broker starts on it and has everything
  1  damaged: the report says what is affected
  2  it could not be looked at; standard error says why";

const REPAIR_HELP: &str = "\
Prints the report of `leveret storage verify`. If the data is damaged, everything
that is sound is then written anew, and what the problems in the report affect is
dropped: a broker starts on the rest. Files that are damaged are not removed but
renamed to damaged-NAME, so that there has to be room for both. Run it as the user
that runs the broker.

Exit codes:
  0  repaired, or sound before
  2  nothing was done, or not all; standard error says why";

/// Exit code for damage.
const DAMAGED: u8 = 1;

/// Exit code for a directory that could not be looked at.
const NOT_DONE: u8 = 2;

/// What to do with a data directory.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy the data directory, also while a broker runs on it
    #[command(after_help = BACKUP_HELP)]
    Backup(BackupArguments),
    /// Check all of a data directory, without changing it, and print a report
    #[command(after_help = VERIFY_HELP)]
    Verify(Place),
    /// Drop what is damaged in a data directory and keep the rest
    #[command(after_help = REPAIR_HELP)]
    Repair(RepairArguments),
}

/// What to copy where.
#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    #[command(flatten)]
    place: Place,
    /// Where the copy goes: a directory that is empty or does not exist
    #[arg(value_name = "DIR")]
    target: PathBuf,
}

/// What to repair.
#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    #[command(flatten)]
    place: Place,
    /// Do not ask before something is dropped
    #[arg(long)]
    yes: bool,
}

/// Runs a command; its exit codes are its own.
pub(super) fn run(command: &Command) -> ExitCode {
    let outcome = match command {
        Command::Backup(arguments) => return run_backup(arguments),
        Command::Verify(place) => run_verify(place),
        Command::Repair(arguments) => run_repair(arguments),
    };
    outcome.unwrap_or_else(|failure| {
        failure.report();
        ExitCode::from(NOT_DONE)
    })
}

/// Fails with the exit code of everything but checks and repairs.
fn run_backup(arguments: &BackupArguments) -> ExitCode {
    let copied = arguments.place.path().and_then(|path| backup::backup(&path, &arguments.target));
    match copied {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}

fn run_verify(place: &Place) -> Result<ExitCode, Failure> {
    let path = place.path()?;
    let failed = |error| Failure::DataUnread { path: path.clone(), error };
    let disk = RealDisk::open_as_is(&path).map_err(failed)?;
    // A directory without a lock file was never a broker's, or is a copy of one's.
    let _lock = disk.lock_as_is().map_err(failed)?;
    let report = verify(&disk).map_err(failed)?;
    print(&report::text(&path, &report))?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

fn run_repair(arguments: &RepairArguments) -> Result<ExitCode, Failure> {
    let path = arguments.place.path()?;
    let failed = |error| Failure::DataUnread { path: path.clone(), error };
    let disk = Arc::new(RealDisk::open_as_is(&path).map_err(failed)?);
    let _lock = disk.lock().map_err(failed)?;
    let repair = Repair::new(disk).map_err(failed)?;
    let report = repair.report();
    print(&report::text(&path, report))?;
    if report.is_sound() {
        print("there is nothing to repair\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let refused = |why: &str| Failure::NotRepaired { path: path.clone(), why: why.to_owned() };
    if let Some(why) = repair.refusal() {
        return Err(refused(why));
    }
    print(&report::dropped(report))?;
    if !arguments.yes && !is_agreed(report)? {
        return Err(refused("nobody said yes; --yes does not ask"));
    }
    let outcome = repair.carry_out().map_err(|error| refused(&error.to_string()))?;
    print(&report::outcome(&outcome))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks whether the repair is wanted; without a terminal there is nobody to ask.
fn is_agreed(report: &Report) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    print(&format!("repair, and keep {}? [y/N] ", report::counted(report.totals.messages, "message")))?;
    let mut answer = String::new();
    // An answer that cannot be read is none.
    let read = io::stdin().read_line(&mut answer).is_ok();
    Ok(read && matches!(answer.trim(), "y" | "Y" | "yes"))
}
