//! The commands about parameters.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::broker::{About, Broker};
use super::output::Column;
use super::{InVHost, parsed};
use crate::broker::parameters::Component;
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Set a parameter of a vhost
    SetParameter(Set),
    /// Take a parameter of a vhost away
    ClearParameter(Clear),
    /// List the parameters of a vhost
    ListParameters(InVHost),
    /// Set a parameter of the broker
    SetGlobalParameter(SetGlobal),
    /// Take a parameter of the broker away
    ClearGlobalParameter(ClearGlobal),
    /// List the parameters of the broker
    ListGlobalParameters,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    of: Clear,
    /// Its value as JSON
    value: String,
}

#[derive(Debug, Args)]
pub(super) struct Clear {
    #[command(flatten)]
    at: InVHost,
    /// What it belongs to, such as vhost-limits
    component: String,
    /// Its name
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct SetGlobal {
    /// Its name
    name: String,
    /// Its value as JSON
    value: String,
}

#[derive(Debug, Args)]
pub(super) struct ClearGlobal {
    /// Its name
    name: String,
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::SetParameter(Set { of, value }) => {
            let Clear { at: InVHost { vhost }, component, name } = of;
            let value = parsed(value, "the value")?;
            let body = json!({ "vhost": vhost, "component": component, "name": name, "value": value });
            broker.put(&["parameters", component, vhost, name], &body, of.about())?;
            if let Ok(Component::Unsupported(kept)) = Component::parse(component) {
                broker.remark(&format!("it is kept and has no effect: {kept} is not supported"));
            }
            Ok(())
        }
        Command::ClearParameter(of) => {
            broker.delete(&["parameters", &of.component, &of.at.vhost, &of.name], of.about())
        }
        Command::ListParameters(InVHost { vhost }) => {
            let mut list = broker.get(&["parameters"], About::default())?;
            if let Value::Array(rows) = &mut list {
                rows.retain(|row| row["vhost"] == vhost.as_str());
            }
            broker.show(&list, &["component", "name", "value"].map(Column::same))
        }
        Command::SetGlobalParameter(SetGlobal { name, value }) => {
            let body = json!({ "name": name, "value": parsed(value, "the value")? });
            broker.put(&["global-parameters", name], &body, About::default()).map(|_| ())
        }
        Command::ClearGlobalParameter(ClearGlobal { name }) => {
            let about = About::default().thing("global parameter", name);
            broker.delete(&["global-parameters", name], about)
        }
        Command::ListGlobalParameters => {
            let list = broker.get(&["global-parameters"], About::default())?;
            broker.show(&list, &["name", "value"].map(Column::same))
        }
    }
}

impl Clear {
    fn about(&self) -> About<'_> {
        About::vhost(&self.at.vhost).thing("parameter", &self.name)
    }
}
