//! The command line: `leveret serve`, which is also what `leveret` alone does, `leveret check`, `leveret ctl`,
//! `leveret storage` and `leveret perf`.

mod client;
mod ctl;
mod deferred;
mod definitions;
mod failure;
mod log_tail;
mod logging;
mod login_provider;
mod meter;
mod perf;
mod process;
mod reload;
mod serve;
mod signals;
mod storage;
mod supervisor;
mod topology;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};

use self::deferred::Deferred;
use self::failure::Failure;
use crate::config::{Assignment, ConfigError, Environment, Loaded, Machine, Sources, Value, render};
use crate::server::tls::Tls;

/// Version, commit and compiler, for `--version` and the log.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("BUILD_COMMIT"),
    ", rustc ",
    env!("BUILD_RUSTC"),
    ")"
);

/// The exit code for a command line that is not understood, but for those of `leveret ctl` and `leveret perf`.
const NOT_UNDERSTOOD: u8 = 2;

const AFTER_HELP: &str = "\
Settings:
  Flags beat the environment, the environment beats the file, the file beats the
  defaults. The example file config/leveret.toml explains every setting. In the
  environment each is LEVERET_SECTION_KEY, such as LEVERET_AMQP_HEARTBEAT=30, with
  commas between the items of a list. RABBITMQ_DEFAULT_USER, _DEFAULT_PASS,
  _DEFAULT_VHOST, _NODENAME, _NODE_PORT, _LOGS and _CONFIG_FILE work as well.

Signals:
  TERM, INT  close all connections and exit; a second one exits at once
  HUP        read the configuration again and open the log file anew

Examples:
  leveret
  leveret --listen 0.0.0.0:5672 --data-dir /var/lib/leveret
  leveret --ephemeral --set auth.default_user=alice --set auth.default_pass=secret
  leveret check --config /etc/leveret/leveret.toml
  leveret ctl set_policy bound '^jobs' '{\"max-length\": 100000}'
  leveret storage backup --data-dir /var/lib/leveret /backup/leveret-monday
  leveret storage verify --data-dir /var/lib/leveret
  leveret perf throughput --url amqp://guest:guest@127.0.0.1:5672/";

/// A small, fast AMQP 0-9-1 message broker
#[derive(Debug, Parser)]
#[command(
    name = "leveret",
    version = VERSION,
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker; this is what `leveret` alone does
    #[command(after_help = AFTER_HELP)]
    Serve(ServeArguments),
    /// Check the configuration; exit with 0 if it is valid and with 1 if not
    Check(CheckArguments),
    /// Tell a running broker what is to hold, ask it how it is, and list what there is
    Ctl(Deferred<ctl::Arguments>),
    /// Look after a data directory
    #[command(subcommand)]
    Storage(Deferred<storage::Command>),
    /// Put load on a broker, this one or another, and measure it
    #[command(subcommand)]
    Perf(Deferred<perf::Command>),
}

#[derive(Debug, Args)]
struct SourceArguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting, such as amqp.heartbeat=30; can be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = parse_assignment)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
struct CheckArguments {
    #[command(flatten)]
    sources: SourceArguments,
}

#[derive(Debug, Args)]
struct DirectoryArgument {
    /// Directory of the data [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

/// Where the data directory is.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    sources: SourceArguments,
    #[command(flatten)]
    directory: DirectoryArgument,
}

#[derive(Debug, Args)]
struct ServeArguments {
    #[command(flatten)]
    sources: SourceArguments,
    #[command(flatten)]
    directory: DirectoryArgument,
    /// Keep everything in memory and nothing on disk; its temporary directory is removed at exit
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Address to listen on; can be repeated [default: 127.0.0.1:5672]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<String>,
    /// Least severe level to log: off, error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How a line of the log looks: text, json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Print the effective configuration as TOML, secrets masked, and exit
    #[arg(long)]
    print_config: bool,
}

/// "section.key=value" into its two sides.
fn parse_assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("expected section.key=value".to_owned()),
    }
}

impl SourceArguments {
    fn sources(&self) -> Result<Sources, ConfigError> {
        let set = self.set.iter().map(|(name, value)| Assignment {
            name: name.clone(),
            value: Value::Raw(value.clone()),
            flag: "--set",
        });
        Ok(Sources {
            file: self.config.clone(),
            environment: Environment::new(std::env::vars_os())?,
            flags: set.collect(),
        })
    }
}

impl DirectoryArgument {
    fn assignment(&self) -> Option<Assignment> {
        let value = Value::Raw(self.data_dir.clone()?);
        Some(Assignment { name: "storage.data_dir".to_owned(), value, flag: "--data-dir" })
    }
}

impl Place {
    fn path(&self) -> Result<PathBuf, Failure> {
        let mut sources = self.sources.sources()?;
        sources.flags.extend(self.directory.assignment());
        Ok(sources.load(Machine::read())?.config().data_dir)
    }
}

impl ServeArguments {
    /// Flags with a name of their own come after `--set`, and so beat it.
    fn sources(&self) -> Result<Sources, ConfigError> {
        let mut sources = self.sources.sources()?;
        sources.flags.extend(self.directory.assignment());
        let text = |text: &String| Value::Raw(text.clone());
        let listen = (!self.listen.is_empty()).then(|| Value::List(self.listen.iter().map(text).collect()));
        let flags = [
            ("--listen", "listen.amqp", listen),
            ("--log-level", "log.level", self.log_level.as_ref().map(text)),
            ("--log-format", "log.format", self.log_format.as_ref().map(text)),
        ];
        for (flag, name, value) in flags {
            sources.flags.extend(value.map(|value| Assignment { name: name.to_owned(), value, flag }));
        }
        Ok(sources)
    }
}

/// Runs the program. What it returns becomes the exit code: 0 after all went well, 1 after a failure that it
/// described in one line on standard error, 2 after a command line it did not understand. `leveret ctl`, `leveret storage`
/// and `leveret perf` have codes of their own.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one look at the clock that starts it all")]
pub fn run() -> ExitCode {
    let started = Instant::now();
    let words = ctl::with_vhost_behind(std::env::args_os().collect());
    let usage = match words.get(1).and_then(|word| word.to_str()) {
        Some("ctl") => ctl::USAGE,
        Some("perf") => perf::USAGE,
        _ => NOT_UNDERSTOOD,
    };
    let CommandLine { command, serve } = match CommandLine::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => {
            // Without a console there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(usage) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match command {
        None => run_serve(&serve, started),
        Some(Command::Serve(arguments)) => run_serve(&arguments, started),
        Some(Command::Check(arguments)) => run_check(&arguments),
        Some(Command::Ctl(arguments)) => return ctl::run(arguments.get()),
        Some(Command::Storage(command)) => return storage::run(command.get()),
        Some(Command::Perf(command)) => return perf::run(command.get()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}

fn run_serve(arguments: &ServeArguments, started: Instant) -> Result<(), Failure> {
    let sources = arguments.sources()?;
    let loaded = sources.load(Machine::read())?;
    if arguments.print_config {
        return print(&render(&loaded));
    }
    serve::serve(sources, loaded, arguments.ephemeral, started)
}

fn run_check(arguments: &CheckArguments) -> Result<(), Failure> {
    let loaded = arguments.sources.sources()?.load(Machine::read())?;
    loaded.config().server.tls.map(Tls::load).transpose()?;
    print(&format!("{}: valid\n", described(&loaded)))
}

/// What was checked.
fn described(loaded: &Loaded) -> String {
    match &loaded.file {
        Some(path) => path.display().to_string(),
        None => "the environment and the flags (no file was given)".to_owned(),
    }
}

/// Writes to standard output. A reader who has seen enough and left is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
