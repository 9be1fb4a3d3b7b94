//! The codec's hot paths: frames off a full read buffer, the methods every message needs, tables
//! and properties. Run with `cargo bench --bench codec`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

use leveret::protocol::content::{Assembler, ContentHeader, write_body, write_header};
use leveret::protocol::field::{ArrayBuilder, Table, TableBuilder, TableRef};
use leveret::protocol::frame::{FrameKind, Next, next_frame};
use leveret::protocol::method::{Method, basic, write_method};
use leveret::protocol::properties::{Properties, PropertiesBuilder};
use leveret::protocol::reply::MethodId;

/// A worker's read buffer.
const BUFFER: usize = 64 * 1024;
/// What RabbitMQ's clients agree on.
const FRAME_MAX: u32 = 131_072;

fn main() {
    divan::main();
}

const PUBLISH: basic::Publish<'_> = basic::Publish {
    ticket: 0,
    exchange: "orders",
    routing_key: "eu.created",
    mandatory: false,
    immediate: false,
};

const DELIVER: basic::Deliver<'_> = basic::Deliver {
    consumer_tag: "ctag-1.b6f0",
    delivery_tag: 81_723,
    redelivered: false,
    exchange: "orders",
    routing_key: "eu.created",
};

const ACK: basic::Ack = basic::Ack { delivery_tag: 81_723, multiple: false };

/// Publishes of 16 bytes, as many as fit a read buffer; the number of messages beside it.
fn publishes() -> (Vec<u8>, usize) {
    let mut one = Vec::new();
    write_method(&mut one, 1, &PUBLISH);
    write_header(&mut one, 1, 16, &persistent());
    write_body(&mut one, 1, &[7; 16], FRAME_MAX);
    let messages = BUFFER / one.len();
    (one.repeat(messages), messages)
}

/// The properties of a plain persistent message.
fn persistent() -> Vec<u8> {
    PropertiesBuilder::new().set_content_type("application/json").set_delivery_mode(2).finish()
}

/// Headers as a dead letter carries them.
fn headers() -> Table {
    let keys = ArrayBuilder::new().long_str("eu.created").finish();
    let death = TableBuilder::new()
        .int64("count", 3)
        .long_str("exchange", "orders")
        .long_str("queue", "billing")
        .long_str("reason", "rejected")
        .array("routing-keys", keys.as_ref())
        .timestamp("time", 1_760_000_000)
        .finish();
    let deaths = ArrayBuilder::new().table(death.as_ref()).finish();
    TableBuilder::new()
        .array("x-death", deaths.as_ref())
        .long_str("x-first-death-exchange", "orders")
        .long_str("x-first-death-queue", "billing")
        .long_str("x-first-death-reason", "rejected")
        .int32("attempt", 3)
        .bool("traced", true)
        .finish()
}

fn payload_of(method: Method<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    method.encode(&mut payload);
    payload
}

#[divan::bench]
fn frames_of_small_publishes(bencher: Bencher<'_, '_>) {
    let (input, messages) = publishes();
    bencher.counter(ItemsCount::new(messages)).counter(BytesCount::new(input.len())).bench_local(|| {
        let mut rest = black_box(&input[..]);
        let mut bytes = 0;
        while let Ok(Next::Frame(frame)) = next_frame(rest, FRAME_MAX) {
            bytes += frame.payload.len();
            rest = &rest[frame.wire_len()..];
        }
        bytes
    });
}

#[divan::bench]
fn decode_small_publishes(bencher: Bencher<'_, '_>) {
    let (input, messages) = publishes();
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let mut rest = black_box(&input[..]);
        let mut bytes = 0;
        while let Ok(Next::Frame(frame)) = next_frame(rest, FRAME_MAX) {
            bytes += match frame.kind {
                FrameKind::Method => match Method::decode(frame.payload) {
                    Ok(Method::Basic(basic::Method::Publish(publish))) => publish.routing_key.len() as u64,
                    _ => 0,
                },
                FrameKind::Header => match ContentHeader::parse(frame.payload, MethodId::NONE) {
                    Ok(header) => header.body_size,
                    Err(_) => 0,
                },
                FrameKind::Body | FrameKind::Heartbeat => 0,
            };
            rest = &rest[frame.wire_len()..];
        }
        bytes
    });
}

#[divan::bench]
fn assemble_small_content(bencher: Bencher<'_, '_>) {
    let mut frame = Vec::new();
    write_header(&mut frame, 1, 16, &persistent());
    let header = &frame[7..frame.len() - 1];
    let mut assembler = Assembler::new();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        assembler.begin(PUBLISH);
        let _ = black_box(assembler.header(black_box(header), u64::MAX));
        assembler.body(black_box(&[7; 16]))
    });
}

#[divan::bench]
fn decode_publish(bencher: Bencher<'_, '_>) {
    let payload = payload_of(Method::Basic(basic::Method::Publish(PUBLISH)));
    bencher.bench_local(|| Method::decode(black_box(&payload)).is_ok());
}

#[divan::bench]
fn decode_deliver(bencher: Bencher<'_, '_>) {
    let payload = payload_of(Method::Basic(basic::Method::Deliver(DELIVER)));
    bencher.bench_local(|| Method::decode(black_box(&payload)).is_ok());
}

#[divan::bench]
fn decode_ack(bencher: Bencher<'_, '_>) {
    let payload = payload_of(Method::Basic(basic::Method::Ack(ACK)));
    bencher.bench_local(|| Method::decode(black_box(&payload)).is_ok());
}

#[divan::bench]
fn encode_publish(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(BUFFER);
    bencher.bench_local(|| {
        out.clear();
        write_method(&mut out, black_box(1), black_box(&PUBLISH));
        out.len()
    });
}

#[divan::bench]
fn encode_deliver(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(BUFFER);
    bencher.bench_local(|| {
        out.clear();
        write_method(&mut out, black_box(1), black_box(&DELIVER));
        out.len()
    });
}

#[divan::bench]
fn encode_ack(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(BUFFER);
    bencher.bench_local(|| {
        out.clear();
        write_method(&mut out, black_box(1), black_box(&ACK));
        out.len()
    });
}

#[divan::bench]
fn validate_table(bencher: Bencher<'_, '_>) {
    let headers = headers();
    let body = headers.as_ref().as_bytes();
    bencher.counter(BytesCount::new(body.len())).bench_local(|| TableRef::parse(black_box(body)).is_ok());
}

#[divan::bench]
fn parse_properties(bencher: Bencher<'_, '_>) {
    let raw = persistent();
    bencher.bench_local(|| Properties::parse(black_box(&raw)).is_ok());
}

#[divan::bench]
fn parse_properties_with_headers(bencher: Bencher<'_, '_>) {
    let headers = headers();
    let plain = persistent();
    let raw = PropertiesBuilder::from_properties(Properties::assume_valid(&plain))
        .set_headers(Some(&headers))
        .finish();
    bencher.bench_local(|| Properties::parse(black_box(&raw)).is_ok());
}
