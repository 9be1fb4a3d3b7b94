//! What there is in a vhost, and what happens there.

use serde_json::{Map, Value};

use crate::broker::Broker;
use crate::broker::connections::Bytes;
use crate::broker::vhost::VHost;
use crate::management::past::{Of, past_of};
use crate::management::statistics::{Family, Numbers, Ranges, of_vhost};

/// Adds it to what is told of a vhost. `bytes` are those of its connections.
pub(super) fn put(
    told: &mut Map<String, Value>,
    broker: &Broker,
    vhost: &VHost,
    bytes: Bytes,
    ranges: &Ranges,
) {
    let past = past_of(broker, Of::VHost(vhost));
    let numbers = Numbers { past: &past, ranges };
    let messages = vhost.message_totals();
    numbers.lengths(told, messages.ready, messages.unacked);
    numbers.put(told, Family::Data, "recv_oct", bytes.received);
    numbers.put(told, Family::Data, "send_oct", bytes.sent);
    numbers.put_events(told, &of_vhost(&vhost.totals.counted()));
}
