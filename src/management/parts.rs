//! Parts of objects that several resources tell: who a connection or channel is, and moments.

use serde_json::{Map, Value, json};

use crate::broker::connections::OpenConnection;
use crate::broker::definitions::value_of;
use crate::broker::views::ConsumerView;

/// What RabbitMQ tells of Erlang's collection of garbage. There is none here; clients find the numbers that they read.
pub(crate) fn garbage_collection() -> Value {
    json!({
        "fullsweep_after": 0,
        "max_heap_size": 0,
        "min_bin_vheap_size": 0,
        "min_heap_size": 0,
        "minor_gcs": 0,
    })
}

/// Adds RabbitMQ's count of work of an Erlang process, of which there is none.
pub(crate) fn put_reductions(object: &mut Map<String, Value>) {
    object.insert("reductions".to_owned(), 0.into());
    object.insert("reductions_details".to_owned(), json!({ "rate": 0.0 }));
}

/// A channel's name: that of its connection with its number.
pub(crate) fn channel_name(connection: &OpenConnection, number: u16) -> String {
    format!("{} ({number})", connection.facts.name)
}

/// Who a connection is.
pub(crate) fn connection_details(connection: &OpenConnection) -> Value {
    let facts = &connection.facts;
    json!({
        "name": facts.name,
        "peer_host": facts.remote.map(|address| address.ip().to_string()),
        "peer_port": facts.remote.map(|address| address.port()),
    })
}

/// Who a channel is.
pub(crate) fn channel_details(node: &str, connection: &OpenConnection, number: u16) -> Value {
    let facts = &connection.facts;
    json!({
        "connection_name": facts.name,
        "name": channel_name(connection, number),
        "node": node,
        "number": number,
        "peer_host": facts.remote.map(|address| address.ip().to_string()),
        "peer_port": facts.remote.map(|address| address.port()),
        "user": facts.user.name,
    })
}

/// A consumer. Its channel has gone if it is in none.
pub(crate) fn consumer(node: &str, view: &ConsumerView) -> Value {
    let channel =
        view.open_connection.as_ref().map(|connection| channel_details(node, connection, view.channel));
    json!({
        "ack_required": view.ack_required,
        "active": view.active,
        "activity_status": view.status.name(),
        "arguments": value_of(view.arguments.as_ref()),
        "channel_details": channel,
        "consumer_tag": view.tag,
        // RabbitMQ's own tool reads no list without a number; 0 is that the queue says nothing.
        "consumer_timeout": view.timeout.unwrap_or_default(),
        "exclusive": view.exclusive,
        "prefetch_count": view.prefetch,
        "queue": { "name": view.queue, "vhost": view.vhost },
    })
}

/// A moment in milliseconds since 1970, as RabbitMQ writes it: "2026-01-01T00:00:00.000+00:00".
pub(crate) fn moment(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1000, unix_ms % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}+00:00")
}

/// Year, month and day of a day since 1970, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rabbitmq_does() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(moment(951_782_400_001), "2000-02-29T00:00:00.001+00:00");
        assert_eq!(moment(1_767_225_599_999), "2025-12-31T23:59:59.999+00:00");
    }
}
