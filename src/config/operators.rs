//! Operator policies of the configuration: `[policies.operator.NAME]`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::error::{ConfigError, Origin};
use super::setting::{Setting, Within};
use super::units::{parse_duration, parse_size, show_duration};
use super::value::Value;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::definition::Definition;
use crate::broker::policies::policy::{ApplyTo, Operator, Policy, PolicyError};

/// Where their names begin.
pub(super) const PREFIX: &str = "policies.operator.";

/// A key of such a section.
struct Key {
    name: &'static str,
    /// The key of a policy's definition that it sets, if it sets one.
    defines: Option<&'static str>,
    /// Ends the sentence "expected ...".
    expected: &'static str,
    /// Reads a value, as a policy has it.
    read: fn(&Value) -> Option<Json>,
    /// Writes it so that it is read back.
    show: fn(&Json) -> toml::Value,
}

const KEYS: [Key; 10] = [
    Key {
        name: "vhost_pattern",
        defines: None,
        expected: "a regular expression",
        read: text,
        show: as_it_is,
    },
    Key {
        name: "queue_pattern",
        defines: None,
        expected: "a regular expression",
        read: text,
        show: as_it_is,
    },
    Key {
        name: "apply_to",
        defines: None,
        expected: "\"queues\", \"classic_queues\" or \"quorum_queues\"",
        read: kind_of_queue,
        show: as_it_is,
    },
    Key { name: "priority", defines: None, expected: "a whole number", read: integer, show: as_it_is },
    Key {
        name: "message_ttl",
        defines: Some("message-ttl"),
        expected: A_DURATION,
        read: duration,
        show: as_duration,
    },
    Key {
        name: "expires",
        defines: Some("expires"),
        expected: A_DURATION,
        read: duration,
        show: as_duration,
    },
    Key {
        name: "max_length",
        defines: Some("max-length"),
        expected: "a number of messages",
        read: count,
        show: as_it_is,
    },
    Key {
        name: "max_length_bytes",
        defines: Some("max-length-bytes"),
        expected: "a size, such as \"1GiB\" or a number of bytes",
        read: size,
        show: as_it_is,
    },
    Key {
        name: "overflow",
        defines: Some("overflow"),
        expected: "\"drop-head\", \"reject-publish\" or \"reject-publish-dlx\"",
        read: text,
        show: as_it_is,
    },
    Key {
        name: "delivery_limit",
        defines: Some("delivery-limit"),
        expected: "a number of deliveries",
        read: count,
        show: as_it_is,
    },
];

/// Milliseconds here and seconds elsewhere would be too easy to take for each other.
const A_DURATION: &str = "a duration with its unit, such as \"7d\" or \"1800000ms\"";

/// An operator policy as it was written, whose parts may come from different sources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorEntry {
    /// By name of the key.
    values: BTreeMap<&'static str, Json>,
}

/// The names of all keys.
pub(super) fn key_names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

/// What a key takes, if there is one of this name.
pub(super) fn expected(key: &str) -> Option<&'static str> {
    KEYS.iter().find(|known| known.name == key).map(|key| key.expected)
}

impl OperatorEntry {
    /// Sets a key; `None` if it cannot have this value.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Option<()> {
        let key = KEYS.iter().find(|known| known.name == key)?;
        self.values.insert(key.name, (key.read)(value)?);
        Some(())
    }

    /// The keys that were set, and their values as TOML.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, toml::Value)> {
        let set = |key: &Key| self.values.get(key.name).map(|value| (key.name, (key.show)(value)));
        KEYS.iter().filter_map(set)
    }

    /// The policy that is meant.
    pub(super) fn operator(&self, name: &str) -> Result<Operator, PolicyError> {
        let pattern = |key: &str| self.values.get(key).and_then(Json::as_str).unwrap_or(".*");
        let apply_to = self.values.get("apply_to").and_then(Json::as_str).unwrap_or("queues");
        let priority = self.values.get("priority").and_then(Json::as_i64).unwrap_or(0);
        let defined =
            KEYS.iter().filter_map(|key| Some((key.defines?.to_owned(), self.values.get(key.name)?.clone())));
        let definition = Definition::parse(&Map::from_iter(defined), PolicyKind::Operator)?;
        let apply_to = ApplyTo::parse(apply_to)?;
        let policy = Policy::new(name, pattern("queue_pattern"), apply_to, priority, definition)?;
        Operator::new(pattern("vhost_pattern"), policy)
    }

    /// The same as an error of the configuration.
    pub(super) fn check(&self, name: &str, origin: &Origin) -> Result<(), ConfigError> {
        let refused = |error: PolicyError| {
            let why = error.to_string().replace("\n\n", ": ");
            ConfigError::BadPolicy { origin: origin.clone(), policy: name.to_owned(), why }
        };
        self.operator(name).map(|_| ()).map_err(refused)
    }
}

fn text(value: &Value) -> Option<Json> {
    value.text().map(Json::from)
}

fn kind_of_queue(value: &Value) -> Option<Json> {
    let word = value.text().filter(|word| matches!(*word, "queues" | "classic_queues" | "quorum_queues"))?;
    Some(word.into())
}

fn integer(value: &Value) -> Option<Json> {
    match value {
        Value::Integer(number) => Some((*number).into()),
        Value::Raw(text) => text.trim().parse::<i64>().ok().map(Json::from),
        _ => None,
    }
}

fn count(value: &Value) -> Option<Json> {
    Within::<u64, 0, { i64::MAX as u64 }>::read(value).map(|number| number.0.into())
}

fn size(value: &Value) -> Option<Json> {
    let bytes = parse_size(&value.quantity()?)?;
    i64::try_from(bytes).ok().map(Json::from)
}

fn duration(value: &Value) -> Option<Json> {
    let text = value.text()?.trim();
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    let millis = parse_duration(text).filter(|_| has_unit)?.as_millis();
    i64::try_from(millis).ok().map(Json::from)
}

fn as_it_is(value: &Json) -> toml::Value {
    match value {
        Json::String(text) => text.clone().into(),
        other => toml::Value::Integer(other.as_i64().unwrap_or_default()),
    }
}

fn as_duration(value: &Json) -> toml::Value {
    show_duration(std::time::Duration::from_millis(value.as_u64().unwrap_or_default())).into()
}
