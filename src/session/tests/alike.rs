//! Publishes that are read in one piece and those that come frame by frame are the same to everybody.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::frame::FRAME_END;

/// One publish, and what may be wrong with it.
#[derive(Clone, Debug)]
struct Publish {
    channel: u16,
    queue: &'static str,
    size: usize,
    properties: &'static [u8],
    mandatory: bool,
    /// The last octet of its last frame.
    end: u8,
}

fn publish() -> impl Strategy<Value = Publish> {
    let queue = prop_oneof![4 => Just("a"), 2 => Just("b"), 1 => Just("nowhere")];
    let size = prop_oneof![4 => Just(5usize), 1 => Just(0), 1 => Just(6), 1 => Just(5000)];
    let properties = prop_oneof![4 => Just(&[0u8, 0][..]), 1 => Just(&[0x10, 0, 2][..]), 1 => Just(&[1, 0, 2, b'5', b'0'][..])];
    let end = prop_oneof![40 => Just(FRAME_END), 1 => Just(0)];
    let channel = prop_oneof![3 => Just(1u16), 1 => Just(2)];
    (channel, queue, size, properties, prop::bool::weighted(0.1), end).prop_map(
        |(channel, queue, size, properties, mandatory, end)| Publish {
            channel,
            queue,
            size,
            properties,
            mandatory,
            end,
        },
    )
}

/// What a publisher of these sends; bodies tell how many came before.
fn encoded(publishes: &[Publish]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, publish) in publishes.iter().enumerate() {
        let &Publish { channel, queue, size, properties, mandatory, end } = publish;
        let method = basic::Publish { routing_key: queue, mandatory, ..Default::default() };
        write_method(&mut bytes, channel, &method);
        write_header(&mut bytes, channel, size as u64, properties);
        write_body(&mut bytes, channel, &vec![number as u8; size], 4096);
        if let Some(last) = bytes.last_mut() {
            *last = end;
        }
    }
    bytes
}

/// What a publisher and the consumer of each queue see when `input` comes in pieces of these lengths.
fn outcome(input: &[u8], pieces: &[usize]) -> (Vec<u8>, [Vec<u8>; 2]) {
    let broker = broker(Journal::in_memory());
    let mut publisher = Client::new(&broker);
    let consumers = ["a", "b"].map(|queue| {
        let mut consumer = Client::new(&broker);
        consumer.declare(queue, false);
        consumer.send(&basic::Consume { queue, consumer_tag: "c", no_ack: true, ..Default::default() });
        consumer.received();
        consumer
    });
    let mut bytes = Vec::new();
    write_method(&mut bytes, 2, &channel::Open::default());
    write_method(&mut bytes, 2, &confirm::Select::default());
    publisher.session.handle_input(&bytes, Now::at(1000));
    publisher.received();
    let (mut kept, mut rest) = (Vec::new(), input);
    for &piece in pieces.iter().chain([&usize::MAX]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        kept.extend_from_slice(now);
        let used = publisher.session.handle_input(&kept, Now::at(1000));
        kept.drain(..used);
    }
    (publisher.received_bytes().0, consumers.map(|mut consumer| consumer.received_bytes().0))
}

/// The last confirm in what a publisher received, and all the rest of it.
fn without_acks(bytes: &[u8]) -> (u64, Vec<&[u8]>) {
    let (mut last, mut others, mut rest) = (0, Vec::new(), bytes);
    while let Ok(Next::Frame(frame)) = next_frame(rest, u32::MAX) {
        let is_method = frame.kind == FrameKind::Method;
        match is_method.then(|| Method::decode(frame.payload).unwrap()) {
            Some(Method::Basic(basic::Method::Ack(ack))) => last = ack.delivery_tag,
            _ => others.push(frame.payload),
        }
        rest = &rest[frame.wire_len()..];
    }
    (last, others)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn however_publishes_are_cut_they_arrive_the_same(
        publishes in vec((publish(), 1usize..5), 1..8),
        pieces in vec(prop_oneof![1usize..40, 40usize..400], 0..30),
    ) {
        let publishes: Vec<_> =
            publishes.into_iter().flat_map(|(publish, times)| vec![publish; times]).collect();
        let input = encoded(&publishes);
        let (whole, cut) = (outcome(&input, &[]), outcome(&input, &pieces));
        prop_assert_eq!(without_acks(&whole.0), without_acks(&cut.0));
        prop_assert!(whole.1 == cut.1, "deliveries differ");
        if publishes.iter().all(|publish| publish.end == FRAME_END) {
            let confirmed = publishes.iter().filter(|publish| publish.channel == 2).count();
            prop_assert_eq!(without_acks(&whole.0).0, confirmed as u64);
            for (queue, bytes) in ["a", "b"].into_iter().zip(&whole.1) {
                let arrived = publishes.iter().filter(|publish| publish.queue == queue).count();
                let (mut delivered, mut rest) = (0, &bytes[..]);
                while let Ok(Next::Frame(frame)) = next_frame(rest, u32::MAX) {
                    delivered += usize::from(frame.kind == FrameKind::Method);
                    rest = &rest[frame.wire_len()..];
                }
                prop_assert_eq!(delivered, arrived);
            }
        }
    }
}
