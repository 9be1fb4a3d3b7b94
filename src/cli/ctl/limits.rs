//! The commands about limits of vhosts and users, and about where the alarms are.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::broker::{About, Broker};
use super::options::Format;
use super::output::Column;
use super::{InVHost, parsed};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::config::parse_size;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Set the limits of a vhost, in the place of those it has
    SetVhostLimits(SetOfVHost),
    /// Take the limits of a vhost away
    ClearVhostLimits(InVHost),
    /// List the limits of all vhosts that have some, or of one
    ListVhostLimits(ListOfVHosts),
    /// Set limits of a user; those that are not named stay
    SetUserLimits(SetOfUser),
    /// Take a limit of a user away
    ClearUserLimits(ClearOfUser),
    /// List the limits of all users that have some, or of one
    ListUserLimits(ListOfUsers),
    /// Set how much memory the process may take before publishers are blocked, until the restart
    SetVmMemoryHighWatermark(Watermark),
    /// Set how little may be free on the disk before publishers are blocked, until the restart
    SetDiskFreeLimit(FreeLimit),
}

#[derive(Debug, Args)]
pub(super) struct SetOfVHost {
    #[command(flatten)]
    at: InVHost,
    /// The limits as JSON: '{"max-connections": 100, "max-queues": 50}'; -1 is no limit, 0 is none at all
    limits: String,
}

#[derive(Debug, Args)]
pub(super) struct ListOfVHosts {
    /// Of this vhost only, as one object
    #[arg(short = 'p', long, value_name = "VHOST")]
    vhost: Option<String>,
    /// Of all vhosts, as without --vhost
    #[arg(long, conflicts_with = "vhost")]
    global: bool,
}

#[derive(Debug, Args)]
pub(super) struct SetOfUser {
    /// The user
    user: String,
    /// The limits as JSON: '{"max-connections": 100, "max-channels": 50}'; -1 is no limit, 0 is none at all
    limits: String,
}

#[derive(Debug, Args)]
pub(super) struct ClearOfUser {
    /// The user
    user: String,
    /// max-connections, max-channels or all
    limit: String,
}

#[derive(Debug, Args)]
pub(super) struct ListOfUsers {
    /// Of this user only, as one object
    #[arg(long)]
    user: Option<String>,
    /// Of all users, as without --user
    #[arg(long, conflicts_with = "user")]
    global: bool,
}

#[derive(Debug, Args)]
pub(super) struct Watermark {
    /// A part of the machine's memory, such as 0.6; or the word `absolute`, and then a size
    first: String,
    /// The size behind `absolute`, such as 4GiB
    size: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct FreeLimit {
    /// A size, such as 2GB; or the word `mem_relative`, and then a part of the machine's memory
    first: String,
    /// The part behind `mem_relative`, such as 1.5
    part: Option<String>,
}

/// Limits that a user can have.
const OF_USERS: [&str; 2] = ["max-connections", "max-channels"];

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::SetVhostLimits(SetOfVHost { at, limits }) => {
            set_of_vhost(broker, &at.vhost, &parsed(limits, "the limits")?)
        }
        Command::ClearVhostLimits(at) => set_of_vhost(broker, &at.vhost, &json!({})),
        Command::ListVhostLimits(ListOfVHosts { vhost, .. }) => {
            let about = vhost.as_deref().map(About::vhost).unwrap_or_default();
            list(broker, ("vhost-limits", vhost.as_deref()), about, "vhost")
        }
        Command::SetUserLimits(SetOfUser { user, limits }) => set_of_user(broker, user, limits),
        Command::ClearUserLimits(ClearOfUser { user, limit }) => clear_of_user(broker, user, limit),
        Command::ListUserLimits(ListOfUsers { user, .. }) => {
            let about = user.as_deref().map(About::user).unwrap_or_default();
            list(broker, ("user-limits", user.as_deref()), about, "user")
        }
        Command::SetVmMemoryHighWatermark(watermark) => {
            broker.put(&["alarm-limits", "memory"], &watermark.value()?, About::default()).map(|_| ())
        }
        Command::SetDiskFreeLimit(limit) => {
            broker.put(&["alarm-limits", "disk"], &limit.value()?, About::default()).map(|_| ())
        }
    }
}

/// Lists the limits of all, or those of one, which are one object in a line as rabbitmqctl has it.
fn list(
    broker: &Broker<'_>,
    (resource, one): (&'static str, Option<&str>),
    about: About<'_>,
    whose: &'static str,
) -> Result<(), Failure> {
    let names: Vec<&str> = std::iter::once(resource).chain(one).collect();
    let rows = with_some(broker.get(&names, about)?);
    if one.is_some() && broker.options.format() != Format::Json {
        let limits = rows.get(0).map_or_else(|| json!({}), |row| row["value"].clone());
        return print(&format!("{limits}\n"));
    }
    broker.show(&rows, &[Column::same(whose), Column::of("limits", "value")])
}

/// Those rows that have a limit.
fn with_some(mut list: Value) -> Value {
    if let Value::Array(rows) = &mut list {
        rows.retain(|row| row["value"].as_object().is_some_and(|limits| !limits.is_empty()));
    }
    list
}

/// In one step: they are one parameter.
fn set_of_vhost(broker: &Broker<'_>, vhost: &str, limits: &Value) -> Result<(), Failure> {
    let body = json!({ "vhost": vhost, "component": "vhost-limits", "name": "limits", "value": limits });
    broker.put(&["parameters", "vhost-limits", vhost, "limits"], &body, About::vhost(vhost)).map(|_| ())
}

fn set_of_user(broker: &Broker<'_>, user: &str, limits: &str) -> Result<(), Failure> {
    let Value::Object(limits) = parsed(limits, "the limits")? else {
        return Err(Failure::Refused("the limits should be an object".to_owned()));
    };
    if let Some(unknown) = limits.keys().find(|name| !OF_USERS.contains(&name.as_str())) {
        return Err(unknown_limit(unknown));
    }
    for (name, value) in &limits {
        let body = json!({ "value": value });
        broker.put(&["user-limits", user, name], &body, About::user(user))?;
    }
    Ok(())
}

fn clear_of_user(broker: &Broker<'_>, user: &str, limit: &str) -> Result<(), Failure> {
    let names: Vec<&str> = OF_USERS.into_iter().filter(|name| limit == "all" || limit == *name).collect();
    if names.is_empty() {
        return Err(unknown_limit(limit));
    }
    names.iter().try_for_each(|name| broker.delete_any(&["user-limits", user, name], About::user(user)))
}

fn unknown_limit(name: &str) -> Failure {
    Failure::Refused(format!("there is no limit {name:?} of users; there are {}", OF_USERS.join(" and ")))
}

impl Watermark {
    fn value(&self) -> Result<Value, Failure> {
        match (&*self.first, &self.size) {
            ("absolute", Some(size)) => sized(size),
            ("absolute", None) => Err(Failure::Refused("a size belongs behind 'absolute'".to_owned())),
            (part, None) => fraction(part),
            (_, Some(more)) => Err(Failure::Refused(format!("{more:?} means nothing without 'absolute'"))),
        }
    }
}

impl FreeLimit {
    fn value(&self) -> Result<Value, Failure> {
        match (&*self.first, &self.part) {
            ("mem_relative", Some(part)) => {
                fraction(part).map(|value| json!({ "of_memory": value["fraction"] }))
            }
            ("mem_relative", None) => {
                Err(Failure::Refused("a number belongs behind 'mem_relative'".to_owned()))
            }
            (size, None) => sized(size),
            (_, Some(more)) => {
                Err(Failure::Refused(format!("{more:?} means nothing without 'mem_relative'")))
            }
        }
    }
}

fn fraction(text: &str) -> Result<Value, Failure> {
    let part = text.parse::<f64>().ok().filter(|part| part.is_finite() && *part >= 0.0);
    let part = part.ok_or_else(|| Failure::Refused(format!("{text:?} should be a number such as 0.6")))?;
    Ok(json!({ "fraction": part }))
}

fn sized(text: &str) -> Result<Value, Failure> {
    let bytes = parse_size(text);
    let bytes = bytes.ok_or_else(|| Failure::Refused(format!("{text:?} should be a size such as 2GB")))?;
    Ok(json!({ "bytes": bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_are_read_as_rabbitmqctl_has_them() {
        let memory = |first: &str, size: Option<&str>| {
            Watermark { first: first.to_owned(), size: size.map(str::to_owned) }.value().ok()
        };
        assert_eq!(memory("0.4", None), Some(json!({ "fraction": 0.4 })));
        assert_eq!(memory("absolute", Some("2GiB")), Some(json!({ "bytes": 2_u64 << 30 })));
        for (first, size) in
            [("x", None), ("absolute", None), ("absolute", Some("x")), ("0.4", Some("1")), ("-1", None)]
        {
            assert_eq!(memory(first, size), None, "{first} {size:?}");
        }
        let disk = |first: &str, part: Option<&str>| {
            FreeLimit { first: first.to_owned(), part: part.map(str::to_owned) }.value().ok()
        };
        assert_eq!(disk("2GB", None), Some(json!({ "bytes": 2_000_000_000_u64 })));
        assert_eq!(disk("mem_relative", Some("1.5")), Some(json!({ "of_memory": 1.5 })));
        for (first, part) in
            [("x", None), ("mem_relative", None), ("mem_relative", Some("NaN")), ("1", Some("1"))]
        {
            assert_eq!(disk(first, part), None, "{first} {part:?}");
        }
    }
}
