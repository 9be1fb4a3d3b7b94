//! One object of a document's lists, and what is read from it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Scope;
use super::arguments::table_of;
use crate::broker::vhost::clean_name;
use crate::protocol::field::Table;

/// The longest name of a queue or exchange, and the longest routing key, in bytes: AMQP cannot carry more.
const LONGEST_NAME: usize = 255;

/// Where in a document something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// The file, if the document was put together from some.
    pub(super) file: Option<Arc<str>>,
    pub(super) list: &'static str,
    pub(super) index: usize,
}

impl At {
    /// In words, with what stands there.
    pub(super) fn place(&self, what: &str) -> String {
        let Self { file, list, index } = self;
        let file = file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        format!("{file}{list}[{index}] {what}").trim_end().to_owned()
    }
}

/// A name as problems show it.
pub(super) fn quoted(name: &str) -> String {
    format!("'{}'", name.escape_debug())
}

/// A text with what is not to be seen in it escaped: names in it come from anybody.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

/// A name and the vhost it is in.
pub(super) fn quoted_in(name: &str, vhost: &str) -> String {
    format!("{} in vhost {}", quoted(name), quoted(vhost))
}

/// What a binding is called.
pub(super) fn binding_label(source: &str, destination: &str, vhost: &str) -> String {
    format!("{} -> {}", quoted(source), quoted_in(destination, vhost))
}

/// An object of a list.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) at: At,
    pub(super) object: &'a Map<String, Value>,
    pub(super) scope: &'a Scope,
}

impl<'a> Item<'a> {
    /// Where it is, with what it is called, as far as it says so.
    pub(super) fn place(&self) -> String {
        let text = |key: &str| self.object.get(key).and_then(Value::as_str);
        let vhost = self.vhost().unwrap_or("?");
        let what = match self.at.list {
            "users" | "vhosts" | "global_parameters" => text("name").map(quoted),
            "permissions" | "topic_permissions" => text("user").map(|user| quoted_in(user, vhost)),
            "bindings" => match (text("source"), text("destination")) {
                (Some(source), Some(destination)) => Some(binding_label(source, destination, vhost)),
                _ => None,
            },
            _ => text("name").map(|name| quoted_in(name, vhost)),
        };
        self.at.place(&what.unwrap_or_default())
    }

    /// The vhost it is in.
    ///
    /// # Errors
    /// If nothing says so.
    pub(super) fn vhost(&self) -> Result<&'a str, String> {
        match self.scope {
            Scope::VHost(name) => Ok(name),
            Scope::Whole => self.text("vhost").map_err(|_| {
                "it has no vhost: a document about one vhost is imported into that vhost, and not into the whole broker"
                    .to_owned()
            }),
        }
    }

    /// A value, unless it is missing or null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A text that has to be there.
    pub(super) fn text(&self, key: &str) -> Result<&'a str, String> {
        match self.value(key) {
            Some(value) => value.as_str().ok_or_else(|| format!("{key} should be a string")),
            None => Err(format!("it has no {key}")),
        }
    }

    /// A text that may be missing.
    pub(super) fn text_or(&self, key: &str, default: &'a str) -> Result<&'a str, String> {
        if self.value(key).is_some() { self.text(key) } else { Ok(default) }
    }

    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool, String> {
        self.value(key).map_or(Ok(default), |value| {
            value.as_bool().ok_or_else(|| format!("{key} should be true or false"))
        })
    }

    /// The arguments; none if they are missing.
    pub(super) fn arguments(&self) -> Result<Table, String> {
        match self.value("arguments") {
            None => Ok(Table::default()),
            // An empty object, as some versions write it.
            Some(Value::Array(items)) if items.is_empty() => Ok(Table::default()),
            Some(Value::Object(object)) => table_of(object),
            Some(_) => Err("arguments should be an object".to_owned()),
        }
    }

    /// The name of a queue or exchange, without line breaks, as declarations take it.
    pub(super) fn declared_name(&self, key: &str) -> Result<String, String> {
        let name = clean_name(self.text(key)?);
        check_length(key, &name).map(|()| name)
    }
}

/// Checks that AMQP can carry a name or a routing key.
pub(super) fn check_length(what: &str, text: &str) -> Result<(), String> {
    if text.len() > LONGEST_NAME {
        Err(format!("{what} is longer than {LONGEST_NAME} bytes"))
    } else {
        Ok(())
    }
}
