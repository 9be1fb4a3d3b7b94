//! The whole path in process: a publisher's bytes in, a consumer's bytes out, through two sessions and a broker. What one
//! message costs in instructions is told by `benches/instructions.sh`. Run with `cargo bench --bench path`.

#![allow(clippy::expect_used, clippy::panic, reason = "where the set-up fails there is nothing to measure")]

mod client;
#[path = "client/paths.rs"]
mod paths;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::protocol::method::{queue, write_method};

use client::{NOW, feed, open};
use paths::{BATCH, Path};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Runs batches; deliveries are counted.
fn run(bencher: Bencher<'_, '_>, mut path: Path) {
    assert_eq!(path.run(), path.deliveries(), "deliveries of a batch");
    bencher.counter(ItemsCount::new(path.deliveries())).bench_local(|| path.run());
}

/// One publisher, one auto-ack consumer, the default exchange.
#[divan::bench(args = [16, 1024, 65_536])]
fn direct(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher.counter(BytesCount::new(size * BATCH)), Path::direct(size));
}

/// As `direct`, with publisher confirms.
#[divan::bench]
fn confirmed(bencher: Bencher<'_, '_>) {
    run(bencher, Path::confirmed());
}

/// As `direct`, with one acknowledgement for ten messages and a prefetch of 200.
#[divan::bench]
fn acknowledged(bencher: Bencher<'_, '_>) {
    run(bencher, Path::acknowledged());
}

/// One publisher to a fanout exchange with ten queues, each with its consumer.
#[divan::bench]
fn fanout_to_10(bencher: Bencher<'_, '_>) {
    run(bencher, Path::fanout());
}

/// A topic exchange with a hundred bindings, with so many routing keys in turn.
#[divan::bench(args = [1, 100])]
fn topic_of_100_bindings(bencher: Bencher<'_, '_>, keys: usize) {
    run(bencher, Path::topic(keys));
}

/// Persistent messages of 1 KiB through a journal, a hundred confirms in flight, acknowledged. The disk is not synced,
/// which would measure it.
#[divan::bench]
fn persistent(bencher: Bencher<'_, '_>) {
    run(bencher.counter(BytesCount::new(1024 * BATCH)), Path::persistent());
}

/// Publishes that fill a queue nobody consumes from, purged after each batch.
#[divan::bench]
fn fill_and_purge(bencher: Bencher<'_, '_>) {
    let broker = Broker::new(BrokerOptions::default());
    let mut publisher = open(&broker);
    let mut bytes = Vec::new();
    write_method(&mut bytes, 1, &queue::Declare { queue: "q", ..Default::default() });
    feed(&mut publisher, &bytes);
    let input =
        paths::publishes(&paths::Content { size: 128, ..paths::Content::plain("") }, &["q".to_owned()]);
    let mut purge = Vec::new();
    write_method(&mut purge, 1, &queue::Purge { queue: "q", ..Default::default() });
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        assert_eq!(publisher.handle_input(&input, NOW), input.len());
        feed(&mut publisher, &purge);
    });
}
