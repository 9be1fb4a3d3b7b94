//! What there is in a vhost, and what happens there.

use serde_json::{Map, Value};

use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::management::past::{Of, past_of};
use crate::management::statistics::{Family, Numbers, Ranges, of_vhost};

/// Adds it to what is told of a vhost.
pub(super) fn put(told: &mut Map<String, Value>, broker: &Broker, vhost: &VHost, ranges: &Ranges) {
    let past = past_of(broker, Of::VHost(vhost));
    let numbers = Numbers { past: &past, ranges };
    let messages = vhost.message_totals();
    numbers.lengths(told, messages.ready, messages.unacked);
    let bytes = broker.registry.bytes_of(vhost);
    numbers.put(told, Family::Data, "recv_oct", bytes.received);
    numbers.put(told, Family::Data, "send_oct", bytes.sent);
    numbers.put_events(told, &of_vhost(&vhost.totals.counted()));
}
