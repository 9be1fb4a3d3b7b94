//! The queue's hot paths without locks and sockets: messages through consumers, back again, and out by get; beside them
//! making a message and encoding its delivery. Run with `cargo bench --bench queue`.

use std::cell::Cell;
use std::rc::Rc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

use leveret::ids::{ConsumerId, Position};
use leveret::message::{Body, Message, MessageBuilder};
use leveret::output::Output;
use leveret::protocol::frame::{FrameKind, begin_frame, end_frame};
use leveret::protocol::properties::{Properties, PropertiesBuilder};
use leveret::queue::{ConsumerSpec, Get, Intake, Link, Push, Queue, Settle};

/// What RabbitMQ's clients agree on.
const FRAME_MAX: u32 = 131_072;

fn main() {
    divan::main();
}

/// A connection that takes everything and counts it.
#[derive(Clone, Default)]
struct Sink(Rc<Cell<u64>>);

impl Intake for &Sink {
    fn push(&mut self, message: &Message, position: Position, _redelivered: bool) -> Push {
        black_box((message, position));
        self.0.set(self.0.get() + 1);
        Push::Taken { wake: false }
    }
}

impl Link for Sink {
    type Intake<'a> = &'a Self;

    fn intake(&self) -> &Self {
        self
    }

    fn gone(&self) -> bool {
        false
    }
}

/// The properties of a plain persistent message.
fn persistent() -> Vec<u8> {
    PropertiesBuilder::new().set_content_type("application/json").set_delivery_mode(2).finish()
}

fn message(size: usize) -> Message {
    let raw = persistent();
    let body = vec![7; size];
    MessageBuilder::default().build(
        "orders",
        "eu.created",
        Properties::assume_valid(&raw),
        Body::Borrowed(&body),
    )
}

/// A queue with active consumers of one kind.
fn queue(consumers: usize, prefetch: u16, no_ack: bool) -> (Queue<Sink>, Vec<ConsumerId>) {
    let mut queue = Queue::default();
    let spec = ConsumerSpec { prefetch, no_ack, ..ConsumerSpec::default() };
    let ids = (0..consumers).filter_map(|_| queue.consume(spec.clone(), Sink::default()).ok()).collect();
    for &id in &ids {
        queue.set_active(id, true);
    }
    (queue, ids)
}

/// Publishes `count`, delivers, and settles all of them for `consumer`.
fn round(queue: &mut Queue<Sink>, consumer: ConsumerId, message: &Message, count: u64, how: Settle) {
    let first = queue.next_position(message).0;
    for _ in 0..count {
        queue.publish(message.clone(), false);
    }
    queue.deliver(0, &mut Vec::new());
    queue.settle(Some(consumer), (first..first + count).map(Position), how, |position, message| {
        black_box((position, message));
    });
}

/// In batches as a read of the publisher's socket makes them.
#[divan::bench(args = [1, 64])]
fn push_through_an_auto_ack_consumer(bencher: Bencher<'_, '_>, batch: u64) {
    let (mut queue, ids) = queue(1, 0, true);
    let message = message(16);
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        round(&mut queue, ids[0], &message, batch, Settle::Ack);
    });
}

#[divan::bench(args = [1, 64])]
fn push_and_ack_through_a_consumer_with_prefetch(bencher: Bencher<'_, '_>, batch: u64) {
    let (mut queue, ids) = queue(1, 64, false);
    let message = message(16);
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        round(&mut queue, ids[0], &message, batch, Settle::Ack);
    });
}

/// One message for each of many consumers that take one at a time, each acked before the next round.
#[divan::bench(args = [10, 1_000])]
fn push_and_ack_through_many_consumers(bencher: Bencher<'_, '_>, consumers: usize) {
    let (mut queue, ids) = queue(consumers, 1, false);
    let message = message(16);
    bencher.counter(ItemsCount::new(consumers)).bench_local(|| {
        let first = queue.next_position(&message).0;
        for _ in &ids {
            queue.publish(message.clone(), false);
        }
        queue.deliver(0, &mut Vec::new());
        for (&id, position) in ids.iter().zip(first..) {
            queue.settle(Some(id), std::iter::once(Position(position)), Settle::Ack, |_, _| {});
        }
    });
}

/// A consumer gives back all it has, and gets it again.
#[divan::bench(args = [1, 2])]
fn requeue_1000(bencher: Bencher<'_, '_>, every: usize) {
    let (mut queue, ids) = queue(1, 0, false);
    let message = message(16);
    for _ in 0..1000 {
        queue.publish(message.clone(), false);
    }
    queue.deliver(0, &mut Vec::new());
    bencher.counter(ItemsCount::new(1000 / every)).bench_local(|| {
        let positions = (0..1000).step_by(every).map(Position);
        queue.settle(Some(ids[0]), positions, Settle::Requeue, |_, _| {});
        queue.deliver(0, &mut Vec::new());
    });
}

#[divan::bench]
fn drain_10000_ready_by_get(bencher: Bencher<'_, '_>) {
    let message = message(16);
    let filled = || {
        let (mut queue, _) = queue(0, 0, false);
        for _ in 0..10_000 {
            queue.publish(message.clone(), false);
        }
        queue
    };
    bencher.counter(ItemsCount::new(10_000u64)).with_inputs(filled).bench_local_values(|mut queue| {
        while let Get::Got(got) = queue.get(true, 0) {
            queue.settle(None, std::iter::once(got.position), Settle::Ack, |_, _| {});
        }
        queue
    });
}

#[divan::bench(args = [16, 1024, 65_536])]
fn build_a_message(bencher: Bencher<'_, '_>, size: usize) {
    let (raw, body) = (persistent(), vec![7; size]);
    let mut builder = MessageBuilder::default();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let properties = Properties::assume_valid(black_box(&raw));
        builder.build("orders", "eu.created", properties, Body::Borrowed(black_box(&body)))
    });
}

/// As many deliveries as a consumer's connection writes at once, into a buffer that is used again.
#[divan::bench(args = [16, 1024, 65_536])]
fn encode_64_deliveries(bencher: Bencher<'_, '_>, size: usize) {
    let message = message(size);
    let mut prefix = Vec::new();
    let start = begin_frame(&mut prefix, FrameKind::Method, 1);
    prefix.extend_from_slice(b"\0\x3c\0\x3c\x04ctag\0\0\0\0\0\0\0\x4d\0");
    message.write_names(&mut prefix);
    end_frame(&mut prefix, start);
    prefix.truncate(prefix.len() - 1 - message.names_len());
    let mut output = Output::new();
    bencher.counter(ItemsCount::new(64u64)).bench_local(|| {
        for _ in 0..64 {
            output.append(|out| out.extend_from_slice(&prefix));
            message.write_names_and_content(&mut output, 1, FRAME_MAX);
        }
        output.advance(black_box(output.len()));
    });
}
