//! The journal: records of messages into its buffer, and on to a file, from the page cache's point of view. Run with
//! `cargo bench --bench journal`.

#![allow(clippy::expect_used, clippy::panic, reason = "a disk that fails has nothing to measure")]

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use tempfile::TempDir;

use leveret::ids::{Lsn, Position, QueueId};
use leveret::message::{Body, Message, MessageBuilder};
use leveret::protocol::properties::{Properties, PropertiesBuilder};
use leveret::storage::disk::RealDisk;
use leveret::storage::image::Image;
use leveret::storage::journal::{Base, Journal};
use leveret::storage::options::{JournalOptions, Sync};
use leveret::storage::record::Record;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUEUE: QueueId = QueueId(1);
/// Messages of one batch, as confirms in flight make them.
const BATCH: u64 = 100;
const SIZES: [usize; 2] = [128, 1024];

fn main() {
    divan::main();
}

fn journal() -> (TempDir, Journal) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = RealDisk::open(directory.path()).expect("a disk");
    let options = JournalOptions { sync: Sync::Never, ..Default::default() };
    let base = Base { image: Image::default(), oldest: 0 };
    let opened = Journal::open(Arc::new(disk), options, base, |error| panic!("the disk fails: {error}"));
    (directory, opened.expect("a journal").0)
}

fn messages(size: usize) -> Vec<Message> {
    let raw = PropertiesBuilder::new().set_delivery_mode(2).finish();
    let body = vec![7; size];
    let mut builder = MessageBuilder::default();
    let mut build =
        || builder.build("orders", "eu.created", Properties::assume_valid(&raw), Body::Borrowed(&body));
    (0..BATCH).map(|_| build()).collect()
}

/// What a queue appends for the publishes of one read.
fn append(journal: &Journal, messages: &[Message]) -> Lsn {
    journal.append(|batch| {
        for (message, position) in messages.iter().zip(0..) {
            batch.record(&Record::Enqueued { queue: QUEUE, position: Position(position), message });
        }
    })
}

/// As the thread of a connection has it, which only waits where the writer falls far behind.
#[divan::bench(args = SIZES, sample_count = 50, sample_size = 20)]
fn append_100(bencher: Bencher<'_, '_>, size: usize) {
    let (_directory, journal) = journal();
    bencher
        .with_inputs(|| messages(size))
        .counter(ItemsCount::new(BATCH))
        .counter(BytesCount::new(size as u64 * BATCH))
        .bench_local_refs(|messages| {
            let end = append(&journal, messages);
            assert!(!journal.is_behind() || journal.wait_durable(end));
        });
}

/// Until it is in the file, which is not synced.
#[divan::bench(args = SIZES, sample_count = 50, sample_size = 20)]
fn append_and_write_100(bencher: Bencher<'_, '_>, size: usize) {
    let (_directory, journal) = journal();
    bencher
        .with_inputs(|| messages(size))
        .counter(ItemsCount::new(BATCH))
        .counter(BytesCount::new(size as u64 * BATCH))
        .bench_local_refs(|messages| {
            let end = append(&journal, messages);
            assert!(journal.wait_durable(end));
        });
}

/// Acknowledgements of neighbours, which become one record.
#[divan::bench(args = [1, 10], sample_count = 50, sample_size = 20)]
fn append_removals(bencher: Bencher<'_, '_>, neighbours: u64) {
    let (_directory, journal) = journal();
    let mut next = 0;
    bencher.counter(ItemsCount::new(100 * neighbours)).bench_local(|| {
        for _ in 0..100 {
            journal.append(|batch| {
                (next..next + neighbours).for_each(|position| batch.removed(QUEUE, Position(position)));
            });
            next += neighbours;
        }
        assert!(!journal.is_behind() || journal.wait_durable(journal.end()));
    });
}
