//! The commands that close connections of clients.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;

use super::broker::{About, Broker};
use crate::cli::client::{Question, path};
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Close a connection
    #[command(name = "close_connection")]
    One(Close),
    /// Close all connections, or those to a vhost
    #[command(name = "close_all_connections")]
    All(CloseAll),
    /// Close all connections of a user
    #[command(name = "close_all_user_connections")]
    OfUser(CloseOfUser),
}

#[derive(Debug, Args)]
pub(super) struct Close {
    /// Its name, as list_connections has it in the column pid
    connection: String,
    /// What its client is told
    #[arg(value_parser = plain)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct CloseAll {
    /// Only those to this vhost
    #[arg(short = 'p', long, value_name = "VHOST")]
    vhost: Option<String>,
    /// Those to all vhosts, as without --vhost
    #[arg(long, conflicts_with = "vhost")]
    global: bool,
    /// Milliseconds to wait after each
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, hide_default_value = true)]
    per_connection_delay: u64,
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// What their clients are told
    #[arg(value_parser = plain)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct CloseOfUser {
    /// The user
    user: String,
    /// What their clients are told
    #[arg(value_parser = plain)]
    reason: String,
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::One(Close { connection, reason }) => {
            let about = About::default().thing("connection", connection);
            close(broker, &["connections", connection], reason, about)
        }
        Command::All(close) => close.run(broker),
        Command::OfUser(CloseOfUser { user, reason }) => {
            close(broker, &["connections", "username", user], reason, About::user(user))
        }
    }
}

/// It travels in a header.
fn plain(reason: &str) -> Result<String, String> {
    let is_plain = reason.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if is_plain { Ok(reason.to_owned()) } else { Err("it should be plain ASCII".to_owned()) }
}

fn close(broker: &Broker<'_>, names: &[&str], reason: &str, about: About<'_>) -> Result<(), Failure> {
    let headers = vec![("x-reason", reason.to_owned())];
    let question = Question { headers, ..Question::new(Method::DELETE, path(names)) };
    broker.done(broker.ask(question)?, about).map(|_| ())
}

impl CloseAll {
    fn run(&self, broker: &Broker<'_>) -> Result<(), Failure> {
        let vhost = self.vhost.as_deref();
        let names = vhost.map_or_else(|| vec!["connections"], |vhost| vec!["vhosts", vhost, "connections"]);
        let list = format!("{}?columns=name", path(&names));
        let list = broker.get_at(list, vhost.map(About::vhost).unwrap_or_default())?;
        let names = list.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str());
        let mut closed = 0;
        for name in names.take(self.limit.unwrap_or(usize::MAX)) {
            match close(
                broker,
                &["connections", name],
                &self.reason,
                About::default().thing("connection", name),
            ) {
                // It has ended by itself meanwhile.
                Err(Failure::Refused(text)) if text.starts_with("there is no connection") => {}
                outcome => {
                    outcome?;
                    closed += 1;
                    std::thread::sleep(Duration::from_millis(self.per_connection_delay));
                }
            }
        }
        broker.say(&format!("{closed} connections closed"))
    }
}
