//! Each connection, and all there ever were.

use crate::broker::connections::OpenConnection;
use crate::management::prometheus::metric::ObjectMetric;

type Metric = ObjectMetric<OpenConnection>;

pub(super) const COARSE: &[Metric] = &[
    Metric::counter(
        "connection_incoming_bytes_total",
        "Bytes from clients",
        |connection| connection.bytes().received as f64,
        |scrape| scrape.bytes.received,
    ),
    Metric::counter(
        "connection_outgoing_bytes_total",
        "Bytes to clients",
        |connection| connection.bytes().sent as f64,
        |scrape| scrape.bytes.sent,
    ),
];

pub(super) const ALL: &[Metric] = &[
    Metric::counter_of_each("connection_incoming_packets_total", "Reads that brought bytes", |connection| {
        connection.counters.received.get() as f64
    }),
    Metric::counter_of_each("connection_outgoing_packets_total", "Writes that took bytes", |connection| {
        connection.counters.sent.get() as f64
    }),
    Metric::gauge("connection_pending_packets", "Bytes that wait for the socket", |connection| {
        connection.counters.pending.get() as f64
    }),
    Metric::gauge("connection_channels", "Channels on connections", |connection| {
        connection.channel_count() as f64
    }),
];
