//! What becomes of a message's properties when it is dead-lettered: pure, from bytes to bytes.
//!
//! The history of a message's deaths is its header `x-death`, the newest first, one entry for each queue and reason.
//! Only a history that the broker wrote counts; whoever keeps messages has to remember of which that is so
//! (`known_deaths`), because a client may publish any headers. A history is bounded in entries and in bytes, since it
//! travels in a header frame that cannot be split.

#[cfg(test)]
mod tests;

use crate::protocol::field::{Array, ArrayBuilder, ArrayRef, Table, TableBuilder, TableRef, Value};
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// Most entries of a history; the oldest go first.
pub const MAX_ENTRIES: usize = 128;

/// Most bytes of further routing keys (CC) that an entry says; the message's own key is always there.
pub const MAX_KEYS_LEN: usize = 4096;

/// Bytes of a history from which on new entries say no further routing keys.
pub const MAX_HISTORY_LEN: usize = 32 * 1024;

const X_DEATH: &str = "x-death";

/// The headers about the first and the last death.
const FIRST: [&str; 3] = ["x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"];
const LAST: [&str; 3] = ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"];

/// Why a message was dead-lettered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Refused by a consumer, and not to be requeued.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was too long, in messages or in bytes.
    MaxLen,
    /// It was delivered in vain too often.
    DeliveryLimit,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Expired, Self::MaxLen, Self::DeliveryLimit];

    /// The word for it in headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }

    /// Its number in storage, which never changes and is not zero.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Rejected => 1,
            Self::Expired => 2,
            Self::MaxLen => 3,
            Self::DeliveryLimit => 4,
        }
    }

    /// The reason of a number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// A message that dies, as it lay in the queue.
#[derive(Clone, Copy, Debug)]
pub struct Dying<'a> {
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: &'a str,
    /// The routing key it was published with.
    pub routing_key: &'a str,
    /// Its properties.
    pub properties: Properties<'a>,
    /// Whether this broker wrote the deaths that its headers tell of. If not they are a client's: they are not
    /// counted, and those of the broker take their place.
    pub known_deaths: bool,
}

/// Where, why and when a message dies.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// The name of the queue.
    pub queue: &'a str,
    /// Why.
    pub reason: Reason,
    /// Milliseconds since 1970 UTC.
    pub unix_ms: u64,
}

/// The properties of the dead letter: with this death in the headers, which are sorted by their keys then, and without
/// `expiration`. Its deaths are [known](Dying::known_deaths) from now on.
#[must_use]
pub fn properties_after(message: &Dying<'_>, death: &Death<'_>) -> Vec<u8> {
    let headers = message.properties.headers().unwrap_or(TableRef::EMPTY);
    let history = history_after(message, headers, death);
    let told = |key: &str| message.known_deaths.then(|| headers.get(key)).flatten();
    let now =
        [message.exchange, death.queue, death.reason.name()].map(|text| Value::LongStr(text.as_bytes()));
    let mut entries = vec![(X_DEATH, Value::Array(history.as_ref()))];
    for ((first, last), value) in FIRST.into_iter().zip(LAST).zip(now) {
        entries.push((first, told(first).unwrap_or(value)));
        entries.push((last, value));
    }
    entries.extend(headers.iter().filter(|(key, _)| !is_ours(key)));
    // Stable, so that of a client's equal keys the first stays the first.
    entries.sort_by_key(|(key, _)| *key);
    let mut table = TableBuilder::new();
    for (key, value) in entries {
        table.value(key, value);
    }
    let mut builder = PropertiesBuilder::from_properties(message.properties);
    builder.set_headers(Some(&table.finish())).clear_expiration().finish()
}

/// The keys a dead letter is routed by if its queue says none: the routing key, and those of the headers CC and BCC.
#[must_use]
pub fn routing_keys<'a>(routing_key: &'a str, properties: Properties<'a>) -> Vec<&'a str> {
    let headers = properties.headers().unwrap_or(TableRef::EMPTY);
    std::iter::once(routing_key).chain(keys_in(headers, "CC")).chain(keys_in(headers, "BCC")).collect()
}

/// Whether a dead letter would go in a circle that nobody but the broker drives: it has died in `target` before, and
/// was not rejected since. `properties` are those [after](properties_after) the death it is routed for.
///
/// A history that is full may have lost `target`, so it counts as one that has it.
#[must_use]
pub fn is_cycle(properties: Properties<'_>, known_deaths: bool, reason: Reason, target: &str) -> bool {
    if !known_deaths || reason == Reason::Rejected {
        return false;
    }
    let headers = properties.headers().unwrap_or(TableRef::EMPTY);
    let mut entries = 0;
    for entry in history_of(headers) {
        if text(entry, "reason") == Some(Reason::Rejected.name().as_bytes()) {
            return false;
        }
        if text(entry, "queue") == Some(target.as_bytes()) {
            return true;
        }
        entries += 1;
    }
    entries >= MAX_ENTRIES
}

fn is_ours(key: &str) -> bool {
    key == X_DEATH || FIRST.contains(&key) || LAST.contains(&key)
}

/// The deaths that headers tell of, the newest first. What is no table is passed over.
fn history_of(headers: TableRef<'_>) -> impl Iterator<Item = TableRef<'_>> {
    let entries = match headers.get(X_DEATH) {
        Some(Value::Array(entries)) => entries,
        _ => ArrayRef::EMPTY,
    };
    let tables = entries.iter().filter_map(|entry| match entry {
        Value::Table(entry) => Some(entry),
        _ => None,
    });
    tables.take(MAX_ENTRIES)
}

fn text<'a>(entry: TableRef<'a>, key: &str) -> Option<&'a [u8]> {
    match entry.get(key) {
        Some(Value::LongStr(text)) => Some(text),
        _ => None,
    }
}

/// The further routing keys that a header asks for; what could not be one is passed over.
fn keys_in<'a>(headers: TableRef<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    let keys = match headers.get(name) {
        Some(Value::Array(keys)) => keys,
        _ => ArrayRef::EMPTY,
    };
    keys.iter().filter_map(Value::as_str).filter(|key| key.len() <= usize::from(u8::MAX))
}

/// The history with this death at its front: counted where the pair of queue and reason is known, otherwise new.
fn history_after(message: &Dying<'_>, headers: TableRef<'_>, death: &Death<'_>) -> Array {
    let known: Vec<TableRef<'_>> =
        if message.known_deaths { history_of(headers).collect() } else { Vec::new() };
    let is_this = |entry: &TableRef<'_>| {
        text(*entry, "queue") == Some(death.queue.as_bytes())
            && text(*entry, "reason") == Some(death.reason.name().as_bytes())
    };
    let at = known.iter().position(is_this);
    let newest = match at {
        Some(at) => counted(known[at]),
        None => {
            let len: usize = known.iter().map(|entry| entry.as_bytes().len()).sum();
            new_entry(message, headers, death, if len < MAX_HISTORY_LEN { MAX_KEYS_LEN } else { 0 })
        }
    };
    let mut history = ArrayBuilder::new();
    history.table(newest.as_ref());
    let others = known.iter().enumerate().filter(|(i, _)| Some(*i) != at);
    for (_, entry) in others.take(MAX_ENTRIES - 1) {
        history.table(*entry);
    }
    history.finish()
}

/// The entry, with its count one higher and nothing else changed.
fn counted(entry: TableRef<'_>) -> Table {
    let mut table = TableBuilder::new();
    for (key, value) in entry.iter() {
        let count = if key == "count" { value.as_int() } else { None };
        match count {
            Some(count) => table.int64(key, count.saturating_add(1)),
            None => table.value(key, value),
        };
    }
    table.finish()
}

fn new_entry(message: &Dying<'_>, headers: TableRef<'_>, death: &Death<'_>, room: usize) -> Table {
    let mut keys = ArrayBuilder::new();
    keys.long_str(message.routing_key);
    let mut len = 0;
    for key in keys_in(headers, "CC") {
        len += key.len() + 5;
        if len > room {
            break;
        }
        keys.long_str(key);
    }
    let mut table = TableBuilder::new();
    if let Some(expiration) = message.properties.expiration() {
        table.long_str("original-expiration", expiration);
    }
    table
        .int64("count", 1)
        .long_str("reason", death.reason.name())
        .long_str("queue", death.queue)
        .timestamp("time", death.unix_ms / 1000)
        .long_str("exchange", message.exchange)
        .array("routing-keys", keys.finish().as_ref())
        .finish()
}
