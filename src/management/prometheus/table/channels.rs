//! Each channel, and all there ever were.

use crate::broker::connections::{DeliveredFrom, OpenChannel, PublishedTo};
use crate::broker::counter::Counter;
use crate::broker::totals::Event;
use crate::management::prometheus::metric::ObjectMetric;

type Metric = ObjectMetric<OpenChannel>;
type OfQueue = ObjectMetric<DeliveredFrom>;

fn number(counter: &Counter) -> f64 {
    counter.get() as f64
}

pub(super) const ALL: &[Metric] = &[
    Metric::gauge("channel_consumers", "Consumers of channels", |channel| {
        number(&channel.counters.consumers)
    }),
    Metric::gauge("channel_messages_unacked", "Deliveries that are not settled", |channel| {
        number(&channel.counters.unacked)
    }),
    Metric::gauge("channel_messages_unconfirmed", "Publishes that are not confirmed", |channel| {
        number(&channel.counters.unconfirmed)
    }),
    Metric::gauge("channel_messages_uncommitted", "Publishes of transactions that are open", |channel| {
        number(&channel.counters.uncommitted)
    }),
    Metric::gauge("channel_acks_uncommitted", "Settlements of transactions that are open", |channel| {
        number(&channel.counters.acks_uncommitted)
    }),
    Metric::gauge(
        "consumer_prefetch",
        "Prefetch of the channel's next consumers; 0 is no limit",
        |channel| number(&channel.counters.prefetch),
    )
    .of_each(),
    Metric::gauge(
        "channel_prefetch",
        "Prefetch of all consumers of the channel together; 0 is no limit",
        |channel| number(&channel.counters.global_prefetch),
    )
    .of_each(),
];

pub(super) const PUBLISHES: &[Metric] = &[
    Metric::counter(
        "channel_messages_confirmed_total",
        "Publishes that were confirmed",
        |channel| number(&channel.counters.confirm),
        |scrape| scrape.event(Event::Confirmed),
    ),
    Metric::counter(
        "channel_messages_unroutable_returned_total",
        "Mandatory messages for which no queue was found",
        |channel| number(&channel.counters.return_unroutable),
        |scrape| scrape.event(Event::UnroutableReturned),
    ),
    Metric::counter(
        "channel_messages_unroutable_dropped_total",
        "Other messages for which no queue was found",
        |channel| number(&channel.counters.drop_unroutable),
        |scrape| scrape.event(Event::UnroutableDropped),
    ),
];

pub(super) const BY_EXCHANGE: &[ObjectMetric<PublishedTo>] = &[ObjectMetric::counter(
    "channel_messages_published_total",
    "Messages that were published",
    |to| number(&to.publish),
    |scrape| scrape.event(Event::Received),
)];

pub(super) const BY_QUEUE: &[OfQueue] = &[
    OfQueue::counter(
        "channel_get_ack_total",
        "Messages taken by basic.get that are to be acknowledged",
        |of| number(&of.get),
        |scrape| scrape.event(Event::GotManualAck),
    ),
    OfQueue::counter(
        "channel_get_total",
        "Messages taken by basic.get that are not to be acknowledged",
        |of| number(&of.get_no_ack),
        |scrape| scrape.event(Event::GotAutoAck),
    ),
    OfQueue::counter(
        "channel_messages_delivered_ack_total",
        "Deliveries to consumers that acknowledge",
        |of| number(&of.deliver),
        |scrape| scrape.event(Event::DeliveredManualAck),
    ),
    OfQueue::counter(
        "channel_messages_delivered_total",
        "Deliveries to consumers that do not acknowledge",
        |of| number(&of.deliver_no_ack),
        |scrape| scrape.event(Event::DeliveredAutoAck),
    ),
    OfQueue::counter(
        "channel_messages_redelivered_total",
        "Deliveries and gets of messages that had been delivered before",
        |of| number(&of.redeliver),
        |scrape| scrape.event(Event::Redelivered),
    ),
    OfQueue::counter(
        "channel_messages_acked_total",
        "Acknowledgements",
        |of| number(&of.ack),
        |scrape| scrape.event(Event::Acknowledged),
    ),
    OfQueue::counter(
        "channel_get_empty_total",
        "Times that basic.get found nothing",
        |of| number(&of.get_empty),
        |scrape| scrape.event(Event::GetEmpty),
    ),
];
