//! Stamps on messages, tracing, and publishing in another's name.

use super::*;
use crate::broker::options::UserOptions;
use crate::broker::queue_cell::{GetResult, QueueCell};
use crate::broker::vhost::TRACE_EXCHANGE;
use crate::identity::tags::Tags;
use crate::message::Message;
use crate::protocol::field::{ArrayBuilder, Table, TableBuilder};
use crate::protocol::properties::{Properties, PropertiesBuilder};
use crate::session::limits::Stamp;

const TRACED: &str = "traces";

fn take(cell: &QueueCell) -> Option<Message> {
    match cell.get(true, &Outlet::new()) {
        GetResult::Got(got) => Some(got.message),
        _ => None,
    }
}

/// Everything in the queue of traces: routing key, and the header `redelivered` if there is one.
fn traces(broker: &Broker) -> Vec<(String, Option<i64>)> {
    let cell = cell(broker, TRACED);
    let told = |message: Message| {
        assert_eq!((message.exchange(), message.body()), (TRACE_EXCHANGE, &b"x"[..]));
        let headers = Properties::parse(message.raw_properties()).unwrap().headers().unwrap();
        (message.routing_key().to_owned(), headers.get("redelivered").and_then(|value| value.as_int()))
    };
    std::iter::from_fn(|| take(&cell)).map(told).collect()
}

fn traced_broker() -> (Arc<Broker>, Client) {
    let broker = broker(Journal::in_memory());
    broker.set_traced(&["/".to_owned(), "nowhere".to_owned()]);
    let mut client = Client::new(&broker);
    client.declare("q", false).declare(TRACED, false);
    client.send(&queue::Bind {
        queue: TRACED,
        exchange: TRACE_EXCHANGE,
        routing_key: "#",
        ..Default::default()
    });
    assert_eq!(client.received(), ["queue.declare-ok", "queue.declare-ok", "queue.bind-ok"]);
    (broker, client)
}

impl Client {
    fn publish_with(&mut self, queue: &str, raw: &[u8]) -> &mut Self {
        self.batch(|bytes| {
            write_method(bytes, 1, &basic::Publish { routing_key: queue, ..Default::default() });
            write_header(bytes, 1, 1, raw);
            write_body(bytes, 1, b"x", 4096);
        })
    }
}

fn limits(stamp: Stamp) -> Arc<SessionLimits> {
    Arc::new(SessionLimits { stamp_time: stamp, stamp_node: stamp, ..SessionLimits::default() })
}

#[test]
fn every_publish_is_stamped_while_that_is_on() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).publish("q", false);
    client.session.wire.limits = limits(Stamp::Overwrite);
    client.now = 5678;
    client.publish("q", true).send(&tx::Select {}).publish("q", false).send(&tx::Commit {});
    let cell = cell(&broker, "q");
    assert_eq!(take(&cell).unwrap().raw_properties(), [0, 0], "from before");
    for _ in 0..2 {
        let message = take(&cell).unwrap();
        let properties = Properties::parse(message.raw_properties()).unwrap();
        assert_eq!(properties.timestamp(), Some(1_700_000_005));
        let expected = TableBuilder::new()
            .int64("timestamp_in_ms", 1_700_000_005_678)
            .long_str("x-routed-by", "leveret")
            .finish();
        assert_eq!(properties.headers(), Some(expected.as_ref()));
    }
}

#[test]
fn a_message_in_the_same_read_as_the_login_is_stamped_with_the_time() {
    let broker = broker(Journal::in_memory());
    Client::new(&broker).declare("q", false);
    let mut session = connect(&broker);
    session.wire.limits = limits(Stamp::Keep);
    let mut bytes = handshake(0);
    write_method(&mut bytes, 1, &basic::Publish { routing_key: "q", ..Default::default() });
    write_header(&mut bytes, 1, 0, &[0, 0]);
    session.handle_input(&bytes, Now::at(1000));
    let message = take(&cell(&broker, "q")).unwrap();
    assert_eq!(Properties::parse(message.raw_properties()).unwrap().timestamp(), Some(1_700_000_001));
}

#[test]
fn a_trace_says_who_published_what_and_where_it_went() {
    let (broker, mut client) = traced_broker();
    let cc = ArrayBuilder::new().long_str("copy").finish();
    let headers = TableBuilder::new().array("CC", cc.as_ref()).finish();
    let raw = PropertiesBuilder::new()
        .set_headers(Some(&headers))
        .set_delivery_mode(2)
        .set_kind("order")
        .set_timestamp(7)
        .finish();
    client.publish_with("q", &raw);
    let copy = take(&cell(&broker, TRACED)).unwrap();
    assert_eq!((copy.routing_key(), copy.body()), ("publish.", &b"x"[..]));
    let strings = |keys: &[&str]| {
        let mut array = ArrayBuilder::new();
        keys.iter().for_each(|key| {
            array.long_str(key);
        });
        array.finish()
    };
    let properties: Table = TableBuilder::new()
        .long_str("type", "order")
        .int32("delivery_mode", 2)
        .int64("timestamp", 7)
        .table("headers", headers.as_ref())
        .finish();
    let expected = TableBuilder::new()
        .long_str("exchange_name", "")
        .array("routing_keys", strings(&["q", "copy"]).as_ref())
        .table("properties", properties.as_ref())
        .long_str("node", "leveret")
        .array("routed_queues", strings(&["q"]).as_ref())
        .long_str("vhost", "/")
        .long_str("connection", "test")
        .int32("channel", 1)
        .long_str("user", "guest")
        .finish();
    let found = Properties::parse(copy.raw_properties()).unwrap();
    assert_eq!(found.headers(), Some(expected.as_ref()));
    assert_eq!(found.delivery_mode(), None, "a copy is transient");
}

#[test]
fn deliveries_are_traced_however_they_are_made() {
    let (broker, mut client) = traced_broker();
    client.publish("q", false).publish("q", false);
    client.consume("q", "t", false);
    client.send(&queue::Declare { queue: "other", ..Default::default() });
    client.publish("other", false).send(&basic::Get { queue: "other", ..Default::default() });
    client.received();
    client.send(&basic::Recover { requeue: true });
    client.received();
    let told = traces(&broker);
    let count = |key: &str, redelivered: Option<i64>| {
        told.iter().filter(|(known, flag)| known == key && *flag == redelivered).count()
    };
    assert_eq!(count("publish.", None), 3, "{told:?}");
    assert_eq!((count("deliver.q", Some(0)), count("deliver.q", Some(1))), (2, 2), "{told:?}");
    assert_eq!((count("deliver.other", Some(0)), told.len()), (1, 8), "{told:?}");
}

#[test]
fn copies_are_not_copied_and_nobody_else_publishes_to_their_exchange() {
    let (broker, mut client) = traced_broker();
    client.publish("q", false).consume(TRACED, "t", true);
    assert_eq!(client.received(), ["basic.consume-ok", "basic.deliver"]);
    assert_eq!(client.received(), [""; 0]);
    let publish = basic::Publish { exchange: TRACE_EXCHANGE, routing_key: "publish.", ..Default::default() };
    client.batch(|out| {
        write_method(out, 1, &publish);
        write_header(out, 1, 0, &[0, 0]);
    });
    assert_eq!(client.received(), ["channel.close"]);
    assert_eq!(traces(&broker), []);
}

#[test]
fn transactions_are_traced_when_they_are_committed() {
    let (broker, mut client) = traced_broker();
    client.send(&tx::Select {}).publish("q", false).send(&tx::Rollback {});
    assert_eq!(traces(&broker), []);
    client.publish("q", false).publish("nowhere", false);
    assert_eq!(traces(&broker), []);
    client.send(&tx::Commit {});
    assert_eq!(traces(&broker).len(), 2, "one that went nowhere too");
}

#[test]
fn tracing_is_switched_for_connections_that_are_open() {
    let (broker, mut client) = traced_broker();
    client.publish("q", false);
    broker.set_traced(&[]);
    client.publish("q", false);
    assert_eq!(traces(&broker).len(), 1);
    broker.set_traced(&["/".to_owned()]);
    client.publish("q", false);
    assert_eq!(traces(&broker).len(), 1);
}

#[test]
fn only_an_impersonator_publishes_in_anothers_name() {
    let user = |name: &str, tags: &[&str]| UserOptions {
        name: name.to_owned(),
        password: "guest".to_owned(),
        vhosts: vec!["/".to_owned()],
        tags: Tags::parse(tags.iter().copied()).ok(),
        max_connections: None,
        max_channels: None,
        only_first: false,
    };
    for (tags, expected) in [(&[][..], "channel.close"), (&["impersonator"], "queue.declare-ok")] {
        let options = BrokerOptions { users: vec![user("guest", tags)], ..BrokerOptions::default() };
        let broker = Broker::with_journal(options, Journal::in_memory(), Some(1));
        let mut client = Client::new(&broker);
        client.declare("q", false).received();
        client.publish_with("q", &PropertiesBuilder::new().set_user_id("guest").finish());
        client.publish_with("q", &PropertiesBuilder::new().set_user_id("somebody").finish());
        client.declare("q", false);
        let (bytes, names) = client.received_bytes();
        assert_eq!(names, [expected]);
        let text = "user_id property set to 'somebody' but authenticated user was 'guest'";
        assert_eq!(String::from_utf8_lossy(&bytes).contains(text), expected == "channel.close");
    }
}
