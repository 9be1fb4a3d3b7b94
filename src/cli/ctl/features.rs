//! What RabbitMQ's tool switches on before an upgrade, and what it warns of.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::UNAVAILABLE;
use super::broker::{About, Broker};
use super::output::{Column, chosen};
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// List the feature flags of RabbitMQ for what is here too; all are enabled
    ListFeatureFlags(Columns),
    /// Enable a feature flag, which it is
    EnableFeatureFlag(Enable),
    /// List what will go in a later version
    ListDeprecatedFeatures(Deprecated),
    /// See whether nothing is used that will go in a later version
    CheckIfAnyDeprecatedFeaturesAreUsed,
}

#[derive(Debug, Args)]
pub(super) struct Columns {
    /// The columns, such as name; a wrong one tells which there are
    columns: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Enable {
    /// Also if it is experimental, which none is
    #[arg(long, alias = "opt-in")]
    experimental: bool,
    /// The flag, or all
    flag: String,
}

#[derive(Debug, Args)]
pub(super) struct Deprecated {
    /// Only what is used
    #[arg(long)]
    used: bool,
    #[command(flatten)]
    of: Columns,
}

const FLAGS: &[Column] = &[
    Column::same("name"),
    Column::same("state"),
    Column::same("stability"),
    Column::same("provided_by"),
    Column::same("desc"),
    Column::same("doc_url"),
];

const DEPRECATED: &[Column] = &[
    Column::same("name"),
    Column::same("deprecation_phase"),
    Column::same("provided_by"),
    Column::same("desc"),
    Column::same("doc_url"),
];

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::ListFeatureFlags(of) => of.show(broker, &["feature-flags"], FLAGS),
        Command::EnableFeatureFlag(Enable { flag, .. }) => {
            broker.put(&["feature-flags", flag, "enable"], &json!({}), About::default()).map(|_| ())
        }
        Command::ListDeprecatedFeatures(Deprecated { used: false, of }) => {
            of.show(broker, &["deprecated-features"], DEPRECATED)
        }
        Command::ListDeprecatedFeatures(Deprecated { used: true, of }) => {
            of.show(broker, &["deprecated-features", "used"], DEPRECATED)
        }
        Command::CheckIfAnyDeprecatedFeaturesAreUsed => {
            let used = broker.get(&["deprecated-features", "used"], About::default())?;
            match used.as_array().filter(|used| !used.is_empty()) {
                None => broker.say("nothing is used that will go"),
                Some(used) => {
                    let names: Vec<&str> = used.iter().filter_map(|row| row["name"].as_str()).collect();
                    let text = format!("these are used, and will go: {}", names.join(", "));
                    Err(Failure::RefusedAs { code: UNAVAILABLE, text })
                }
            }
        }
    }
}

impl Columns {
    fn show(&self, broker: &Broker<'_>, names: &[&str], known: &[Column]) -> Result<(), Failure> {
        let columns =
            if self.columns.is_empty() { known[..2].to_vec() } else { chosen(known, &self.columns)? };
        let list: Value = broker.get(names, About::default())?;
        broker.show(&list, &columns)
    }
}
