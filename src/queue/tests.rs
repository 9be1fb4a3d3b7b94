//! What the queue promises, told by small examples; `sequences` compares it with a model over long random ones.

mod model;
mod paging;
mod sequences;
mod steps;
mod store;

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use super::rules::Traits;
use super::*;
use crate::message::{Body, MessageBuilder, Returns};
use crate::protocol::properties::Properties;

/// A message whose body begins with `number`.
fn numbered(number: u64, size: usize) -> Message {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size.max(8), 0);
    let properties = Properties::parse(&[0, 0]).unwrap();
    MessageBuilder::default().build("", "q", properties, Body::Owned(body))
}

fn number_of(message: &Message) -> u64 {
    u64::from_be_bytes(message.body()[..8].try_into().unwrap())
}

/// A delivery as a connection saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pushed {
    /// Which link it came through.
    link: usize,
    position: u64,
    redelivered: bool,
    /// The connection asked to be woken for it.
    wake: bool,
    /// What its headers tell.
    returns: Returns,
}

/// How often a message came back, as its consumer sees it.
fn told_returns(message: &Message) -> Returns {
    let properties = Properties::parse(message.raw_properties()).unwrap();
    let count = |name| properties.headers()?.get(name)?.as_int().and_then(|count| u32::try_from(count).ok());
    let told = |name| count(name).unwrap_or_default();
    Returns { all: told("x-acquired-count"), failed: told("x-delivery-count") }
}

/// What happened at all connections, in order.
type Log = Rc<RefCell<Vec<Pushed>>>;

/// The other end of a link: takes messages until it is full or closed.
#[derive(Debug)]
struct Connection {
    number: usize,
    room: usize,
    closed: bool,
    notified: bool,
    /// It said full and has not called back: until then it must not be asked again.
    refused: bool,
    /// How often it was told that the queue is gone.
    told_gone: u32,
    log: Log,
}

#[derive(Clone, Debug)]
struct TestLink(Rc<RefCell<Connection>>);

impl TestLink {
    fn new(number: usize, room: usize, log: &Log) -> Self {
        let log = log.clone();
        Self(Rc::new(RefCell::new(Connection {
            number,
            room,
            closed: false,
            notified: false,
            refused: false,
            told_gone: 0,
            log,
        })))
    }
}

impl Intake for RefMut<'_, Connection> {
    fn push(&mut self, message: &Message, position: Position, redelivered: bool) -> Push {
        let connection = &mut **self;
        if connection.closed {
            return Push::Closed;
        }
        assert!(!connection.refused, "a full connection is left alone until it calls back");
        if connection.room == 0 {
            connection.refused = true;
            return Push::Full;
        }
        assert_eq!(number_of(message), position.0, "the message is the one published at its position");
        connection.room -= 1;
        let wake = !std::mem::replace(&mut connection.notified, true);
        let returns = told_returns(message);
        let pushed = Pushed { link: connection.number, position: position.0, redelivered, wake, returns };
        connection.log.borrow_mut().push(pushed);
        Push::Taken { wake }
    }
}

impl Link for TestLink {
    type Intake<'a> = RefMut<'a, Connection>;

    fn intake(&self) -> RefMut<'_, Connection> {
        self.0.borrow_mut()
    }

    fn gone(&self) -> bool {
        let mut connection = self.0.borrow_mut();
        connection.told_gone += 1;
        !connection.closed && !std::mem::replace(&mut connection.notified, true)
    }
}

/// A queue and the log of all its links.
struct Bench {
    queue: Queue<TestLink>,
    log: Log,
    links: Vec<TestLink>,
}

fn acking() -> ConsumerSpec {
    ConsumerSpec::default()
}

impl Bench {
    /// With `count` messages at positions from 0 on.
    fn with(count: u64) -> Self {
        let mut bench = Self { queue: Queue::default(), log: Log::default(), links: Vec::new() };
        for n in 0..count {
            assert_eq!(bench.queue.publish(numbered(n, 8), false), Position(n));
        }
        bench
    }

    /// Adds an active consumer whose connection has room for `room` messages.
    fn consumer(&mut self, spec: ConsumerSpec, room: usize) -> ConsumerId {
        let link = TestLink::new(self.links.len(), room, &self.log);
        self.links.push(link.clone());
        let id = self.queue.consume(spec, link).unwrap();
        self.queue.set_active(id, true);
        id
    }

    /// Delivers, and gives what that was as (link, position, redelivered).
    fn deliver(&mut self) -> Vec<(usize, u64, bool)> {
        self.queue.deliver(0, &mut Vec::new());
        self.log.borrow_mut().drain(..).map(|p| (p.link, p.position, p.redelivered)).collect()
    }

    fn settle(&mut self, consumer: Option<ConsumerId>, positions: &[u64], how: Settle) -> Vec<u64> {
        let mut removed = Vec::new();
        let positions = positions.iter().map(|&position| Position(position));
        self.queue.settle(consumer, positions, how, |position, _| removed.push(position.0));
        removed
    }

    /// Takes a message that is in memory, if there is one.
    fn get(&mut self, no_ack: bool) -> Option<Got> {
        match self.queue.get(no_ack, 0) {
            Get::Got(got) => Some(got),
            Get::Empty => None,
            Get::Absent => panic!("the message is not in memory"),
        }
    }

    fn depth(&self) -> (u64, u64, u64) {
        let Depth { ready, unacked, held, .. } = self.queue.depth();
        (ready, unacked, held)
    }
}

#[test]
fn messages_come_in_the_order_of_their_publishes() {
    let mut bench = Bench::with(3);
    bench.consumer(acking(), 9);
    assert_eq!(bench.deliver(), [(0, 0, false), (0, 1, false), (0, 2, false)]);
    assert_eq!(bench.depth(), (0, 3, 0));
}

#[test]
fn a_consumer_is_given_nothing_before_it_is_active() {
    let mut bench = Bench::with(1);
    let link = TestLink::new(0, 9, &bench.log);
    let id = bench.queue.consume(acking(), link).unwrap();
    assert_eq!(bench.deliver(), []);
    bench.queue.set_active(id, true);
    assert_eq!(bench.deliver(), [(0, 0, false)]);
}

#[test]
fn marks_are_set_when_half_the_way_to_them_is_left() {
    let mut bench = Bench::with(9);
    let marks = |bench: &mut Bench, comes: bool| {
        let mut marks = Vec::new();
        let marked = |position: Position| marks.push(position.0);
        if comes {
            bench.queue.mark_ahead(4, marked);
        } else {
            bench.queue.mark_delivered(4, marked);
        }
        marks
    };
    assert_eq!(marks(&mut bench, false), [0_u64; 0], "nothing was delivered");
    assert_eq!(marks(&mut bench, true), [4], "something will be");
    assert_eq!(marks(&mut bench, true), [0_u64; 0]);
    let id = bench.consumer(ConsumerSpec { prefetch: 2, ..acking() }, 9);
    assert_eq!(bench.deliver().len(), 2);
    assert_eq!(marks(&mut bench, false), [0_u64; 0]);
    bench.settle(Some(id), &[0], Settle::Ack);
    assert_eq!(bench.deliver(), [(0, 2, false)]);
    assert_eq!(marks(&mut bench, false), [7]);
}

#[test]
fn prefetch_bounds_what_is_unacked_and_a_settlement_gives_credit_back() {
    let mut bench = Bench::with(5);
    let id = bench.consumer(ConsumerSpec { prefetch: 2, ..acking() }, 9);
    assert_eq!(bench.deliver(), [(0, 0, false), (0, 1, false)]);
    assert_eq!(bench.settle(Some(id), &[1], Settle::Ack), [1]);
    assert_eq!(bench.deliver(), [(0, 2, false)]);
    assert_eq!(bench.settle(Some(id), &[0, 2], Settle::Reject), [0, 2]);
    assert_eq!(bench.deliver(), [(0, 3, false), (0, 4, false)]);
}

#[test]
fn what_needs_no_ack_is_held_until_it_is_written_and_takes_no_credit() {
    let mut bench = Bench::with(3);
    let id = bench.consumer(ConsumerSpec { prefetch: 1, no_ack: true, ..acking() }, 9);
    assert_eq!(bench.deliver().len(), 3);
    assert_eq!(bench.depth(), (0, 0, 3));
    assert_eq!(bench.settle(Some(id), &[0, 1], Settle::Ack), [0, 1]);
    // The connection ended before the last one was written.
    bench.queue.cancel(id);
    assert_eq!(bench.settle(None, &[2], Settle::Unsent), [0_u64; 0]);
    assert_eq!(bench.depth(), (1, 0, 0));
    assert!(!bench.get(true).unwrap().redelivered);
}

#[test]
fn a_requeued_message_is_back_in_its_place_and_flagged() {
    let mut bench = Bench::with(4);
    let id = bench.consumer(ConsumerSpec { prefetch: 3, ..acking() }, 9);
    bench.deliver();
    bench.queue.set_active(id, false);
    bench.settle(Some(id), &[1], Settle::Requeue);
    bench.settle(Some(id), &[0], Settle::Unsent);
    bench.queue.set_active(id, true);
    assert_eq!(bench.deliver(), [(0, 0, false), (0, 1, true)]);
    bench.settle(Some(id), &[0, 1, 2], Settle::Ack);
    assert_eq!(bench.deliver(), [(0, 3, false)]);
}

#[test]
fn the_redelivered_flag_outlives_a_delivery_that_was_not_sent() {
    let mut bench = Bench::with(1);
    assert!(!bench.get(false).unwrap().redelivered);
    bench.settle(None, &[0], Settle::Requeue);
    assert!(bench.get(false).unwrap().redelivered);
    bench.settle(None, &[0], Settle::Unsent);
    assert!(bench.get(false).unwrap().redelivered);
}

#[test]
fn settling_twice_does_nothing_the_second_time() {
    let mut bench = Bench::with(3);
    let id = bench.consumer(ConsumerSpec { prefetch: 2, ..acking() }, 9);
    bench.deliver();
    assert_eq!(bench.settle(Some(id), &[0, 0], Settle::Ack), [0]);
    assert_eq!(bench.settle(Some(id), &[0, 99], Settle::Ack), [0_u64; 0]);
    assert_eq!(
        bench.settle(Some(id), &[2], Settle::Ack),
        [0_u64; 0],
        "a ready message is nobody's to settle"
    );
    // One credit came back, not two.
    assert_eq!(bench.deliver(), [(0, 2, false)]);
    assert_eq!(bench.depth(), (0, 2, 0));
}

#[test]
fn consumers_of_the_highest_priority_with_credit_take_turns() {
    let mut bench = Bench::with(6);
    let high = ConsumerSpec { priority: 5, prefetch: 2, ..acking() };
    bench.consumer(acking(), 9);
    bench.consumer(high.clone(), 9);
    bench.consumer(high, 9);
    let links: Vec<usize> = bench.deliver().iter().map(|&(link, ..)| link).collect();
    assert_eq!(links, [1, 2, 1, 2, 0, 0]);
}

#[test]
fn a_turn_goes_on_from_where_it_was() {
    let mut bench = Bench::with(0);
    for _ in 0..3 {
        bench.consumer(acking(), 9);
    }
    let mut links = Vec::new();
    for n in 0..6 {
        bench.queue.publish(numbered(n, 8), false);
        links.extend(bench.deliver().iter().map(|&(link, ..)| link));
    }
    assert_eq!(links, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_full_connection_is_passed_over_until_it_says_so() {
    let mut bench = Bench::with(3);
    let first = bench.consumer(acking(), 1);
    bench.consumer(ConsumerSpec { priority: -1, ..acking() }, 1);
    assert_eq!(bench.deliver(), [(0, 0, false), (1, 1, false)]);
    assert_eq!(bench.deliver(), []);
    let mut connection = bench.links[0].0.borrow_mut();
    (connection.room, connection.refused) = (5, false);
    drop(connection);
    assert_eq!(bench.deliver(), [], "it has not called back yet");
    bench.queue.resume(first);
    assert_eq!(bench.deliver(), [(0, 2, false)]);
}

#[test]
fn a_closed_connection_takes_nothing_and_loses_nothing() {
    let mut bench = Bench::with(2);
    bench.consumer(acking(), 9);
    bench.links[0].0.borrow_mut().closed = true;
    assert_eq!(bench.deliver(), []);
    assert_eq!(bench.depth(), (2, 0, 0));
}

#[test]
fn one_wake_per_connection_that_sleeps() {
    let mut bench = Bench::with(4);
    bench.consumer(acking(), 9);
    bench.consumer(acking(), 9);
    let mut wakes = Vec::new();
    bench.queue.deliver(0, &mut wakes);
    let woken: Vec<usize> = wakes.iter().map(|link| link.0.borrow().number).collect();
    assert_eq!(woken, [0, 1]);
}

#[test]
fn exclusive_use_is_alone() {
    let mut bench = Bench::with(0);
    let link = TestLink::new(9, 9, &bench.log);
    let exclusive = ConsumerSpec { exclusive: true, ..acking() };
    let plain = bench.consumer(acking(), 9);
    assert_eq!(bench.queue.consume(exclusive.clone(), link.clone()), Err(ExclusiveUse));
    bench.queue.cancel(plain);
    let alone = bench.consumer(exclusive, 9);
    assert_eq!(bench.queue.consume(acking(), link.clone()), Err(ExclusiveUse));
    bench.queue.cancel(alone);
    assert!(bench.queue.consume(acking(), link).is_ok());
}

#[test]
fn only_a_queue_that_had_consumers_can_be_abandoned() {
    let mut bench = Bench::with(0);
    assert!(!bench.queue.was_abandoned());
    let (a, b) = (bench.consumer(acking(), 9), bench.consumer(acking(), 9));
    bench.queue.cancel(a);
    assert!(!bench.queue.was_abandoned());
    bench.queue.cancel(b);
    bench.queue.cancel(b);
    assert!(bench.queue.was_abandoned());
    bench.consumer(acking(), 9);
    assert!(!bench.queue.was_abandoned());
}

/// A hundred thousand queues that nobody uses should cost little.
#[test]
fn an_empty_queue_without_consumers_keeps_no_memory_for_messages() {
    let mut bench = Bench::with(200);
    assert!(!bench.queue.lanes.is_released());
    let id = bench.consumer(ConsumerSpec { no_ack: true, ..acking() }, 200);
    bench.deliver();
    bench.settle(Some(id), &(0..200).collect::<Vec<_>>(), Settle::Ack);
    bench.queue.cancel(id);
    assert!(bench.queue.lanes.is_released());
    assert_eq!(bench.queue.publish(numbered(200, 8), false), Position(200));
    assert_eq!(bench.queue.purge(|_| {}).count, 1);
    assert!(bench.queue.lanes.is_released());
}

#[test]
fn get_tells_how_many_are_left() {
    let mut bench = Bench::with(2);
    let got = bench.get(false).unwrap();
    assert_eq!((got.position, got.remaining, number_of(&got.message)), (Position(0), 1, 0));
    assert_eq!(bench.get(true).unwrap().remaining, 0);
    assert!(bench.get(true).is_none());
    assert_eq!(bench.depth(), (0, 1, 1));
}

#[test]
fn a_purge_drops_what_is_ready_and_only_that() {
    let mut bench = Bench::with(5);
    bench.get(false).unwrap();
    bench.get(false).unwrap();
    bench.settle(None, &[0], Settle::Requeue);
    let mut removed = Vec::new();
    let purged = bench.queue.purge(|range| removed.extend(range.start.0..range.end.0));
    assert_eq!(purged.count, 4);
    assert_eq!(removed, [0, 2, 3, 4]);
    assert_eq!(bench.depth(), (0, 1, 0));
    bench.settle(None, &[1], Settle::Requeue);
    assert_eq!(bench.get(true).unwrap().position, Position(1));
}

#[test]
fn a_closed_queue_tells_its_consumers_once_and_forgets_what_is_out() {
    let mut bench = Bench::with(3);
    let id = bench.consumer(ConsumerSpec { prefetch: 1, ..acking() }, 9);
    bench.deliver();
    bench.links[0].0.borrow_mut().notified = false;
    let mut wakes = Vec::new();
    let closed = bench.queue.close(&mut wakes);
    assert_eq!((closed.ready, bench.queue.memory()), (2, 0));
    assert_eq!((wakes.len(), bench.links[0].0.borrow().told_gone), (1, 1));
    assert_eq!(bench.settle(Some(id), &[0], Settle::Requeue), [0_u64; 0]);
    bench.queue.cancel(id);
    assert_eq!(bench.depth(), (0, 0, 0));
    assert!(bench.get(true).is_none());
}

/// Whoever holds the queue's lock passes them on, and drops them after it.
#[test]
fn a_purge_and_an_end_hand_their_messages_out() {
    let mut bench = Bench::with(0);
    let message = numbered(0, 100);
    for _ in 0..300 {
        bench.queue.publish(message.clone(), false);
    }
    for _ in 0..3 {
        assert!(bench.get(false).is_some());
    }
    bench.settle(None, &[1], Settle::Requeue);
    let purged = bench.queue.purge(|_| {});
    let held: usize = purged.taken.iter().map(|taken| taken.iter().count()).sum();
    assert_eq!((purged.count, held, bench.depth()), (298, 298, (0, 2, 0)));
    assert_eq!(bench.queue.memory.bytes, 2 * memory_of(&message));
    let closed = bench.queue.close(&mut Vec::new());
    assert_eq!((closed.ready, closed._lanes.entries().count()), (0, 2));
    assert!(bench.queue.lanes.is_released());
}

#[test]
fn a_queue_that_had_too_much_to_drop_at_once_is_not_looked_at_for_ever() {
    let mut bench = Bench::with(5000);
    bench.queue.set_rules(Rules { max_length: Some(0), ..Rules::default() });
    bench.deliver();
    assert_eq!((bench.depth(), bench.queue.next_deadline()), ((904, 0, 0), Some(0)));
    bench.queue.set_rules(Rules { expires: Some(70), ..Rules::default() });
    bench.queue.touch(5);
    bench.deliver();
    assert_eq!((bench.depth(), bench.queue.next_deadline()), ((904, 0, 0), Some(75)));
}
