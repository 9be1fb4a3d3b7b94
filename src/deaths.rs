//! Why messages die, and what their headers say of it.
//!
//! The shape of the headers is RabbitMQ 4's. Only what the broker wrote itself is believed: a message that it has
//! dead-lettered is marked so, and to a client's `x-death` it pays no heed. What it writes is bounded, since it travels
//! in a header frame, which cannot be split.

use crate::message::Message;
use crate::protocol::field::{Array, ArrayBuilder, TableBuilder, TableRef, Value};
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// Why a message is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A consumer refused it and did not want it requeued.
    Rejected,
    /// Its time was over.
    Expired,
    /// Its queue had no room for it.
    MaxLen,
    /// It came back too often.
    DeliveryLimit,
}

impl Reason {
    /// The name in headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }

    /// Its number in storage.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Rejected => 1,
            Self::Expired => 2,
            Self::MaxLen => 3,
            Self::DeliveryLimit => 4,
        }
    }

    /// The reason with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Rejected),
            2 => Some(Self::Expired),
            3 => Some(Self::MaxLen),
            4 => Some(Self::DeliveryLimit),
            _ => None,
        }
    }
}

/// Most deaths that a message tells of; the oldest go first.
pub const MAX_DEATHS: usize = 128;

/// Most bytes of further routing keys that a death tells of; the message's own key is always there.
const MAX_KEYS: usize = 4096;

/// Bytes of deaths from which on a new one tells of no further keys.
const MAX_BYTES: usize = 32 * 1024;

/// Headers that the broker writes, and reads only where it wrote them itself.
const DEATHS: &str = "x-death";
const FIRST: [&str; 3] = ["x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"];
const LAST: [&str; 3] = ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"];

/// A death: who, why and when.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// The queue it happened in.
    pub queue: &'a str,
    /// Why.
    pub reason: Reason,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// The headers of a message that its deaths are told by; none if it has not died here before, whatever a client says.
fn told(message: &Message) -> TableRef<'_> {
    let headers = Properties::assume_valid(message.raw_properties()).headers();
    headers.filter(|_| message.marks().has_died).unwrap_or(TableRef::EMPTY)
}

/// The deaths that a message tells of, last one first.
fn deaths(message: &Message) -> impl Iterator<Item = TableRef<'_>> {
    let deaths = match told(message).get(DEATHS) {
        Some(Value::Array(deaths)) => Some(deaths),
        _ => None,
    };
    let tables = deaths.into_iter().flat_map(|deaths| deaths.iter()).filter_map(|death| match death {
        Value::Table(death) => Some(death),
        _ => None,
    });
    tables.take(MAX_DEATHS)
}

fn is_of(death: TableRef<'_>, queue: &str, reason: &str) -> bool {
    let text = |name| death.get(name).and_then(Value::as_str);
    text("queue") == Some(queue) && text("reason") == Some(reason)
}

/// The routing keys of a message that has no other in its queue's rules: its own, and those of its CC and BCC headers.
#[must_use]
pub fn routing_keys(message: &Message) -> Vec<&str> {
    let headers = Properties::assume_valid(message.raw_properties()).headers();
    let mut keys = vec![message.routing_key()];
    if message.marks().own_key_only {
        return keys;
    }
    for name in ["CC", "BCC"] {
        if let Some(Value::Array(more)) = headers.and_then(|headers| headers.get(name)) {
            keys.extend(more.iter().filter_map(Value::as_str).filter(|key| key.len() <= 255));
        }
    }
    keys
}

/// Whether a message that dies for this reason would go round for ever if it came to `queue`: it died there before, and
/// since then no consumer has rejected it. As in RabbitMQ a rejected one always goes on.
///
/// One that tells of as many deaths as it can may have forgotten one in `queue`, and is taken to have died there.
#[must_use]
pub fn is_cycle(message: &Message, reason: Reason, queue: &str) -> bool {
    if reason == Reason::Rejected {
        return false;
    }
    let mut known = 0;
    for death in deaths(message) {
        known += 1;
        let text = |name| death.get(name).and_then(Value::as_str);
        if text("reason") == Some(Reason::Rejected.name()) {
            return false;
        }
        if text("queue") == Some(queue) {
            return true;
        }
    }
    known == MAX_DEATHS
}

/// The properties of a message after a death: with what RabbitMQ 4 writes in its headers, and without the lifetime that
/// it had in its last queue.
///
/// Headers are in the order of their names then. What a client had put in their place is not there any more.
#[must_use]
pub fn properties_after(message: &Message, death: Death<'_>) -> Vec<u8> {
    let properties = Properties::assume_valid(message.raw_properties());
    let all = properties.headers().unwrap_or(TableRef::EMPTY);
    let known = told(message);
    let last = [message.exchange(), death.queue, death.reason.name()];
    let is_ours = |name: &str| name == DEATHS || FIRST.contains(&name) || LAST.contains(&name);
    let list = deaths_after(message, properties, death);
    let mut headers: Vec<(&str, Value<'_>)> = all.iter().filter(|(name, _)| !is_ours(name)).collect();
    headers.push((DEATHS, Value::Array(list.as_ref())));
    for (name, value) in FIRST.into_iter().zip(last) {
        headers.push((name, known.get(name).unwrap_or(Value::LongStr(value.as_bytes()))));
    }
    headers.extend(LAST.into_iter().zip(last.map(|value| Value::LongStr(value.as_bytes()))));
    // Stable: of two with one name the first still counts.
    headers.sort_by_key(|(name, _)| *name);
    let mut table = TableBuilder::new();
    for (name, value) in headers {
        table.value(name, value);
    }
    let mut builder = PropertiesBuilder::from_properties(properties);
    builder.set_headers(Some(&table.finish())).clear_expiration();
    builder.finish()
}

/// The list of deaths with one more: a pair of queue and reason that is in it is counted, and comes first.
fn deaths_after(message: &Message, properties: Properties<'_>, death: Death<'_>) -> Array {
    let Death { queue, reason, unix_ms } = death;
    let before = deaths(message).find(|before| is_of(*before, queue, reason.name()));
    let mut first = TableBuilder::new();
    if let Some(before) = before {
        for (name, value) in before.iter() {
            match (name, value) {
                ("count", Value::I64(count)) => first.int64("count", count.saturating_add(1)),
                _ => first.value(name, value),
            };
        }
    } else {
        if let Some(expiration) = properties.expiration() {
            first.long_str("original-expiration", expiration);
        }
        let mut keys = ArrayBuilder::new();
        let mut seen = vec![message.routing_key()];
        let cc = properties.headers().filter(|_| !message.marks().own_key_only);
        if let Some(Value::Array(cc)) = cc.and_then(|headers| headers.get("CC")) {
            let told: usize = deaths(message).map(|death| death.as_bytes().len()).sum();
            let mut room = if told < MAX_BYTES { MAX_KEYS } else { 0 };
            let fits = |key: &&str| {
                let left = room.checked_sub(key.len());
                room = left.unwrap_or(0);
                left.is_some()
            };
            seen.extend(cc.iter().filter_map(Value::as_str).take_while(fits));
        }
        seen.into_iter().for_each(|key| {
            keys.value(Value::LongStr(key.as_bytes()));
        });
        first.int64("count", 1).long_str("reason", reason.name()).long_str("queue", queue);
        first.timestamp("time", unix_ms / 1000).long_str("exchange", message.exchange());
        first.array("routing-keys", keys.finish().as_ref());
    }
    let mut list = ArrayBuilder::new();
    list.value(Value::Table(first.finish().as_ref()));
    let others = deaths(message).filter(|other| !is_of(*other, queue, reason.name()));
    for other in others.take(MAX_DEATHS - 1) {
        list.value(Value::Table(other));
    }
    list.finish()
}

#[cfg(test)]
mod tests;
