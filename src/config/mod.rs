//! Configuration: one table of options, four places they are set in, and what is meant by them in the end.
//!
//! [`TABLE`] lists every option once. From it come the keys of the file, the names in the environment, `--set`,
//! `--print-config` and the search for the nearest name in an error. Flags beat the environment, which beats the
//! file, which beats the defaults. [`Sources::load`] brings the places together as typed [`Options`];
//! [`Loaded::config`] turns them into the structs which the layers below define for themselves. Those never see
//! this module.

mod certificates;
mod environment;
mod error;
mod file;
mod foreign;
mod login_provider;
mod machine;
mod meaning;
mod memory;
mod oauth;
mod operators;
mod options;
mod render;
mod setting;
mod table;
mod units;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

pub use self::certificates::HostEntry;
pub use self::environment::Environment;
pub use self::error::{ConfigError, Origin};
pub use self::machine::Machine;
pub use self::oauth::OAuthNames;
pub use self::operators::OperatorEntry;
use self::options::Limit;
pub use self::options::{Options, TABLE, UserEntry};
pub use self::render::render;
pub use self::table::{Effect, OptionRow};
pub use self::units::parse_size;
pub use self::value::Value;

use self::setting::{Name, Secret, Setting};
use self::table::nearest;
use crate::broker::options::BrokerOptions;
use crate::identity::tags::Tags;
use crate::management::options::ManagementOptions;
use crate::server::options::ServerOptions;
use crate::server::provider::ProviderOptions;
use crate::session::limits::SessionLimits;
use crate::storage::options::JournalOptions;

/// What the program runs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Users, vhosts and broker-wide limits.
    pub broker: BrokerOptions,
    /// Sockets, timeouts and threads.
    pub server: ServerOptions,
    /// The management API.
    pub management: ManagementOptions,
    /// Who lets people in to the page, if somebody does.
    pub login_provider: Option<ProviderOptions>,
    /// Limits and offers of one connection's protocol.
    pub session: SessionLimits,
    /// The log.
    pub log: LogOptions,
    /// Directory of the data.
    pub data_dir: PathBuf,
    /// How durable changes are kept.
    pub journal: JournalOptions,
    /// What is imported at the start.
    pub definitions: DefinitionsOptions,
}

/// Definitions that are imported at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionsOptions {
    /// The file, or the directory with files.
    pub load: Option<PathBuf>,
    /// Whether those of the last start are left alone.
    pub skip_if_unchanged: bool,
}

/// What is logged, how, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct LogOptions {
    /// Least severe level that is logged.
    pub level: LevelFilter,
    /// How a line looks.
    pub format: LogFormat,
    /// The file; `None` is the console, on standard error.
    pub file: Option<PathBuf>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The places that options are set in.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file from `--config`. Without it the environment may name one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// Flags; later ones beat earlier ones.
    pub flags: Vec<Assignment>,
}

/// An option set by a flag.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// `section.key`.
    pub name: String,
    /// The value as it was written.
    pub value: Value,
    /// The flag.
    pub flag: &'static str,
}

/// A configuration that was read, before anything is derived from it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every option with its value.
    pub options: Options,
    /// Where those come from that are not defaults, by name.
    pub origins: BTreeMap<String, Origin>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What the operator might want to know, for the log.
    pub notes: Vec<String>,
    /// The machine the configuration is meant for.
    pub machine: Machine,
}

impl Sources {
    /// Reads and merges all sources.
    ///
    /// # Errors
    /// The first thing that is wrong with any of them.
    pub fn load(&self, machine: Machine) -> Result<Loaded, ConfigError> {
        let mut loading = Loading::default();
        self.environment.load_below_file(&mut loading)?;
        let file = self.file.clone().or_else(|| self.environment.config_file());
        if let Some(path) = &file {
            file::load(path, &mut loading)?;
        }
        self.environment.load_above_file(&mut loading)?;
        for Assignment { name, value, flag } in &self.flags {
            loading.assign(name, value, Origin::Flag(flag))?;
        }
        loading.check_users()?;
        loading.check_operators()?;
        certificates::check(&loading.options, &loading.origins)?;
        loading.options.check_oauth(&loading.origins)?;
        loading.options.check_login_provider(&loading.origins)?;
        let Loading { options, origins, mut notes } = loading;
        notes.extend(meaning::note_on_files(&options, &machine));
        Ok(Loaded { options, origins, file, notes, machine })
    }
}

/// A configuration while it is put together.
#[derive(Debug, Default)]
struct Loading {
    options: Options,
    origins: BTreeMap<String, Origin>,
    notes: Vec<String>,
}

impl Loading {
    /// Sets an option from any source.
    fn assign(&mut self, name: &str, value: &Value, origin: Origin) -> Result<(), ConfigError> {
        let user_key = name.strip_prefix("auth.users.").and_then(|rest| rest.rsplit_once('.'));
        let (done, expected, secret) = if let Some(row) = TABLE.iter().find(|row| row.name == name) {
            ((row.set)(&mut self.options, value), row.expected, row.secret)
        } else if let Some((user, "password")) = user_key {
            let password = Secret::read(value);
            let done = password.map(|password| self.user(user, origin.clone()).password = Some(password));
            (done, Secret::expected as fn() -> String, true)
        } else if let Some((user, "vhosts")) = user_key {
            let vhosts = Vec::<Name>::read(value);
            let done = vhosts.map(|vhosts| self.user(user, origin.clone()).vhosts = Some(vhosts));
            (done, Vec::<Name>::expected as fn() -> String, false)
        } else if let Some((user, "tags")) = user_key {
            let tags = Tags::read(value);
            let done = tags.map(|tags| self.user(user, origin.clone()).tags = Some(tags));
            (done, Tags::expected as fn() -> String, false)
        } else if let Some((user, key @ ("max_connections" | "max_channels"))) = user_key {
            let done = Limit::read(value).map(|limit| {
                let user = self.user(user, origin.clone());
                let place =
                    if key == "max_channels" { &mut user.max_channels } else { &mut user.max_connections };
                *place = Some(limit);
            });
            (done, Limit::expected as fn() -> String, false)
        } else if let Some((host, key)) =
            name.strip_prefix(certificates::PREFIX).and_then(|rest| rest.rsplit_once('.'))
            && certificates::KEYS.contains(&key)
        {
            self.origins.entry(format!("{}{host}", certificates::PREFIX)).or_insert(origin.clone());
            let done = self.options.hosts.entry(host.to_owned()).or_default().set(key, value);
            (done, PathBuf::expected as fn() -> String, false)
        } else if let Some((table, entry)) = oauth::entry_of(name) {
            if let Err(expected) = self.options.oauth2_names.set(table, entry, value) {
                let (key, found) = (name.to_owned(), "something else".to_owned());
                return Err(ConfigError::BadValue { origin, key, expected, found });
            }
            (Some(()), String::new as fn() -> String, false)
        } else if let Some((policy, key)) =
            name.strip_prefix(operators::PREFIX).and_then(|rest| rest.rsplit_once('.'))
            && let Some(expected) = operators::expected(key)
        {
            let Some(()) = self.operator(policy, origin.clone()).set(key, value) else {
                let (key, expected, found) = (name.to_owned(), expected.to_owned(), value.quoted());
                return Err(ConfigError::BadValue { origin, key, expected, found });
            };
            (Some(()), String::new as fn() -> String, false)
        } else {
            let key = name.to_owned();
            return Err(match foreign::instead_of(name) {
                Some(instead) => ConfigError::Foreign { origin, key, instead },
                None => ConfigError::UnknownKey { origin, key, nearest: nearest_key(name) },
            });
        };
        if done.is_none() {
            let found = if secret { "something else".to_owned() } else { value.quoted() };
            return Err(ConfigError::BadValue { origin, key: name.to_owned(), expected: expected(), found });
        }
        self.origins.insert(name.to_owned(), origin);
        Ok(())
    }

    /// The entry of a user, made at the first mention, whose place is remembered.
    fn user(&mut self, user: &str, origin: Origin) -> &mut UserEntry {
        self.origins.entry(format!("auth.users.{user}")).or_insert(origin);
        self.options.users.entry(user.to_owned()).or_default()
    }

    /// The entry of an operator policy, made at the first mention, whose place is remembered.
    fn operator(&mut self, name: &str, origin: Origin) -> &mut OperatorEntry {
        self.origins.entry(format!("{}{name}", operators::PREFIX)).or_insert(origin);
        self.options.operators.entry(name.to_owned()).or_default()
    }

    /// Whether each operator policy is one, now that it is complete.
    fn check_operators(&self) -> Result<(), ConfigError> {
        self.options.operators.iter().try_for_each(|(name, entry)| {
            let origin = self.origins.get(&format!("{}{name}", operators::PREFIX));
            origin.map_or(Ok(()), |origin| entry.check(name, origin))
        })
    }

    /// What only shows once every source has been read.
    fn check_users(&self) -> Result<(), ConfigError> {
        for (user, entry) in &self.options.users {
            let Some(origin) = self.origins.get(&format!("auth.users.{user}")) else { continue };
            let origin = origin.clone();
            if Name::read(&Value::Text(user.clone())).is_none() {
                let (expected, found) = (Name::expected(), Value::Text(user.clone()).quoted());
                return Err(ConfigError::BadValue { origin, key: "auth.users".to_owned(), expected, found });
            }
            if entry.password.is_none() {
                return Err(ConfigError::NoPassword { origin, user: user.clone() });
            }
        }
        Ok(())
    }
}

/// The keys of `[auth.users.NAME]`.
const USER_KEYS: [&str; 5] = ["password", "vhosts", "tags", "max_connections", "max_channels"];

/// The key that looks most like an unknown one.
fn nearest_key(name: &str) -> String {
    let named = |prefix: &str| {
        let rest = name.strip_prefix(prefix).and_then(|rest| rest.split('.').next());
        rest.filter(|named| !named.is_empty()).unwrap_or("NAME").to_owned()
    };
    let (user, policy, host) = (named("auth.users."), named(operators::PREFIX), named(certificates::PREFIX));
    let of_users = USER_KEYS.map(|key| format!("auth.users.{user}.{key}"));
    let of_operators = operators::key_names().map(|key| format!("{}{policy}.{key}", operators::PREFIX));
    let of_hosts = certificates::KEYS.map(|key| format!("{}{host}.{key}", certificates::PREFIX));
    let of_tokens = oauth::TABLES.map(|table| format!("auth.oauth2.{table}.NAME"));
    let named: Vec<String> =
        of_users.into_iter().chain(of_tokens).chain(of_operators).chain(of_hosts).collect();
    let known = TABLE.iter().map(|row| row.name).chain(named.iter().map(String::as_str));
    nearest(name, known).unwrap_or_default().to_owned()
}

impl Loaded {
    /// The file that was read, if a password or another secret comes from it.
    #[must_use]
    pub fn file_with_secrets(&self) -> Option<&Path> {
        let is_secret = |name: &str| {
            let user = name.strip_prefix("auth.users.").and_then(|user| self.options.users.get(user));
            matches!(name, "auth.default_pass" | "http.oauth.client_secret")
                || name.starts_with("auth.oauth2.hmac_secrets.")
                || user.is_some_and(|user| user.password.is_some())
        };
        self.origins.iter().find_map(|(name, origin)| match origin {
            Origin::File { path, .. } if is_secret(name) => Some(path.as_path()),
            _ => None,
        })
    }
}

impl Options {
    /// The options in which two configurations differ, with when a change takes effect.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<(&'static str, Effect)> {
        let rows = TABLE.iter().filter(|row| !(row.same)(self, other));
        let mut changes: Vec<_> = rows.map(|row| (row.name, row.effect)).collect();
        if self.users != other.users {
            changes.push(("auth.users", Effect::Restart));
        }
        if self.hosts != other.hosts {
            changes.push(("tls.sni", Effect::Reload));
        }
        changes.extend(self.token_changes(other).map(|name| (name, Effect::Reload)));
        if self.operators != other.operators {
            changes.push(("policies.operator", Effect::Restart));
        }
        changes
    }

    /// Takes over the options that a running server can change, and leaves the others.
    pub fn take_reloadable(&mut self, other: &Self) {
        for row in TABLE.iter().filter(|row| row.effect == Effect::Reload) {
            (row.take)(self, other);
        }
        self.hosts.clone_from(&other.hosts);
        self.oauth2_names.clone_from(&other.oauth2_names);
    }
}
