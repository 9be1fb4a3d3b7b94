//! The commands about users.

use std::io::{self, BufRead as _};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::{ListAll, parsed, show};
use crate::cli::failure::Failure;
use crate::cli::{Place, print};
use crate::config::Machine;
use crate::identity::password::{PasswordHash, SALT, Scheme};
use crate::server::control::identity::{Hidden, Identify, Secret};
use crate::server::control::steer::Steer;

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
    /// ListAll the users with their tags
    ListUsers(ListAll),
    /// Set limits of a user; those that are not named stay
    SetUserLimits(SetLimits),
    /// Take a limit of a user away
    ClearUserLimits(ClearLimits),
    /// ListAll the limits of all users that have some, or of one
    ListUserLimits(ListLimits),
    /// Print the hash of a password, for definitions and for --pre-hashed-password
    HashPassword(Hash),
}

#[derive(Debug, Args)]
pub(super) struct OfUser {
    #[command(flatten)]
    place: Place,
    /// The user
    user: String,
}

#[derive(Args)]
pub(super) struct SetSecret {
    #[command(flatten)]
    of: OfUser,
    /// The password; without it a line is read from standard input
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
    /// The password; without it a line is read from standard input
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

#[derive(Debug, Args)]
pub(super) struct SetLimits {
    #[command(flatten)]
    of: OfUser,
    /// The limits as JSON: '{"max-connections": 100, "max-channels": 50}'; -1 is no limit, 0 is none at all
    limits: String,
}

#[derive(Debug, Args)]
pub(super) struct ClearLimits {
    #[command(flatten)]
    of: OfUser,
    /// max-connections, max-channels or all
    limit: String,
}

#[derive(Debug, Args)]
pub(super) struct ListLimits {
    #[command(flatten)]
    list: ListAll,
    /// Of this user only
    #[arg(long)]
    user: Option<String>,
}

#[derive(Args)]
pub(super) struct Hash {
    #[command(flatten)]
    place: Place,
    /// The password; without it a line is read from standard input
    #[arg(allow_hyphen_values = true)]
    password: Option<String>,
    /// argon2id, rabbit_sha256 or rabbit_sha512 [default: auth.password_hash of the configuration]
    #[arg(long, value_name = "NAME", value_parser = scheme)]
    hashing_algorithm: Option<Scheme>,
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash").field("place", &self.place).finish_non_exhaustive()
    }
}

fn scheme(name: &str) -> Result<Scheme, String> {
    let found = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
    found.ok_or_else(|| format!("it should be one of {}", Scheme::ALL.map(Scheme::name).join(", ")))
}

/// Runs a command.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::AddUser(set) => {
            let secret = set.secret()?;
            set.of.ask(|user| Identify::AddUser { user, secret })
        }
        Command::DeleteUser(of) => of.ask(|user| Identify::DeleteUser { user }),
        Command::ChangePassword(set) => {
            let secret = set.secret()?;
            set.of.ask(|user| Identify::SetSecret { user, secret })
        }
        Command::ClearPassword(of) => of.ask(|user| Identify::SetSecret { user, secret: Secret::None }),
        Command::AuthenticateUser(Authenticate { of, password }) => {
            let password = given(password.as_ref())?;
            of.ask(|user| Identify::Authenticate { user, password })
        }
        Command::SetUserTags(SetTags { of, tags }) => {
            of.ask(|user| Identify::SetTags { user, tags: tags.clone() })
        }
        Command::ListUsers(list) => list.show(Identify::ListUsers, &["user", "tags"]),
        Command::SetUserLimits(SetLimits { of, limits }) => {
            let value = parsed(limits, "the limits")?;
            of.ask(|user| Identify::SetUserLimits { user, value })
        }
        Command::ClearUserLimits(ClearLimits { of, limit }) => {
            of.ask(|user| Identify::ClearUserLimits { user, limit: Some(limit.clone()) })
        }
        Command::ListUserLimits(ListLimits { list, user }) => {
            list.show(Identify::ListUserLimits { user: user.clone() }, &["user", "value"])
        }
        Command::HashPassword(hash) => hash.print(),
    }
}

impl OfUser {
    fn ask(&self, identify: impl FnOnce(String) -> Identify) -> Result<(), Failure> {
        let identify = identify(self.user.clone());
        self.place.ask(&Steer::Identity { identify }).map(|_| ())
    }
}

impl SetSecret {
    fn secret(&self) -> Result<Secret, Failure> {
        let given = given(self.password.as_ref())?;
        if !self.pre_hashed_password {
            return Ok(Secret::Password(given));
        }
        Ok(Secret::Hash { hash: given, algorithm: self.hashing_algorithm.clone() })
    }
}

impl ListAll {
    fn show(&self, identify: Identify, columns: &[&str]) -> Result<(), Failure> {
        show(&self.place.ask(&Steer::Identity { identify })?, columns, self.json)
    }
}

impl Hash {
    fn print(&self) -> Result<(), Failure> {
        let configured = || {
            self.place
                .sources
                .sources()?
                .load(Machine::read())
                .map(|loaded| loaded.options.auth.password_hash)
        };
        let scheme = self.hashing_algorithm.map_or_else(configured, Ok)?;
        let password = Zeroizing::new(String::from(given(self.password.as_ref())?));
        if password.is_empty() {
            return Err(Failure::Refused("the password is empty".to_owned()));
        }
        let salt: [u8; SALT] = rand::random();
        let hash = PasswordHash::new(scheme, password.as_bytes(), &salt);
        let hash = hash.map_err(|error| Failure::Refused(error.to_string()))?;
        print(&format!("{}\n", hash.text()))
    }
}

/// The password of an argument, or from standard input, as RabbitMQ's tool takes it.
fn given(argument: Option<&String>) -> Result<Hidden, Failure> {
    if let Some(password) = argument {
        return Ok(Hidden::from(password.clone()));
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(Failure::Input)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(Hidden::from(line))
}
