//! Storage: how often it reads, writes and syncs, how long that takes, and what it does to keep memory and disk free.

use crate::broker::node::LastCheckpoint;
use crate::management::prometheus::exposition::Samples;
use crate::management::prometheus::metric::NodeMetric;
use crate::management::prometheus::scrape::Scrape;
use crate::storage::meters::{DURATION_BOUNDS, Metered, Meters};
use crate::storage::segments::SegmentsUsage;

fn segments(scrape: &Scrape) -> SegmentsUsage {
    scrape.broker().segments_usage()
}

/// A number of the last checkpoint; NaN before the first.
fn of_last_checkpoint(scrape: &Scrape, out: &mut Samples<'_, '_>, number: fn(LastCheckpoint) -> f64) {
    out.one(scrape.broker().node.last_checkpoint().map_or(f64::NAN, number));
}

fn meters(scrape: &Scrape) -> &Meters {
    scrape.broker().journal.meters()
}

/// As a histogram, in seconds.
fn durations(metered: Metered, out: &mut Samples<'_, '_>) {
    let seconds = |microseconds: &u64| (*microseconds as f64 / 1e6).to_string();
    let bounds = DURATION_BOUNDS.iter().map(seconds);
    out.histogram(&[], bounds, &metered.durations, metered.time.as_secs_f64());
}

pub(super) const OWN: &[NodeMetric] = &[
    NodeMetric::histogram(
        "leveret_journal_sync_seconds",
        "How long syncs of the journal took",
        |scrape, out| {
            durations(meters(scrape).syncs.metered(), out);
        },
    ),
    NodeMetric::histogram(
        "leveret_journal_write_seconds",
        "How long it took to write a group of records to the journal",
        |scrape, out| durations(meters(scrape).writes.metered(), out),
    ),
    NodeMetric::counter("leveret_journal_records_total", "Records for the journal", |scrape, out| {
        let journal = &scrape.broker().journal;
        out.count(journal.end().0.saturating_sub(journal.found_end().0));
    }),
    NodeMetric::counter(
        "leveret_journal_written_bytes_total",
        "Bytes written to the journal",
        |scrape, out| {
            out.count(meters(scrape).writes.metered().bytes);
        },
    ),
    NodeMetric::gauge("leveret_journal_files", "Files of the journal that are needed", |scrape, out| {
        out.count(scrape.broker().journal.usage().files);
    }),
    NodeMetric::gauge(
        "leveret_journal_file_bytes",
        "Bytes of the journal's files, with the zeros that are ahead of what is written",
        |scrape, out| out.count(scrape.broker().journal.usage().bytes),
    ),
    NodeMetric::gauge(
        "leveret_journal_failed",
        "1 once writing or syncing failed: nothing is durable any more",
        |scrape, out| out.count(u64::from(scrape.broker().journal.has_failed())),
    ),
    NodeMetric::histogram("leveret_checkpoint_seconds", "How long checkpoints took", |scrape, out| {
        durations(meters(scrape).checkpoints.metered(), out);
    }),
    NodeMetric::gauge(
        "leveret_checkpoint_last_timestamp_seconds",
        "When the last checkpoint was done, in seconds since 1970; none before the first",
        |scrape, out| of_last_checkpoint(scrape, out, |done| done.unix_ms as f64 / 1000.0),
    ),
    NodeMetric::gauge(
        "leveret_checkpoint_last_seconds",
        "How long the last checkpoint took; none before the first",
        |scrape, out| of_last_checkpoint(scrape, out, |done| done.took.as_secs_f64()),
    ),
    NodeMetric::gauge(
        "leveret_checkpoint_last_written_bytes",
        "Bytes of segments that the last checkpoint wrote; none before the first",
        |scrape, out| of_last_checkpoint(scrape, out, |done| done.written as f64),
    ),
    NodeMetric::gauge(
        "leveret_segment_files",
        "Segment files: messages that checkpoints moved out of the journal, or that left memory",
        |scrape, out| out.count(segments(scrape).files),
    ),
    NodeMetric::gauge("leveret_segment_bytes", "Bytes of segment files", |scrape, out| {
        out.count(segments(scrape).bytes);
    }),
    NodeMetric::gauge(
        "leveret_segment_needed_bytes",
        "Bytes of segment files that messages still need, as the last checkpoint found it",
        |scrape, out| out.count(segments(scrape).needed),
    ),
    NodeMetric::counter(
        "leveret_segment_written_bytes_total",
        "Bytes of segment files that were written",
        |scrape, out| out.count(segments(scrape).written),
    ),
    NodeMetric::counter(
        "leveret_messages_paged_out_total",
        "Messages that left memory and were on disk only",
        |scrape, out| out.count(scrape.sums.paged_out),
    ),
    NodeMetric::histogram(
        "leveret_memory_relief_seconds",
        "How long it took to move messages out of memory since all together took too much",
        |scrape, out| durations(meters(scrape).relief.metered(), out),
    ),
    NodeMetric::counter(
        "leveret_memory_relief_bytes_total",
        "Memory that was freed by that",
        |scrape, out| out.count(meters(scrape).relief.metered().bytes),
    ),
];

pub(super) const PERSISTER: &[NodeMetric] = &[
    NodeMetric::counter("io_read_ops_total", "Reads of stored messages", |scrape, out| {
        out.count(meters(scrape).reads.metered().count);
    }),
    NodeMetric::counter("io_read_bytes_total", "Bytes of stored messages that were read", |scrape, out| {
        out.count(meters(scrape).reads.metered().bytes);
    }),
    NodeMetric::counter("io_read_time_seconds_total", "How long all these reads took", |scrape, out| {
        out.one(meters(scrape).reads.metered().time.as_secs_f64());
    }),
    NodeMetric::counter("io_write_ops_total", "Groups of records written to the journal", |scrape, out| {
        out.count(meters(scrape).writes.metered().count);
    }),
    NodeMetric::counter("io_write_bytes_total", "Bytes written to the journal", |scrape, out| {
        out.count(meters(scrape).writes.metered().bytes);
    }),
    NodeMetric::counter("io_write_time_seconds_total", "How long all these writes took", |scrape, out| {
        out.one(meters(scrape).writes.metered().time.as_secs_f64());
    }),
    NodeMetric::counter("io_sync_ops_total", "Syncs of the journal", |scrape, out| {
        out.count(meters(scrape).syncs.metered().count);
    }),
    NodeMetric::counter("io_sync_time_seconds_total", "How long all these syncs took", |scrape, out| {
        out.one(meters(scrape).syncs.metered().time.as_secs_f64());
    }),
];
