//! Bytes of memory in process: of an idle channel, a consumer, a queue, a message that waits.

use allocation_counter::measure;
use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::protocol::field::TableBuilder;
use leveret::protocol::method::{basic, channel, queue, write_method};

use crate::client::{NOW, drain, feed, open};
use crate::paths::{BATCH, Content, publishes};

/// Bytes that stay allocated for each of `count` things.
fn kept(name: &str, count: usize, make: impl FnOnce()) -> i64 {
    let counted = measure(make);
    let each = counted.bytes_current / count as i64;
    println!("{name}: {each} bytes in {} allocations", counted.count_current / count as i64);
    each
}

#[test]
fn an_idle_channel() {
    let broker = Broker::new(BrokerOptions::default());
    let mut session = open(&broker);
    let each = kept("channel", 1000, || {
        let mut bytes = Vec::new();
        for number in 2..1002 {
            let open = channel::Open { out_of_band: "" };
            write_method(&mut bytes, number, &open);
        }
        feed(&mut session, &bytes);
    });
    assert!(each < 1024, "{each} bytes");
}

#[test]
fn an_idle_consumer() {
    let broker = Broker::new(BrokerOptions::default());
    let mut session = open(&broker);
    let mut bytes = Vec::new();
    write_method(&mut bytes, 1, &queue::Declare { queue: "q", ..Default::default() });
    feed(&mut session, &bytes);
    let each = kept("consumer", 1000, || {
        let mut bytes = Vec::new();
        for _ in 0..1000 {
            write_method(&mut bytes, 1, &basic::Consume { queue: "q", ..Default::default() });
        }
        feed(&mut session, &bytes);
    });
    assert!(each < 512, "{each} bytes");
}

/// A durable queue with nothing in it, with its name of 9 letters.
#[test]
fn an_empty_queue() {
    let broker = Broker::new(BrokerOptions::default());
    let mut session = open(&broker);
    let mut declares = Vec::new();
    for number in 0..1000 {
        let name = format!("queue{number:04}");
        write_method(&mut declares, 1, &queue::Declare { queue: &name, durable: true, ..Default::default() });
    }
    let each = kept("durable queue", 1000, || feed(&mut session, &declares));
    assert!(each < 1536, "{each} bytes");
}

#[test]
fn an_empty_queue_with_arguments() {
    let broker = Broker::new(BrokerOptions::default());
    let mut session = open(&broker);
    let mut declares = Vec::new();
    let arguments = TableBuilder::new()
        .int32("x-max-priority", 3)
        .int32("x-max-length", 1000)
        .long_str("x-dead-letter-exchange", "dead")
        .finish();
    for number in 0..1000 {
        let name = format!("queue{number:04}");
        let arguments = arguments.as_ref();
        write_method(
            &mut declares,
            1,
            &queue::Declare { queue: &name, durable: true, arguments, ..Default::default() },
        );
    }
    let each = kept("durable queue with arguments", 1000, || feed(&mut session, &declares));
    assert!(each < 1664, "{each} bytes");
}

/// A message of 128 bytes that nobody consumes: its body, its names, the queue's entry.
#[test]
fn a_queued_message() {
    let broker = Broker::new(BrokerOptions::default());
    let mut session = open(&broker);
    let mut declare = Vec::new();
    write_method(&mut declare, 1, &queue::Declare { queue: "q", ..Default::default() });
    feed(&mut session, &declare);
    let input = publishes(&Content { size: 128, ..Content::plain("") }, &["q".to_owned()]);
    let each = kept("queued message of 128 bytes", 100 * BATCH, || {
        for _ in 0..100 {
            assert_eq!(session.handle_input(&input, NOW), input.len());
            drain(&mut session);
        }
    });
    assert!((128..=304).contains(&each), "{each} bytes");
}
