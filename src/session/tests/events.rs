//! What sessions do, as a queue that is bound to the exchange of events gets it.

use super::*;
use crate::broker::events::EXCHANGE;
use crate::broker::queue_cell::{GetResult, QueueCell};
use crate::broker::vhost::{BindRequest, BindTarget, QueueDeclare};
use crate::ids::ConnectionId;
use crate::message::Message;
use crate::protocol::field::TableBuilder;
use crate::protocol::properties::Properties;

const WATCHER: ConnectionId = ConnectionId(99);

/// A queue that gets the events of these keys.
fn watch(broker: &Broker, key: &str) -> Arc<QueueCell> {
    let vhost = broker.vhost("/").unwrap();
    let request = QueueDeclare { name: "events", ..QueueDeclare::default() };
    let cell = vhost.declare_queue(request, WATCHER).unwrap().cell;
    let (target, arguments) = (BindTarget::Queue("events"), TableRef::EMPTY);
    vhost.bind(BindRequest { source: EXCHANGE, target, key, arguments }, WATCHER).unwrap();
    events(&cell);
    cell
}

fn events(cell: &QueueCell) -> Vec<Message> {
    let outlet = Outlet::new();
    let next = || match cell.get(true, &outlet) {
        GetResult::Got(got) => Some(got.message),
        _ => None,
    };
    std::iter::from_fn(next).collect()
}

/// The events since the last call, as keys and some of their headers.
fn seen(cell: &QueueCell, wanted: &[&str]) -> Vec<String> {
    let shown = |event: Message| {
        let headers = Properties::assume_valid(event.raw_properties()).headers().unwrap();
        let words = wanted.iter().filter_map(|key| headers.get(key)).map(|value| format!(" {value}"));
        event.routing_key().to_owned() + &words.collect::<String>()
    };
    events(cell).into_iter().map(shown).collect()
}

#[test]
fn a_connection_that_comes_and_goes() {
    let broker = broker(Journal::in_memory());
    let cell = watch(&broker, "#");
    let mut client = Client::new(&broker);
    let words = ["name", "connection_name", "user", "vhost", "pid", "connection", "number", "auth_mechanism"];
    assert_eq!(
        seen(&cell, &words),
        [
            "user.authentication.success guest test #1 PLAIN",
            "connection.created test #1 guest / <leveret@localhost.1700000000000.1> PLAIN",
            "channel.created test #1 (1) guest / <leveret@localhost.1700000000000.1.1> <leveret@localhost.1700000000000.1> 1",
        ]
    );
    let own = queue::Declare { queue: "own", exclusive: true, ..Default::default() };
    let passing = queue::Declare { queue: "passing", auto_delete: true, ..Default::default() };
    let consume = |queue, consumer_tag| basic::Consume { queue, consumer_tag, ..Default::default() };
    client.send(&own).send(&passing).send(&basic::Qos { prefetch_count: 7, ..Default::default() });
    client.send(&consume("own", "a")).send(&consume("passing", "b")).send(&consume("passing", "c"));
    client.send(&basic::Cancel { consumer_tag: "b", ..Default::default() });
    let words = ["name", "queue", "consumer_tag", "channel", "prefetch_count", "ack_required"];
    let channel = "<leveret@localhost.1700000000000.1.1>";
    assert_eq!(
        seen(&cell, &words),
        [
            "queue.created own".to_owned(),
            "queue.created passing".to_owned(),
            format!("consumer.created own a {channel} 7 true"),
            format!("consumer.created passing b {channel} 7 true"),
            format!("consumer.created passing c {channel} 7 true"),
            format!("consumer.deleted passing b {channel}"),
        ]
    );
    let mut bytes = Vec::new();
    write_method(&mut bytes, 0, &connection::Close::default());
    client.session.handle_input(&bytes, Now::at(2000));
    drop(client);
    let words = ["name", "queue", "pid", "user_who_performed_action"];
    assert_eq!(
        seen(&cell, &words),
        [
            "consumer.deleted own guest",
            "consumer.deleted passing guest",
            "queue.deleted passing rmq-internal",
            "channel.closed <leveret@localhost.1700000000000.1.1> guest",
            "queue.deleted own rmq-internal",
            "connection.closed test #1 <leveret@localhost.1700000000000.1>",
        ]
    );
}

#[test]
fn a_channel_ends_once_however_it_does() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    let cell = watch(&broker, "channel.#");
    client.send(&queue::Declare { queue: "nope", passive: true, ..Default::default() });
    client.send(&channel::CloseOk {}).send(&channel::Open::default());
    client.send(&channel::Close::default()).send(&channel::Open::default());
    client.send(&basic::Get { queue: "nope", ..Default::default() });
    drop(client);
    let pid = |serial: u32| format!("<leveret@localhost.1700000000000.1.{serial}>");
    let [one, two, three] = [1, 2, 3].map(pid);
    assert_eq!(
        seen(&cell, &["pid"]),
        [
            format!("channel.closed {one}"),
            format!("channel.created {two}"),
            format!("channel.closed {two}"),
            format!("channel.created {three}"),
            format!("channel.closed {three}"),
        ]
    );
}

#[test]
fn a_consumer_goes_with_its_queue_and_replies_are_no_queue() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    let cell = watch(&broker, "consumer.#");
    client.declare("q", false);
    client.send(&basic::Consume { queue: "q", consumer_tag: "t", no_ack: true, ..Default::default() });
    let replies = "amq.rabbitmq.reply-to";
    client.send(&basic::Consume { queue: replies, consumer_tag: "r", no_ack: true, ..Default::default() });
    client.send(&basic::Cancel { consumer_tag: "r", ..Default::default() });
    client.send(&queue::Delete { queue: "q", ..Default::default() });
    client.received();
    drop(client);
    let words = ["consumer_tag", "queue", "ack_required"];
    assert_eq!(seen(&cell, &words), ["consumer.created t q false", "consumer.deleted t q"]);
}

#[test]
fn a_wrong_password_is_told_without_it() {
    let broker = broker(Journal::in_memory());
    let cell = watch(&broker, "#");
    let mut session = connect(&broker);
    let properties = TableBuilder::new().long_str("connection_name", "mine").finish();
    let start_ok = connection::StartOk {
        client_properties: properties.as_ref(),
        mechanism: "PLAIN",
        response: b"\0guest\0geheim",
        locale: "",
    };
    let mut bytes = PROTOCOL_HEADER.to_vec();
    write_method(&mut bytes, 0, &start_ok);
    session.handle_input(&bytes, Now::at(1000));
    drop(session);
    let all = events(&cell);
    let shown: Vec<String> = all
        .iter()
        .map(|event| {
            format!(
                "{} {:?}",
                event.routing_key(),
                Properties::assume_valid(event.raw_properties()).headers()
            )
        })
        .collect();
    assert!(!shown.concat().contains("geheim"), "{shown:?}");
    let [failure, closed] = &shown[..] else { panic!("{shown:?}") };
    assert!(failure.starts_with("user.authentication.failure "), "{failure}");
    for part in
        [r#"name: "guest""#, r#"error: "user 'guest' - invalid credentials""#, r#"auth_mechanism: "PLAIN""#]
    {
        assert!(failure.contains(part), "{failure}");
    }
    assert!(closed.starts_with("connection.closed "), "{closed}");
    assert!(closed.contains(r#"user_provided_name: "mine""#), "{closed}");
}

#[test]
fn who_never_said_anything_is_no_event() {
    let broker = broker(Journal::in_memory());
    let cell = watch(&broker, "#");
    let mut session = connect(&broker);
    session.handle_input(&PROTOCOL_HEADER, Now::at(1000));
    drop(session);
    assert_eq!(seen(&cell, &[]), [""; 0]);
}
