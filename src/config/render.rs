//! The effective configuration as TOML, for `--print-config`.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::setting::Setting;
use super::{Loaded, TABLE};

/// Every option with its value, defaults included and secrets masked. Values that are not defaults say where they
/// come from. The text is itself a valid configuration file, but for the masked secrets.
#[must_use]
pub fn render(loaded: &Loaded) -> String {
    let options = loaded.options.resolved(&loaded.machine);
    let mut text = String::new();
    let mut current = "";
    for row in TABLE {
        let (section, key) = row.split();
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gap}[{section}]");
            current = section;
        }
        let _ = write!(text, "{key} = {}", (row.show)(&options));
        push_origin(&mut text, loaded, row.name);
    }
    for (name, user) in &options.users {
        let _ = writeln!(text, "\n[auth.users.{}]", show_key(name));
        if let Some(password) = &user.password {
            let _ = write!(text, "password = {}", password.show());
            push_origin(&mut text, loaded, &format!("auth.users.{name}.password"));
        }
        if let Some(vhosts) = &user.vhosts {
            let _ = write!(text, "vhosts = {}", vhosts.show());
            push_origin(&mut text, loaded, &format!("auth.users.{name}.vhosts"));
        }
        if let Some(tags) = &user.tags {
            let _ = write!(text, "tags = {}", tags.show());
            push_origin(&mut text, loaded, &format!("auth.users.{name}.tags"));
        }
        for (key, limit) in [("max_connections", user.max_connections), ("max_channels", user.max_channels)] {
            if let Some(limit) = limit {
                let _ = write!(text, "{key} = {}", limit.show());
                push_origin(&mut text, loaded, &format!("auth.users.{name}.{key}"));
            }
        }
    }
    for (name, host) in &options.hosts {
        let _ = writeln!(text, "\n[tls.sni.{}]", show_key(name));
        for (key, value) in host.shown() {
            let _ = write!(text, "{key} = {value}");
            push_origin(&mut text, loaded, &format!("tls.sni.{name}.{key}"));
        }
    }
    let mut table = "";
    for (own, name, value) in options.oauth2_names.shown() {
        if own != table {
            let _ = writeln!(text, "\n[auth.oauth2.{own}]");
            table = own;
        }
        let _ = write!(text, "{} = {value}", show_key(name));
        push_origin(&mut text, loaded, &format!("auth.oauth2.{own}.{name}"));
    }
    for (name, operator) in &options.operators {
        let _ = writeln!(text, "\n[policies.operator.{}]", show_key(name));
        for (key, value) in operator.shown() {
            let _ = write!(text, "{key} = {value}");
            push_origin(&mut text, loaded, &format!("policies.operator.{name}.{key}"));
        }
    }
    text
}

impl Loaded {
    /// The value of each option that has a row in the table, by section and key, secrets masked.
    #[must_use]
    pub fn values(&self) -> Map<String, Json> {
        let options = self.options.resolved(&self.machine);
        let mut sections = Map::new();
        for row in TABLE {
            let (section, key) = row.split();
            // What is shown is a line of TOML.
            let line = format!("value = {}", (row.show)(&options));
            let parsed: Option<Json> = toml::from_str(&line).ok();
            let Some(value) = parsed.and_then(|mut line| line.get_mut("value").map(Json::take)) else {
                continue;
            };
            let inner = sections.entry(section).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                inner.insert(key.to_owned(), value);
            }
        }
        sections
    }
}

/// A name as a key, quoted if it has to be.
fn show_key(name: &str) -> String {
    let line = toml::Table::from_iter([(name.to_owned(), toml::Value::Boolean(true))]).to_string();
    line.trim_end().trim_end_matches("= true").trim_end().to_owned()
}

/// Ends a line with the origin of its value, if it has one.
fn push_origin(text: &mut String, loaded: &Loaded, name: &str) {
    match loaded.origins.get(name) {
        Some(origin) => {
            let _ = writeln!(text, " # {origin}");
        }
        None => text.push('\n'),
    }
}
