//! Sessions without sockets: what leaves when, on a journal whose positions move only when a test says so.

mod alike;
mod counting;
mod events;
mod flushing;
mod interceptors;
mod prefetch;
mod refusals;
mod replies;
mod rights;
mod timeouts;
mod transactions;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::broker::options::BrokerOptions;
use crate::ids::Progress;
use crate::protocol::content::{write_body, write_header};
use crate::protocol::field::TableRef;
use crate::protocol::frame::{FRAME_OVERHEAD, FrameKind};
use crate::protocol::method::{Args, Method, basic, channel, confirm, connection, queue, tx, write_method};
use crate::storage::journal::Journal;

/// A client: bytes in, the names of the frames that come back.
struct Client {
    session: Session,
    now: u64,
}

fn broker(journal: Journal) -> Arc<Broker> {
    Broker::with_journal(BrokerOptions::default(), journal, Some(1))
}

fn connect(broker: &Arc<Broker>) -> Session {
    let peer = Peer { address: "test".into(), is_loopback: true, ..Peer::default() };
    Session::new(
        broker.clone(),
        Arc::new(SessionLimits::default()),
        peer,
        Duration::from_secs(30),
        Now::at(1000),
    )
}

fn handshake(heartbeat: u16) -> Vec<u8> {
    let mut bytes = PROTOCOL_HEADER.to_vec();
    let start_ok = connection::StartOk {
        client_properties: TableRef::EMPTY,
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "",
    };
    write_method(&mut bytes, 0, &start_ok);
    write_method(&mut bytes, 0, &connection::TuneOk { channel_max: 10, frame_max: 4096, heartbeat });
    write_method(&mut bytes, 0, &connection::Open { virtual_host: "/", ..Default::default() });
    write_method(&mut bytes, 1, &channel::Open::default());
    bytes
}

impl Client {
    fn new(broker: &Arc<Broker>) -> Self {
        let mut client = Self { session: connect(broker), now: 1000 };
        client.session.outlet().register(Waker::noop());
        client.session.handle_input(&handshake(0), Now::at(1000));
        assert_eq!(
            client.received(),
            ["connection.start", "connection.tune", "connection.open-ok", "channel.open-ok"]
        );
        client
    }

    fn send<M: Args>(&mut self, method: &M) -> &mut Self {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, method);
        assert_eq!(self.session.handle_input(&bytes, Now::at(self.now)), bytes.len());
        self
    }

    fn publish(&mut self, queue: &str, persistent: bool) -> &mut Self {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &basic::Publish { routing_key: queue, ..Default::default() });
        let properties: &[u8] = if persistent { &[0x10, 0, 2] } else { &[0, 0] };
        write_header(&mut bytes, 1, 1, properties);
        write_body(&mut bytes, 1, b"x", 4096);
        assert_eq!(self.session.handle_input(&bytes, Now::at(self.now)), bytes.len());
        self
    }

    fn declare(&mut self, queue: &str, durable: bool) -> &mut Self {
        self.send(&queue::Declare { queue, durable, ..Default::default() })
    }

    /// Looks into the outlet and takes everything that waits for the socket: all of it, and the methods' names.
    fn received_bytes(&mut self) -> (Vec<u8>, Vec<&'static str>) {
        let now = Now::at(self.now);
        self.session.handle_wake(now);
        let mut names = Vec::new();
        let mut bytes = Vec::new();
        while !self.session.output().is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); crate::output::MAX_SLICES];
            let filled = self.session.output().slices(&mut slices);
            let before = bytes.len();
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
            let taken = bytes.len() - before;
            self.session.handle_written(taken, now);
        }
        let mut rest = &bytes[..];
        while let Ok(Next::Frame(frame)) = next_frame(rest, u32::MAX) {
            match frame.kind {
                FrameKind::Method => names.push(Method::decode(frame.payload).unwrap().name()),
                FrameKind::Heartbeat => names.push("heartbeat"),
                FrameKind::Header | FrameKind::Body => {}
            }
            rest = &rest[frame.wire_len()..];
        }
        (bytes, names)
    }

    fn received(&mut self) -> Vec<&'static str> {
        self.received_bytes().1
    }
}

fn advance(broker: &Broker, written: bool, durable: bool) {
    let end = broker.journal.end();
    let progress = broker.journal.progress();
    broker.journal.advance(Progress {
        written: if written { end } else { progress.written },
        durable: if durable { end } else { progress.durable },
    });
}

#[test]
fn who_is_refused_keeps_a_place_among_the_handshakes_while_the_socket_is_open() {
    let broker = broker(Journal::in_memory());
    let nowhere = connection::Open { virtual_host: "nowhere", ..Default::default() };
    for is_known in [false, true] {
        let mut session = connect(&broker);
        let source = std::net::IpAddr::from([192, 0, 2, 1]);
        session.count_among_handshakes_of(source);
        broker.registry.set_source_limit(1);
        let mut bytes = if is_known { handshake(0) } else { PROTOCOL_HEADER.to_vec() };
        if is_known {
            // All but the opening of a vhost and a channel.
            let mut rest = Vec::new();
            write_method(&mut rest, 0, &connection::Open { virtual_host: "/", ..Default::default() });
            write_method(&mut rest, 1, &channel::Open::default());
            bytes.truncate(bytes.len() - rest.len());
        }
        write_method(&mut bytes, 0, &nowhere);
        session.handle_input(&bytes, Now::at(1000));
        assert!(matches!(session.state, State::Farewell(_)));
        assert_eq!((broker.registry.handshakes(), broker.registry.len()), (1, 0), "{is_known}");
        // Who has logged in and found a place is no stranger.
        assert_eq!(broker.registry.has_room_for(source.into()), is_known);
        drop(session);
        assert_eq!((broker.registry.handshakes(), broker.registry.len()), (0, 0));
        assert!(broker.registry.has_room_for(source.into()));
    }
    let client = Client::new(&broker);
    assert_eq!((broker.registry.handshakes(), broker.registry.len()), (0, 1));
    let mut session = client.session;
    session.fail(AmqpError::new(ReplyCode::InternalError, "over"), Now::at(1000));
    assert_eq!((broker.registry.handshakes(), broker.registry.len()), (0, 0), "it was no stranger");
}

#[test]
fn a_durable_declare_is_answered_when_it_is_durable_and_later_replies_wait_behind_it() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("t", false);
    assert_eq!(client.received(), ["queue.declare-ok"], "nothing to wait for");
    client.declare("d", true).send(&basic::Qos::default()).publish("d", false);
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, false);
    assert_eq!(client.received(), [""; 0], "written is not enough");
    advance(&broker, true, true);
    assert_eq!(client.received(), ["queue.declare-ok", "basic.qos-ok"]);
}

#[test]
fn another_connection_is_not_told_of_a_queue_that_is_not_durable_yet() {
    let broker = broker(Journal::stepped());
    let (mut one, mut other) = (Client::new(&broker), Client::new(&broker));
    one.declare("d", true);
    other.declare("d", true).send(&queue::Declare { queue: "d", passive: true, ..Default::default() });
    assert_eq!(other.received(), [""; 0]);
    advance(&broker, true, true);
    assert_eq!(one.received(), ["queue.declare-ok"]);
    assert_eq!(other.received(), ["queue.declare-ok", "queue.declare-ok"]);
}

#[test]
fn confirms_wait_for_durability_only_where_something_is_kept() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("t", false).declare("d", true).send(&confirm::Select::default());
    advance(&broker, true, true);
    client.received();
    client.publish("t", true).publish("d", false).publish("nowhere", true);
    assert_eq!(client.received(), ["basic.ack"; 3]);
    client.publish("d", true).publish("t", false);
    assert_eq!(client.received(), [""; 0], "a later one waits its turn");
    advance(&broker, true, false);
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, true);
    assert_eq!(client.received(), ["basic.ack"], "one for both");
}

#[test]
fn closing_a_channel_sends_its_confirms_first() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("d", true).send(&confirm::Select::default());
    advance(&broker, true, true);
    client.received();
    client.publish("d", true).send(&channel::Close::default());
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, true);
    assert_eq!(client.received(), ["basic.ack", "channel.close-ok"]);
    assert_eq!(client.send(&channel::Open::default()).received(), ["channel.open-ok"]);
}

#[test]
fn a_reply_after_acks_waits_until_they_are_written() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("d", true).publish("d", true);
    client.send(&basic::Get { queue: "d", ..Default::default() });
    advance(&broker, true, true);
    assert_eq!(client.received(), ["queue.declare-ok", "basic.get-ok"]);
    client.send(&basic::Ack { delivery_tag: 1, multiple: false }).send(&basic::Qos::default());
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, false);
    assert_eq!(client.received(), ["basic.qos-ok"]);
}

#[test]
fn closing_a_channel_after_acks_is_answered_when_they_are_written() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("d", true).publish("d", true).publish("d", true);
    client.send(&basic::Get { queue: "d", ..Default::default() });
    advance(&broker, true, true);
    assert_eq!(client.received(), ["queue.declare-ok", "basic.get-ok"]);
    client.send(&basic::Ack { delivery_tag: 1, multiple: false }).send(&channel::Close::default());
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, false);
    assert_eq!(client.received(), ["channel.close-ok"]);
    assert_eq!(client.send(&channel::Open::default()).received(), ["channel.open-ok"]);
}

#[test]
fn flow_and_recover_after_acks_are_answered_when_they_are_written() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("d", true).publish("d", true).publish("d", true);
    client.send(&basic::Get { queue: "d", ..Default::default() });
    client.send(&basic::Get { queue: "d", ..Default::default() });
    advance(&broker, true, true);
    assert_eq!(client.received(), ["queue.declare-ok", "basic.get-ok", "basic.get-ok"]);
    client.send(&basic::Ack { delivery_tag: 1, multiple: false }).send(&channel::Flow { active: true });
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, false);
    assert_eq!(client.received(), ["channel.flow-ok"]);
    client.send(&basic::Ack { delivery_tag: 2, multiple: false }).send(&basic::Recover { requeue: true });
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, false);
    assert_eq!(client.received(), ["basic.recover-ok"]);
}

#[test]
fn a_consumer_gets_nothing_before_its_consume_ok_and_deliveries_never_wait() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("d", true).publish("d", true);
    client.send(&basic::Consume { queue: "d", ..Default::default() });
    assert_eq!(client.received(), [""; 0], "consume-ok is behind declare-ok");
    advance(&broker, true, true);
    assert_eq!(client.received(), ["queue.declare-ok", "basic.consume-ok", "basic.deliver"]);
    client.publish("d", true);
    assert_eq!(client.received(), ["basic.deliver"]);
}

#[test]
fn a_commit_is_answered_when_all_of_it_is_durable() {
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    client.declare("d", true).send(&tx::Select {});
    advance(&broker, true, true);
    client.received();
    client.publish("d", true).publish("d", true);
    assert_eq!(broker.journal.end(), broker.journal.progress().durable, "nothing happens before the commit");
    client.send(&tx::Commit {});
    assert_eq!(client.received(), [""; 0]);
    advance(&broker, true, true);
    assert_eq!(client.received(), ["tx.commit-ok"]);
}

#[test]
fn a_session_asks_the_journal_to_be_woken() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let broker = broker(Journal::stepped());
    let mut client = Client::new(&broker);
    let flag = Arc::new(Flag(false.into()));
    client.session.outlet().register(&Waker::from(flag.clone()));
    client.declare("d", true);
    assert!(!flag.0.load(std::sync::atomic::Ordering::SeqCst));
    advance(&broker, true, true);
    assert!(flag.0.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(broker.journal.progress().durable, broker.journal.end());
}

#[test]
fn any_split_of_the_input_gives_the_same_answers() {
    let mut input = handshake(0);
    for i in 0..3 {
        write_method(&mut input, 1, &queue::Declare { queue: "q", ..Default::default() });
        write_method(&mut input, 1, &basic::Publish { routing_key: "q", ..Default::default() });
        write_header(&mut input, 1, 10_000, &[0, 0]);
        write_body(&mut input, 1, &[i; 10_000], 4096);
        write_method(&mut input, 1, &basic::Get { queue: "q", ..Default::default() });
    }
    let answers = |step: usize| {
        let broker = broker(Journal::in_memory());
        let mut client = Client { session: connect(&broker), now: 1000 };
        let (mut kept, mut names) = (Vec::new(), Vec::new());
        for chunk in input.chunks(step) {
            kept.extend_from_slice(chunk);
            let used = client.session.handle_input(&kept, Now::at(1000));
            kept.drain(..used);
            names.extend(client.received());
        }
        assert!(kept.is_empty());
        names
    };
    let whole = answers(input.len());
    assert_eq!(whole.len(), 4 + 6);
    for step in [1, 2, 3, 7, 100, 4095, 4096, 4097] {
        assert_eq!(answers(step), whole, "in steps of {step}");
    }
}

#[test]
fn frames_are_small_until_the_connection_is_open() {
    let broker = broker(Journal::in_memory());
    let mut open = Vec::new();
    write_method(&mut open, 0, &connection::Open { virtual_host: "/", ..Default::default() });
    write_method(&mut open, 1, &channel::Open::default());
    let mut whole = handshake(0);
    // What the client chooses is as large as what it is offered.
    whole.truncate(whole.len() - open.len() - FRAME_OVERHEAD - 12);
    write_method(&mut whole, 0, &connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 });
    let large = [&[1, 0, 1][..], &9000_u32.to_be_bytes()].concat();
    for (is_open, last) in [(true, "channel.open-ok"), (false, "connection.close")] {
        let mut client = Client { session: connect(&broker), now: 1000 };
        client.session.handle_input(&whole, Now::at(1000));
        if is_open {
            client.session.handle_input(&open, Now::at(1000));
        }
        client.session.handle_input(&large, Now::at(1000));
        assert_eq!(client.received().last(), Some(&last));
    }
}

#[test]
fn heartbeats_leave_at_half_the_interval_and_a_silent_peer_is_cut() {
    let broker = broker(Journal::in_memory());
    let mut client = Client { session: connect(&broker), now: 1000 };
    client.session.handle_input(&handshake(10), Now::at(1000));
    client.received();
    let due = client.session.poll_timeout().unwrap();
    assert_eq!(due, Moment(6000), "five seconds after the last byte out");
    client.now = due.0;
    client.session.handle_timeout(Now::at(client.now));
    assert_eq!(client.received(), ["heartbeat"]);
    client.now = 26_000 - 1;
    client.session.handle_timeout(Now::at(client.now));
    assert!(!client.session.is_over(Now::at(client.now)));
    client.now = 26_000;
    client.session.handle_timeout(Now::at(client.now));
    assert!(client.session.is_over(Now::at(client.now)), "two and a half intervals");
    assert!(client.session.ends_abruptly(Now::at(client.now)));
}

impl Client {
    /// Hands several methods in as one read.
    fn batch(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        assert_eq!(self.session.handle_input(&bytes, Now::at(self.now)), bytes.len());
        self
    }

    fn consume(&mut self, queue: &str, consumer_tag: &str, no_ack: bool) -> &mut Self {
        self.send(&basic::Consume { queue, consumer_tag, no_ack, ..Default::default() })
    }
}

fn cell(broker: &Broker, queue: &str) -> Arc<crate::broker::queue_cell::QueueCell> {
    let user = broker.users.login("guest", b"guest", true).unwrap();
    broker.open_vhost("/", &user).unwrap().find_queue(queue, crate::ids::ConnectionId(99)).unwrap()
}

/// Everything ready in a queue: position and whether it was delivered before.
fn ready(broker: &Broker, queue: &str) -> Vec<(u64, bool)> {
    let cell = cell(broker, queue);
    std::iter::from_fn(|| match cell.get(false, &crate::broker::outlet::Outlet::new()) {
        crate::broker::queue_cell::GetResult::Got(got) => Some((got.position.0, got.redelivered)),
        _ => None,
    })
    .collect()
}

#[test]
fn the_notice_of_a_deleted_queue_never_reaches_a_later_consumer() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("one", false).declare("two", false).consume("one", "t", false);
    client.received();
    client.batch(|out| {
        write_method(out, 1, &queue::Delete { queue: "one", ..Default::default() });
        write_method(out, 1, &basic::Cancel { consumer_tag: "t", no_wait: false });
        write_method(out, 1, &basic::Consume { queue: "two", consumer_tag: "t", ..Default::default() });
    });
    assert_eq!(client.received(), ["queue.delete-ok", "basic.cancel-ok", "basic.consume-ok"]);
    assert_eq!(client.publish("two", false).received(), ["basic.deliver"]);
    drop(client);
    assert_eq!(cell(&broker, "two").counts().1, 0);
    assert_eq!(ready(&broker, "two"), [(0, true)]);
}

#[test]
fn recover_leaves_a_transaction_as_it_is() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).publish("q", false).publish("q", false).send(&tx::Select {});
    for _ in 0..2 {
        client.send(&basic::Get { queue: "q", ..Default::default() });
    }
    client.publish("q", false).send(&basic::Ack { delivery_tag: 1, multiple: false });
    client.send(&basic::Recover { requeue: true }).send(&tx::Commit {});
    client.received();
    assert_eq!(ready(&broker, "q"), [(1, true), (2, false)]);
}

#[test]
fn a_client_that_was_not_read_is_not_taken_for_gone() {
    let broker = broker(Journal::in_memory());
    let mut client = Client { session: connect(&broker), now: 1000 };
    client.session.handle_input(&handshake(10), Now::at(1000));
    client.received();
    broker.set_memory_alarm(true);
    client.declare("q", false).publish("q", false);
    assert!(!client.session.wants_input());
    for now in (1000..60_000).step_by(5000) {
        client.now = now;
        client.session.handle_timeout(Now::at(now));
        client.received();
    }
    broker.set_memory_alarm(false);
    client.now = 60_000;
    client.received();
    client.session.handle_timeout(Now::at(60_000));
    assert!(client.session.wants_input() && !client.session.is_over(Now::at(60_000)));
}

#[test]
fn what_may_still_reach_the_client_comes_back_flagged() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false).consume("q", "t", true);
    client.received();
    client.publish("q", false);
    client.session.handle_wake(Now::at(1000));
    broker.close_all(&AmqpError::new(ReplyCode::ConnectionForced, "test"));
    client.session.handle_wake(Now::at(1000));
    assert!(!client.session.output().is_empty(), "the delivery and the close are still sent");
    assert_eq!(ready(&broker, "q"), [(0, true)]);
}

#[test]
fn a_closing_channel_gives_everything_back_in_order() {
    let broker = broker(Journal::in_memory());
    let (mut client, mut other) = (Client::new(&broker), Client::new(&broker));
    client.declare("q", false).consume("q", "a", false).consume("q", "b", false);
    for _ in 0..4 {
        client.publish("q", false);
    }
    client.received();
    other.consume("q", "standby", false);
    other.received();
    client.batch(|out| {
        write_method(out, 1, &channel::Close::default());
    });
    let mut taken = crate::broker::outlet::Taken::default();
    other.session.outlet().take(&mut taken);
    let order: Vec<u64> = taken.deliveries.iter().map(|delivery| delivery.position.0).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn flow_off_sends_what_is_under_way_before_its_answer() {
    let broker = broker(Journal::in_memory());
    let (mut client, mut publisher) = (Client::new(&broker), Client::new(&broker));
    client.declare("q", false).consume("q", "t", true);
    client.received();
    publisher.publish("q", false).publish("q", false);
    client.send(&channel::Flow { active: false });
    publisher.publish("q", false);
    assert_eq!(client.received(), ["basic.deliver", "basic.deliver", "channel.flow-ok"]);
    client.send(&channel::Flow { active: true });
    assert_eq!(client.received(), ["channel.flow-ok", "basic.deliver"]);
}

#[test]
fn a_channel_wide_prefetch_counts_what_is_in_the_outlet() {
    let broker = broker(Journal::in_memory());
    let (mut client, mut publisher) = (Client::new(&broker), Client::new(&broker));
    client.declare("q", false).consume("q", "t", false);
    client.received();
    for _ in 0..5 {
        publisher.publish("q", false);
    }
    client.send(&basic::Qos { prefetch_count: 3, global: true, ..Default::default() });
    assert_eq!(
        client.received(),
        ["basic.deliver", "basic.deliver", "basic.deliver", "basic.deliver", "basic.deliver", "basic.qos-ok"]
    );
    publisher.publish("q", false);
    client.send(&basic::Ack { delivery_tag: 2, multiple: true });
    assert_eq!(client.received(), [""; 0], "three are out");
    client.send(&basic::Ack { delivery_tag: 3, multiple: false });
    assert_eq!(client.received(), ["basic.deliver"]);
}

#[test]
fn what_a_dead_connection_had_comes_back_in_its_place() {
    let broker = broker(Journal::in_memory());
    let mut publisher = Client::new(&broker);
    publisher.declare("q", false);
    for _ in 0..4 {
        publisher.publish("q", false);
    }
    let mut consumer = Client::new(&broker);
    consumer.send(&basic::Qos { prefetch_count: 3, ..Default::default() });
    consumer.send(&basic::Consume { queue: "q", ..Default::default() });
    assert_eq!(consumer.received()[2..], ["basic.deliver"; 3]);
    consumer.send(&basic::Ack { delivery_tag: 1, multiple: false });
    // The fourth is in the outlet, not sent, when the connection goes.
    consumer.session.handle_closed_by_peer("test", Now::at(consumer.now));
    drop(consumer);
    assert_eq!(ready(&broker, "q"), [(1, true), (2, true), (3, false)]);
    assert_eq!(broker.registry.len(), 1);
}
