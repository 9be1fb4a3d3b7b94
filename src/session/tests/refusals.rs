//! Queues that refuse publishes, and who is told.

use proptest::prelude::*;

use super::*;
use crate::protocol::field::TableBuilder;
use crate::storage::journal::Base;
use crate::storage::options::JournalOptions;
use crate::storage::simulated_disk::SimulatedDisk;

/// What a client is told: confirmed and refused sequence numbers, with the channel that each is of.
fn told(client: &mut Client) -> Vec<(u16, u64, bool)> {
    let bytes = client.received_bytes().0;
    let (mut told, mut rest, mut next) = (Vec::new(), &bytes[..], [1; 3]);
    while let Ok(Next::Frame(frame)) = next_frame(rest, u32::MAX) {
        rest = &rest[frame.wire_len()..];
        let (tag, ack) = match Method::decode(frame.payload).unwrap() {
            Method::Basic(basic::Method::Ack(ack)) => (ack.delivery_tag, true),
            Method::Basic(basic::Method::Nack(nack)) => (nack.delivery_tag, false),
            _ => continue,
        };
        let next = &mut next[usize::from(frame.channel)];
        told.extend((*next..=tag).map(|tag| (frame.channel, tag, ack)));
        *next = tag + 1;
    }
    told
}

/// A client with a full queue "full" that refuses, and a queue "free". Channel 1 is as it was opened, channel 2 has confirms.
fn client(broker: &Arc<Broker>) -> Client {
    let mut arguments = TableBuilder::new();
    arguments.long_str("x-overflow", "reject-publish").int64("x-max-length", 1);
    let arguments = arguments.finish();
    let mut client = Client::new(broker);
    client.send(&queue::Declare { queue: "full", arguments: arguments.as_ref(), ..Default::default() });
    client.declare("free", false).publish("full", false);
    client.batch(|bytes| {
        write_method(bytes, 2, &channel::Open::default());
        write_method(bytes, 2, &confirm::Select::default());
    });
    client.received();
    client
}

fn put_publish(bytes: &mut Vec<u8>, channel: u16, queue: &str) {
    write_method(bytes, channel, &basic::Publish { routing_key: queue, ..Default::default() });
    write_header(bytes, channel, 1, &[0, 0]);
    write_body(bytes, channel, b"x", 4096);
}

#[test]
fn who_is_told_of_each_message_waits_for_the_journal_as_others_do() {
    let alone = |client: &mut Client| {
        let mut arguments = TableBuilder::new();
        arguments.long_str("x-overflow", "reject-publish").int64("x-max-length", 1000);
        let arguments = arguments.finish();
        let declare =
            queue::Declare { queue: "q", durable: true, arguments: arguments.as_ref(), ..Default::default() };
        client.send(&declare).send(&confirm::Select::default());
    };
    let together = |client: &mut Client| {
        client.declare("q", true).send(&confirm::Select::default());
    };
    let in_transactions = |client: &mut Client| {
        client.declare("q", true).send(&tx::Select);
    };
    for (case, prepare, ends) in [
        ("alone", &alone as &dyn Fn(&mut Client), false),
        ("together", &together, false),
        ("in transactions", &in_transactions, true),
    ] {
        let disk = SimulatedDisk::new(1);
        let opened =
            Journal::open(Arc::new(disk.clone()), JournalOptions::default(), Base::default(), |_| {});
        let broker = broker(opened.unwrap().0);
        let mut client = Client::new(&broker);
        prepare(&mut client);
        assert!(broker.journal.wait_durable(broker.journal.end()));
        disk.set_capacity(0);
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &basic::Publish { routing_key: "q", ..Default::default() });
        write_header(&mut bytes, 1, 1 << 20, &[0x10, 0, 2]);
        write_body(&mut bytes, 1, &vec![0; 1 << 20], 4096);
        if ends {
            write_method(&mut bytes, 1, &tx::Commit);
        }
        let mut sent = 0;
        while client.session.wants_input() {
            assert!(sent < 40, "{case}: more than 32 MiB are not written");
            assert_eq!(client.session.handle_input(&bytes, Now::at(1000)), bytes.len());
            sent += 1;
        }
        assert!(sent > 30, "{case}: {sent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn who_is_refused_is_told_and_nobody_else(
        publishes in prop::collection::vec((1_u16..3, any::<bool>(), 1_usize..4), 1..8),
    ) {
        let broker = broker(Journal::in_memory());
        let mut client = client(&broker);
        let mut expected = Vec::new();
        // The second time routes are known.
        for _ in 0..2 {
            client.batch(|bytes| {
                for &(channel, full, times) in &publishes {
                    (0..times).for_each(|_| put_publish(bytes, channel, if full { "full" } else { "free" }));
                    if channel == 2 {
                        let next = expected.len() as u64 + 1;
                        expected.extend((next..).take(times).map(|tag| (2, tag, !full)));
                    }
                }
            });
        }
        prop_assert_eq!(told(&mut client), expected);
        let free = publishes.iter().filter(|(_, full, _)| !full).map(|(.., times)| 2 * times).sum::<usize>();
        prop_assert_eq!((ready(&broker, "free").len(), ready(&broker, "full").len()), (free, 1));
    }
}
