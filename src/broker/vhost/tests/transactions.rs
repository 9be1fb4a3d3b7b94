//! A commit over several queues.

use super::*;

#[test]
fn a_commit_does_all_of_it_in_all_its_queues() {
    let journal = Arc::new(Journal::stepped());
    let vhost = VHost::empty("/", journal.clone());
    let cells: HashMap<&str, _> = ["a", "b", "c"]
        .map(|name| (name, vhost.declare_queue(durable_queue(name), ME).unwrap().cell))
        .into_iter()
        .collect();
    publish(&cells["a"], true);
    publish(&cells["a"], true);
    for _ in 0..2 {
        assert!(matches!(cells["a"].get(false, &Outlet::new()), GetResult::Got(_)));
    }
    let outlet = Outlet::new();
    consume(&cells["c"], &outlet);

    let mut commit = Commit::default();
    // Not in the order of their numbers: that is the commit's care.
    commit.publish(&cells["c"], message(true));
    commit.publish(&cells["b"], message(false));
    commit.publish(&cells["a"], message(true));
    commit.publish(&cells["c"], message(true));
    commit.settle(&cells["a"], None, Position(0), Settle::Ack);
    commit.settle(&cells["a"], None, Position(1), Settle::Requeue);
    assert_eq!(ready(&cells["b"]), 0, "nothing happens before the commit");
    let before = journal.end();
    let lsn = commit.apply(&journal).unwrap();
    assert_eq!(journal.end().0 - lsn.0, 1, "how far c was delivered is marked after the commit");
    assert_eq!(lsn.0 - before.0, 3, "one message of a, two alike of c, and one removed");
    assert_eq!((ready(&cells["a"]), ready(&cells["b"])), (2, 1));
    let GetResult::Got(got) = cells["a"].get(true, &Outlet::new()) else { panic!("the requeued one") };
    assert_eq!((got.position, got.redelivered), (Position(1), true));
    let mut taken = Taken::default();
    outlet.take(&mut taken);
    let positions: Vec<u64> = taken.deliveries.iter().map(|delivery| delivery.position.0).collect();
    assert_eq!(positions, [0, 1], "consumers get what was committed, in order");
}

#[test]
fn a_queue_that_is_gone_takes_its_part_with_it() {
    let vhost = vhost();
    let kept = vhost.declare_queue(durable_queue("kept"), ME).unwrap().cell;
    let gone = vhost.declare_queue(durable_queue("gone"), ME).unwrap().cell;
    publish(&gone, true);
    assert!(matches!(gone.get(false, &Outlet::new()), GetResult::Got(_)));
    let mut commit = Commit::default();
    commit.publish(&gone, message(true));
    commit.settle(&gone, None, Position(0), Settle::Ack);
    commit.publish(&kept, message(true));
    vhost.delete_queue("gone", false, false, ME).unwrap();
    let before = vhost.shared.bodies.journal.end();
    assert_eq!(commit.apply(&vhost.shared.bodies.journal).unwrap().0 - before.0, 1);
    assert_eq!((ready(&kept), ready(&gone)), (1, 0));
}
