//! What a queue does beside passing messages on: lifetimes, limits, dead letters, priorities.
//!
//! [`Settings`] are what arguments or a policy say, each of which may be silent; [`Rules`] are what holds for a queue
//! in the end.

use super::arguments::QueueKind;
use crate::message::Message;
use crate::protocol::field::{TableRef, Value};

/// Deliveries of a quorum queue's message after which it is given up, as in RabbitMQ since 4.0.
const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// The highest priority of a message in a quorum queue, and that of one without.
const QUORUM_HIGHEST: u8 = 31;
const QUORUM_DEFAULT: u8 = 4;

/// What happens to a message that a full queue has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The queue drops messages from its head until the new one fits.
    #[default]
    DropHead,
    /// The new message is refused, and its publisher told if it asked for confirms.
    RejectPublish,
    /// As [`RejectPublish`](Self::RejectPublish), and the refused message is dead-lettered.
    RejectPublishDlx,
}

impl Overflow {
    /// The value of `x-overflow` or of the policy key.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "drop-head" => Some(Self::DropHead),
            "reject-publish" => Some(Self::RejectPublish),
            "reject-publish-dlx" => Some(Self::RejectPublishDlx),
            _ => None,
        }
    }
}

/// What arguments or a policy say about a queue. Durations are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Lifetime of a message in the queue.
    pub message_ttl: Option<u64>,
    /// How long the queue may be unused before it is deleted.
    pub expires: Option<u64>,
    /// Most ready messages.
    pub max_length: Option<u64>,
    /// Most body bytes of ready messages.
    pub max_length_bytes: Option<u64>,
    /// What happens beyond these.
    pub overflow: Option<Overflow>,
    /// Where dead messages go; "" is the default exchange.
    pub dead_letter_exchange: Option<String>,
    /// Their routing key instead of their own.
    pub dead_letter_routing_key: Option<String>,
    /// Whether dead letters wait until they are taken (`dead-letter-strategy`).
    pub at_least_once: Option<bool>,
    /// How often a message may come back; below 0 any number of times.
    pub delivery_limit: Option<i64>,
    /// How long a delivery may stay unacknowledged; 0 is for ever.
    pub consumer_timeout: Option<u64>,
}

impl Settings {
    /// What a queue's arguments say. They were checked before.
    #[must_use]
    pub fn of_arguments(arguments: TableRef<'_>) -> Self {
        let text = |name| arguments.get(name).and_then(Value::as_str);
        let integer = |name| arguments.get(name).and_then(|value| value.as_int());
        let number = |name| integer(name).and_then(|number| u64::try_from(number).ok());
        Self {
            message_ttl: number("x-message-ttl"),
            expires: number("x-expires"),
            max_length: number("x-max-length"),
            max_length_bytes: number("x-max-length-bytes"),
            overflow: text("x-overflow").and_then(Overflow::parse),
            dead_letter_exchange: text("x-dead-letter-exchange").map(str::to_owned),
            dead_letter_routing_key: text("x-dead-letter-routing-key").map(str::to_owned),
            at_least_once: text("x-dead-letter-strategy").map(|word| word == "at-least-once"),
            delivery_limit: integer("x-delivery-limit"),
            consumer_timeout: number("x-consumer-timeout"),
        }
    }

    /// A user's policy together with an operator's: the smaller number, and otherwise the operator's word.
    #[must_use]
    pub fn with_operator(self, operator: &Self) -> Self {
        Self {
            message_ttl: smaller(self.message_ttl, operator.message_ttl),
            expires: smaller(self.expires, operator.expires),
            max_length: smaller(self.max_length, operator.max_length),
            max_length_bytes: smaller(self.max_length_bytes, operator.max_length_bytes),
            overflow: operator.overflow.or(self.overflow),
            delivery_limit: smaller_limit(self.delivery_limit, operator.delivery_limit),
            ..self
        }
    }

    /// Arguments together with the policy that holds: the smaller number, and otherwise the argument's word.
    #[must_use]
    pub fn with_policy(self, policy: &Self) -> Self {
        Self {
            message_ttl: smaller(self.message_ttl, policy.message_ttl),
            expires: smaller(self.expires, policy.expires),
            max_length: smaller(self.max_length, policy.max_length),
            max_length_bytes: smaller(self.max_length_bytes, policy.max_length_bytes),
            overflow: self.overflow.or(policy.overflow),
            dead_letter_exchange: self.dead_letter_exchange.or_else(|| policy.dead_letter_exchange.clone()),
            dead_letter_routing_key: self
                .dead_letter_routing_key
                .or_else(|| policy.dead_letter_routing_key.clone()),
            at_least_once: self.at_least_once.or(policy.at_least_once),
            delivery_limit: smaller_limit(self.delivery_limit, policy.delivery_limit),
            consumer_timeout: self.consumer_timeout.or(policy.consumer_timeout),
        }
    }
}

fn smaller(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// Without a limit on one side the other's holds.
fn smaller_limit(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) if a >= 0 && b >= 0 => Some(a.min(b)),
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// Where dead messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// The exchange; "" is the default exchange.
    pub exchange: String,
    /// The routing key instead of the message's own.
    pub routing_key: Option<String>,
    /// They stay in the queue until all their targets have taken them.
    pub at_least_once: bool,
}

/// What holds for a queue. Durations are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Lifetime of a message in the queue.
    pub message_ttl: Option<u64>,
    /// How long the queue may be unused before it is deleted.
    pub expires: Option<u64>,
    /// Most ready messages.
    pub max_length: Option<u64>,
    /// Most body bytes of ready messages.
    pub max_length_bytes: Option<u64>,
    /// What happens beyond these.
    pub overflow: Overflow,
    /// Where dead messages go; nowhere if `None`.
    pub dead_letters: Option<DeadLetters>,
    /// How often a message may come back before it is dead; `None` is any number of times.
    pub delivery_limit: Option<u32>,
    /// Deliveries are counted and the count told to consumers.
    pub counts_deliveries: bool,
    /// How long a delivery may stay unacknowledged, 0 being for ever; `None` is the broker's default.
    pub consumer_timeout: Option<u64>,
}

impl Rules {
    /// The rules of a queue of this kind, with its arguments and policies in `settings`.
    #[must_use]
    pub fn new(kind: QueueKind, settings: Settings) -> Self {
        let is_quorum = kind == QueueKind::Quorum;
        let limit = |limit: Option<i64>| match limit {
            None => Some(QUORUM_DELIVERY_LIMIT),
            Some(limit) => u32::try_from(limit).ok().or((limit > 0).then_some(u32::MAX)),
        };
        // A policy may say what a quorum queue cannot do; RabbitMQ takes the default then.
        let suits = |overflow: &Overflow| !(is_quorum && *overflow == Overflow::RejectPublishDlx);
        let overflow = settings.overflow.filter(suits).unwrap_or_default();
        let routing_key = settings.dead_letter_routing_key;
        let at_least_once =
            is_quorum && settings.at_least_once == Some(true) && overflow == Overflow::RejectPublish;
        let dead_letters = settings.dead_letter_exchange.map(|exchange| DeadLetters {
            exchange,
            routing_key,
            at_least_once,
        });
        Self {
            message_ttl: settings.message_ttl,
            expires: settings.expires,
            max_length: settings.max_length,
            max_length_bytes: settings.max_length_bytes,
            overflow,
            dead_letters,
            delivery_limit: if is_quorum { limit(settings.delivery_limit) } else { None },
            counts_deliveries: is_quorum,
            consumer_timeout: settings.consumer_timeout,
        }
    }

    /// Whether a message may find no room and be refused.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.overflow != Overflow::DropHead && (self.max_length.is_some() || self.max_length_bytes.is_some())
    }
}

/// What a queue was made as, by its arguments alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The kind of queue.
    pub kind: QueueKind,
    /// The highest priority that makes a difference.
    pub max_priority: u8,
    /// Only one consumer at a time is given messages.
    pub single_active: bool,
}

impl Traits {
    /// What a queue's arguments say. They were checked before.
    #[must_use]
    pub fn of_arguments(arguments: TableRef<'_>) -> Self {
        let quorum = arguments.get("x-queue-type").and_then(Value::as_str) == Some(QueueKind::Quorum.name());
        let max_priority = arguments.get("x-max-priority").and_then(|value| value.as_int());
        let single_active = arguments.get("x-single-active-consumer").and_then(Value::as_bool);
        Self {
            kind: if quorum { QueueKind::Quorum } else { QueueKind::Classic },
            max_priority: max_priority.map_or(0, |max| u8::try_from(max.max(0)).unwrap_or(u8::MAX)),
            single_active: single_active == Some(true),
        }
    }
}

impl Traits {
    /// The lane that a message belongs to: the higher its priority, the lower.
    ///
    /// In a quorum queue all priorities count, as in RabbitMQ 4.3: 0 to 31, and 4 for a message that has none.
    #[inline]
    #[must_use]
    pub fn lane_of(&self, message: &Message) -> u8 {
        match self.kind {
            QueueKind::Classic if self.max_priority == 0 => 0,
            QueueKind::Classic => self.max_priority - message.priority().unwrap_or(0).min(self.max_priority),
            QueueKind::Quorum => {
                QUORUM_HIGHEST - message.priority().unwrap_or(QUORUM_DEFAULT).min(QUORUM_HIGHEST)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::field::TableBuilder;

    #[test]
    fn a_quorum_queue_does_not_do_what_it_cannot() {
        let settings = || Settings { overflow: Some(Overflow::RejectPublishDlx), ..Settings::default() };
        assert_eq!(Rules::new(QueueKind::Quorum, settings()).overflow, Overflow::DropHead);
        assert_eq!(Rules::new(QueueKind::Classic, settings()).overflow, Overflow::RejectPublishDlx);
    }

    #[test]
    fn numbers_are_the_smaller_and_words_the_nearer() {
        let argument = Settings {
            message_ttl: Some(500),
            overflow: Some(Overflow::DropHead),
            dead_letter_exchange: Some("own".into()),
            delivery_limit: Some(-1),
            ..Settings::default()
        };
        let policy = Settings {
            message_ttl: Some(900),
            max_length: Some(10),
            overflow: Some(Overflow::RejectPublish),
            dead_letter_exchange: Some("policy".into()),
            dead_letter_routing_key: Some("key".into()),
            delivery_limit: Some(3),
            ..Settings::default()
        };
        let operator = Settings {
            max_length: Some(7),
            overflow: Some(Overflow::RejectPublishDlx),
            dead_letter_exchange: Some("operator".into()),
            ..Settings::default()
        };
        let merged = policy.with_operator(&operator);
        assert_eq!((merged.max_length, merged.overflow), (Some(7), Some(Overflow::RejectPublishDlx)));
        let all = argument.with_policy(&merged);
        assert_eq!((all.message_ttl, all.max_length), (Some(500), Some(7)));
        assert_eq!((all.overflow, all.delivery_limit), (Some(Overflow::DropHead), Some(3)));
        let letters = Rules::new(QueueKind::Classic, all).dead_letters.unwrap();
        assert_eq!((&*letters.exchange, letters.routing_key.as_deref()), ("own", Some("key")));
    }

    #[test]
    fn a_quorum_queue_gives_up_after_twenty_unless_told_otherwise() {
        let limit = |limit| {
            let settings = Settings { delivery_limit: limit, ..Settings::default() };
            [QueueKind::Classic, QueueKind::Quorum]
                .map(|kind| Rules::new(kind, settings.clone()).delivery_limit)
        };
        assert_eq!(limit(None), [None, Some(20)]);
        assert_eq!(limit(Some(3)), [None, Some(3)]);
        assert_eq!(limit(Some(-1)), [None, None]);
        assert_eq!(limit(Some(i64::MAX)), [None, Some(u32::MAX)]);
    }

    #[test]
    fn arguments_tell_settings_and_traits() {
        let mut table = TableBuilder::new();
        table.value("x-max-priority", Value::I32(5)).value("x-message-ttl", Value::I64(0));
        table
            .value("x-single-active-consumer", Value::Bool(true))
            .value("x-overflow", Value::LongStr(b"reject-publish"));
        let table = table.finish();
        let settings = Settings::of_arguments(table.as_ref());
        assert_eq!((settings.message_ttl, settings.overflow), (Some(0), Some(Overflow::RejectPublish)));
        let traits = Traits::of_arguments(table.as_ref());
        assert_eq!((traits.max_priority, traits.single_active, traits.kind), (5, true, QueueKind::Classic));
    }
}
