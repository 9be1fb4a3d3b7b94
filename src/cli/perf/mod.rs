//! `leveret perf`: load for any AMQP 0-9-1 broker, and what it costs.

mod backlog;
mod churn;
mod compare;
mod connections;
mod fanout;
mod latency;
mod options;
mod progress;
mod queues;
mod relay;
mod report;
mod soak;
mod sync;
mod table;
mod throughput;

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;
use crate::perf::error::PerfError;

/// The exit code for a command line that is not understood, or asks for what cannot be done together.
pub(super) const USAGE: u8 = 64;

/// What goes before every command's examples.
const HELP: &str = "\
A broker is named by --url amqp://USER:PASSWORD@HOST:PORT/VHOST; in user, password and
vhost special letters are written as %2F. The default is a broker on this machine.
Queues and exchanges are made for the run and removed after it.

Exit codes:
  0  done          1  failed          64  the command is not understood";

const THROUGHPUT_HELP: &str = "\
Examples:
  leveret perf throughput
  leveret perf throughput --publishers 2 --consumers 2 --queues 2 --duration 30
  leveret perf throughput --persistent --durable --size 1024 --confirm 100 --ack 10 --prefetch 200
  leveret perf throughput --exchange-type topic --bindings 100 --pid $(pidof leveret)
  leveret perf throughput --durable --queue-args x-queue-type=quorum --confirm 1000 --persistent";

const LATENCY_HELP: &str = "\
Latency counts from when a message was due, not from when it could be sent: messages
that were due while the broker stalled count with all of their wait.

Examples:
  leveret perf latency --rate 1000
  leveret perf latency --rate 500 --size 1024 --persistent --durable --confirm 100";

const FANOUT_HELP: &str = "\
Examples:
  leveret perf fanout --queues 10
  leveret perf fanout --publishers 2 --queues 100 --size 1024 --pid $(pidof leveret)";

const CONNECTIONS_HELP: &str = "\
With --pid the first hundred connections (or half of them) are opened before memory is
looked at first, so that what a broker needs only once does not count.

Examples:
  leveret perf connections --count 10000 --pid $(pidof leveret)
  leveret perf connections --count 5000 --rate 500 --hold 600";

const CHURN_HELP: &str = "\
A cycle: connect, log in, open a channel, declare an exclusive queue, publish if that is
wanted, and close, until the broker has answered to that.

Examples:
  leveret perf churn --clients 4 --duration 30
  leveret perf churn --publish 1 --pid $(pidof leveret)";

const QUEUES_HELP: &str = "\
Declares queues, binds each to a direct exchange, publishes a message to each with a
confirm, and deletes them: one request after another, or --depth of them under way.

Examples:
  leveret perf queues --count 1000
  leveret perf queues --count 100000 --transient --depth 100 --pid $(pidof leveret)";

const BACKLOG_HELP: &str = "\
Fills a durable queue with persistent messages, if need be kills the broker and waits
until the first message can be consumed again, and drains the queue.

COMMAND either is the broker (then begin it with exec, so that its memory can be measured),
or starts it in the background (then --pid-file says which it is). The broker is left running.

Examples:
  leveret perf backlog --messages 1000000 --size 128 --pid $(pidof leveret)
  leveret perf backlog --pid $(pidof leveret) --restart 'exec leveret --data-dir /srv/leveret'
  leveret perf backlog --pid-file /run/rabbitmq/pid --restart 'systemctl restart rabbitmq-server'";

const SOAK_HELP: &str = "\
Every message carries its publisher, its number and a checksum. A confirmed message that
does not come is lost; one that comes twice has to be marked as redelivered; those that are
not have to come in the order of their publisher. The broker may be restarted meanwhile.
Ctrl-C ends the run early, and everything still has to come.

Examples:
  leveret perf soak --duration 8h --rate 2000 --pid $(pidof leveret)
  leveret perf soak --queue-args x-queue-type=quorum --size 1024,200000";

const RELAY_HELP: &str = "\
The same bytes that a publisher sends, through a process that only copies them from one
socket to another: what no broker on this machine can go below.

Examples:
  leveret perf relay --size 16
  leveret perf relay --size 16 --rate 1000";

/// What to measure.
#[derive(Debug, Subcommand)]
#[command(after_help = HELP)]
pub(super) enum Command {
    /// How many messages a broker moves, and what that costs it
    #[command(after_help = THROUGHPUT_HELP)]
    Throughput(Box<throughput::Arguments>),
    /// How long messages take at a fixed rate, in percentiles
    #[command(after_help = LATENCY_HELP)]
    Latency(Box<latency::Arguments>),
    /// One exchange to many queues
    #[command(after_help = FANOUT_HELP)]
    Fanout(Box<fanout::Arguments>),
    /// How fast connections are opened, and what each costs
    #[command(after_help = CONNECTIONS_HELP)]
    Connections(Box<connections::Arguments>),
    /// How fast clients come and go
    #[command(after_help = CHURN_HELP)]
    Churn(Box<churn::Arguments>),
    /// How fast queues are declared, bound, used and deleted
    #[command(after_help = QUEUES_HELP)]
    Queues(Box<queues::Arguments>),
    /// A queue with many messages: fill, restart, drain
    #[command(after_help = BACKLOG_HELP)]
    Backlog(Box<backlog::Arguments>),
    /// Hours under load: is everything delivered, once, whole and in order?
    #[command(after_help = SOAK_HELP)]
    Soak(Box<soak::Arguments>),
    /// The floor: the same bytes through a relay that only copies them
    #[command(after_help = RELAY_HELP)]
    Relay(relay::Arguments),
    /// How long a file system takes to make a small write durable
    Sync(sync::Arguments),
}

/// Why a measurement is not made.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Perf(#[from] PerfError),
    #[error(transparent)]
    Program(#[from] Failure),
}

/// Measures. The exit codes are its own.
pub(super) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Throughput(arguments) => arguments.run(),
        Command::Latency(arguments) => arguments.run(),
        Command::Fanout(arguments) => arguments.run(),
        Command::Connections(arguments) => arguments.run(),
        Command::Churn(arguments) => arguments.run(),
        Command::Queues(arguments) => arguments.run(),
        Command::Backlog(arguments) => arguments.run(),
        Command::Soak(arguments) => arguments.run(),
        Command::Relay(arguments) => arguments.run(),
        Command::Sync(arguments) => arguments.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Program(failure)) => {
            failure.report();
            ExitCode::FAILURE
        }
        Err(Trouble::Perf(error)) => {
            let code = if matches!(error, PerfError::Plan(_)) { USAGE } else { 1 };
            Failure::Perf(error).report();
            ExitCode::from(code)
        }
    }
}
