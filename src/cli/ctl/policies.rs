//! The commands about policies and operator policies.

use clap::{Args, Subcommand};
use serde_json::json;

use super::broker::{About, Broker};
use super::output::Column;
use super::{InVHost, parsed};
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Set a policy: what holds for all queues and exchanges whose names match
    SetPolicy(Set),
    /// Take a policy away
    ClearPolicy(Clear),
    /// List the policies of a vhost
    ListPolicies(InVHost),
    /// Set an operator policy: what bounds queues whatever users ask for
    SetOperatorPolicy(Set),
    /// Take an operator policy away
    ClearOperatorPolicy(Clear),
    /// List the operator policies of a vhost, with those of the configuration
    ListOperatorPolicies(InVHost),
}

#[derive(Debug, Args)]
pub(super) struct Set {
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
pub(super) struct Clear {
    #[command(flatten)]
    at: InVHost,
    /// Its name
    name: String,
}

/// Columns of a list.
const COLUMNS: &[Column] = &[
    Column::same("vhost"),
    Column::same("name"),
    Column::same("pattern"),
    Column::same("apply-to"),
    Column::same("definition"),
    Column::same("priority"),
];

fn resource(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::User => "policies",
        PolicyKind::Operator => "operator-policies",
    }
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::SetPolicy(set) => set.run(PolicyKind::User, broker),
        Command::SetOperatorPolicy(set) => set.run(PolicyKind::Operator, broker),
        Command::ClearPolicy(clear) => clear.run(PolicyKind::User, broker),
        Command::ClearOperatorPolicy(clear) => clear.run(PolicyKind::Operator, broker),
        Command::ListPolicies(at) => list(PolicyKind::User, at, broker),
        Command::ListOperatorPolicies(at) => list(PolicyKind::Operator, at, broker),
    }
}

fn list(kind: PolicyKind, InVHost { vhost }: &InVHost, broker: &Broker<'_>) -> Result<(), Failure> {
    broker.show_all(&broker.get(&[resource(kind), vhost], About::vhost(vhost))?, COLUMNS)
}

impl Set {
    fn run(&self, kind: PolicyKind, broker: &Broker<'_>) -> Result<(), Failure> {
        let Self { at: InVHost { vhost }, priority, apply_to, name, pattern, definition } = self;
        let usual = if kind == PolicyKind::Operator { "queues" } else { "all" };
        let value = json!({
            "pattern": pattern,
            "definition": parsed(definition, "the definition")?,
            "priority": priority,
            "apply-to": apply_to.as_deref().unwrap_or(usual),
        });
        broker.put(&[resource(kind), vhost, name], &value, About::vhost(vhost))?;
        // It was taken, so that it can be read.
        let unheeded = Policy::from_value(name, &value, kind);
        let unheeded: Vec<String> = unheeded
            .iter()
            .flat_map(|policy| policy.definition.unheeded().into_iter().map(str::to_owned))
            .collect();
        if !unheeded.is_empty() {
            broker.remark(&format!("these keys have no effect here: {}", unheeded.join(", ")));
        }
        Ok(())
    }
}

impl Clear {
    fn run(&self, kind: PolicyKind, broker: &Broker<'_>) -> Result<(), Failure> {
        let Self { at: InVHost { vhost }, name } = self;
        let noun = if kind == PolicyKind::Operator { "operator policy" } else { "policy" };
        broker.delete(&[resource(kind), vhost, name], About::vhost(vhost).thing(noun, name))
    }
}
