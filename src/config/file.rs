//! The configuration file: TOML into keys and values, each with its line.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Loading;
use super::error::{ConfigError, Origin};
use super::table::nearest;
use super::value::Value;

/// Tables within tables up to here: `auth`, `users`, NAME, `password`.
const DEEPEST: usize = 4;

/// Words that begin keys of RabbitMQ's file and none of ours.
const RABBIT_WORDS: [&str; 18] = [
    "listeners",
    "loopback_users",
    "default_user",
    "default_pass",
    "default_vhost",
    "default_permissions",
    "vm_memory_high_watermark",
    "disk_free_limit",
    "heartbeat",
    "frame_max",
    "channel_max",
    "management",
    "cluster_formation",
    "ssl_options",
    "auth_backends",
    "load_definitions",
    "log.console",
    "log.file.level",
];

/// A key with its value, or a section that says nothing.
struct Entry {
    name: String,
    /// `None` for an empty section.
    value: Option<Value>,
    offset: usize,
}

/// Reads the file and assigns what it says.
pub(super) fn load(path: &Path, loading: &mut Loading) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_path_buf(), error })?;
    parse(path, &text, loading)
}

/// Assigns what `text` says; `path` is for messages only.
pub(super) fn parse(path: &Path, text: &str, loading: &mut Loading) -> Result<(), ConfigError> {
    let at = |offset: usize| Origin::File { path: path.to_path_buf(), line: line_of(text, offset) };
    let document = DeTable::parse(text).map_err(|error| {
        let origin = at(error.span().map_or(0, |span| span.start));
        if is_rabbit_format(path, text) {
            return ConfigError::RabbitFormat { origin };
        }
        ConfigError::Syntax { origin, message: error.message().to_owned() }
    })?;

    let mut entries = Vec::new();
    collect(document.get_ref(), "", 1, &mut entries);
    // The parser sorts keys by name; people read from the top.
    entries.sort_by_key(|entry| entry.offset);
    for entry in entries {
        let origin = at(entry.offset);
        let outcome = match &entry.value {
            Some(value) => loading.assign(&entry.name, value, origin),
            None => loading.enter_section(&entry.name, origin),
        };
        outcome.map_err(|error| match error {
            ConfigError::UnknownKey { origin, .. } if is_rabbit_format(path, text) => {
                ConfigError::RabbitFormat { origin }
            }
            other => other,
        })?;
    }
    Ok(())
}

/// Flattens a table into `section.key` entries. A table below the deepest place an option can have is an entry
/// itself, which no option will match.
fn collect(table: &DeTable<'_>, prefix: &str, depth: usize, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) if depth < DEEPEST && !inner.is_empty() => {
                collect(inner, &name, depth + 1, entries);
            }
            DeValue::Table(inner) if inner.is_empty() => {
                entries.push(Entry { name, value: None, offset: key.span().start });
            }
            other => {
                let value = Some(Value::from_toml(other));
                entries.push(Entry { name, value, offset: key.span().start });
            }
        }
    }
}

/// The line of a byte offset, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Whether a file that could not be used is RabbitMQ's: by its name, by being Erlang terms, or because it has no
/// sections and starts lines with that format's words.
fn is_rabbit_format(path: &Path, text: &str) -> bool {
    if path.extension().is_some_and(|extension| extension == "conf" || extension == "config") {
        return true;
    }
    let lines =
        || text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if lines().next().is_some_and(|line| line.starts_with("[{") || line.starts_with('%') || line == "[") {
        return true;
    }
    let begins = |line: &str, word: &str| {
        line.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t', '.', '=']))
    };
    !lines().any(|line| line.starts_with('['))
        && lines().any(|line| RABBIT_WORDS.iter().any(|word| begins(line, word)))
}

impl Loading {
    /// A section without keys: fine if it exists, and a user without a password if it names one.
    fn enter_section(&mut self, name: &str, origin: Origin) -> Result<(), ConfigError> {
        if let Some(user) = name.strip_prefix("auth.users.") {
            self.user(user, origin);
            return Ok(());
        }
        if let Some(policy) = name.strip_prefix(super::operators::PREFIX) {
            self.operator(policy, origin);
            return Ok(());
        }
        if super::oauth::is_table(name) {
            return Ok(());
        }
        let sections = || {
            super::TABLE.iter().map(|row| row.split().0).chain([
                "auth.users",
                "policies",
                "policies.operator",
            ])
        };
        if sections().any(|section| section == name) {
            return Ok(());
        }
        let nearest = nearest(name, sections()).unwrap_or_default().to_owned();
        Err(ConfigError::UnknownKey { origin, key: name.to_owned(), nearest })
    }
}
