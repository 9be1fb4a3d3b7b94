//! One event as a message: its name is the routing key, and what there is to say stands in the headers.

use serde_json::Value as Json;

use super::EXCHANGE;
use crate::message::{Body, Message, MessageBuilder};
use crate::protocol::field::{Array, ArrayBuilder, Table, TableBuilder, TableRef, Value};
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// The largest table of a client's that an event tells, in bytes; an empty one stands for one that is larger. A header
/// frame cannot be split, and one that its consumer cannot take would end the consumer's connection.
const LARGEST_TABLE: usize = 16 * 1024;

/// The delivery mode of a message that outlives a restart.
const PERSISTENT: u8 = 2;

/// Something that has happened.
#[derive(Clone, Debug)]
pub struct Event {
    key: &'static str,
    headers: TableBuilder,
}

impl Event {
    /// An event of this name, in RabbitMQ's words, about which nothing is said yet.
    pub(super) fn new(key: &'static str) -> Self {
        Self { key, headers: TableBuilder::new() }
    }

    /// The name.
    pub(super) fn key(&self) -> &'static str {
        self.key
    }

    pub(super) fn text(mut self, key: &str, text: &str) -> Self {
        self.headers.long_str(key, text);
        self
    }

    pub(super) fn flag(mut self, key: &str, flag: bool) -> Self {
        self.headers.bool(key, flag);
        self
    }

    pub(super) fn number(mut self, key: &str, number: u64) -> Self {
        self.headers.int64(key, i64::try_from(number).unwrap_or(i64::MAX));
        self
    }

    /// A table that somebody else has made.
    pub(super) fn table(mut self, key: &str, table: TableRef<'_>) -> Self {
        let fits = table.as_bytes().len() <= LARGEST_TABLE;
        self.headers.table(key, if fits { table } else { TableRef::EMPTY });
        self
    }

    /// A value of RabbitMQ's API.
    pub(super) fn json(mut self, key: &str, value: &Json) -> Self {
        put(value, &mut |value| {
            self.headers.value(key, value);
        });
        self
    }

    /// The values of an object of RabbitMQ's API.
    pub(super) fn json_entries(self, object: &Json) -> Self {
        let entries = object.as_object().into_iter().flatten();
        entries.fold(self, |event, (key, value)| event.json(key, value))
    }

    /// Who did it.
    pub(super) fn by(self, user: &str) -> Self {
        self.text("user_who_performed_action", user)
    }

    /// The message that tells of it, which happened then, in milliseconds since 1970.
    pub(super) fn into_message(self, at: u64, builder: &mut MessageBuilder) -> Message {
        let Self { key, mut headers } = self.number("timestamp_in_ms", at);
        let raw = PropertiesBuilder::new()
            .set_headers(Some(&headers.finish()))
            .set_delivery_mode(PERSISTENT)
            .set_timestamp(at / 1000)
            .finish();
        builder.build(EXCHANGE, key, Properties::assume_valid(&raw), Body::Borrowed(&[]))
    }

    /// What is said about it, for tests.
    #[cfg(test)]
    pub(super) fn headers(mut self) -> Table {
        self.headers.finish()
    }
}

/// Hands a value on as a field. What was parsed as JSON is not nested deeper than its parser goes; what is deeper than a
/// table may be becomes void.
fn put(value: &Json, to: &mut dyn FnMut(Value<'_>)) {
    match value {
        Json::Null => to(Value::Void),
        Json::Bool(flag) => to(Value::Bool(*flag)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => to(Value::I64(number)),
            None => to(Value::F64(number.as_f64().unwrap_or_default())),
        },
        Json::String(text) => to(Value::LongStr(text.as_bytes())),
        Json::Array(values) => to(Value::Array(array_of(values).as_ref())),
        Json::Object(entries) => {
            let mut table = TableBuilder::new();
            for (key, value) in entries {
                put(value, &mut |value| {
                    table.value(key, value);
                });
            }
            let table: Table = table.finish();
            let fits = table.as_ref().as_bytes().len() <= LARGEST_TABLE;
            to(Value::Table(if fits { table.as_ref() } else { TableRef::EMPTY }));
        }
    }
}

fn array_of(values: &[Json]) -> Array {
    let mut array = ArrayBuilder::new();
    for value in values {
        put(value, &mut |value| {
            array.value(value);
        });
    }
    array.finish()
}
