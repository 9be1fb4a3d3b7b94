//! Dead letters that stay in a quorum queue until they are taken.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::queue::rules::{DeadLetters, Overflow, Rules};

/// How long letters wait that nobody took, in milliseconds.
const TRY_AGAIN: u64 = 180_000;

/// A quorum queue whose messages die after a second, and that has room for ten.
struct Source {
    vhost: Arc<VHost>,
    clock: Arc<AtomicU64>,
    cell: Arc<QueueCell>,
}

impl Source {
    fn new(max_length: Option<u64>) -> Self {
        let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
        let vhost = VHost::empty_by(Clock::Set(clock.clone()), "/", Arc::new(Journal::in_memory()));
        let arguments = TableBuilder::new().long_str("x-queue-type", "quorum").finish();
        let declare = QueueDeclare { arguments: arguments.as_ref(), ..durable_queue("source") };
        let cell = vhost.declare_queue(declare, ME).unwrap().cell;
        cell.set_rules(Rules {
            overflow: Overflow::RejectPublish,
            max_length,
            message_ttl: Some(1000),
            dead_letters: Some(DeadLetters {
                exchange: String::new(),
                routing_key: None,
                at_least_once: true,
            }),
            counts_deliveries: true,
            ..Rules::default()
        });
        Self { vhost, clock, cell }
    }

    /// Publishes messages whose letters go to `target`; how many are refused.
    fn publish(&self, count: usize, target: &str) -> u64 {
        let mut builder = MessageBuilder::default();
        builder.set_time(self.clock.load(Ordering::Relaxed));
        let properties = Properties::parse(&[0, 0]).unwrap();
        let messages = (0..count).map(|_| builder.build("", target, properties, Body::Borrowed(b"x")));
        self.cell.publish(messages).unwrap().refused
    }

    /// Lets time pass, and does all that is due then.
    fn pass(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Ordering::Relaxed);
        while self.vhost.look_at_due() == Some(0) {}
    }

    fn target(&self) -> Arc<QueueCell> {
        self.vhost.declare_queue(durable_queue("target"), ME).unwrap().cell
    }
}

#[test]
fn letters_that_nobody_takes_hold_up_no_others() {
    let source = Source::new(None);
    let target = source.target();
    // More than are moved in one step.
    assert_eq!(source.publish(700, "nowhere"), 0);
    source.pass(2000);
    for round in 1..=100 {
        source.publish(1, "nowhere");
        source.publish(5, "target");
        source.pass(1500);
        assert_eq!(ready(&target), round * 5);
    }
}

#[test]
fn letters_that_nobody_took_are_tried_again_whatever_comes_after_them() {
    let source = Source::new(None);
    source.publish(300, "target");
    source.pass(1000);
    let mut waited = 0;
    let target = source.target();
    while waited + 2000 < TRY_AGAIN {
        source.publish(1, "nowhere");
        source.pass(2000);
        waited += 2000;
        assert_eq!(ready(&target), 0);
    }
    source.pass(TRY_AGAIN - waited);
    assert_eq!(ready(&target), 300);
}

#[test]
fn letters_that_stay_need_room() {
    let source = Source::new(Some(10));
    let target = source.target();
    assert_eq!(source.publish(8, "nowhere"), 0);
    source.pass(1500);
    assert_eq!((ready(&source.cell), source.publish(5, "target")), (0, 3));
    source.pass(1500);
    assert_eq!((ready(&target), source.publish(5, "nowhere")), (2, 3));
    source.pass(1500);
    assert_eq!((ready(&source.cell), source.publish(5, "target")), (0, 5));
    // Those that are taken in the end make room.
    source.vhost.declare_queue(durable_queue("nowhere"), ME).unwrap();
    source.pass(TRY_AGAIN);
    assert_eq!(source.publish(11, "target"), 1);
}
