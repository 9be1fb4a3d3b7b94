//! What a policy says: its keys, checked as RabbitMQ checks them.

use serde_json::{Map, Value};

use super::PolicyKind;
use super::policy::PolicyError;
use crate::queue::arguments::QueueKind;
use crate::queue::rules::{Overflow, Settings};

/// What a key's value may be.
#[derive(Clone, Copy)]
enum Takes {
    Text,
    Word(&'static [&'static str]),
    AtLeast(i64),
    Whole,
}

impl Takes {
    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::AtLeast(least) => value.as_i64().is_some_and(|number| number >= least),
            Self::Whole => value.is_i64(),
        }
    }
}

/// Types of queue that heed a key. A policy is not for a queue that does not heed all its keys, as in RabbitMQ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suits {
    Any,
    Classic,
    Quorum,
    Stream,
}

struct Key {
    name: &'static str,
    takes: Takes,
    /// Ends "... is not a valid ...".
    what: &'static str,
    suits: Suits,
    /// Operators may use it.
    operator: bool,
    /// It makes a difference. The others are taken since RabbitMQ takes them, and are about its way to store or to
    /// distribute.
    heeded: bool,
}

const fn key(name: &'static str, takes: Takes, what: &'static str) -> Key {
    Key { name, takes, what, suits: Suits::Any, operator: false, heeded: true }
}

impl Key {
    const fn suits(self, suits: Suits) -> Self {
        Self { suits, ..self }
    }

    const fn operators(self) -> Self {
        Self { operator: true, ..self }
    }

    const fn unheeded(self) -> Self {
        Self { heeded: false, ..self }
    }
}

const KEYS: &[Key] = &[
    key("alternate-exchange", Takes::Text, "alternate exchange name"),
    key("consumer-timeout", Takes::AtLeast(0), "consumer timeout"),
    key("consumer-disconnected-timeout", Takes::AtLeast(0), "consumer disconnected timeout").unheeded(),
    key("dead-letter-exchange", Takes::Text, "dead letter exchange name"),
    key("dead-letter-routing-key", Takes::Text, "dead letter routing key"),
    key("dead-letter-strategy", Takes::Word(&["at-most-once", "at-least-once"]), "dead letter strategy")
        .suits(Suits::Quorum),
    key("message-ttl", Takes::AtLeast(0), "message TTL").operators(),
    key("expires", Takes::AtLeast(1), "queue expiry").operators(),
    key("max-length", Takes::AtLeast(0), "maximum length").operators(),
    key("max-length-bytes", Takes::AtLeast(0), "maximum length in bytes").operators(),
    key("max-in-memory-length", Takes::AtLeast(0), "maximum memory in messages")
        .suits(Suits::Quorum)
        .operators()
        .unheeded(),
    key("max-in-memory-bytes", Takes::AtLeast(0), "maximum memory in bytes")
        .suits(Suits::Quorum)
        .operators()
        .unheeded(),
    key("overflow", Takes::Word(&["drop-head", "reject-publish", "reject-publish-dlx"]), "overflow value")
        .operators(),
    key("delivery-limit", Takes::Whole, "delivery limit").suits(Suits::Quorum).operators(),
    key("queue-mode", Takes::Word(&["default", "lazy"]), "queue-mode value").suits(Suits::Classic).unheeded(),
    key("queue-version", Takes::AtLeast(1), "queue-version value")
        .suits(Suits::Classic)
        .operators()
        .unheeded(),
    key("queue-leader-locator", Takes::Word(&["client-local", "balanced"]), "queue leader locator value")
        .unheeded(),
    key("initial-cluster-size", Takes::AtLeast(1), "cluster size").unheeded(),
    key("target-group-size", Takes::AtLeast(1), "target group size")
        .suits(Suits::Quorum)
        .operators()
        .unheeded(),
    key("max-age", Takes::Text, "max age").suits(Suits::Stream).unheeded(),
    key("stream-max-segment-size-bytes", Takes::AtLeast(1), "segment size").suits(Suits::Stream).unheeded(),
    key("stream-filter-size-bytes", Takes::AtLeast(16), "filter size").suits(Suits::Stream).unheeded(),
    key("delayed-retry-type", Takes::Text, "delayed retry type").suits(Suits::Quorum).unheeded(),
    key("delayed-retry-min", Takes::AtLeast(0), "delayed retry time").suits(Suits::Quorum).unheeded(),
    key("delayed-retry-max", Takes::AtLeast(0), "delayed retry time").suits(Suits::Quorum).unheeded(),
    key("federation-upstream", Takes::Text, "federation upstream").unheeded(),
    key("federation-upstream-set", Takes::Text, "federation upstream set").unheeded(),
    key("federation-upstream-pattern", Takes::Text, "federation upstream pattern").unheeded(),
];

fn known(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub(super) keys: Map<String, Value>,
    /// What of it is about queues.
    pub settings: Settings,
    /// What of it is about exchanges: where messages go that have nowhere else to go.
    pub alternate: Option<String>,
    suits_classic: bool,
    suits_quorum: bool,
}

impl Definition {
    /// Reads and checks a definition.
    ///
    /// # Errors
    /// An unknown key, a value that its key cannot have, and a definition without keys.
    pub fn parse(keys: &Map<String, Value>, kind: PolicyKind) -> Result<Self, PolicyError> {
        let wrong = |text: String| PolicyError(format!("Validation failed\n\n{text}"));
        if keys.is_empty() {
            return Err(wrong("no policy provided".to_owned()));
        }
        let settable = |name: &str| known(name).is_some_and(|key| key.operator || kind == PolicyKind::User);
        let unknown: Vec<&str> = keys.keys().map(String::as_str).filter(|name| !settable(name)).collect();
        if !unknown.is_empty() {
            let whose = if kind == PolicyKind::Operator { "operator " } else { "" };
            return Err(wrong(format!("{} are not recognised {whose}policy settings", unknown.join(", "))));
        }
        let found = || keys.iter().filter_map(|(name, value)| Some((known(name)?, value)));
        if let Some((key, value)) = found().find(|(key, value)| !key.takes.accepts(value)) {
            return Err(wrong(format!("{value} is not a valid {}", key.what)));
        }
        let suits = |kind: Suits| found().all(|(key, _)| key.suits == Suits::Any || key.suits == kind);
        Ok(Self {
            settings: settings(keys),
            alternate: text(keys, "alternate-exchange"),
            suits_classic: suits(Suits::Classic),
            suits_quorum: suits(Suits::Quorum),
            keys: keys.clone(),
        })
    }

    /// All that it says.
    #[must_use]
    pub fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }

    /// Whether queues of this type heed all that it says.
    pub(super) fn suits(&self, kind: QueueKind) -> bool {
        match kind {
            QueueKind::Classic => self.suits_classic,
            QueueKind::Quorum => self.suits_quorum,
        }
    }

    /// The keys that make no difference here.
    #[must_use]
    pub fn unheeded(&self) -> Vec<&str> {
        let names = self.keys.keys().map(String::as_str);
        names.filter(|name| known(name).is_some_and(|key| !key.heeded)).collect()
    }
}

fn text(keys: &Map<String, Value>, name: &str) -> Option<String> {
    keys.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn settings(keys: &Map<String, Value>) -> Settings {
    let number = |name| keys.get(name).and_then(Value::as_u64);
    Settings {
        message_ttl: number("message-ttl"),
        expires: number("expires"),
        max_length: number("max-length"),
        max_length_bytes: number("max-length-bytes"),
        overflow: text(keys, "overflow").as_deref().and_then(Overflow::parse),
        dead_letter_exchange: text(keys, "dead-letter-exchange"),
        dead_letter_routing_key: text(keys, "dead-letter-routing-key"),
        at_least_once: text(keys, "dead-letter-strategy").map(|word| word == "at-least-once"),
        delivery_limit: keys.get("delivery-limit").and_then(Value::as_i64),
        consumer_timeout: number("consumer-timeout"),
    }
}
