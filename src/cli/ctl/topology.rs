//! The command that draws how messages go.

use clap::{Args, Subcommand};

use super::InVHost;
use super::broker::{About, Broker};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::topology::{Format, Graph};

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Draw the exchanges, bindings and queues of a vhost, with where dead letters go
    Topology(Topology),
}

#[derive(Debug, Args)]
pub(super) struct Topology {
    #[command(flatten)]
    at: InVHost,
    /// How the picture is written
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
}

/// Runs the command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    let Command::Topology(Topology { at, format }) = command;
    let list = |kind| broker.get(&[kind, &at.vhost], About::vhost(&at.vhost));
    let graph = Graph::new(&list("exchanges")?, &list("queues")?, &list("bindings")?);
    print(&graph.write(*format, &at.vhost))
}
