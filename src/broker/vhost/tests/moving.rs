//! Messages that are moved from one queue to another.

use super::*;
use crate::broker::vhost::moving::{MoveError, Moved};
use crate::queue::rules::{Overflow, Rules};

fn filled(vhost: &VHost, name: &str, count: usize) -> Arc<QueueCell> {
    let cell = vhost.declare_queue(durable_queue(name), ME).unwrap().cell;
    let mut builder = MessageBuilder::default();
    for number in 0..count {
        let raw = PropertiesBuilder::new().set_delivery_mode(2).finish();
        let body = number.to_string();
        let message =
            builder.build("x", "k", Properties::parse(&raw).unwrap(), Body::Borrowed(body.as_bytes()));
        cell.publish(std::iter::once(message)).unwrap();
    }
    cell
}

fn bodies(cell: &QueueCell) -> Vec<String> {
    let outlet = Outlet::new();
    let mut found = Vec::new();
    while let GetResult::Got(got) = cell.get(true, &outlet) {
        assert!(!got.redelivered && got.message.exchange() == "x" && got.message.routing_key() == "k");
        found.push(String::from_utf8(got.message.body().to_vec()).unwrap());
    }
    found
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn all_that_is_ready_is_moved_in_order_behind_what_is_there() {
    for names in [["a", "b"], ["b", "a"]] {
        let vhost = vhost();
        // Either may have the lower number.
        names.iter().for_each(|name| drop(vhost.declare_queue(durable_queue(name), ME).unwrap()));
        let (source, target) = (filled(&vhost, "a", 700), filled(&vhost, "b", 1));
        let mut told = Vec::new();
        let Moved { messages, safe, outcome } = vhost.move_messages(&source, &target, |moved| {
            told.push(moved);
            true
        });
        assert_eq!((messages, outcome), (700, Ok(())));
        assert!(safe > Lsn::ZERO);
        assert_eq!(told, [256, 512, 700]);
        assert_eq!(source.counts().0, Default::default());
        let found = bodies(&target);
        assert_eq!(found[0], "0");
        assert_eq!(found[1..], numbers(0..700));
    }
}

#[test]
fn what_the_target_refuses_stays_where_it_was() {
    let vhost = vhost();
    let (source, target) = (filled(&vhost, "a", 10), filled(&vhost, "b", 0));
    target.set_rules(Rules { overflow: Overflow::RejectPublish, max_length: Some(4), ..Rules::default() });
    let moved = vhost.move_messages(&source, &target, |_| true);
    assert_eq!((moved.messages, moved.outcome), (4, Err(MoveError::Full("b".to_owned()))));
    assert_eq!(bodies(&target), numbers(0..4));
    assert_eq!(bodies(&source), numbers(4..10));
}

#[test]
fn one_that_is_stopped_has_moved_whole_slices() {
    let vhost = vhost();
    let (source, target) = (filled(&vhost, "a", 600), filled(&vhost, "b", 0));
    let moved = vhost.move_messages(&source, &target, |_| false);
    assert_eq!((moved.messages, moved.outcome), (256, Err(MoveError::Stopped)));
    assert_eq!((bodies(&source), bodies(&target)), (numbers(256..600), numbers(0..256)));
}

#[test]
fn a_queue_that_is_deleted_loses_nothing_of_another() {
    let vhost = vhost();
    let (source, target) = (filled(&vhost, "a", 600), filled(&vhost, "b", 0));
    let moved = vhost.move_messages(&source, &target, |_| {
        vhost.delete_queue("b", false, false, ME).unwrap();
        true
    });
    assert_eq!((moved.messages, moved.outcome), (256, Err(MoveError::Gone)));
    assert_eq!(bodies(&source), numbers(256..600));
    let target = filled(&vhost, "b", 0);
    vhost.delete_queue("a", false, false, ME).unwrap();
    let moved = vhost.move_messages(&source, &target, |_| true);
    assert_eq!(moved.messages, 0);
    assert_eq!(vhost.move_messages(&target, &target, |_| true).outcome, Err(MoveError::Same));
}

#[test]
fn consumers_of_the_target_get_what_comes() {
    let vhost = vhost();
    let (source, target) = (filled(&vhost, "a", 3), filled(&vhost, "b", 0));
    let outlet = Outlet::new();
    consume(&target, &outlet);
    assert_eq!(vhost.move_messages(&source, &target, |_| true).messages, 3);
    let mut taken = Taken::default();
    outlet.take(&mut taken);
    assert_eq!(taken.deliveries.len(), 3);
}
