//! Bodies that leave memory and come back, told by small examples.

use super::store::Store;
use super::*;
use crate::protocol::field::{TableBuilder, Value};
use crate::protocol::properties::PropertiesBuilder;
use crate::queue::log::StoredMessage;

/// A queue that keeps little, with messages in a store.
struct Paged {
    bench: Bench,
    store: Store,
}

impl Paged {
    fn with(count: u64) -> Self {
        let mut paged = Self { bench: Bench::with(0), store: Store::default() };
        paged.bench.queue.keep(4 * SIZE);
        for n in 0..count {
            let message = numbered(n, 100);
            message.set_stored_at(paged.store.append(Position(n), &message));
            paged.bench.queue.publish(message, true);
        }
        paged
    }

    fn relieve(&mut self) {
        self.bench.queue.note_written(self.store.end());
        self.bench.queue.relieve();
    }

    /// Moves what lies in the journal to a segment.
    fn fold(&mut self) -> u64 {
        let mut here = Vec::new();
        assert_eq!(self.bench.queue.stored_below(u64::MAX, Position(0), 1_000_000, &mut here), None);
        let messages: Vec<_> = here.iter().map(|here| (here.position, self.store.at(here.address))).collect();
        let (run, items) = self.store.segment(&messages, false);
        self.bench.queue.moved(run, &items);
        self.store.next_segment
    }

    /// Delivers, reading what is needed.
    fn drain(&mut self) -> (Vec<u64>, u64) {
        let (mut positions, mut damaged) = (Vec::new(), 0);
        loop {
            positions.extend(self.bench.deliver().into_iter().map(|(_, position, _)| position));
            let Some(load) = self.bench.queue.plan_load() else { return (positions, damaged) };
            damaged += self.store.carry_out(load, &mut self.bench.queue);
        }
    }
}

const SIZE: u64 = 300;

#[test]
fn a_long_queue_keeps_what_is_next_and_lets_the_rest_go_once_it_is_written() {
    let mut unwritten = Paged::with(200);
    unwritten.bench.queue.relieve();
    assert_eq!(unwritten.bench.queue.absent(), 0, "nothing is written");
    let mut paged = Paged::with(200);
    paged.relieve();
    let queue = &mut paged.bench.queue;
    assert_eq!((queue.event_counts().paged_out, queue.event_counts().disk_reads), (queue.absent(), 0));
    assert!(queue.memory.bytes <= 6 * SIZE && queue.absent() >= 190, "{} bytes", queue.memory.bytes);
    assert_eq!((queue.depth().ready, queue.depth().ready_bytes), (200, 20_000));
    assert!(matches!(queue.get(false, 0), Get::Got(got) if got.position == Position(0)));
    assert_eq!(queue.plan_load(), None, "there is nobody to read for");
    paged.bench.consumer(acking(), 500);
    assert_eq!(paged.drain().0, (1..200).collect::<Vec<_>>());
    assert_eq!(paged.bench.queue.absent(), 0);
    assert!(
        paged.bench.queue.memory.bytes < 6 * SIZE,
        "what is out is not in memory: {}",
        paged.bench.queue.memory.bytes
    );
}

#[test]
fn what_is_not_stored_stays() {
    let mut paged = Paged::with(0);
    for n in 0..100 {
        paged.bench.queue.publish(numbered(n, 100), false);
    }
    paged.relieve();
    assert_eq!(paged.bench.queue.absent(), 0);
}

#[test]
fn get_says_that_a_message_has_to_be_read_first() {
    let mut paged = Paged::with(50);
    paged.bench.queue.note_written(paged.store.end());
    paged.bench.queue.relieve_all();
    assert_eq!(paged.bench.queue.memory.bytes, 0);
    assert!(matches!(paged.bench.queue.get(true, 0), Get::Absent));
    let load = paged.bench.queue.plan_load().unwrap();
    assert_eq!(paged.bench.queue.plan_load(), None, "one at a time");
    assert_eq!(paged.store.carry_out(load, &mut paged.bench.queue), 0);
    assert_eq!(paged.bench.get(true).unwrap().position, Position(0));
}

#[test]
fn a_segment_takes_the_place_of_entries_and_goes_when_all_in_it_is_acknowledged() {
    let mut paged = Paged::with(1000);
    paged.relieve();
    paged.fold();
    let queue = &mut paged.bench.queue;
    assert!(queue.lanes.memory() < 5_000, "{}", queue.lanes.memory());
    assert_eq!((queue.depth().ready, queue.depth().ready_bytes, queue.runs().count()), (1000, 100_000, 1));
    assert_eq!(queue.runs().next().unwrap().bytes, 100_000);
    let id = paged.bench.consumer(acking(), 5000);
    assert_eq!(paged.drain().0, (0..1000).collect::<Vec<_>>());
    let all: Vec<u64> = (0..1000).collect();
    paged.bench.settle(Some(id), &all[..999], Settle::Ack);
    assert!(!paged.bench.queue.take_freed());
    paged.bench.settle(Some(id), &all[999..], Settle::Ack);
    assert!(paged.bench.queue.take_freed() && paged.bench.queue.runs().count() == 0);
}

#[test]
fn what_is_out_while_it_is_moved_comes_back_to_its_place() {
    let mut paged = Paged::with(20);
    let id = paged.bench.consumer(ConsumerSpec { prefetch: 10, ..acking() }, 500);
    assert_eq!(paged.drain().0.len(), 10);
    paged.bench.queue.note_written(paged.store.end());
    paged.bench.queue.relieve_all();
    paged.fold();
    paged.bench.settle(Some(id), &[0, 4, 5], Settle::Ack);
    paged.bench.settle(Some(id), &[1, 3], Settle::Requeue);
    paged.bench.settle(Some(id), &[2], Settle::Unsent);
    let mut got = Vec::new();
    loop {
        got.extend(paged.bench.deliver());
        let Some(load) = paged.bench.queue.plan_load() else { break };
        paged.store.carry_out(load, &mut paged.bench.queue);
    }
    assert_eq!(
        got,
        [(0, 1, true), (0, 2, false), (0, 3, true), (0, 10, false), (0, 11, false), (0, 12, false)]
    );
}

#[test]
fn damaged_messages_are_left_out_and_the_rest_comes() {
    for folded in [false, true] {
        let mut paged = Paged::with(100);
        paged.bench.queue.note_written(paged.store.end());
        paged.bench.queue.relieve_all();
        let bad = [0, 7, 9, 50, 98, 99];
        let place = |paged: &Paged, at: u64| {
            paged.bench.queue.lanes.get(Position(at)).map(|entry| entry.place).unwrap()
        };
        if folded {
            let at = paged.fold();
            let size = numbered(0, 100).stored_len();
            paged.store.damaged =
                bad.iter().map(|bad| crate::ids::Place::segment(at, 4096 + bad * size).unwrap()).collect();
        } else {
            paged.store.damaged = bad.iter().map(|&bad| place(&paged, bad)).collect();
        }
        let id = paged.bench.consumer(acking(), 500);
        let sound: Vec<u64> = (0..100).filter(|n| !bad.contains(n)).collect();
        assert_eq!(paged.drain(), (sound.clone(), bad.len() as u64), "folded {folded}");
        assert_eq!(paged.bench.depth(), (0, sound.len() as u64, 0));
        paged.bench.settle(Some(id), &sound, Settle::Ack);
        assert_eq!(paged.bench.queue.runs().count(), usize::from(folded), "what is damaged is kept");
        assert!(paged.bench.queue.runs().all(|run| run.live.is_empty()));
        let n = paged.bench.queue.next_position(&numbered(0, 8)).0;
        paged.bench.queue.publish(numbered(n, 8), false);
        assert_eq!(paged.bench.deliver(), [(0, n, false)]);
    }
}

#[test]
fn a_restored_queue_reads_before_it_delivers_and_flags_what_was_delivered() {
    let mut store = Store::default();
    let mut messages = Vec::new();
    for n in [1, 2, 5, 9] {
        let message = numbered(n, 50);
        let address = store.append(Position(n), &message);
        let (body_len, stored_len) = (message.body_len() as u32, message.stored_len() as u32);
        messages.push(StoredMessage { position: Position(n), address, stored_len, body_len });
    }
    let in_segment: Vec<_> = [0, 3, 4, 6].map(|n| (Position(n), numbered(n, 50))).to_vec();
    let (mut run, items) = store.segment(&in_segment, false);
    run.live.extend(items.iter().map(|(position, _)| position.0));
    run.bytes = 200;
    let runs = vec![run];
    let lanes = vec![LaneState { number: 0, delivered: Position(4), next: Position(12) }];
    let messages = messages.into_iter().collect();
    let content = Restored { messages, runs, marks: Marks { lanes, ..Marks::default() } };
    let mut bench = Bench::with(0);
    bench.queue = Queue::restored(Traits::default(), content);
    assert_eq!((bench.queue.depth().ready, bench.queue.depth().ready_bytes), (8, 400));
    let mut paged = Paged { bench, store };
    paged.bench.consumer(acking(), 500);
    paged.bench.queue.publish(numbered(12, 8), false);
    let mut got = Vec::new();
    loop {
        got.extend(
            paged.bench.deliver().into_iter().map(|(_, position, redelivered)| (position, redelivered)),
        );
        let Some(load) = paged.bench.queue.plan_load() else { break };
        paged.store.carry_out(load, &mut paged.bench.queue);
    }
    let expected = [0, 1, 2, 3, 4, 5, 6, 9, 12].map(|n| (n, n < 4));
    assert_eq!(got, expected);
}

#[test]
fn what_is_not_stored_can_be_moved_out_of_memory_and_back() {
    let mut paged = Paged::with(0);
    for n in 0..100 {
        paged.bench.queue.publish(numbered(n, 100), false);
    }
    let mut unstored = Vec::new();
    let next = paged.bench.queue.unstored(Position(10), 12_000, 1000, &mut unstored);
    let messages: Vec<_> = unstored.into_iter().map(|one| (one.position, one.message)).collect();
    assert!(messages.len() < 80 && next == messages.last().map(|(position, _)| position.next()));
    let (run, items) = paged.store.segment(&messages, true);
    paged.bench.queue.moved(run, &items);
    assert_eq!(paged.bench.queue.absent(), messages.len() as u64);
    let id = paged.bench.consumer(acking(), 500);
    let all: Vec<u64> = (0..100).collect();
    assert_eq!(paged.drain().0, all);
    let mut stored = 0;
    let positions = all.iter().map(|&position| Position(position));
    paged.bench.queue.settle(Some(id), positions, Settle::Ack, |_, is_stored| stored += u64::from(is_stored));
    assert_eq!((stored, paged.bench.queue.runs().count(), paged.bench.queue.memory.bytes), (0, 0, 0));
}

#[test]
fn who_waits_for_a_message_that_is_dropped_is_given_the_next_one() {
    let mut paged = Paged::with(3);
    paged.bench.queue.note_written(paged.store.end());
    paged.bench.queue.relieve_all();
    paged.bench.queue.publish(numbered(3, 8), false);
    paged.bench.consumer(acking(), 9);
    paged.bench.queue.set_rules(Rules { max_length: Some(1), ..Rules::default() });
    assert_eq!(paged.bench.deliver(), [(0, 3, false)]);
    assert_eq!(paged.bench.queue.depth(), Depth { unacked: 1, ..Depth::default() });
}

#[test]
fn an_estimate_of_bytes_ends_with_the_last_message() {
    let mut store = Store::default();
    let (mut run, items) = store.segment(&[0, 1].map(|n| (Position(n), numbered(n, 50))), false);
    run.live.extend(items.iter().map(|(position, _)| position.0));
    run.bytes = 170;
    let mut bench = Bench::with(0);
    bench.queue = Queue::restored(Traits::default(), Restored { runs: vec![run], ..Restored::default() });
    assert_eq!(bench.queue.depth().ready_bytes, 170);
    bench.consumer(acking(), 9);
    let mut paged = Paged { bench, store };
    assert_eq!(paged.drain(), (vec![0, 1], 0));
    assert_eq!(paged.bench.queue.depth(), Depth { unacked: 2, ..Depth::default() });
}

#[test]
fn a_read_between_two_slices_of_a_move_loses_nothing() {
    let mut paged = Paged::with(100);
    paged.bench.queue.note_written(paged.store.end());
    paged.bench.queue.relieve_all();
    let mut here = Vec::new();
    paged.bench.queue.stored_below(u64::MAX, Position(0), 1_000_000, &mut here);
    let messages: Vec<_> = here.iter().map(|here| (here.position, paged.store.at(here.address))).collect();
    let (run, items) = paged.store.segment(&messages, false);
    paged.bench.queue.keep(1 << 20);
    paged.bench.queue.moved(run.clone(), &items[..10]);
    paged.bench.consumer(acking(), 500);
    assert_eq!(paged.bench.deliver(), []);
    let load = paged.bench.queue.plan_load().unwrap();
    assert!(matches!(load, Load::Run(..)));
    paged.bench.queue.moved(run, &items[10..]);
    assert_eq!(paged.store.carry_out(load, &mut paged.bench.queue), 0);
    assert_eq!(paged.drain(), ((0..100).collect(), 0));
    assert_eq!(paged.bench.queue.take_lost(), 0);
}

/// A message that is all header, of about 300 bytes in memory.
fn bare(number: u64) -> Message {
    let mut table = TableBuilder::new();
    table.value("n", Value::I64(number as i64)).long_str("h", "x".repeat(130));
    let raw = PropertiesBuilder::new().set_headers(Some(&table.finish())).finish();
    MessageBuilder::default().build("", "q", Properties::parse(&raw).unwrap(), Body::Borrowed(b""))
}

/// The same with messages that have no body.
fn with_bare(count: u64) -> Paged {
    let mut paged = Paged::with(0);
    for n in 0..count {
        let message = bare(n);
        message.set_stored_at(paged.store.append(Position(n), &message));
        paged.bench.queue.publish(message, true);
    }
    paged
}

#[test]
fn messages_without_bodies_leave_memory_too() {
    let mut paged = with_bare(200);
    paged.relieve();
    let queue = &mut paged.bench.queue;
    assert!(queue.memory.bytes <= 6 * SIZE && queue.absent() >= 190, "{} bytes", queue.memory.bytes);
    let link = TestLink::new(0, 0, &paged.bench.log);
    queue.consume(acking(), link).unwrap();
    queue.relieve_all();
    assert!(queue.memory.bytes <= SIZE && queue.tail() <= Position(1), "{} bytes", queue.memory.bytes);
}

/// And of those there are many where a run tells only of bytes.
#[test]
fn no_more_is_read_ahead_than_is_wanted_whatever_messages_are_made_of() {
    for (folded, empty) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut paged = if empty { with_bare(2000) } else { Paged::with(2000) };
        paged.bench.queue.keep(40 * SIZE);
        paged.bench.queue.note_written(paged.store.end());
        paged.bench.queue.relieve_all();
        if folded {
            paged.fold();
        }
        assert_eq!((paged.bench.queue.memory.bytes, paged.bench.queue.absent()), (0, 2000));
        paged.bench.consumer(acking(), 0);
        let mut loads = 0;
        while let Some(load) = paged.bench.queue.plan_load() {
            paged.store.carry_out(load, &mut paged.bench.queue);
            paged.bench.queue.relieve();
            loads += 1;
        }
        let memory = paged.bench.queue.memory.bytes;
        assert!(
            loads == 1 && memory <= 24 * SIZE,
            "folded {folded} empty {empty}: {loads} loads, {memory} bytes"
        );
    }
}

/// A queue whose messages have all been read in turn and died, with nobody to move them.
fn dying(count: u64) -> Paged {
    let mut paged = Paged::with(count);
    paged.bench.queue.keep(40 * SIZE);
    let dead_letters =
        Some(rules::DeadLetters { exchange: "x".into(), routing_key: None, at_least_once: true });
    let overflow = rules::Overflow::RejectPublish;
    paged.bench.queue.set_rules(Rules { message_ttl: Some(1), dead_letters, overflow, ..Rules::default() });
    paged.bench.queue.note_written(paged.store.end());
    paged.bench.queue.relieve_all();
    loop {
        paged.bench.queue.deliver(1000, &mut Vec::new());
        let Some(load) = paged.bench.queue.plan_load() else { return paged };
        paged.store.carry_out(load, &mut paged.bench.queue);
    }
}

#[test]
fn dead_messages_do_not_fill_the_memory_while_nobody_moves_them() {
    let queue = &mut dying(2000).bench.queue;
    assert_eq!((queue.depth(), queue.deaths.dead()), (Depth::default(), 2000));
    assert!(queue.memory.bytes <= 80 * SIZE, "{} bytes", queue.memory.bytes);
}

#[test]
fn nor_do_those_that_nobody_took() {
    let mut paged = dying(2000);
    let queue = &mut paged.bench.queue;
    while queue.has_dead() {
        let dead = queue.first_dead(50, u64::MAX);
        dead.iter().for_each(|dead| queue.set_aside(dead.position));
        if dead.is_empty() {
            let load = queue.plan_load().unwrap();
            paged.store.carry_out(load, queue);
        }
        queue.relieve();
    }
    assert_eq!((queue.deaths.dead(), queue.plan_load()), (2000, None));
    assert!(queue.memory.bytes <= 80 * SIZE, "{} bytes", queue.memory.bytes);
    queue.try_stuck_again();
    assert!(queue.has_dead());
}
