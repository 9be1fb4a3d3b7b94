//! Each queue, and all together.

use crate::broker::totals::Event;
use crate::broker::views::QueueView;
use crate::management::prometheus::metric::ObjectMetric;

type Metric = ObjectMetric<QueueView>;

pub(super) const COARSE: &[Metric] = &[
    Metric::gauge("queue_messages_ready", "Messages that wait for a consumer", |queue| {
        queue.figures.depth.ready as f64
    }),
    Metric::gauge("queue_messages_unacked", "Messages that were delivered and are not settled", |queue| {
        (queue.figures.depth.unacked + queue.figures.depth.held) as f64
    }),
    Metric::gauge("queue_messages", "Ready and unacked messages together", |queue| queue.messages() as f64),
];

pub(super) const CONSUMER_COUNT: &[Metric] =
    &[Metric::gauge("queue_consumers", "Consumers of queues", |queue| f64::from(queue.figures.consumers))];

pub(super) const ALL: &[Metric] = &[
    Metric::gauge(
        "queue_consumer_capacity",
        "For which part of the time a consumer could take messages, from 0 to 1",
        |queue| queue.consumer_capacity,
    )
    .of_each(),
    Metric::gauge("queue_consumer_utilisation", "The same, for queues with consumers", |queue| {
        queue.consumer_utilisation().unwrap_or(f64::NAN)
    })
    .of_each(),
    Metric::gauge("queue_process_memory_bytes", "Memory that messages and their tables take", |queue| {
        queue.figures.memory as f64
    }),
    Metric::gauge("queue_messages_ram", "Messages that are in memory", |queue| {
        queue.figures.in_memory as f64
    }),
    Metric::gauge("queue_messages_ram_bytes", "Body bytes of messages that are in memory", |queue| {
        queue.figures.in_memory_bytes as f64
    }),
    Metric::gauge("queue_messages_ready_ram", "Ready messages that are in memory", |queue| {
        queue.figures.ready_in_memory as f64
    }),
    Metric::gauge("queue_messages_unacked_ram", "Unacked messages that are in memory", |queue| {
        queue.unacked_in_memory() as f64
    }),
    Metric::gauge("queue_messages_persistent", "Messages that storage keeps", |queue| {
        queue.figures.persistent as f64
    }),
    Metric::gauge("queue_messages_persistent_bytes", "Body bytes of messages that storage keeps", |queue| {
        queue.figures.persistent_bytes as f64
    }),
    Metric::gauge("queue_messages_bytes", "Body bytes of ready and unacked messages", |queue| {
        queue.message_bytes() as f64
    }),
    Metric::gauge("queue_messages_ready_bytes", "Body bytes of ready messages", |queue| {
        queue.figures.depth.ready_bytes as f64
    }),
    Metric::gauge("queue_messages_unacked_bytes", "Body bytes of unacked messages", |queue| {
        (queue.figures.unacked_bytes + queue.figures.held_bytes) as f64
    }),
    Metric::gauge("queue_messages_paged_out", "Messages that are on disk only", |queue| {
        queue.paged_out() as f64
    }),
    Metric::gauge(
        "queue_messages_paged_out_bytes",
        "Body bytes of messages that are on disk only",
        |queue| queue.paged_out_bytes() as f64,
    ),
    Metric::gauge(
        "queue_head_message_timestamp",
        "Timestamp of the next message, in seconds since 1970, if it has one and is in memory",
        |queue| queue.figures.head_timestamp.map_or(f64::NAN, |timestamp| timestamp as f64),
    )
    .of_each(),
    Metric::counter(
        "queue_disk_reads_total",
        "Messages that were read from the disk again",
        |queue| queue.counts.disk_reads as f64,
        |scrape| scrape.sums.disk_reads,
    ),
    Metric::counter(
        "queue_disk_writes_total",
        "Messages that got a record in the journal",
        |queue| queue.counts.disk_writes as f64,
        |scrape| scrape.sums.disk_writes,
    ),
];

pub(super) const DELIVERIES: &[Metric] = &[
    Metric::counter(
        "queue_get_ack_total",
        "Messages taken by basic.get that are to be acknowledged",
        |queue| queue.counts.get as f64,
        |scrape| scrape.event(Event::GotManualAck),
    ),
    Metric::counter(
        "queue_get_total",
        "Messages taken by basic.get that are not to be acknowledged",
        |queue| queue.counts.get_no_ack as f64,
        |scrape| scrape.event(Event::GotAutoAck),
    ),
    Metric::counter(
        "queue_messages_delivered_ack_total",
        "Deliveries to consumers that acknowledge",
        |queue| queue.counts.deliver as f64,
        |scrape| scrape.event(Event::DeliveredManualAck),
    ),
    Metric::counter(
        "queue_messages_delivered_total",
        "Deliveries to consumers that do not acknowledge",
        |queue| queue.counts.deliver_no_ack as f64,
        |scrape| scrape.event(Event::DeliveredAutoAck),
    ),
    Metric::counter(
        "queue_messages_redelivered_total",
        "Deliveries and gets of messages that had been delivered before",
        |queue| queue.counts.redeliver as f64,
        |scrape| scrape.event(Event::Redelivered),
    ),
    Metric::counter(
        "queue_messages_acked_total",
        "Acknowledgements",
        |queue| queue.counts.ack as f64,
        |scrape| scrape.event(Event::Acknowledged),
    ),
    Metric::counter(
        "queue_get_empty_total",
        "Times that basic.get found nothing",
        |queue| queue.counts.get_empty as f64,
        |scrape| scrape.event(Event::GetEmpty),
    ),
];

pub(super) const PUBLISHED: &[Metric] = &[Metric::counter(
    "queue_messages_published_total",
    "Messages that came to queues. Of each queue dead letters count too",
    |queue| queue.counts.publish as f64,
    |scrape| scrape.event(Event::Routed),
)];
