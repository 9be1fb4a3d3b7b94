//! Limits and lifetimes that change or pass while nobody asks for the messages, in large queues.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::queue::rules::{DeadLetters, Rules};

/// A vhost with a clock that is set by hand.
struct Timed {
    vhost: Arc<VHost>,
    clock: Arc<AtomicU64>,
}

impl Timed {
    fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
        let vhost = VHost::empty_by(Clock::Set(clock.clone()), "/", Arc::new(Journal::in_memory()));
        Self { vhost, clock }
    }

    fn queue(&self, name: &str) -> Arc<QueueCell> {
        self.vhost.declare_queue(queue(name), ME).unwrap().cell
    }

    fn publish(&self, cell: &QueueCell, count: usize, key: &str) {
        let mut builder = MessageBuilder::default();
        builder.set_time(self.clock.load(Ordering::Relaxed));
        let properties = Properties::parse(&[0, 0]).unwrap();
        cell.publish((0..count).map(|_| builder.build("", key, properties, Body::Borrowed(b"x")))).unwrap();
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Does all that is due, as the agenda's task does.
    fn look(&self) {
        while self.vhost.look_at_due() == Some(0) {}
    }
}

#[test]
fn a_limit_holds_for_many_messages_without_anybody_asking_again() {
    let timed = Timed::new();
    let cell = timed.queue("q");
    timed.publish(&cell, 20_000, "q");
    cell.follow_rules(Rules { max_length: Some(10), ..Rules::default() });
    timed.look();
    assert_eq!(cell.counts().0.ready, 10);
    cell.set_rules(Rules::default());
    timed.publish(&cell, 20_000, "q");
    cell.set_rules(Rules { max_length: Some(10), ..Rules::default() });
    timed.look();
    assert_eq!(cell.counts().0.ready, 10);
}

#[test]
fn what_a_policy_drops_is_moved_at_once() {
    let timed = Timed::new();
    let (cell, target) = (timed.queue("q"), timed.queue("dead"));
    timed.publish(&cell, 100, "dead");
    let dead_letters = Some(DeadLetters { exchange: String::new(), routing_key: None, at_least_once: false });
    cell.follow_rules(Rules { max_length: Some(10), dead_letters, ..Rules::default() });
    assert_eq!(cell.counts().0.ready, 100, "not under the lock of the topology");
    timed.look();
    assert_eq!((cell.counts().0.ready, target.counts().0.ready), (10, 90));
}

#[test]
fn the_time_of_a_queue_begins_when_it_is_given_one() {
    let timed = Timed::new();
    let cell = timed.queue("q");
    timed.pass(86_400_000);
    cell.follow_rules(Rules { expires: Some(1000), ..Rules::default() });
    timed.pass(999);
    timed.look();
    assert!(timed.vhost.find_queue("q", ME).is_ok());
    timed.pass(1);
    timed.look();
    assert!(timed.vhost.find_queue("q", ME).is_err());
}

#[test]
fn nobody_gets_what_is_over_its_time_behind_much_else_that_is() {
    let timed = Timed::new();
    let cell = timed.queue("q");
    cell.set_rules(Rules { message_ttl: Some(1000), ..Rules::default() });
    timed.publish(&cell, 20_000, "q");
    timed.pass(60_000);
    timed.publish(&cell, 2, "q");
    let GetResult::Got(got) = cell.get(false, &Outlet::new()) else { panic!("two are there") };
    assert_eq!((got.position, got.remaining), (Position(20_000), 1));
}
