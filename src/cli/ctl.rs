//! `leveret ctl`: tells the broker that runs on a data directory what is to hold from now on, and asks it. Commands and
//! their arguments are named as those of `rabbitmqctl`.

mod permissions;
mod users;
mod vhosts;

use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::{Place, print};
use crate::server::control::steer::{Steer, Whose};
use crate::server::control::{LONGEST_REQUEST, connect};

/// How long a broker may take.
const PATIENCE: Duration = Duration::from_secs(60);

const HELP: &str = "\
The broker is found by its data directory, and whoever may open that may do this:
there is nothing to log in to.

Examples:
  leveret ctl ping --data-dir /var/lib/leveret
  leveret ctl add_user alice 'correct horse'
  leveret ctl set_user_tags alice administrator
  leveret ctl add_vhost tests
  leveret ctl set_policy bound '^jobs\\.' '{\"max-length\": 100000}' --apply-to queues
  leveret ctl set_operator_policy stale '.*' '{\"expires\": 604800000}' --priority 1
  leveret ctl list_policies --data-dir /var/lib/leveret
  leveret ctl set_vhost_limits -p tests '{\"max-connections\": 100, \"max-queues\": 50}'
  leveret ctl set_permissions -p tests alice '^alice' '.*' '^(alice|shared)'";

/// What to do on which broker.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
enum Command {
    /// See whether a broker runs: exit with 0 if it answers, and with 69 if not
    Ping(Ping),
    /// Set a policy: what holds for all queues and exchanges whose names match
    SetPolicy(SetPolicy),
    /// Take a policy away
    ClearPolicy(ClearPolicy),
    /// List the policies of a vhost
    ListPolicies(List),
    /// Set an operator policy: what bounds queues whatever users ask for
    SetOperatorPolicy(SetPolicy),
    /// Take an operator policy away
    ClearOperatorPolicy(ClearPolicy),
    /// List the operator policies of a vhost, with those of the configuration
    ListOperatorPolicies(List),
    /// Set the limits of a vhost, in the place of those it has
    SetVhostLimits(SetLimits),
    /// Take the limits of a vhost away
    ClearVhostLimits(InVHost),
    /// List the limits of all vhosts that have some
    ListVhostLimits(ListAll),
    #[command(flatten)]
    Permissions(permissions::Command),
    #[command(flatten)]
    Users(users::Command),
    #[command(flatten)]
    VHosts(vhosts::Command),
}

#[derive(Debug, Args)]
struct Ping {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct InVHost {
    #[command(flatten)]
    place: Place,
    /// The vhost
    #[arg(short = 'p', long, value_name = "VHOST", default_value = "/")]
    vhost: String,
}

#[derive(Debug, Args)]
struct SetPolicy {
    #[command(flatten)]
    at: InVHost,
    /// Of several that match, the one with the highest applies
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// What it is for: all, queues, classic_queues, quorum_queues, exchanges [default: all, or queues for operators]
    #[arg(long, value_name = "WHAT")]
    apply_to: Option<String>,
    /// Its name
    name: String,
    /// A regular expression that is looked for in names
    pattern: String,
    /// What holds, as JSON: '{"max-length": 1000}'
    definition: String,
}

#[derive(Debug, Args)]
struct ClearPolicy {
    #[command(flatten)]
    at: InVHost,
    /// Its name
    name: String,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    at: InVHost,
    /// Print JSON instead of columns
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SetLimits {
    #[command(flatten)]
    at: InVHost,
    /// The limits as JSON: '{"max-connections": 100, "max-queues": 50}'; -1 is no limit, 0 is none at all
    limits: String,
}

#[derive(Debug, Args)]
struct ListAll {
    #[command(flatten)]
    place: Place,
    /// Print JSON instead of columns
    #[arg(long)]
    json: bool,
}

/// Columns of a list of policies.
const OF_POLICIES: &[&str] = &["vhost", "name", "pattern", "apply-to", "definition", "priority"];

/// Columns of a list of limits.
const OF_LIMITS: &[&str] = &["vhost", "value"];

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
        Failure::Refused(_) => 65,
        Failure::NoBroker { .. } => 69,
        Failure::Config(_) => 78,
        _ => 70,
    }
}

fn carry_out(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Ping(Ping { place }) => {
            place.ask(&Steer::Ping {})?;
            print("the broker is running\n")
        }
        Command::SetPolicy(set) => set_policy(set, Whose::User),
        Command::SetOperatorPolicy(set) => set_policy(set, Whose::Operator),
        Command::ClearPolicy(clear) => clear_policy(clear, Whose::User),
        Command::ClearOperatorPolicy(clear) => clear_policy(clear, Whose::Operator),
        Command::ListPolicies(list) => list_policies(list, Whose::User),
        Command::ListOperatorPolicies(list) => list_policies(list, Whose::Operator),
        Command::SetVhostLimits(SetLimits { at, limits }) => {
            let value = parsed(limits, "the limits")?;
            at.place.ask(&Steer::SetVhostLimits { vhost: at.vhost.clone(), value }).map(|_| ())
        }
        Command::ClearVhostLimits(at) => {
            let nothing = Steer::SetVhostLimits { vhost: at.vhost.clone(), value: json!({}) };
            at.place.ask(&nothing).map(|_| ())
        }
        Command::ListVhostLimits(ListAll { place, json }) => {
            show(&place.ask(&Steer::ListVhostLimits {})?, OF_LIMITS, *json)
        }
        Command::Permissions(command) => permissions::run(command),
        Command::Users(command) => users::run(command),
        Command::VHosts(command) => vhosts::run(command),
    }
}

fn set_policy(set: &SetPolicy, whose: Whose) -> Result<(), Failure> {
    let SetPolicy { at, priority, apply_to, name, pattern, definition } = set;
    let usual = if whose == Whose::Operator { "queues" } else { "all" };
    let value = json!({
        "pattern": pattern,
        "definition": parsed(definition, "the definition")?,
        "priority": priority,
        "apply-to": apply_to.as_deref().unwrap_or(usual),
    });
    let answer =
        at.place.ask(&Steer::SetPolicy { whose, vhost: at.vhost.clone(), name: name.clone(), value })?;
    let unheeded = answer.get("unheeded").and_then(Value::as_array).into_iter().flatten();
    let unheeded: Vec<&str> = unheeded.filter_map(Value::as_str).collect();
    if !unheeded.is_empty() {
        // Without a console there is nobody to tell.
        let _ = writeln!(io::stderr(), "leveret: these keys have no effect here: {}", unheeded.join(", "));
    }
    Ok(())
}

fn clear_policy(clear: &ClearPolicy, whose: Whose) -> Result<(), Failure> {
    let ClearPolicy { at, name } = clear;
    let clear = Steer::ClearPolicy { whose, vhost: at.vhost.clone(), name: name.clone() };
    at.place.ask(&clear).map(|_| ())
}

fn list_policies(list: &List, whose: Whose) -> Result<(), Failure> {
    let answer = list.at.place.ask(&Steer::ListPolicies { whose, vhost: list.at.vhost.clone() })?;
    show(&answer, OF_POLICIES, list.json)
}

fn parsed(text: &str, what: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Refused(format!("{what} should be JSON: {error}")))
}

/// Prints a list of objects: a line of names and a line for each, with tabs between the columns.
fn show(list: &Value, columns: &[&str], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print(&format!("{list:#}\n"));
    }
    let mut text = format!("{}\n", columns.join("\t"));
    for row in list.as_array().into_iter().flatten() {
        let cells = columns.iter().map(|column| match row.get(column) {
            Some(Value::String(cell)) => cell.escape_debug().to_string(),
            Some(Value::Array(words)) => bracketed(words),
            Some(cell) => cell.to_string(),
            None => String::new(),
        });
        text.push_str(&cells.collect::<Vec<_>>().join("\t"));
        text.push('\n');
    }
    print(&text)
}

/// A list of words as RabbitMQ's tool prints it.
fn bracketed(words: &[Value]) -> String {
    let words = words.iter().filter_map(Value::as_str).map(|word| word.escape_debug().to_string());
    format!("[{}]", words.collect::<Vec<_>>().join(", "))
}

impl Place {
    /// Asks the broker that runs there.
    fn ask(&self, request: &Steer) -> Result<Value, Failure> {
        let path = self.path()?;
        let answer = ask(&path, request).map_err(|error| Failure::NoBroker { path, error })?;
        match answer.trim_end().split_once(' ') {
            Some(("ok", json)) => serde_json::from_str(json)
                .map_err(|error| Failure::Refused(format!("the broker's answer is not understood: {error}"))),
            Some(("refused", rest)) => Err(refused(rest)),
            Some(("error", text)) => Err(Failure::Refused(text.to_owned())),
            _ => Err(Failure::Refused("the broker has not answered; is it of another version?".to_owned())),
        }
    }
}

/// A failure from an exit code and a text.
fn refused(rest: &str) -> Failure {
    let (code, text) = rest.split_once(' ').unwrap_or(("", rest));
    match code.parse() {
        Ok(code) => Failure::RefusedAs { code, text: text.to_owned() },
        Err(_) => Failure::Refused(rest.to_owned()),
    }
}

/// Sends a request and returns the line that comes back.
fn ask(data_dir: &Path, request: &Steer) -> io::Result<String> {
    // There may be a password in it.
    let request = Zeroizing::new(serde_json::to_string(request)?);
    let line = Zeroizing::new(format!("ctl {}\n", *request));
    if line.len() > LONGEST_REQUEST {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the request is too long"));
    }
    let mut stream = connect(data_dir)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
