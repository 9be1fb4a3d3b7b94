//! The commands about permissions of users.

use clap::{Args, Subcommand};
use serde_json::json;

use super::InVHost;
use super::broker::{About, Broker};
use super::output::Column;
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what a user may do in a vhost
    #[command(name = "set_permissions")]
    Set(Set),
    /// Say what a user may do in all vhosts that there are now
    #[command(name = "set_permissions_globally")]
    SetGlobally(SetGlobally),
    /// Take a user's permissions in a vhost away
    #[command(name = "clear_permissions")]
    Clear(OfUser),
    /// List the permissions of all users in a vhost
    #[command(name = "list_permissions")]
    List(InVHost),
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
    ListTopic(InVHost),
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

impl OfUser {
    fn about(&self) -> About<'_> {
        About::both(&self.at.vhost, &self.user)
    }
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    of: OfUser,
    #[command(flatten)]
    patterns: Patterns,
}

#[derive(Debug, Args)]
pub(super) struct SetGlobally {
    /// The user
    user: String,
    #[command(flatten)]
    patterns: Patterns,
}

#[derive(Debug, Args)]
pub(super) struct Patterns {
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
    /// The user
    user: String,
}

const CONFIGURE: Column = Column::same("configure");
const WRITE: Column = Column::same("write");
const READ: Column = Column::same("read");
const USER: Column = Column::same("user");
const VHOST: Column = Column::same("vhost");
const EXCHANGE: Column = Column::same("exchange");

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::Set(Set { of, patterns }) => patterns.set(broker, &of.at.vhost, &of.user),
        Command::SetGlobally(SetGlobally { user, patterns }) => {
            let vhosts = broker.get_at("/vhosts?columns=name".to_owned(), About::default())?;
            let names = vhosts.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str());
            for vhost in names {
                patterns.set(broker, vhost, user)?;
            }
            Ok(())
        }
        Command::Clear(of) => broker.delete_any(&["permissions", &of.at.vhost, &of.user], of.about()),
        Command::List(at) => {
            let list = broker.get(&["vhosts", &at.vhost, "permissions"], About::vhost(&at.vhost))?;
            broker.show_all(&list, &[USER, CONFIGURE, WRITE, READ])
        }
        Command::ListOfUser(ListOfUser { user }) => {
            let list = broker.get(&["users", user, "permissions"], About::user(user))?;
            broker.show_all(&list, &[VHOST, CONFIGURE, WRITE, READ])
        }
        Command::SetTopic(SetTopic { of, exchange, write, read }) => {
            let body = json!({ "exchange": exchange, "write": write, "read": read });
            broker.put(&["topic-permissions", &of.at.vhost, &of.user], &body, of.about()).map(|_| ())
        }
        Command::ClearTopic(ClearTopic { of, exchange }) => {
            let mut names = vec!["topic-permissions", &of.at.vhost, &of.user];
            names.extend(exchange.as_deref());
            broker.delete_any(&names, of.about())
        }
        Command::ListTopic(at) => {
            let names = ["vhosts", &at.vhost, "topic-permissions"];
            let list = broker.get(&names, About::vhost(&at.vhost))?;
            broker.show_all(&list, &[USER, EXCHANGE, WRITE, READ])
        }
        Command::ListTopicOfUser(ListOfUser { user }) => {
            let list = broker.get(&["users", user, "topic-permissions"], About::user(user))?;
            broker.show_all(&list, &[VHOST, EXCHANGE, WRITE, READ])
        }
    }
}

impl Patterns {
    fn set(&self, broker: &Broker<'_>, vhost: &str, user: &str) -> Result<(), Failure> {
        let Self { configure, write, read } = self;
        let body = json!({ "configure": configure, "write": write, "read": read });
        broker.put(&["permissions", vhost, user], &body, About::both(vhost, user)).map(|_| ())
    }
}
