//! What sessions count: for channels, queues, exchanges and the vhost.

use super::*;
use crate::broker::connections::{ConnectionState, OpenChannel, OpenConnection};
use crate::broker::totals::{Counted, Event};
use crate::broker::vhost::VHost;
use crate::deaths::Reason;
use crate::queue::Counts;

fn connection(broker: &Broker) -> Arc<OpenConnection> {
    broker.registry.connections().pop().unwrap()
}

fn channel(broker: &Broker) -> Arc<OpenChannel> {
    connection(broker).channel(1).unwrap()
}

fn vhost(broker: &Broker) -> Arc<VHost> {
    broker.vhost("/").unwrap()
}

fn queue_counts(broker: &Broker, name: &str) -> Counts {
    broker.queue_view(&vhost(broker), name).unwrap().counts
}

fn counted<const N: usize>(broker: &Broker, events: [Event; N]) -> [u64; N] {
    let counted: Counted = broker.totals.counted();
    assert_eq!(counted, vhost(broker).totals.counted());
    events.map(|event| counted.of(event))
}

fn publish_to(client: &mut Client, exchange: &str, key: &str, mandatory: bool) {
    let mut bytes = Vec::new();
    let publish = basic::Publish { exchange, routing_key: key, mandatory, ..Default::default() };
    write_method(&mut bytes, 1, &publish);
    write_header(&mut bytes, 1, 1, &[0, 0]);
    write_body(&mut bytes, 1, b"x", 4096);
    assert_eq!(client.session.handle_input(&bytes, Now::at(client.now)), bytes.len());
}

fn consume(client: &mut Client, queue: &str, no_ack: bool) {
    client.send(&basic::Consume { queue, consumer_tag: queue, no_ack, ..Default::default() });
}

#[test]
fn publishes_count_for_channel_exchange_queue_and_vhost() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("a", false).declare("b", false);
    for key in ["a", "b", "a", "nowhere"] {
        publish_to(&mut client, "", key, false);
    }
    publish_to(&mut client, "", "nowhere", true);
    publish_to(&mut client, "amq.fanout", "", false);
    let shown = channel(&broker);
    let counters = &shown.counters;
    assert_eq!((counters.publish.get(), counters.confirm.get()), (6, 0));
    assert_eq!((counters.drop_unroutable.get(), counters.return_unroutable.get()), (2, 1));
    let published: Vec<_> =
        shown.published().iter().map(|to| (to.exchange.clone(), to.publish.get())).collect();
    assert_eq!(published, [(String::new(), 5), ("amq.fanout".to_owned(), 1)]);
    let exchange = |name| {
        let view = vhost(&broker).exchange_view(name).unwrap();
        (view.publish_in, view.publish_out)
    };
    assert_eq!((exchange(""), exchange("amq.fanout")), ((5, 3), (1, 0)));
    assert_eq!((queue_counts(&broker, "a").publish, queue_counts(&broker, "b").publish), (2, 1));
    let events = [
        Event::Received,
        Event::ReceivedConfirm,
        Event::Routed,
        Event::UnroutableDropped,
        Event::UnroutableReturned,
        Event::RouteLookups,
    ];
    // Of three keys and a fanout each is looked up once.
    assert_eq!(counted(&broker, events), [6, 0, 3, 2, 1, 4]);
    assert_eq!(broker.totals.counted().sizes()[0], 6);
    assert_eq!(broker.totals.counted().size_sum(), 6);
}

#[test]
fn one_message_to_many_queues_is_received_once() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    for queue in ["a", "b", "c"] {
        client.declare(queue, false);
        client.send(&queue::Bind { queue, exchange: "amq.fanout", ..Default::default() });
    }
    publish_to(&mut client, "amq.fanout", "", false);
    publish_to(&mut client, "amq.fanout", "", false);
    assert_eq!(counted(&broker, [Event::Received, Event::Routed]), [2, 6]);
    let view = vhost(&broker).exchange_view("amq.fanout").unwrap();
    assert_eq!((view.publish_in, view.publish_out), (2, 6));
}

#[test]
fn confirms_count_when_they_are_sent() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("d", true).send(&confirm::Select::default());
    advance(&broker, true, true);
    client.received();
    client.publish("d", true).publish("d", true);
    let shown = channel(&broker);
    assert!(shown.confirms() && !shown.is_transactional());
    assert_eq!((shown.counters.unconfirmed.get(), shown.counters.confirm.get()), (2, 0));
    assert_eq!(counted(&broker, [Event::ReceivedConfirm, Event::Confirmed]), [2, 0]);
    advance(&broker, true, true);
    client.received();
    assert_eq!((shown.counters.unconfirmed.get(), shown.counters.confirm.get()), (0, 2));
    assert_eq!(counted(&broker, [Event::ReceivedConfirm, Event::Confirmed]), [2, 2]);
    assert_eq!(queue_counts(&broker, "d").disk_writes, 2);
}

#[test]
fn deliveries_acknowledgements_and_what_comes_back_are_told_apart() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).declare("free", false);
    consume(&mut client, "q", false);
    consume(&mut client, "free", true);
    client.publish("q", false).publish("q", false).publish("free", false);
    client.received();
    let shown = channel(&broker);
    let counters = &shown.counters;
    assert_eq!(counters.consumers.get(), 2);
    let deliveries = |shown: &OpenChannel| {
        let counters = &shown.counters;
        [&counters.deliver, &counters.deliver_no_ack, &counters.redeliver, &counters.ack, &counters.unacked]
            .map(|counter| counter.get())
    };
    assert_eq!(deliveries(&shown), [2, 1, 0, 0, 2]);
    client.send(&basic::Ack { delivery_tag: 1, multiple: false });
    client.send(&basic::Nack { delivery_tag: 2, requeue: true, ..Default::default() });
    client.received();
    assert_eq!(deliveries(&shown), [3, 1, 1, 1, 1]);
    client.send(&basic::Reject { delivery_tag: 4, requeue: false });
    assert_eq!(deliveries(&shown), [3, 1, 1, 1, 0]);
    let of = |name| {
        let from = shown.delivered().into_iter().find(|from| from.queue == name).unwrap();
        [from.deliver.get(), from.deliver_no_ack.get(), from.redeliver.get(), from.ack.get()]
    };
    assert_eq!((of("q"), of("free")), ([3, 0, 1, 1], [0, 1, 0, 0]));
    let counts = queue_counts(&broker, "q");
    assert_eq!((counts.publish, counts.deliver, counts.redeliver, counts.ack), (2, 3, 1, 1));
    assert_eq!((queue_counts(&broker, "free").deliver_no_ack, counts.deliver_get()), (1, 3));
    let events =
        [Event::DeliveredManualAck, Event::DeliveredAutoAck, Event::Redelivered, Event::Acknowledged];
    assert_eq!(counted(&broker, events), [3, 1, 1, 1]);
    assert_eq!(broker.totals.counted().delivered(), 4);
}

#[test]
fn gets_are_told_apart() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).publish("q", false).publish("q", false);
    client.send(&basic::Get { queue: "q", ..Default::default() });
    client.send(&basic::Nack { delivery_tag: 1, requeue: true, ..Default::default() });
    client.send(&basic::Get { queue: "q", no_ack: true, ..Default::default() });
    client.send(&basic::Get { queue: "q", ..Default::default() });
    client.send(&basic::Get { queue: "q", ..Default::default() });
    let shown = channel(&broker);
    assert_eq!(shown.counters.unacked.get(), 1);
    client.send(&basic::Ack { delivery_tag: 3, multiple: false });
    assert_eq!((shown.counters.unacked.get(), shown.counters.ack.get()), (0, 1));
    let expected = [2, 1, 1, 1];
    let counters = &shown.counters;
    assert_eq!(
        [&counters.get, &counters.get_no_ack, &counters.get_empty, &counters.redeliver].map(|c| c.get()),
        expected
    );
    let counts = queue_counts(&broker, "q");
    assert_eq!([counts.get, counts.get_no_ack, counts.get_empty, counts.redeliver], expected);
    let events = [Event::GotManualAck, Event::GotAutoAck, Event::GetEmpty, Event::Redelivered];
    assert_eq!(counted(&broker, events), expected);
    let from = shown.delivered().pop().unwrap();
    assert_eq!([&from.get, &from.get_no_ack, &from.get_empty, &from.redeliver].map(|c| c.get()), expected);
}

#[test]
fn a_transaction_counts_when_it_is_committed() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).publish("q", false);
    client.send(&basic::Get { queue: "q", ..Default::default() });
    client.send(&tx::Select {}).publish("q", false).publish("nowhere", false);
    client.send(&basic::Ack { delivery_tag: 1, multiple: false });
    let shown = channel(&broker);
    let waiting = || (shown.counters.uncommitted.get(), shown.counters.acks_uncommitted.get());
    assert!(shown.is_transactional());
    assert_eq!((waiting(), shown.counters.publish.get()), ((2, 1), 1));
    let bytes = || broker.totals.counted().size_sum();
    assert_eq!(bytes(), 1);
    client.send(&tx::Commit {});
    assert_eq!((waiting(), shown.counters.publish.get(), shown.counters.ack.get()), ((0, 0), 3, 1));
    let events = [Event::Received, Event::Routed, Event::UnroutableDropped, Event::Acknowledged];
    assert_eq!(counted(&broker, events), [3, 2, 1, 1]);
    client.publish("q", false).send(&tx::Rollback {});
    assert_eq!((waiting(), shown.counters.publish.get()), ((0, 0), 3));
    assert_eq!((counted(&broker, [Event::Received]), bytes()), ([3], 3));
}

#[test]
fn bytes_that_the_socket_does_not_take_are_shown() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    let pending = || connection(&broker).counters.pending.get();
    assert_eq!(pending(), 0);
    client.declare("q", false);
    assert!(pending() > 0);
    assert_eq!(pending(), client.session.output().len() as u64);
    client.received();
    assert_eq!(pending(), 0);
}

#[test]
fn what_ended_connections_counted_stays() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).publish("q", false);
    client.received();
    let shown = connection(&broker);
    let name = shown.facts.name.clone();
    assert_eq!(
        (shown.facts.auth_mechanism, shown.facts.channel_max, shown.state()),
        ("PLAIN", 10, ConnectionState::Running)
    );
    assert!(broker.registry.connection_named(&name).is_some_and(|found| Arc::ptr_eq(&found, &shown)));
    let bytes = broker.registry.bytes_of(&vhost(&broker));
    assert!(bytes.received > 0 && bytes.sent > 0 && bytes == shown.bytes());
    let churn = broker.churn();
    assert_eq!((churn.connections_opened, churn.connections_closed), (1, 0));
    assert_eq!((churn.channels_opened, churn.channels_closed), (1, 0));
    client.send(&queue::Delete { queue: "q", ..Default::default() });
    drop(client);
    assert!(broker.registry.connection_named(&name).is_none() && shown.channel_count() == 0);
    assert_eq!(counted(&broker, [Event::Received]), [1]);
    assert!(broker.registry.bytes_of(&vhost(&broker)).received > bytes.received);
    let churn = broker.churn();
    assert_eq!((churn.connections_opened, churn.connections_closed), (1, 1));
    assert_eq!((churn.channels_opened, churn.channels_closed), (1, 1));
    assert_eq!((churn.queues_declared, churn.queues_created, churn.queues_deleted), (1, 1, 1));
    assert_eq!(broker.login_attempts.of(crate::broker::churn::LoginProtocol::Amqp091), (1, 0));
}

#[test]
fn an_operator_closes_a_connection_by_its_name() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    let name = connection(&broker).facts.name.clone();
    assert!(!broker.registry.close_connection("another", "no"));
    assert!(broker.registry.close_connection(&name, "Closed via management plugin"));
    assert_eq!(client.received(), ["connection.close"]);
    let mut client = Client::new(&broker);
    assert_eq!(broker.registry.close_connections_of("nobody", |_| true, "no"), 0);
    assert_eq!(broker.registry.close_connections_of("guest", |_| false, "no"), 0);
    assert_eq!(broker.registry.close_connections_of("guest", |_| true, "yes"), 1);
    assert_eq!(client.received(), ["connection.close"]);
}

#[test]
fn dead_letters_count_by_reason() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    let arguments = crate::protocol::field::TableBuilder::new()
        .long_str("x-dead-letter-exchange", "")
        .long_str("x-dead-letter-routing-key", "graves")
        .int32("x-max-length", 1)
        .finish();
    client.declare("graves", false);
    let request = queue::Declare { queue: "q", arguments: arguments.as_ref(), ..Default::default() };
    client.send(&request).publish("q", false).publish("q", false);
    client.send(&basic::Get { queue: "q", ..Default::default() });
    client.send(&basic::Reject { delivery_tag: 1, requeue: false });
    let counted = broker.totals.counted();
    let dead =
        [Reason::MaxLen, Reason::Rejected, Reason::Expired].map(|why| counted.dead_lettered(why, false));
    assert_eq!(dead, [1, 1, 0]);
    assert_eq!(queue_counts(&broker, "graves").publish, 2);
    assert_eq!(counted.of(Event::Received), 2, "a dead letter is not received");
}

#[test]
fn a_consumer_is_shown_with_its_channel() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).send(&basic::Qos { prefetch_count: 7, ..Default::default() });
    consume(&mut client, "q", false);
    client.publish("q", false);
    let view = broker.queue_consumers(&vhost(&broker), "q").pop().unwrap();
    assert_eq!((&*view.queue, &*view.tag, view.channel, view.prefetch), ("q", "q", 1, 7));
    assert_eq!((view.ack_required, view.active, view.unacked), (true, true, 1));
    assert!(view.open_connection.is_some_and(|open| Arc::ptr_eq(&open, &connection(&broker))));
    assert_eq!(channel(&broker).counters.prefetch.get(), 7);
    let totals = broker.object_totals(None);
    assert_eq!((totals.connections, totals.channels, totals.consumers, totals.publishers), (1, 1, 1, 1));
    assert_eq!((totals.queues, totals.exchanges), (1, 8));
    assert_eq!(broker.object_totals(Some(&vhost(&broker))), totals);
    let queue = broker.queue_view(&vhost(&broker), "q").unwrap();
    assert_eq!((queue.messages(), queue.message_bytes(), queue.figures.in_memory), (1, 1, 1));
    assert_eq!((queue.figures.consumers, queue.paged_out(), queue.figures.persistent), (1, 0, 0));
}
