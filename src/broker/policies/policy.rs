//! One policy: which objects it is for, and what it says about them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::PolicyKind;
use super::definition::Definition;
use crate::pattern::Pattern;
use crate::queue::arguments::QueueKind;

/// The longest name, in bytes.
const LONGEST: usize = 1024;

/// Why a policy was refused. RabbitMQ's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub(super) String);

/// What may be matched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Queue(&'a str, QueueKind),
    Exchange(&'a str),
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Exchanges.
    Exchanges,
    /// Queues of any type.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams, of which there are none.
    Streams,
}

impl ApplyTo {
    const ALL: [Self; 6] =
        [Self::All, Self::Exchanges, Self::Queues, Self::ClassicQueues, Self::QuorumQueues, Self::Streams];

    /// The word for it in RabbitMQ.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exchanges => "exchanges",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
        }
    }

    /// What is meant by a word.
    ///
    /// # Errors
    /// If it is none of those that there are.
    pub fn parse(word: &str) -> Result<Self, PolicyError> {
        Self::ALL.into_iter().find(|apply_to| apply_to.name() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            PolicyError(format!("apply-to is \"{word}\" and should be one of {known}"))
        })
    }

    fn includes(self, subject: Subject<'_>) -> bool {
        match subject {
            Subject::Exchange(_) => matches!(self, Self::All | Self::Exchanges),
            Subject::Queue(_, QueueKind::Classic) => {
                matches!(self, Self::All | Self::Queues | Self::ClassicQueues)
            }
            Subject::Queue(_, QueueKind::Quorum) => {
                matches!(self, Self::All | Self::Queues | Self::QuorumQueues)
            }
        }
    }
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Unique among those of its kind in a vhost.
    pub name: String,
    /// What is looked for in names.
    pub pattern: Pattern,
    /// What it is for.
    pub apply_to: ApplyTo,
    /// The highest wins.
    pub priority: i64,
    /// What it says.
    pub definition: Definition,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value() == other.value()
    }
}

impl Policy {
    /// A policy.
    ///
    /// # Errors
    /// If the pattern is no regular expression, or the name is empty, or one of them is too long.
    pub fn new(
        name: &str,
        pattern: &str,
        apply_to: ApplyTo,
        priority: i64,
        definition: Definition,
    ) -> Result<Self, PolicyError> {
        if name.is_empty() || name.len() > LONGEST {
            return Err(PolicyError(format!("the name of a policy has 1 to {LONGEST} bytes")));
        }
        let pattern = compiled(pattern)?;
        Ok(Self { name: name.to_owned(), pattern, apply_to, priority, definition })
    }

    /// A policy from the value of its parameter, which [`value`](Self::value) makes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_value(name: &str, value: &Value, kind: PolicyKind) -> Result<Self, PolicyError> {
        let wrong = |what: &str| PolicyError(format!("Validation failed\n\n{what}"));
        let object = value.as_object().ok_or_else(|| wrong("a policy should be an object"))?;
        let known = ["pattern", "definition", "priority", "apply-to"];
        if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(wrong(&format!("{key} is no part of a policy")));
        }
        let pattern = object.get("pattern").ok_or_else(|| wrong("Key \"pattern\" not found"))?;
        let pattern = pattern.as_str().ok_or_else(|| wrong("pattern should be a string"))?;
        let definition = object.get("definition").ok_or_else(|| wrong("Key \"definition\" not found"))?;
        let definition = definition.as_object().ok_or_else(|| wrong("definition should be an object"))?;
        let priority = match object.get("priority") {
            None => 0,
            Some(priority) => priority.as_i64().ok_or_else(|| wrong("priority should be a number"))?,
        };
        let apply_to = match object.get("apply-to") {
            None => ApplyTo::default(),
            Some(word) => ApplyTo::parse(word.as_str().ok_or_else(|| wrong("apply-to should be a string"))?)?,
        };
        Self::new(name, pattern, apply_to, priority, Definition::parse(definition, kind)?)
    }

    /// The value of its parameter, as RabbitMQ has it.
    #[must_use]
    pub fn value(&self) -> Value {
        json!({
            "pattern": self.pattern.as_str(),
            "definition": Value::Object(self.definition.keys.clone()),
            "priority": self.priority,
            "apply-to": self.apply_to.name(),
        })
    }

    /// The policy as an object of RabbitMQ's API.
    #[must_use]
    pub fn described(&self, vhost: &str) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("vhost".to_owned(), vhost.into());
        object.insert("name".to_owned(), self.name.clone().into());
        if let Value::Object(value) = self.value() {
            object.extend(value);
        }
        object
    }

    pub(super) fn applies_to(&self, subject: Subject<'_>) -> bool {
        let (name, is_supported) = match subject {
            Subject::Queue(name, kind) => (name, self.definition.suits(kind)),
            Subject::Exchange(name) => (name, true),
        };
        is_supported && self.apply_to.includes(subject) && self.pattern.is_in(name)
    }
}

/// An operator policy of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// What is looked for in names of vhosts.
    vhosts: Pattern,
    pub(super) policy: Arc<Policy>,
}

impl Operator {
    /// A policy for the vhosts that match a pattern.
    ///
    /// # Errors
    /// If the pattern is no regular expression.
    pub fn new(vhosts: &str, policy: Policy) -> Result<Self, PolicyError> {
        Ok(Self { vhosts: compiled(vhosts)?, policy: Arc::new(policy) })
    }

    pub(super) fn covers(&self, vhost: &str) -> bool {
        self.vhosts.is_in(vhost)
    }
}

fn compiled(pattern: &str) -> Result<Pattern, PolicyError> {
    Pattern::new(pattern).map_err(|error| PolicyError(error.to_string()))
}
