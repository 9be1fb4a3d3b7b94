//! The commands about vhosts themselves.

use clap::{Args, Subcommand};

use super::{ListAll, show};
use crate::cli::Place;
use crate::cli::failure::Failure;
use crate::server::control::identity::Identify;
use crate::server::control::steer::Steer;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Add a vhost
    AddVhost(Add),
    /// Delete a vhost with all that is in it, and close its connections
    DeleteVhost(Delete),
    /// ListAll the vhosts
    ListVhosts(ListAll),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    place: Place,
    /// The vhost
    vhost: String,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// Words to find it by, with commas between them
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// What durable queues are that are declared without a type: classic or quorum
    #[arg(long, value_name = "TYPE", default_value = "classic")]
    default_queue_type: String,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    place: Place,
    /// The vhost
    vhost: String,
}

/// Runs a command.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let ask = |place: &Place, identify| place.ask(&Steer::Identity { identify });
    match command {
        Command::AddVhost(Add { place, vhost, description, tags, default_queue_type }) => {
            let add = Identify::AddVhost {
                vhost: vhost.clone(),
                description: description.clone(),
                tags: tags.clone(),
                default_queue_type: default_queue_type.clone(),
            };
            ask(place, add).map(|_| ())
        }
        Command::DeleteVhost(Delete { place, vhost }) => {
            ask(place, Identify::DeleteVhost { vhost: vhost.clone() }).map(|_| ())
        }
        Command::ListVhosts(ListAll { place, json }) => show(
            &ask(place, Identify::ListVhosts)?,
            &["name", "description", "tags", "default_queue_type"],
            *json,
        ),
    }
}
