//! `leveret ctl`: tells a running broker what is to hold from now on, and asks it. Commands and their arguments are named
//! as those of `rabbitmqctl` and `rabbitmq-diagnostics`.

mod broker;
mod checks;
mod connections;
mod definitions;
mod features;
mod limits;
mod lists;
mod log;
mod memory;
mod node;
mod options;
mod output;
mod parameters;
mod password;
mod permissions;
mod policies;
mod queues;
mod stopping;
mod topology;
mod users;
mod vhosts;
mod waiting;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Subcommand};
use serde_json::Value;

use self::broker::Broker;
use self::options::Options;
use super::failure::Failure;
use super::{CommandLine, VERSION, print};

/// The exit code for a command line that is not understood.
pub(super) const USAGE: u8 = 64;

/// Something of what was asked for is wrong, or not there.
const DATA: u8 = 65;

/// There is no such user.
const NO_USER: u8 = 67;

/// There is no broker, or it does not let in who asks, or something is wrong with it.
const UNAVAILABLE: u8 = 69;

/// It is there already, or something has failed.
const SOFTWARE: u8 = 70;

/// There was not enough time.
const TIMED_OUT: u8 = 75;

/// The configuration is wrong.
const CONFIG: u8 = 78;

const HELP: &str = "\
A broker on this machine is found by its data directory, and whoever may open
that may do this: there is nothing to log in to. One elsewhere is found by the
address of its management API:
  --url https://broker.example.com:15671 --username alice
with the password in LEVERET_PASSWORD, or asked for.

Examples:
  leveret ctl status --data-dir /var/lib/leveret
  leveret ctl list_queues name messages consumers
  leveret ctl add_user alice 'correct horse'
  leveret ctl set_user_tags alice administrator
  leveret ctl set_permissions -p tests alice '^alice' '.*' '^(alice|shared)'
  leveret ctl set_policy bound '^jobs\\.' '{\"max-length\": 100000}' --apply-to queues
  leveret ctl move_messages jobs.dead jobs
  leveret ctl export_definitions definitions.json
  leveret ctl topology --format svg > topology.svg

Exit codes:
  0  done                          69  no broker, or it is not well, or refuses
  64 the command is not understood 70  it is there already, or something failed
  65 something is wrong or missing 75  not in time
  67 there is no such user         78  the configuration is wrong";

/// What to do on which broker.
#[derive(Debug, Args)]
#[command(after_help = HELP, version = VERSION)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Node(node::Command),
    /// Print this help, or that of a command
    #[command(name = "help")]
    Help {
        /// The command
        command: Option<String>,
    },
    /// Print the version of this program
    #[command(name = "version")]
    Version,
    #[command(flatten)]
    Memory(memory::Command),
    #[command(flatten)]
    Log(log::Command),
    #[command(flatten)]
    Features(features::Command),
    #[command(flatten)]
    Stopping(stopping::Command),
    #[command(flatten)]
    Waiting(waiting::Command),
    #[command(flatten)]
    Checks(checks::Command),
    #[command(flatten)]
    Lists(lists::Command),
    #[command(flatten)]
    Queues(queues::Command),
    #[command(flatten)]
    Connections(connections::Command),
    #[command(flatten)]
    Users(users::Command),
    #[command(flatten)]
    Permissions(permissions::Command),
    #[command(flatten)]
    VHosts(vhosts::Command),
    #[command(flatten)]
    Policies(policies::Command),
    #[command(flatten)]
    Parameters(parameters::Command),
    #[command(flatten)]
    Limits(limits::Command),
    #[command(flatten)]
    Definitions(definitions::Command),
    #[command(flatten)]
    Topology(topology::Command),
}

#[derive(Clone, Debug, Args)]
struct InVHost {
    /// The vhost
    #[arg(short = 'p', long, value_name = "VHOST", default_value = "/")]
    vhost: String,
}

/// Runs a command. The exit codes are those of `rabbitmqctl`.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match carry_out(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(exit_code(&failure))
        }
    }
}

fn exit_code(failure: &Failure) -> u8 {
    match failure {
        Failure::RefusedAs { code, .. } => *code,
        Failure::Refused(_) => DATA,
        Failure::NoBroker { .. } => UNAVAILABLE,
        Failure::Config(_) => CONFIG,
        _ => SOFTWARE,
    }
}

fn carry_out(arguments: &Arguments) -> Result<(), Failure> {
    let options = &arguments.options;
    match &arguments.command {
        // These need no broker, or wait for one.
        Command::Help { command } => return help(command.as_deref()),
        Command::Version => return print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Command::Users(users::Command::HashPassword(hash)) => return hash.print(options),
        Command::Waiting(command) => waiting::run(command, options)?,
        _ => {}
    }
    let broker = Broker::find(options)?;
    broker.check_node()?;
    match &arguments.command {
        Command::Node(command) => node::run(command, &broker),
        Command::Memory(command) => memory::run(command, &broker),
        Command::Log(command) => log::run(command, &broker),
        Command::Features(command) => features::run(command, &broker),
        Command::Stopping(command) => stopping::run(command, &broker),
        Command::Help { .. } | Command::Version | Command::Waiting(_) => Ok(()),
        Command::Checks(command) => checks::run(command, &broker),
        Command::Lists(command) => lists::run(command, &broker),
        Command::Queues(command) => queues::run(command, &broker),
        Command::Connections(command) => connections::run(command, &broker),
        Command::Users(command) => users::run(command, &broker),
        Command::Permissions(command) => permissions::run(command, &broker),
        Command::VHosts(command) => vhosts::run(command, &broker),
        Command::Policies(command) => policies::run(command, &broker),
        Command::Parameters(command) => parameters::run(command, &broker),
        Command::Limits(command) => limits::run(command, &broker),
        Command::Definitions(command) => definitions::run(command, &broker),
        Command::Topology(command) => topology::run(command, &broker),
    }
}

/// Prints the help of `ctl`, or of one of its commands.
fn help(command: Option<&str>) -> Result<(), Failure> {
    let mut line = CommandLine::command();
    line.build();
    let words = std::iter::once("ctl").chain(command);
    let found = words.into_iter().try_fold(&mut line, |at, word| at.find_subcommand_mut(word));
    match (found, command) {
        (Some(found), _) => print(&found.render_long_help().to_string()),
        (None, named) => {
            let text = format!("there is no command {}", named.unwrap_or_default());
            Err(Failure::RefusedAs { code: USAGE, text })
        }
    }
}

/// JSON that somebody has written.
fn parsed(text: &str, what: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Refused(format!("{what} should be JSON: {error}")))
}

/// A vhost may stand before the command, as with `rabbitmqctl`, though it belongs to it: it is put behind.
pub(super) fn with_vhost_behind(words: Vec<OsString>) -> Vec<OsString> {
    let text = |at: usize| words.get(at).and_then(|word| word.to_str());
    if text(1) != Some("ctl") {
        return words;
    }
    let (mut vhost, mut kept, mut at) = (Vec::new(), words[..2].to_vec(), 2);
    while let Some(word) = text(at).filter(|word| word.starts_with('-')) {
        let len = if options::TAKES_NO_VALUE.contains(&word) || word.contains('=') { 1 } else { 2 };
        let end = words.len().min(at + len);
        let is_vhost = matches!(word, "-p" | "--vhost") || word.starts_with("--vhost=");
        if is_vhost { &mut vhost } else { &mut kept }.extend_from_slice(&words[at..end]);
        at = end;
    }
    kept.extend_from_slice(&words[at..words.len().min(at + 1)]);
    kept.append(&mut vhost);
    kept.extend_from_slice(&words[words.len().min(at + 1)..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words = with_vhost_behind(words);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_vhost_before_the_command_is_put_behind_it() {
        for (line, expected) in [
            ("leveret ctl -p x list_queues name", "leveret ctl list_queues -p x name"),
            ("leveret ctl -q --vhost=x list_queues", "leveret ctl -q list_queues --vhost=x"),
            (
                "leveret ctl --data-dir d --vhost x -q list_queues",
                "leveret ctl --data-dir d -q list_queues --vhost x",
            ),
            ("leveret ctl list_queues -p x", "leveret ctl list_queues -p x"),
            ("leveret ctl -p x", "leveret ctl -p x"),
            ("leveret ctl -p", "leveret ctl -p"),
            ("leveret ctl", "leveret ctl"),
            ("leveret serve -p x", "leveret serve -p x"),
        ] {
            assert_eq!(behind(line), expected);
        }
    }
}
