//! The ways of messages in all vhosts: RabbitMQ's `rabbitmq_global_*`, which its dashboard asks for.

use crate::broker::totals::{Event, SIZE_BOUNDS};
use crate::deaths::Reason;
use crate::management::prometheus::exposition::Samples;
use crate::management::prometheus::metric::NodeMetric;
use crate::management::prometheus::scrape::Scrape;

const PROTOCOL: (&str, &str) = ("protocol", "amqp091");
const QUEUE_TYPE: (&str, &str) = ("queue_type", "rabbit_classic_queue");

/// Coming in.
const IN: &[&str] = &["protocol"];
/// Going out.
const OUT: &[&str] = &["protocol", "queue_type"];
/// Dying.
const DEAD: &[&str] = &["queue_type", "dead_letter_strategy"];

/// The bounds of sizes as dashboards look them up: their text matters.
const SIZES: [&str; SIZE_BOUNDS.len()] =
    ["100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08"];

pub(super) const GLOBAL: &[NodeMetric] = &[
    NodeMetric::counter("global_messages_received_total", "Messages that were published", |scrape, out| {
        incoming(scrape, out, Event::Received);
    })
    .labels(IN),
    NodeMetric::counter(
        "global_messages_received_confirm_total",
        "Messages that were published on channels with confirms",
        |scrape, out| incoming(scrape, out, Event::ReceivedConfirm),
    )
    .labels(IN),
    NodeMetric::counter(
        "global_messages_routed_total",
        "Messages that were put into queues, once for each queue",
        |scrape, out| incoming(scrape, out, Event::Routed),
    )
    .labels(IN),
    NodeMetric::counter("global_messages_confirmed_total", "Publishes that were confirmed", |scrape, out| {
        incoming(scrape, out, Event::Confirmed);
    })
    .labels(IN),
    NodeMetric::counter(
        "global_messages_unroutable_dropped_total",
        "Messages for which no queue was found, and that were not mandatory",
        |scrape, out| incoming(scrape, out, Event::UnroutableDropped),
    )
    .labels(IN),
    NodeMetric::counter(
        "global_messages_unroutable_returned_total",
        "Mandatory messages for which no queue was found",
        |scrape, out| incoming(scrape, out, Event::UnroutableReturned),
    )
    .labels(IN),
    NodeMetric::gauge("global_publishers", "Channels that have published", |scrape, out| {
        out.with(&[PROTOCOL], scrape.objects.publishers as f64);
    })
    .labels(IN),
    NodeMetric::gauge("global_consumers", "Consumers", |scrape, out| {
        out.with(&[PROTOCOL], scrape.objects.consumers as f64);
    })
    .labels(IN),
    NodeMetric::counter(
        "global_messages_delivered_total",
        "Deliveries and gets, those of messages that had been delivered before too",
        |scrape, out| out.with(&[PROTOCOL, QUEUE_TYPE], scrape.counted.delivered() as f64),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_delivered_consume_auto_ack_total",
        "Deliveries to consumers that do not acknowledge",
        |scrape, out| outgoing(scrape, out, Event::DeliveredAutoAck),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_delivered_consume_manual_ack_total",
        "Deliveries to consumers that acknowledge",
        |scrape, out| outgoing(scrape, out, Event::DeliveredManualAck),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_delivered_get_auto_ack_total",
        "Messages taken by basic.get that are not to be acknowledged",
        |scrape, out| outgoing(scrape, out, Event::GotAutoAck),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_delivered_get_manual_ack_total",
        "Messages taken by basic.get that are to be acknowledged",
        |scrape, out| outgoing(scrape, out, Event::GotManualAck),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_get_empty_total",
        "Times that basic.get found nothing",
        |scrape, out| outgoing(scrape, out, Event::GetEmpty),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_redelivered_total",
        "Deliveries and gets of messages that had been delivered before",
        |scrape, out| outgoing(scrape, out, Event::Redelivered),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_acknowledged_total",
        "Acknowledgements, without rejections",
        |scrape, out| outgoing(scrape, out, Event::Acknowledged),
    )
    .labels(OUT),
    NodeMetric::counter(
        "global_messages_dead_lettered_delivery_limit_total",
        "Dead letters that had come back too often",
        |scrape, out| dead(scrape, out, Reason::DeliveryLimit),
    )
    .labels(DEAD),
    NodeMetric::counter(
        "global_messages_dead_lettered_expired_total",
        "Dead letters whose time was over",
        |scrape, out| dead(scrape, out, Reason::Expired),
    )
    .labels(DEAD),
    NodeMetric::counter(
        "global_messages_dead_lettered_maxlen_total",
        "Dead letters for which their queue had no room",
        |scrape, out| dead(scrape, out, Reason::MaxLen),
    )
    .labels(DEAD),
    NodeMetric::counter(
        "global_messages_dead_lettered_rejected_total",
        "Dead letters that a consumer rejected",
        |scrape, out| dead(scrape, out, Reason::Rejected),
    )
    .labels(DEAD),
    NodeMetric::histogram(
        "message_size_bytes",
        "Body bytes of messages that were published",
        |scrape, out| {
            let bounds = SIZES.iter().map(|&bound| bound.to_owned());
            out.histogram(&[PROTOCOL], bounds, &scrape.counted.sizes(), scrape.counted.size_sum() as f64);
        },
    )
    .labels(IN),
];

fn incoming(scrape: &Scrape, out: &mut Samples<'_, '_>, event: Event) {
    out.with(&[PROTOCOL], scrape.event(event) as f64);
}

fn outgoing(scrape: &Scrape, out: &mut Samples<'_, '_>, event: Event) {
    out.with(&[PROTOCOL, QUEUE_TYPE], scrape.event(event) as f64);
}

fn dead(scrape: &Scrape, out: &mut Samples<'_, '_>, reason: Reason) {
    for (strategy, at_least_once) in [("at_most_once", false), ("at_least_once", true)] {
        let count = scrape.counted.dead_lettered(reason, at_least_once);
        out.with(&[QUEUE_TYPE, ("dead_letter_strategy", strategy)], count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_bounds_are_the_bounds() {
        assert_eq!(SIZES.map(|text| text.parse::<f64>().unwrap()), SIZE_BOUNDS.map(|bound| bound as f64));
    }
}
