//! The commands about permissions of users.

use clap::{Args, Subcommand};

use super::{InVHost, List, show};
use crate::cli::Place;
use crate::cli::failure::Failure;
use crate::server::control::permissions::{Permit, Whom};
use crate::server::control::steer::Steer;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what a user may do in a vhost
    #[command(name = "set_permissions")]
    Set(Set),
    /// Take a user's permissions in a vhost away
    #[command(name = "clear_permissions")]
    Clear(OfUser),
    /// List the permissions of all users in a vhost
    #[command(name = "list_permissions")]
    List(List),
    /// List the permissions of a user in all vhosts
    #[command(name = "list_user_permissions")]
    ListOfUser(ListOfUser),
    /// Say with which routing keys a user may publish to a topic exchange and bind to it
    #[command(name = "set_topic_permissions")]
    SetTopic(SetTopic),
    /// Take what was said of one topic exchange, or of all, away
    #[command(name = "clear_topic_permissions")]
    ClearTopic(ClearTopic),
    /// List the topic permissions of all users in a vhost
    #[command(name = "list_topic_permissions")]
    ListTopic(List),
    /// List the topic permissions of a user in all vhosts
    #[command(name = "list_user_topic_permissions")]
    ListTopicOfUser(ListOfUser),
}

#[derive(Debug, Args)]
pub(super) struct OfUser {
    #[command(flatten)]
    at: InVHost,
    /// The user
    user: String,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    of: OfUser,
    /// A regular expression that is looked for in the names of what the user may declare and delete; "" is nothing
    configure: String,
    /// The same for what the user may publish to and bind to sources
    write: String,
    /// The same for what the user may consume from and bind from
    read: String,
}

#[derive(Debug, Args)]
pub(super) struct SetTopic {
    #[command(flatten)]
    of: OfUser,
    /// The topic exchange, which need not exist
    exchange: String,
    /// A regular expression that is looked for in routing keys to publish with. {username} and {vhost} stand for the names
    write: String,
    /// The same for routing keys to bind with
    read: String,
}

#[derive(Debug, Args)]
pub(super) struct ClearTopic {
    #[command(flatten)]
    of: OfUser,
    /// The exchange; all exchanges without it
    exchange: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListOfUser {
    #[command(flatten)]
    place: Place,
    /// Print JSON instead of columns
    #[arg(long)]
    json: bool,
    /// The user
    user: String,
}

/// Runs a command.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Set(Set { of, configure, write, read }) => of.ask(|vhost, user| Permit::Set {
            vhost,
            user,
            configure: configure.clone(),
            write: write.clone(),
            read: read.clone(),
        }),
        Command::Clear(of) => of.ask(|vhost, user| Permit::Clear { vhost, user }),
        Command::List(list) => list.show(Permit::List, &["user", "configure", "write", "read"]),
        Command::ListOfUser(list) => list.show(Permit::List, &["vhost", "configure", "write", "read"]),
        Command::SetTopic(SetTopic { of, exchange, write, read }) => of.ask(|vhost, user| Permit::SetTopic {
            vhost,
            user,
            exchange: exchange.clone(),
            write: write.clone(),
            read: read.clone(),
        }),
        Command::ClearTopic(ClearTopic { of, exchange }) => {
            of.ask(|vhost, user| Permit::ClearTopic { vhost, user, exchange: exchange.clone() })
        }
        Command::ListTopic(list) => list.show(Permit::ListTopic, &["user", "exchange", "write", "read"]),
        Command::ListTopicOfUser(list) => {
            list.show(Permit::ListTopic, &["vhost", "exchange", "write", "read"])
        }
    }
}

impl OfUser {
    fn ask(&self, permit: impl FnOnce(String, String) -> Permit) -> Result<(), Failure> {
        let permit = permit(self.at.vhost.clone(), self.user.clone());
        self.at.place.ask(&Steer::Permissions { permit }).map(|_| ())
    }
}

impl List {
    fn show(&self, list: impl FnOnce(Whom) -> Permit, columns: &[&str]) -> Result<(), Failure> {
        let permit = list(Whom::Vhost(self.at.vhost.clone()));
        show(&self.at.place.ask(&Steer::Permissions { permit })?, columns, self.json)
    }
}

impl ListOfUser {
    fn show(&self, list: impl FnOnce(Whom) -> Permit, columns: &[&str]) -> Result<(), Failure> {
        let permit = list(Whom::User(self.user.clone()));
        show(&self.place.ask(&Steer::Permissions { permit })?, columns, self.json)
    }
}
