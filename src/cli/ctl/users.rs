//! The commands about users.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::broker::{About, Broker};
use super::options::Options;
use super::output::{Column, without_empty};
use super::password::{chosen, given};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::config::Machine;
use crate::identity::password::{PasswordHash, SALT, Scheme};

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Add a user, who may open no vhost yet
    AddUser(SetSecret),
    /// Delete a user and close their connections
    DeleteUser(OfUser),
    /// Change a user's password
    ChangePassword(SetSecret),
    /// Take a user's password away: then only other ways than a password let them in
    ClearPassword(OfUser),
    /// Check a user's password
    AuthenticateUser(Authenticate),
    /// Give a user these tags and no others
    SetUserTags(SetTags),
    /// List the users with their tags
    ListUsers,
    /// Print the hash of a password, for definitions and for --pre-hashed-password
    HashPassword(Hash),
}

#[derive(Debug, Args)]
pub(super) struct OfUser {
    /// The user
    user: String,
}

#[derive(Args)]
pub(super) struct SetSecret {
    #[command(flatten)]
    of: OfUser,
    /// The password; without it a line is read from standard input, or asked for at a terminal
    #[arg(allow_hyphen_values = true)]
    password: Option<String>,
    /// It is the hash of a password
    #[arg(long)]
    pre_hashed_password: bool,
    /// The hash's algorithm: argon2id, rabbit_password_hashing_sha256, rabbit_password_hashing_sha512, lavinmq_bcrypt
    /// [default: what it looks like]
    #[arg(long, value_name = "NAME", requires = "pre_hashed_password")]
    hashing_algorithm: Option<String>,
}

impl std::fmt::Debug for SetSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetSecret").field("of", &self.of).finish_non_exhaustive()
    }
}

#[derive(Args)]
pub(super) struct Authenticate {
    #[command(flatten)]
    of: OfUser,
    /// The password; without it a line is read from standard input, or asked for at a terminal
    #[arg(allow_hyphen_values = true)]
    password: Option<String>,
}

impl std::fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticate").field("of", &self.of).finish_non_exhaustive()
    }
}

#[derive(Debug, Args)]
pub(super) struct SetTags {
    #[command(flatten)]
    of: OfUser,
    /// The tags, such as administrator; none takes all of them away
    tags: Vec<String>,
}

#[derive(Args)]
pub(super) struct Hash {
    /// The password; without it a line is read from standard input, or asked for at a terminal
    #[arg(allow_hyphen_values = true)]
    password: Option<String>,
    /// argon2id, rabbit_sha256 or rabbit_sha512 [default: auth.password_hash of the configuration]
    #[arg(long, value_name = "NAME", value_parser = scheme)]
    hashing_algorithm: Option<Scheme>,
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash").finish_non_exhaustive()
    }
}

fn scheme(name: &str) -> Result<Scheme, String> {
    let found = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
    found.ok_or_else(|| format!("it should be one of {}", Scheme::ALL.map(Scheme::name).join(", ")))
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::AddUser(set) => {
            let secret = set.secret()?;
            broker.post(&["users", &set.of.user, "added"], &secret, About::default()).map(|_| ())
        }
        Command::DeleteUser(OfUser { user }) => broker.delete(&["users", user], About::user(user)),
        Command::ChangePassword(set) => {
            let secret = set.secret()?;
            set_password(broker, &set.of.user, &secret)
        }
        Command::ClearPassword(OfUser { user }) => set_password(broker, user, &json!({})),
        Command::AuthenticateUser(Authenticate { of: OfUser { user }, password }) => {
            let password = given(password.as_ref(), &format!("Password of {user}: "))?;
            let body = json!({ "password": *password });
            broker.post(&["users", user, "authenticated"], &body, About::default()).map(|_| ())
        }
        Command::SetUserTags(SetTags { of: OfUser { user }, tags }) => {
            let body = json!({ "tags": without_empty(tags) });
            broker.put(&["users", user, "tags"], &body, About::user(user)).map(|_| ())
        }
        Command::ListUsers => {
            let users = broker.get(&["users"], About::default())?;
            broker.show(&users, &[Column::of("user", "name"), Column::same("tags")])
        }
        // It needs no broker.
        Command::HashPassword(hash) => hash.print(broker.options),
    }
}

fn set_password(broker: &Broker<'_>, user: &str, secret: &Value) -> Result<(), Failure> {
    broker.put(&["users", user, "password"], secret, About::user(user)).map(|_| ())
}

impl SetSecret {
    fn secret(&self) -> Result<Value, Failure> {
        let prompt = format!("New password of {}: ", self.of.user);
        if !self.pre_hashed_password {
            return Ok(json!({ "password": *chosen(self.password.as_ref(), &prompt)? }));
        }
        let hash = given(self.password.as_ref(), &prompt)?;
        Ok(json!({ "password_hash": *hash, "hashing_algorithm": self.hashing_algorithm }))
    }
}

impl Hash {
    /// Prints it.
    pub(super) fn print(&self, options: &Options) -> Result<(), Failure> {
        let configured = || {
            let loaded = options.place().sources.sources()?.load(Machine::read());
            loaded.map(|loaded| loaded.options.auth.password_hash)
        };
        let scheme = self.hashing_algorithm.map_or_else(configured, Ok)?;
        let password = chosen(self.password.as_ref(), "Password: ")?;
        if password.is_empty() {
            return Err(Failure::Refused("the password is empty".to_owned()));
        }
        let salt: [u8; SALT] = rand::random();
        let hash = PasswordHash::new(scheme, password.as_bytes(), &salt);
        let hash = hash.map_err(|error| Failure::Refused(error.to_string()))?;
        print(&format!("{}\n", hash.text()))
    }
}
