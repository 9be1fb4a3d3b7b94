//! Allocations on the whole path in process: the message itself, and as good as nothing else.

use allocation_counter::measure;

use crate::paths::{BATCH, Path};

/// Batches before counting begins: buffers have their size then.
const WARM_UP: usize = 10;
const BATCHES: usize = 20;

/// Allocations for a thousand messages. With a journal those of its writer's thread are not counted.
fn per_thousand(name: &str, mut path: Path) -> f64 {
    let deliveries = path.deliveries();
    (0..WARM_UP).for_each(|_| assert_eq!(path.run(), deliveries, "deliveries of a batch"));
    let mut delivered = 0;
    let counted = measure(|| delivered = (0..BATCHES).map(|_| path.run()).sum());
    assert_eq!(delivered, BATCHES * deliveries);
    let per_thousand = counted.count_total as f64 * 1000.0 / (BATCHES * BATCH) as f64;
    let bytes = counted.bytes_total / (BATCHES * BATCH / 1000) as u64;
    println!("in process, {name}: {per_thousand:.2} allocations, {bytes} bytes for 1000 messages");
    per_thousand
}

#[track_caller]
fn assert_within(found: f64, most: f64) {
    assert!((1000.0..=most).contains(&found), "{found} allocations for 1000 messages; at most {most}");
}

/// Beside the message a queue's table of entries grows by a piece now and then.
#[test]
fn a_message_is_one_allocation() {
    assert_within(per_thousand("direct 16", Path::direct(16)), 1020.0);
    assert_within(per_thousand("direct 1024", Path::direct(1024)), 1040.0);
}

#[test]
fn a_confirm_is_no_allocation() {
    assert_within(per_thousand("confirmed", Path::confirmed()), 1020.0);
}

#[test]
fn an_acknowledgement_is_no_allocation() {
    assert_within(per_thousand("acknowledged", Path::acknowledged()), 1030.0);
}

/// Ten tables of entries grow.
#[test]
fn ten_queues_share_one_message() {
    assert_within(per_thousand("fanout 10", Path::fanout()), 1160.0);
}

/// Nor is going back and forth between a hundred of them.
#[test]
fn a_known_route_is_no_allocation() {
    assert_within(per_thousand("topic, 1 key", Path::topic(1)), 1020.0);
    assert_within(per_thousand("topic, 100 keys", Path::topic(100)), 1035.0);
}

/// A hundred messages at a time; the journal keeps the memory of one group for the next.
#[test]
fn a_group_in_the_journal_is_few_allocations() {
    assert_within(per_thousand("persistent 1024", Path::persistent()), 1060.0);
}

#[test]
fn a_large_body_is_few_allocations() {
    assert_within(per_thousand("direct 65536", Path::direct(65_536)), 4700.0);
}
