use std::io::IoSlice;

use proptest::prelude::*;

use super::*;
use crate::output::MAX_SLICES;
use crate::protocol::method::{basic, write_method};

fn message(exchange: &str, routing_key: &str, raw: &[u8], body: &[u8]) -> Message {
    let properties = Properties::parse(raw).unwrap();
    MessageBuilder::default().build(exchange, routing_key, properties, Body::Borrowed(body))
}

fn drain(output: &mut Output) -> Vec<u8> {
    let mut all = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let filled = output.slices(&mut slices);
        let before = all.len();
        slices[..filled].iter().for_each(|slice| all.extend_from_slice(slice));
        let taken = all.len() - before;
        output.advance(taken);
    }
    all
}

/// The message of what a publisher on `channel` sends.
fn from_frames(exchange: &str, routing_key: &str, channel: u16, raw: &[u8], body: &[u8]) -> Message {
    let (mut names, mut frames) = (Vec::new(), Vec::new());
    push_short(&mut names, exchange.as_bytes());
    push_short(&mut names, routing_key.as_bytes());
    content::write_header(&mut frames, channel, body.len() as u64, raw);
    let header_len = frames.len();
    content::write_body(&mut frames, channel, body, 0);
    let properties = Properties::parse(raw).unwrap();
    MessageBuilder::default().build_from_frames(&names, &frames, header_len, properties)
}

fn body_of(size: usize) -> Vec<u8> {
    (0..size).map(|i| i as u8).collect()
}

#[test]
fn a_message_tells_what_it_was_built_from() {
    let raw = PropertiesBuilder::new().set_delivery_mode(2).set_priority(7).finish();
    for size in [0, 1, COPY_LIMIT, COPY_LIMIT + 1] {
        let body = body_of(size);
        let message = message("orders", "eu.created", &raw, &body);
        assert_eq!((message.exchange(), message.routing_key()), ("orders", "eu.created"));
        assert_eq!(message.raw_properties(), raw);
        assert_eq!((message.body(), message.body_len()), (&body[..], size as u64));
        assert_eq!((message.is_persistent(), message.priority()), (true, Some(7)));
        assert!(message.wire_size() > size);
    }
    let plain = message("", "", &[0, 0], b"");
    assert_eq!((plain.exchange(), plain.routing_key(), plain.names_len()), ("", "", 2));
    assert_eq!((plain.is_persistent(), plain.priority()), (false, None));
}

#[test]
fn names_may_be_as_long_as_the_protocol_lets_them() {
    let name = "é".repeat(127);
    let message = message(&name, &name, &[0, 0], b"x");
    assert_eq!((message.exchange(), message.routing_key()), (&name[..], &name[..]));
    assert_eq!((message.names_len(), message.body()), (2 * 255, &b"x"[..]));
}

#[test]
fn only_delivery_mode_2_is_persistent() {
    for mode in [0, 1, 3, 255] {
        let raw = PropertiesBuilder::new().set_delivery_mode(mode).finish();
        assert!(!message("", "q", &raw, b"").is_persistent());
    }
}

#[test]
fn a_large_body_is_kept_where_it_is_and_shared() {
    let body = body_of(COPY_LIMIT + 1);
    let place = body.as_ptr();
    let properties = Properties::parse(&[0, 0]).unwrap();
    let message = MessageBuilder::default().build("", "q", properties, Body::Owned(body));
    assert_eq!(message.body().as_ptr(), place);
    let (one, other) = (message.clone(), message);
    assert_eq!((one.body().as_ptr(), other.body().as_ptr()), (place, place));
}

#[test]
fn a_builder_leaves_nothing_of_one_message_in_the_next() {
    let mut builder = MessageBuilder::default();
    let properties = Properties::parse(&[0, 0]).unwrap();
    let first = builder.build("long exchange", "long key", properties, Body::Borrowed(&[1; 100]));
    let second = builder.build("x", "k", properties, Body::Borrowed(b"2"));
    assert_eq!((second.exchange(), second.routing_key(), second.body()), ("x", "k", &b"2"[..]));
    assert_eq!((first.exchange(), first.body()), ("long exchange", &[1; 100][..]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// The short cuts of a delivery give the same bytes as method, header and body written one after another.
    #[test]
    fn a_delivery_is_what_the_codec_would_write(
        exchange in "[a-zé.]{0,20}",
        routing_key in "[a-zé.]{0,20}",
        channel in 1u16..,
        frame_max in prop_oneof![Just(0u32), Just(4096), Just(131_072), 16u32..64],
        size in prop_oneof![0usize..100, 4080usize..4100, COPY_LIMIT - 2..COPY_LIMIT + 3, Just(300_000)],
        persistent in any::<bool>(),
    ) {
        let mut properties = PropertiesBuilder::new();
        if persistent {
            properties.set_delivery_mode(2).set_content_type("text/plain");
        }
        let (raw, body) = (properties.finish(), body_of(size));
        let message = message(&exchange, &routing_key, &raw, &body);
        if size <= COPY_LIMIT {
            let from_frames = from_frames(&exchange, &routing_key, channel, &raw, &body);
            prop_assert_eq!(from_frames.stored(), message.stored());
            prop_assert_eq!(format!("{:?}", from_frames.meta()), format!("{:?}", message.meta()));
        }
        let (consumer_tag, delivery_tag) = ("ctag", 77);
        let (exchange, routing_key) = (&exchange[..], &routing_key[..]);
        let deliver = basic::Deliver { consumer_tag, delivery_tag, redelivered: true, exchange, routing_key };
        let mut expected = Vec::new();
        write_method(&mut expected, channel, &deliver);
        let before_names = expected.len() - 1 - message.names_len();
        let prefix = expected[..before_names].to_vec();
        let method_end = expected.len();
        content::write_header(&mut expected, channel, size as u64, &raw);
        content::write_body(&mut expected, channel, &body, frame_max);

        let mut output = Output::new();
        output.append(|out| out.extend_from_slice(&prefix));
        message.write_names_and_content(&mut output, channel, frame_max);
        prop_assert_eq!(output.len(), expected.len());
        prop_assert!(drain(&mut output) == expected, "a delivery");

        message.write_content(&mut output, channel, frame_max);
        prop_assert!(drain(&mut output) == expected[method_end..], "its content alone");
        let mut copied = Vec::new();
        message.write_content_copied(&mut copied, channel, frame_max);
        prop_assert!(copied == expected[method_end..], "its content copied");
        let mut names = Vec::new();
        message.write_names(&mut names);
        prop_assert_eq!(&names, &expected[before_names..method_end - 1]);
    }
}
