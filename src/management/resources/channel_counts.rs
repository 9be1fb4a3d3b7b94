//! What channels count for each exchange and queue, as channels, exchanges and queues are told with it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::broker::connections::{DeliveredFrom, OpenChannel, OpenConnection, PublishedTo};
use crate::management::parts::channel_details;
use crate::management::past::{Of, past_of};
use crate::management::statistics::{Numbers, Ranges};

/// What a channel published to one exchange.
pub(super) fn published(broker: &Broker, to: &PublishedTo) -> Map<String, Value> {
    let past = past_of(broker, Of::Published(to));
    Numbers { past: &past, ranges: &Ranges::default() }.all_events(&[("publish", to.publish.get())])
}

/// What a channel was given of one queue.
pub(super) fn delivered(broker: &Broker, from: &DeliveredFrom) -> Map<String, Value> {
    let (deliver, deliver_no_ack) = (from.deliver.get(), from.deliver_no_ack.get());
    let (get, get_no_ack) = (from.get.get(), from.get_no_ack.get());
    let counts = [
        ("deliver", deliver),
        ("deliver_no_ack", deliver_no_ack),
        ("get", get),
        ("get_no_ack", get_no_ack),
        ("get_empty", from.get_empty.get()),
        ("deliver_get", deliver + deliver_no_ack + get + get_no_ack),
        ("redeliver", from.redeliver.get()),
        ("ack", from.ack.get()),
    ];
    let past = past_of(broker, Of::Delivered(from));
    Numbers { past: &past, ranges: &Ranges::default() }.all_events(&counts)
}

/// A row for each channel of these connections that counts something of what is meant.
pub(super) fn by_channel(
    broker: &Broker,
    connections: &[Arc<OpenConnection>],
    counted: impl Fn(&OpenChannel) -> Option<Map<String, Value>>,
) -> Vec<Value> {
    let mut told = Vec::new();
    for connection in connections {
        for channel in connection.channels() {
            let Some(stats) = counted(&channel) else { continue };
            let who = channel_details(&broker.node.name, connection, channel.number);
            told.push(json!({ "channel_details": who, "stats": stats }));
        }
    }
    told
}
