//! What deadlines cost: a million messages with a lifetime each, and a hundred thousand queues that expire. Run with
//! `cargo bench --bench timers`.

#[path = "client/mod.rs"]
mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;

use client::{NOW, drain, feed, open};
use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::protocol::content::{write_body, write_header};
use leveret::protocol::field::{TableBuilder, Value};
use leveret::protocol::method::{basic, queue, write_method};
use leveret::protocol::properties::PropertiesBuilder;
use leveret::session::Session;
use leveret::time::Clock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const MESSAGES: u64 = 1_000_000;

const QUEUES: u64 = 100_000;

/// Messages handed in at once.
const BATCH: u64 = 1000;

/// A broker and its clock, which stands still until it is set.
struct Timed {
    broker: Arc<Broker>,
    session: Session,
    clock: Arc<AtomicU64>,
}

impl Timed {
    fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(NOW.unix_ms));
        let options = BrokerOptions { clock: Clock::Set(clock.clone()), ..BrokerOptions::default() };
        let broker = Broker::new(options);
        let session = open(&broker);
        Self { broker, session, clock }
    }

    /// Declares queues; `expires` is in milliseconds.
    fn declare(mut self, count: u64, expires: Option<i64>) -> Self {
        let mut arguments = TableBuilder::new();
        if let Some(expires) = expires {
            arguments.value("x-expires", Value::I64(expires));
        }
        let arguments = arguments.finish();
        for number in 0..count {
            let name = format!("q{number}");
            let mut bytes = Vec::new();
            let declare =
                queue::Declare { queue: &name, arguments: arguments.as_ref(), ..Default::default() };
            write_method(&mut bytes, 1, &declare);
            feed(&mut self.session, &bytes);
        }
        self
    }

    fn publish(&mut self, batches: &[Vec<u8>]) {
        for batch in batches {
            assert_eq!(self.session.handle_input(batch, NOW), batch.len());
            drain(&mut self.session);
        }
    }

    /// Lets all deadlines pass, and does what is due until nothing is.
    fn pass(&self, by: Duration) {
        self.clock.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        while self.broker.look_at_due().is_some_and(|pause| pause.is_zero()) {}
    }
}

/// A million messages for q0, each with another lifetime, of ten minutes and more, if they have one.
fn messages(lifetimes: bool) -> Vec<Vec<u8>> {
    let publish = basic::Publish { routing_key: "q0", ..Default::default() };
    let batch = |first: u64| {
        let mut bytes = Vec::new();
        for number in first..first + BATCH {
            let mut properties = PropertiesBuilder::new();
            if lifetimes {
                properties.set_expiration((600_000 + number).to_string());
            }
            write_method(&mut bytes, 1, &publish);
            write_header(&mut bytes, 1, 16, &properties.finish());
            write_body(&mut bytes, 1, &[b'x'; 16], 131_072);
        }
        bytes
    };
    (0..MESSAGES).step_by(BATCH as usize).map(batch).collect()
}

/// A million messages into a queue that nobody consumes from.
#[divan::bench(args = [false, true], sample_count = 10, sample_size = 1)]
fn publish_1_000_000_messages(bencher: Bencher<'_, '_>, lifetimes: bool) {
    let batches = messages(lifetimes);
    let inputs = || Timed::new().declare(1, None);
    bencher.counter(ItemsCount::new(MESSAGES)).with_inputs(inputs).bench_local_values(|mut timed| {
        timed.publish(&batches);
        timed
    });
}

/// The task of the timers wakes while a million messages have deadlines, none of which has come.
#[divan::bench]
fn look_at_1_000_000_messages(bencher: Bencher<'_, '_>) {
    let mut timed = Timed::new().declare(1, None);
    timed.publish(&messages(true));
    bencher.bench_local(|| timed.broker.look_at_due());
}

/// All of them are over their time at once.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn expire_1_000_000_messages(bencher: Bencher<'_, '_>) {
    let batches = messages(true);
    let inputs = || {
        let mut timed = Timed::new().declare(1, None);
        timed.publish(&batches);
        timed
    };
    bencher.counter(ItemsCount::new(MESSAGES)).with_inputs(inputs).bench_local_values(|timed| {
        timed.pass(Duration::from_secs(3600));
        assert_eq!(timed.broker.message_memory(), 0);
        timed
    });
}

/// A hundred thousand declarations.
#[divan::bench(args = [false, true], sample_count = 5, sample_size = 1)]
fn declare_100_000_queues(bencher: Bencher<'_, '_>, expire: bool) {
    let expires = expire.then_some(600_000);
    bencher
        .counter(ItemsCount::new(QUEUES))
        .with_inputs(Timed::new)
        .bench_local_values(|timed| timed.declare(QUEUES, expires));
}

/// The task of the timers wakes while a hundred thousand queues are to expire later.
#[divan::bench]
fn look_at_100_000_queues(bencher: Bencher<'_, '_>) {
    let timed = Timed::new().declare(QUEUES, Some(600_000));
    bencher.bench_local(|| timed.broker.look_at_due());
}

/// All of them expire at once.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn expire_100_000_queues(bencher: Bencher<'_, '_>) {
    let inputs = || Timed::new().declare(QUEUES, Some(600_000));
    bencher.counter(ItemsCount::new(QUEUES)).with_inputs(inputs).bench_local_values(|timed| {
        timed.pass(Duration::from_secs(3600));
        let left = timed.broker.vhost("/").map_or(0, |vhost| vhost.queues().len());
        assert_eq!(left, 0);
        timed
    });
}
