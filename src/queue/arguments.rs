//! The `x-` arguments of queue.declare: which exist, what each may be, and when two declarations are equivalent.
//!
//! The table follows RabbitMQ 4. An argument that no queue type knows is kept and ignored; one that only another
//! type knows is refused, as is a known one with a bad value.

use crate::protocol::field::{TableRef, Value};
use crate::protocol::reply::{AmqpError, ReplyCode};

/// Longest TTL and expiry in milliseconds: ten years, as in RabbitMQ.
pub const MAX_MILLISECONDS: i64 = 315_360_000_000;

/// The kinds of queue a client may ask for by `x-queue-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    /// The default.
    #[default]
    Classic,
    /// On one node a durable queue with a quorum queue's rules.
    Quorum,
}

impl QueueKind {
    /// The name in `x-queue-type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    const fn mask(self) -> u8 {
        match self {
            Self::Classic => CLASSIC,
            Self::Quorum => QUORUM,
        }
    }
}

const CLASSIC: u8 = 1;
const QUORUM: u8 = 2;
const BOTH: u8 = CLASSIC | QUORUM;
/// Known to RabbitMQ's streams only.
const STREAM: u8 = 4;

/// What values an argument takes.
#[derive(Clone, Copy)]
enum Rule {
    /// An integer within bounds.
    Int(i64, i64),
    Bool,
    Text,
    OneOf(&'static [&'static str]),
    /// Not looked at beyond being no Void.
    Any,
}

/// An argument that a queue type knows.
struct Known {
    name: &'static str,
    kinds: u8,
    rule: Rule,
}

const fn known(name: &'static str, kinds: u8, rule: Rule) -> Known {
    Known { name, kinds, rule }
}

/// RabbitMQ looks at it before the other arguments, with words of its own.
/// The argument that names where dead letters go.
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

const LEADER_LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];

const KNOWN: &[Known] = &[
    known("x-expires", BOTH, Rule::Int(1, MAX_MILLISECONDS)),
    known("x-message-ttl", BOTH, Rule::Int(0, MAX_MILLISECONDS)),
    known(DEAD_LETTER_EXCHANGE, BOTH, Rule::Text),
    known("x-dead-letter-routing-key", BOTH, Rule::Text),
    known("x-dead-letter-strategy", QUORUM, Rule::OneOf(&["at-most-once", "at-least-once"])),
    known("x-max-length", BOTH, Rule::Int(0, i64::MAX)),
    known("x-max-length-bytes", BOTH | STREAM, Rule::Int(0, i64::MAX)),
    known("x-overflow", BOTH, Rule::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"])),
    known("x-max-priority", CLASSIC, Rule::Int(0, 255)),
    known("x-single-active-consumer", BOTH, Rule::Bool),
    known("x-queue-mode", CLASSIC, Rule::Text),
    known("x-queue-version", CLASSIC, Rule::Int(1, 2)),
    known("x-queue-master-locator", CLASSIC, Rule::Text),
    known("x-queue-leader-locator", QUORUM | STREAM, Rule::OneOf(LEADER_LOCATORS)),
    known("x-consumer-timeout", BOTH, Rule::Int(0, i64::MAX)),
    known("x-delivery-limit", QUORUM, Rule::Int(-1, i64::MAX)),
    known("x-delayed-retry-type", QUORUM, Rule::OneOf(&["disabled", "all", "failed", "returned"])),
    known("x-delayed-retry-min", QUORUM, Rule::Int(0, i64::MAX)),
    known("x-delayed-retry-max", QUORUM, Rule::Int(0, i64::MAX)),
    known("x-consumer-disconnected-timeout", QUORUM, Rule::Int(0, i64::MAX)),
    known("x-quorum-initial-group-size", QUORUM, Rule::Int(1, i64::MAX)),
    known("x-quorum-target-group-size", QUORUM, Rule::Int(1, i64::MAX)),
    known("x-max-in-memory-length", QUORUM, Rule::Int(0, i64::MAX)),
    known("x-max-in-memory-bytes", QUORUM, Rule::Int(0, i64::MAX)),
    known("x-member-placement-tag", QUORUM, Rule::Any),
    known("x-initial-cluster-size", STREAM, Rule::Int(1, i64::MAX)),
    known("x-max-age", STREAM, Rule::Text),
    known("x-stream-max-segment-size-bytes", STREAM, Rule::Int(0, i64::MAX)),
    known("x-stream-filter-size-bytes", STREAM, Rule::Int(16, 255)),
];

/// Arguments whose rules are checked but whose effect is not there yet.
const WITHOUT_EFFECT: &[&str] = &["x-delayed-retry-type"];

/// Where a declaration is checked, for its error texts.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The queue's name.
    pub queue: &'a str,
    /// Its vhost.
    pub vhost: &'a str,
}

impl Place<'_> {
    fn precondition(self, text: &str) -> AmqpError {
        let Self { queue, vhost } = self;
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format!("{text} for queue '{queue}' in vhost '{vhost}'"),
        )
    }

    fn invalid(self, name: &str, why: &str) -> AmqpError {
        let Self { queue, vhost } = self;
        let text = format!("invalid arg '{name}' for queue '{queue}' in vhost '{vhost}': {why}");
        AmqpError::new(ReplyCode::PreconditionFailed, text)
    }
}

/// The properties of a declaration that are not arguments.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// Survives a restart.
    pub durable: bool,
    /// Bound to its connection.
    pub exclusive: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// The server is to choose the name.
    pub server_named: bool,
}

/// Checks the arguments of a new queue.
///
/// # Errors
/// 406 with RabbitMQ's wording for a known argument with a bad type or value, an argument of another queue type, an
/// unknown queue type, and flags that a quorum queue cannot have; 540 for a stream.
pub fn check(arguments: TableRef<'_>, flags: Flags, place: Place<'_>) -> Result<QueueKind, AmqpError> {
    let kind = queue_kind(arguments, place)?;
    if kind == QueueKind::Quorum {
        check_quorum(flags, place)?;
    }
    if let Some(value) = arguments.get(DEAD_LETTER_EXCHANGE).filter(|value| value.as_str().is_none()) {
        let Place { queue, vhost } = place;
        let text = format!(
            "invalid type '{}' for arg '{DEAD_LETTER_EXCHANGE}' in queue '{queue}' in vhost '{vhost}'",
            value.type_name()
        );
        return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
    }
    for (name, value) in arguments.iter() {
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else { continue };
        if known.kinds & kind.mask() == 0 {
            let Place { queue, vhost } = place;
            let text = format!(
                "invalid arg '{name}' for queue '{queue}' in vhost '{vhost}' of queue type rabbit_{}_queue",
                kind.name()
            );
            return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
        }
        check_value(known.rule, value).map_err(|why| place.invalid(name, &why))?;
    }
    let has = |name| arguments.get(name).is_some();
    if has("x-dead-letter-routing-key") && !has(DEAD_LETTER_EXCHANGE) {
        return Err(place.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
    }
    let rejects_to_dlx = arguments.get("x-overflow").and_then(Value::as_str) == Some("reject-publish-dlx");
    if kind == QueueKind::Quorum && rejects_to_dlx {
        return Err(place.invalid("x-overflow", "{invalid_overflow,<<\"reject-publish-dlx\">>}"));
    }
    Ok(kind)
}

fn queue_kind(arguments: TableRef<'_>, place: Place<'_>) -> Result<QueueKind, AmqpError> {
    let Some(value) = arguments.get("x-queue-type") else { return Ok(QueueKind::Classic) };
    match value.as_str() {
        Some("classic") => Ok(QueueKind::Classic),
        Some("quorum") => Ok(QueueKind::Quorum),
        Some("stream") => Err(AmqpError::new(
            ReplyCode::NotImplemented,
            format!("queue '{}': queue type 'stream' is not supported by this broker", place.queue),
        )),
        Some(other) => {
            Err(AmqpError::new(ReplyCode::PreconditionFailed, format!("unsupported queue type '{other}'")))
        }
        None => Err(place.invalid("x-queue-type", &unacceptable_type(value))),
    }
}

fn check_quorum(flags: Flags, place: Place<'_>) -> Result<(), AmqpError> {
    if flags.server_named {
        let text = "Cannot declare a server-named queue for type quorum";
        return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
    }
    let invalid = match flags {
        Flags { exclusive: true, .. } => "exclusive-owner",
        Flags { durable: false, .. } => "non-durable",
        Flags { auto_delete: true, .. } => "auto-delete",
        _ => return Ok(()),
    };
    Err(place.precondition(&format!("invalid property '{invalid}'")))
}

fn check_value(rule: Rule, value: Value<'_>) -> Result<(), String> {
    match rule {
        Rule::Int(min, max) => {
            let number = value.as_int().ok_or_else(|| unacceptable_type(value))?;
            if number < 0 && min >= 0 {
                Err(format!("{{value_negative,{number}}}"))
            } else if number == 0 && min > 0 {
                Err("{value_zero,0}".to_owned())
            } else if number < min {
                Err(format!("{{value_too_small,{number}}}"))
            } else if number > max {
                Err(format!("{{value_too_large,{number}}}"))
            } else {
                Ok(())
            }
        }
        Rule::Bool => value.as_bool().map(|_| ()).ok_or_else(|| unacceptable_type(value)),
        Rule::Text => value.as_str().map(|_| ()).ok_or_else(|| unacceptable_type(value)),
        Rule::OneOf(words) => match value.as_str() {
            Some(word) if words.contains(&word) => Ok(()),
            Some(word) => Err(format!("{{invalid_value,<<\"{word}\">>}}")),
            None => Err(unacceptable_type(value)),
        },
        Rule::Any if matches!(value, Value::Void) => Err(unacceptable_type(value)),
        Rule::Any => Ok(()),
    }
}

fn unacceptable_type(value: Value<'_>) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

/// The given arguments whose effect is not there yet, so that the operator can be told.
pub fn without_effect(arguments: TableRef<'_>) -> impl Iterator<Item = &'static str> {
    WITHOUT_EFFECT.iter().copied().filter(move |name| arguments.get(name).is_some())
}

/// Checks that a declaration means the same queue as the one that exists. Only arguments that a queue type knows
/// are compared; numbers by value, whatever their width; no queue type is the classic one.
///
/// # Errors
/// 406 "inequivalent arg", with the words RabbitMQ uses.
pub fn check_equivalent(
    current: TableRef<'_>,
    received: TableRef<'_>,
    place: Place<'_>,
) -> Result<(), AmqpError> {
    let or_classic = Some(Value::LongStr(b"classic"));
    let kinds = [current, received].map(|arguments| arguments.get("x-queue-type").or(or_classic));
    compare("x-queue-type", kinds[0], kinds[1], place)?;
    let mask = queue_kind(current, place)?.mask();
    for known in KNOWN.iter().filter(|known| known.kinds & mask != 0) {
        compare(known.name, current.get(known.name), received.get(known.name), place)?;
    }
    Ok(())
}

fn compare(
    name: &str,
    current: Option<Value<'_>>,
    received: Option<Value<'_>>,
    place: Place<'_>,
) -> Result<(), AmqpError> {
    match (current, received) {
        (None, None) => Ok(()),
        (Some(current), Some(received)) if current.equivalent(received) => Ok(()),
        (current, received) => Err(inequivalent(name, "queue", place.queue, place.vhost, received, current)),
    }
}

/// The error for an argument that differs from the existing object's. `what` is "queue" or "exchange".
#[must_use]
pub fn inequivalent(
    name: &str,
    what: &str,
    object: &str,
    vhost: &str,
    received: Option<Value<'_>>,
    current: Option<Value<'_>>,
) -> AmqpError {
    let (received, current) = match (received, current) {
        (Some(received), Some(current)) => (format!("'{received}'"), format!("'{current}'")),
        (received, current) => (described(received), described(current)),
    };
    let text = format!(
        "inequivalent arg '{name}' for {what} '{object}' in vhost '{vhost}': received {received} but current is {current}"
    );
    AmqpError::new(ReplyCode::PreconditionFailed, text)
}

fn described(value: Option<Value<'_>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!("the value '{value}' of type '{}'", value.type_name()),
    }
}

#[cfg(test)]
mod tests;
