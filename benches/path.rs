//! The whole path in process: a publisher's bytes in, a consumer's bytes out, through two sessions and a broker.

use divan::Bencher;
use divan::counter::ItemsCount;
#[path = "client/mod.rs"]
mod client;

use client::{NOW, drain, feed, open};
use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::protocol::content::{write_body, write_header};
use leveret::protocol::field::TableRef;
use leveret::protocol::method::{basic, confirm, exchange, queue, write_method};
use leveret::session::Session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Messages handed in at once, as one read of a busy socket brings.
const BATCH: usize = 1000;

fn declare(session: &mut Session, name: &str, exchange: Option<(&str, &str)>) {
    let mut bytes = Vec::new();
    let declare = queue::Declare { queue: name, arguments: TableRef::EMPTY, ..Default::default() };
    write_method(&mut bytes, 1, &declare);
    if let Some((exchange, kind)) = exchange {
        write_method(&mut bytes, 1, &exchange::Declare { exchange, kind, ..Default::default() });
        write_method(
            &mut bytes,
            1,
            &queue::Bind { queue: name, exchange, routing_key: "a.#", ..Default::default() },
        );
    }
    feed(session, &bytes);
}

fn consume(session: &mut Session, queue: &str) {
    let mut bytes = Vec::new();
    write_method(&mut bytes, 1, &basic::Consume { queue, no_ack: true, ..Default::default() });
    feed(session, &bytes);
}

fn batch(exchange: &str, routing_key: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..BATCH {
        write_method(&mut bytes, 1, &basic::Publish { exchange, routing_key, ..Default::default() });
        write_header(&mut bytes, 1, size as u64, &[0, 0]);
        write_body(&mut bytes, 1, &vec![b'x'; size], 131_072);
    }
    bytes
}

/// One publisher, one auto-ack consumer, the default exchange.
#[divan::bench(args = [16, 1024, 65_536])]
fn direct(bencher: Bencher<'_, '_>, size: usize) {
    let broker = Broker::new(BrokerOptions::default());
    let (mut publisher, mut consumer) = (open(&broker), open(&broker));
    declare(&mut consumer, "q", None);
    consume(&mut consumer, "q");
    let input = batch("", "q", size);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        // A slow reader would fill its outlet; in steps it stays below that.
        let mut sent = 0;
        let mut rest = &input[..];
        while !rest.is_empty() {
            let step = rest.len().min(256 * 1024);
            let used = publisher.handle_input(&rest[..step], NOW);
            rest = &rest[used..];
            sent += drain(&mut consumer);
        }
        sent
    });
}

/// As `direct`, with publisher confirms.
#[divan::bench]
fn confirmed(bencher: Bencher<'_, '_>) {
    let broker = Broker::new(BrokerOptions::default());
    let (mut publisher, mut consumer) = (open(&broker), open(&broker));
    declare(&mut consumer, "q", None);
    consume(&mut consumer, "q");
    let mut select = Vec::new();
    write_method(&mut select, 1, &confirm::Select::default());
    feed(&mut publisher, &select);
    let input = batch("", "q", 16);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        publisher.handle_input(&input, NOW);
        drain(&mut publisher) + drain(&mut consumer)
    });
}

/// One publisher to a fanout exchange with ten queues, each with its consumer.
#[divan::bench]
fn fanout_to_10(bencher: Bencher<'_, '_>) {
    let broker = Broker::new(BrokerOptions::default());
    let mut publisher = open(&broker);
    let mut consumers: Vec<Session> = (0..10)
        .map(|i| {
            let mut consumer = open(&broker);
            let name = format!("q{i}");
            declare(&mut consumer, &name, Some(("fan", "fanout")));
            consume(&mut consumer, &name);
            consumer
        })
        .collect();
    let input = batch("fan", "", 16);
    bencher.counter(ItemsCount::new(BATCH * 10)).bench_local(|| {
        publisher.handle_input(&input, NOW);
        consumers.iter_mut().map(drain).sum::<usize>()
    });
}

/// Publishes that fill a queue nobody consumes from, purged after each batch.
#[divan::bench]
fn fill_and_purge(bencher: Bencher<'_, '_>) {
    let broker = Broker::new(BrokerOptions::default());
    let mut publisher = open(&broker);
    declare(&mut publisher, "q", None);
    let input = batch("", "q", 128);
    let mut purge = Vec::new();
    write_method(&mut purge, 1, &queue::Purge { queue: "q", ..Default::default() });
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        publisher.handle_input(&input, NOW);
        feed(&mut publisher, &purge);
    });
}
