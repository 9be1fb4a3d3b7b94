//! Direct reply-to.

use super::*;
use crate::broker::outlet::CAPACITY;
use crate::broker::vhost::REPLY_TO;
use crate::protocol::content::ContentHeader;
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// A delivered message as its receiver sees it.
#[derive(Debug, PartialEq)]
struct Got {
    tag: u64,
    redelivered: bool,
    exchange: String,
    routing_key: String,
    properties: Vec<u8>,
    body: Vec<u8>,
}

/// A way for a requester to end.
type End = fn(&mut Client);

fn publish(to: &str, properties: &[u8], body: &[u8], mandatory: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_method(&mut bytes, 1, &basic::Publish { routing_key: to, mandatory, ..Default::default() });
    write_header(&mut bytes, 1, body.len() as u64, properties);
    write_body(&mut bytes, 1, body, 4096);
    bytes
}

impl Client {
    fn request(&mut self, to: &str) -> &mut Self {
        let properties = PropertiesBuilder::new().set_reply_to(REPLY_TO).set_priority(3).finish();
        let bytes = publish(to, &properties, b"ask", false);
        self.batch(|out| out.extend_from_slice(&bytes))
    }

    fn answer(&mut self, to: &str, body: &[u8]) -> &mut Self {
        let bytes = publish(to, &[0x10, 0, 2], body, true);
        self.batch(|out| out.extend_from_slice(&bytes))
    }

    fn consume_replies(&mut self) -> &mut Self {
        self.consume(REPLY_TO, "replies", true)
    }

    /// The deliveries that are there. Everything else would be a failure.
    fn deliveries(&mut self) -> Vec<Got> {
        let (bytes, _) = self.received_bytes();
        let mut all: Vec<Got> = Vec::new();
        let mut rest = &bytes[..];
        while let Ok(Next::Frame(frame)) = next_frame(rest, u32::MAX) {
            rest = &rest[frame.wire_len()..];
            match (frame.kind, all.last_mut()) {
                (FrameKind::Method, _) => match Method::decode(frame.payload).unwrap() {
                    Method::Basic(basic::Method::Deliver(deliver)) => all.push(Got {
                        tag: deliver.delivery_tag,
                        redelivered: deliver.redelivered,
                        exchange: deliver.exchange.into(),
                        routing_key: deliver.routing_key.into(),
                        properties: Vec::new(),
                        body: Vec::new(),
                    }),
                    method => panic!("{}", method.name()),
                },
                (FrameKind::Header, Some(got)) => {
                    got.properties = ContentHeader::assume_valid(frame.payload).properties.raw().to_vec();
                }
                (FrameKind::Body, Some(got)) => got.body.extend_from_slice(frame.payload),
                _ => panic!("a content without its method"),
            }
        }
        all
    }
}

/// A requester that consumes replies, and a server that consumes from "rpc".
fn pair(broker: &Arc<Broker>) -> (Client, Client) {
    let (mut requester, mut server) = (Client::new(broker), Client::new(broker));
    server.declare("rpc", false).consume("rpc", "work", true);
    requester.consume_replies();
    assert_eq!(requester.received(), ["basic.consume-ok"]);
    assert_eq!(server.received(), ["queue.declare-ok", "basic.consume-ok"]);
    (requester, server)
}

/// The `reply_to` that the server sees of one request.
fn reply_to(requester: &mut Client, server: &mut Client) -> String {
    requester.request("rpc");
    let [got] = &server.deliveries()[..] else { panic!("one request") };
    let properties = Properties::parse(&got.properties).unwrap();
    assert_eq!((properties.priority(), &got.body[..]), (Some(3), &b"ask"[..]), "nothing else changed");
    String::from_utf8(properties.reply_to().unwrap().to_vec()).unwrap()
}

#[test]
fn a_reply_from_any_connection_reaches_who_asked_and_nobody_else() {
    let broker = broker(Journal::in_memory());
    let (mut requester, mut server) = pair(&broker);
    let mut other = Client::new(&broker);
    other.consume_replies().received();
    let address = reply_to(&mut requester, &mut server);
    let opaque = address.strip_prefix("amq.rabbitmq.reply-to.").unwrap();
    assert!(opaque.len() >= 22, "{opaque}");
    assert_eq!(reply_to(&mut requester, &mut server), address, "one for the consumer's life");
    assert_ne!(reply_to(&mut other, &mut server), address);

    server.answer(&address, b"one");
    let mut stranger = Client::new(&broker);
    stranger.answer(&address, b"two");
    assert_eq!((server.received(), stranger.received()), (vec![], vec![]), "mandatory is met");
    let got = requester.deliveries();
    let expected = |tag, body: &[u8]| Got {
        tag,
        redelivered: false,
        exchange: String::new(),
        routing_key: address.clone(),
        properties: vec![0x10, 0, 2],
        body: body.to_vec(),
    };
    assert_eq!(got, [expected(1, b"one"), expected(2, b"two")]);
    assert_eq!(other.deliveries(), []);
}

#[test]
fn replies_are_confirmed_and_take_part_in_transactions() {
    let broker = broker(Journal::in_memory());
    let (mut requester, mut server) = pair(&broker);
    let address = reply_to(&mut requester, &mut server);
    server.send(&tx::Select {}).answer(&address, b"x");
    assert_eq!((server.received(), requester.deliveries().len()), (vec!["tx.select-ok"], 0));
    server.send(&tx::Commit {});
    assert_eq!((server.received(), requester.deliveries().len()), (vec!["tx.commit-ok"], 1));
    let mut other = Client::new(&broker);
    other.send(&confirm::Select::default()).answer(&address, b"y");
    assert_eq!(other.received(), ["confirm.select-ok", "basic.ack"]);
    assert_eq!(requester.deliveries().len(), 1);
}

#[test]
fn refusals_are_those_of_the_contract() {
    let broker = broker(Journal::in_memory());
    let text = |client: &mut Client| {
        let (bytes, names) = client.received_bytes();
        assert_eq!(names.last(), Some(&"channel.close"), "{names:?}");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut client = Client::new(&broker);
    client.request("nowhere");
    assert!(text(&mut client).contains("PRECONDITION_FAILED - fast reply consumer does not exist"));
    let mut client = Client::new(&broker);
    client.consume(REPLY_TO, "t", false);
    assert!(text(&mut client).contains("PRECONDITION_FAILED - reply consumer cannot acknowledge"));
    let mut client = Client::new(&broker);
    client.consume_replies().consume(REPLY_TO, "another", true);
    assert!(text(&mut client).contains("PRECONDITION_FAILED - reply consumer already set"));
    // The channel that has the consumer is the one to publish on.
    let mut client = Client::new(&broker);
    client.consume_replies();
    client.batch(|out| {
        write_method(out, 2, &channel::Open::default());
        let properties = PropertiesBuilder::new().set_reply_to(REPLY_TO).finish();
        write_method(out, 2, &basic::Publish { routing_key: "x", ..Default::default() });
        write_header(out, 2, 0, &properties);
    });
    assert!(text(&mut client).contains("fast reply consumer does not exist"));
    // One that was cancelled makes room for the next, and is none itself.
    let mut client = Client::new(&broker);
    let cancel = basic::Cancel { consumer_tag: "replies", no_wait: false };
    client.consume_replies().send(&cancel).consume_replies().request("nowhere").send(&cancel);
    assert_eq!(
        client.received(),
        ["basic.consume-ok", "basic.cancel-ok", "basic.consume-ok", "basic.cancel-ok"]
    );
    client.request("nowhere");
    assert!(text(&mut client).contains("fast reply consumer does not exist"));
}

#[test]
fn an_address_ends_with_its_consumer() {
    let ends: [(&str, End); 4] = [
        ("cancel", |client| {
            client.send(&basic::Cancel { consumer_tag: "replies", no_wait: false });
        }),
        ("close", |client| {
            client.send(&channel::Close::default());
        }),
        ("channel error", |client| {
            client.send(&basic::Ack { delivery_tag: 77, multiple: false });
        }),
        ("connection", |client| client.session.handle_closed_by_peer("test", Now::at(client.now))),
    ];
    for (how, end) in ends {
        let broker = broker(Journal::in_memory());
        let (mut requester, mut server) = pair(&broker);
        let address = reply_to(&mut requester, &mut server);
        let declare = queue::Declare { queue: &address, durable: true, ..Default::default() };
        let passive = queue::Declare { queue: &address, passive: true, ..Default::default() };
        assert_eq!(server.send(&declare).send(&passive).received(), ["queue.declare-ok"; 2], "{how}");
        let user = broker.users.login("guest", b"guest", true).unwrap();
        let vhost = broker.open_vhost("/", &user).unwrap();
        assert_eq!(vhost.queues().len(), 2);
        // It is not read, and goes with the queue.
        server.answer(&address, b"late");
        end(&mut requester);
        assert_eq!(vhost.queues().len(), 1, "{how}");
        assert_eq!(server.answer(&address, b"too late").received(), ["basic.return"], "{how}");
        let (bytes, names) = server.send(&passive).received_bytes();
        assert_eq!(names, ["channel.close"]);
        assert!(String::from_utf8_lossy(&bytes).contains("NOT_FOUND - no queue 'amq.rabbitmq.reply-to."));
        assert_eq!(broker.message_memory(), 0, "{how}");
    }
}

#[test]
fn a_reply_queue_is_nobodys_to_bind_read_or_delete() {
    let broker = broker(Journal::in_memory());
    let (mut requester, mut server) = pair(&broker);
    let address = reply_to(&mut requester, &mut server);
    for name in [&address[..], REPLY_TO] {
        let refused = |send: &dyn Fn(&mut Client), code: &str| {
            let mut client = Client::new(&broker);
            send(&mut client);
            let (bytes, names) = client.received_bytes();
            assert_eq!(names, ["channel.close"]);
            assert!(String::from_utf8_lossy(&bytes).contains(code), "{name}: {code}");
        };
        refused(
            &|client| {
                client.send(&queue::Bind { queue: name, exchange: "amq.fanout", ..Default::default() });
            },
            "ACCESS_REFUSED",
        );
        refused(
            &|client| {
                client.send(&basic::Get { queue: name, ..Default::default() });
            },
            "NOT_FOUND",
        );
        refused(
            &|client| {
                client.send(&queue::Purge { queue: name, ..Default::default() });
            },
            "NOT_FOUND",
        );
        let mut client = Client::new(&broker);
        client.send(&queue::Delete { queue: name, ..Default::default() });
        assert_eq!(client.received(), ["queue.delete-ok"], "as of any that is not there");
    }
    let mut client = Client::new(&broker);
    client.consume(&address, "t", true);
    assert_eq!(client.received(), ["channel.close"]);
    server.answer(&address, b"still there");
    assert_eq!(requester.deliveries().len(), 1);
}

#[test]
fn a_requester_that_does_not_read_holds_no_more_than_its_outlet_and_loses_nothing() {
    let broker = broker(Journal::in_memory());
    let (mut requester, mut server) = pair(&broker);
    let address = reply_to(&mut requester, &mut server);
    let body = vec![7; 100_000];
    let count = 4 * CAPACITY / body.len();
    for _ in 0..count {
        server.answer(&address, &body);
    }
    requester.session.handle_wake(Now::at(requester.now));
    let waiting = requester.session.output().len();
    assert!(waiting > CAPACITY / 2 && waiting < CAPACITY + CAPACITY / 8, "{waiting}");
    let mut tags = Vec::new();
    while tags.len() < count {
        let got = requester.deliveries();
        assert!(!got.is_empty(), "{} of {count}", tags.len());
        tags.extend(got.iter().map(|got| got.tag));
    }
    assert_eq!(tags, (1..=count as u64).collect::<Vec<_>>());
    assert_eq!(server.received(), [""; 0]);
}

#[test]
fn what_is_no_request_for_direct_replies_passes_as_it_is() {
    let broker = broker(Journal::in_memory());
    let (mut requester, mut server) = pair(&broker);
    for address in ["answers", "amq.rabbitmq.reply-to.of-another", "amq.rabbitmq.reply-tox", ""] {
        let properties = PropertiesBuilder::new().set_reply_to(address).finish();
        let bytes = publish("rpc", &properties, b"", false);
        requester.batch(|out| out.extend_from_slice(&bytes));
        assert_eq!(server.deliveries()[0].properties, properties, "{address}");
    }
}
