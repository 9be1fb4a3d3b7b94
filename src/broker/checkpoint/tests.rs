//! Checkpoints on a disk in memory: what moves where, what a restart finds, and what happens if there is no room.

use crate::broker::events::INTERNAL;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::io::Errno;

use super::*;
use crate::broker::limits::VHostLimits;
use crate::broker::options::BrokerOptions;
use crate::broker::outlet::Outlet;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::queue_cell::GetResult;
use crate::broker::vhost::{QueueDeclare, VHost};
use crate::ids::{ConnectionId, Position};
use crate::message::{Body, Message, MessageBuilder};
use crate::protocol::properties::{Properties, PropertiesBuilder};
use crate::queue::{Got, Settle};
use crate::storage::options::JournalOptions;
use crate::storage::segment::PREFIX;
use crate::storage::simulated_disk::{Call, Crash, FaultKind, SimulatedDisk, When};

const ME: ConnectionId = ConnectionId(1);
const FILE: u64 = 64 * 1024;

/// A broker on a small journal.
struct Bench {
    disk: SimulatedDisk,
    broker: Arc<Broker>,
    failed: Arc<AtomicBool>,
}

fn message(number: u64, size: usize, persistent: bool) -> Message {
    let mode = if persistent { 2 } else { 1 };
    let raw = PropertiesBuilder::new().set_delivery_mode(mode).set_timestamp(number).finish();
    let body = (0..size).map(|at| (number as usize + at) as u8).collect();
    MessageBuilder::default().build("", "q", Properties::parse(&raw).unwrap(), Body::Owned(body))
}

#[track_caller]
fn number_of(got: &Message) -> u64 {
    let number = Properties::parse(got.raw_properties()).unwrap().timestamp().unwrap();
    assert!(*got.body() == *message(number, got.body().len(), true).body(), "message {number} has changed");
    number
}

impl Bench {
    fn on(disk: SimulatedDisk) -> Self {
        let options = JournalOptions { file_size: FILE, budget: 2 * FILE, ..JournalOptions::default() };
        let failed = Arc::new(AtomicBool::new(false));
        let told = failed.clone();
        let failure = move |_: &io::Error| told.store(true, Ordering::Relaxed);
        let broker =
            Broker::open(BrokerOptions::default(), Arc::new(disk.clone()), options, failure).unwrap();
        Self { disk, broker, failed }
    }

    fn new() -> Self {
        Self::on(SimulatedDisk::new(1))
    }

    /// The same disk after a power cut that takes all that is not synced.
    fn restart(self) -> Self {
        let disk = self.disk.after_crash(Crash::DropUnsynced);
        drop(self);
        Self::on(disk)
    }

    fn vhost(&self) -> Arc<VHost> {
        self.broker.vhost("/").unwrap()
    }

    fn queue(&self, name: &str) -> Arc<QueueCell> {
        let request = QueueDeclare { name, durable: true, ..Default::default() };
        self.vhost().declare_queue(request, ME).unwrap().cell
    }

    /// Publishes to all these queues, one message after the other.
    fn publish(&self, queues: &[&Arc<QueueCell>], numbers: std::ops::Range<u64>, size: usize) {
        for number in numbers {
            let message = message(number, size, true);
            for queue in queues {
                queue.publish(std::iter::once(message.clone())).unwrap();
            }
        }
        assert!(self.broker.journal.wait_durable(self.broker.journal.end()));
    }

    fn checkpoint(&self) {
        while self.broker.checkpoint(true).unfinished {}
    }

    /// Fills and empties a queue until every file that there was is retired.
    fn turn_over(&self) {
        let other = self.queue("other");
        let oldest = self.broker.journal.oldest();
        for number in 0..1000 {
            if self.broker.journal.oldest() > oldest + 3 {
                return;
            }
            self.publish(&[&other], number..number + 1, 8000);
            take(&other, 1);
            self.checkpoint();
        }
        panic!("nothing is retired");
    }

    fn segments(&self) -> Vec<(String, u64)> {
        let files = self.disk.snapshot();
        let segments = files.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
        segments.map(|(name, content)| (name, content.len() as u64)).collect()
    }
}

/// Where in a file the body of a message of 1,000 bytes begins.
fn body_at(content: &[u8], number: u64) -> u64 {
    let message = message(number, 1000, true);
    content.windows(1000).position(|bytes| bytes == message.body()).unwrap() as u64
}

/// Whether these are the numbers of `expected`, in order; what is missing or too much is told.
#[track_caller]
fn are(found: &[u64], expected: impl IntoIterator<Item = u64>, told: &str) {
    let expected: Vec<u64> = expected.into_iter().collect();
    let missing: Vec<_> = expected.iter().filter(|number| !found.contains(number)).collect();
    let surplus: Vec<_> = found.iter().filter(|number| !expected.contains(number)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "{told}: missing {missing:?}, surplus {surplus:?}");
    assert!(found == expected, "{told}: out of order: {found:?}");
}

fn get(queue: &QueueCell) -> Option<Got> {
    let outlet = Outlet::new();
    loop {
        match queue.get(false, &outlet) {
            GetResult::Got(got) => return Some(got),
            GetResult::Absent => std::thread::yield_now(),
            GetResult::Empty | GetResult::Gone => return None,
        }
    }
}

/// Takes and acknowledges so many messages, and gives their numbers.
fn take(queue: &QueueCell, count: usize) -> Vec<u64> {
    let got: Vec<Got> = std::iter::from_fn(|| get(queue)).take(count).collect();
    queue.settle(None, got.iter().map(|got| got.position), Settle::Ack);
    got.iter().map(|got| number_of(&got.message)).collect()
}

#[test]
fn a_backlog_moves_to_segments_and_is_there_after_restarts() {
    let mut bench = Bench::new();
    bench.publish(&[&bench.queue("q")], 0..400, 1000);
    for round in 0..4 {
        bench.checkpoint();
        assert!(!bench.segments().is_empty());
        let queue = bench.queue("q");
        assert_eq!(queue.counts().0.ready, 400 - round * 50);
        are(&take(&queue, 50), round * 50..round * 50 + 50, "the next 50");
        assert!(bench.broker.journal.wait_durable(bench.broker.journal.end()));
        bench = bench.restart();
    }
    let queue = bench.queue("q");
    are(&take(&queue, 1000), 200..400, "the rest");
    bench.turn_over();
    assert_eq!(bench.segments(), [], "what is consumed takes no space");
}

#[test]
fn what_is_out_or_acknowledged_while_files_are_retired_is_where_it_was() {
    let bench = Bench::new();
    let queue = bench.queue("q");
    bench.publish(&[&queue], 0..100, 1000);
    let out: Vec<Got> = std::iter::from_fn(|| get(&queue)).take(10).collect();
    bench.publish(&[&queue], 100..300, 1000);
    bench.checkpoint();
    queue.settle(None, out[..5].iter().map(|got| got.position), Settle::Ack);
    queue.settle(None, out[5..8].iter().map(|got| got.position), Settle::Requeue);
    bench.turn_over();
    assert_eq!(take(&queue, 3), [5, 6, 7]);
    assert!(bench.broker.journal.wait_synced(bench.broker.journal.end()));
    let bench = bench.restart();
    let left: Vec<Got> = std::iter::from_fn(|| get(&bench.queue("q"))).collect();
    assert!(left[..2].iter().all(|got| got.redelivered));
    assert_eq!(
        left.iter().map(|got| number_of(&got.message)).collect::<Vec<_>>(),
        (8..300).collect::<Vec<_>>()
    );
}

#[test]
fn little_that_is_left_is_appended_again_and_needs_no_segment() {
    let bench = Bench::new();
    let (queue, other) = (bench.queue("q"), bench.queue("p"));
    bench.publish(&[&queue, &other], 7..8, 100);
    for _ in 0..3 {
        bench.turn_over();
        assert_eq!(bench.segments(), []);
    }
    // One queue's copy is gone when the other's is stored again.
    assert_eq!(take(&queue, 1), [7]);
    bench.turn_over();
    let bench = bench.restart();
    assert_eq!((take(&bench.queue("q"), 9), take(&bench.queue("p"), 9)), (vec![], vec![7]));
}

#[test]
fn a_body_that_several_queues_have_is_carried_once() {
    let bench = Bench::new();
    let queues: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| bench.queue(name)).collect();
    bench.publish(&queues.iter().collect::<Vec<_>>(), 0..400, 1000);
    take(&queues[0], 100);
    bench.checkpoint();
    let bytes: u64 = bench.segments().iter().map(|(_, len)| len).sum();
    assert!((200_000..600_000).contains(&bytes), "{bytes} bytes for 400,000");
    let bench = bench.restart();
    for (name, first) in [("a", 100), ("b", 0), ("c", 0), ("d", 0)] {
        are(&take(&bench.queue(name), 1000), first..400, name);
    }
}

#[test]
fn what_segments_take_and_the_last_checkpoint_are_told() {
    let bench = Bench::new();
    let queue = bench.queue("q");
    assert_eq!((bench.broker.segments_usage(), bench.broker.node.last_checkpoint()), Default::default());
    bench.publish(&[&queue], 0..400, 1000);
    bench.checkpoint();
    let on_disk = |bench: &Bench| -> (u64, u64) {
        let segments = bench.segments();
        (segments.len() as u64, segments.iter().map(|(_, len)| len).sum())
    };
    let usage = bench.broker.segments_usage();
    assert_eq!((usage.files, usage.bytes), on_disk(&bench));
    assert!((300_000..=usage.bytes).contains(&usage.needed), "{usage:?}");
    let done = bench.broker.node.last_checkpoint().unwrap();
    assert!(done.unix_ms > 0 && (1..=usage.written).contains(&done.written), "{done:?}");
    assert_eq!(bench.broker.journal.meters().checkpoints.metered().bytes, usage.written);
    // Most of it goes, and the next checkpoint finds that.
    take(&queue, 250);
    bench.turn_over();
    let after = bench.broker.segments_usage();
    assert_eq!((after.files, after.bytes), on_disk(&bench));
    assert!(after.needed < usage.needed / 2, "{after:?} after {usage:?}");
    let journal = bench.broker.journal.usage();
    let files = bench.disk.snapshot().into_iter().filter(|(name, _)| name.starts_with("journal-"));
    assert!((1..=files.count() as u64).contains(&journal.files) && journal.bytes > 0, "{journal:?}");
    let again = bench.restart();
    assert_eq!(again.broker.segments_usage().bytes, after.bytes);
}

#[test]
fn sparse_segments_are_written_anew() {
    let bench = Bench::new();
    let queue = bench.queue("q");
    bench.publish(&[&queue], 0..1000, 1000);
    bench.checkpoint();
    let before: u64 = bench.segments().iter().map(|(_, len)| len).sum();
    let all: Vec<Got> = std::iter::from_fn(|| get(&queue)).collect();
    let (kept, gone): (Vec<&Got>, Vec<&Got>) = all.iter().partition(|got| got.position.0 % 10 == 3);
    queue.settle(None, gone.iter().map(|got| got.position), Settle::Ack);
    let (requeued, out) = kept.split_at(kept.len() / 2);
    queue.settle(None, requeued.iter().map(|got| got.position), Settle::Requeue);
    bench.turn_over();
    bench.turn_over();
    let after: u64 = bench.segments().iter().map(|(_, len)| len).sum();
    assert!(after < before / 4, "{before} bytes, then {after}");
    queue.settle(None, out.iter().map(|got| got.position), Settle::Requeue);
    let expected: Vec<u64> = (0..1000).filter(|number| number % 10 == 3).collect();
    let again = Bench::on(bench.disk.after_crash(Crash::DropUnsynced));
    are(&take(&queue, 1000), expected.clone(), "what was kept");
    are(&take(&again.queue("q"), 1000), expected, "after a restart");
}

#[test]
fn without_room_nothing_is_lost_and_it_is_tried_again() {
    for fault in [
        FaultKind::NoSpace,
        FaultKind::Quota,
        FaultKind::Refused(Errno::ROFS),
        FaultKind::Refused(Errno::MFILE),
    ] {
        for call in [Call::Write, Call::Open] {
            for nth in [1, 2, 3, 5, 8, 13] {
                let bench = Bench::new();
                let queue = bench.queue("q");
                bench.publish(&[&queue], 0..300, 1000);
                bench.disk.fail(When::Nth(call, nth), fault);
                bench.checkpoint();
                let was_full = bench.broker.is_disk_full();
                bench.disk.clear_faults();
                bench.checkpoint();
                bench.checkpoint();
                assert!(!bench.broker.is_disk_full(), "{fault:?} at {call:?} {nth}, full before: {was_full}");
                assert!(!bench.failed.load(Ordering::Relaxed));
                let again = Bench::on(bench.disk.after_crash(Crash::DropUnsynced));
                let told = format!("{fault:?} at {call:?} {nth}");
                are(&take(&again.queue("q"), 1000), 0..300, &told);
                are(&take(&queue, 1000), 0..300, &told);
            }
        }
    }
}

#[test]
fn one_that_waits_for_a_full_disk_can_be_given_up() {
    let bench = Bench::new();
    let queue = bench.queue("q");
    bench.publish(&[&queue], 0..300, 1000);
    bench.disk.fail(When::Every(Call::Write), FaultKind::NoSpace);
    queue.publish(std::iter::once(message(300, 1000, true))).unwrap();
    let asked = AtomicUsize::new(0);
    let given_up = || asked.fetch_add(1, Ordering::Relaxed) > 1;
    assert_eq!(bench.broker.checkpoint_unless(true, &given_up), Checkpoint::default());
    assert!(asked.into_inner() > 1, "it did not wait");
    assert!(!bench.failed.load(Ordering::Relaxed), "giving up is no failure");
    bench.disk.clear_faults();
    assert!(bench.broker.journal.wait_durable(bench.broker.journal.end()));
    bench.checkpoint();
    assert!(!bench.segments().is_empty());
    are(&take(&bench.restart().queue("q"), 1000), 0..301, "after a restart");
}

/// Too many open files are no damage, which would leave messages out of their queue.
#[test]
fn stored_messages_wait_for_a_file_that_cannot_be_opened_yet() {
    for errno in [Errno::MFILE, Errno::NFILE] {
        let bench = Bench::new();
        bench.publish(&[&bench.queue("q")], 0..300, 1000);
        bench.checkpoint();
        assert!(!bench.segments().is_empty());
        let bench = bench.restart();
        bench.disk.fail(When::Nth(Call::Open, 1), FaultKind::Refused(errno));
        are(&take(&bench.queue("q"), 1000), 0..300, "all of them");
    }
}

#[test]
fn a_segment_that_cannot_be_opened_yet_loses_nothing_when_it_is_written_anew() {
    let expected: Vec<u64> = (0..300).filter(|number| number % 10 == 3).collect();
    for nth in 1..8 {
        let bench = Bench::new();
        let queue = bench.queue("q");
        bench.publish(&[&queue], 0..300, 1000);
        bench.checkpoint();
        let all: Vec<Got> = std::iter::from_fn(|| get(&queue)).collect();
        let (kept, gone): (Vec<&Got>, Vec<&Got>) = all.iter().partition(|got| got.position.0 % 10 == 3);
        queue.settle(None, gone.iter().map(|got| got.position), Settle::Ack);
        queue.settle(None, kept.iter().map(|got| got.position), Settle::Requeue);
        bench.disk.fail(When::Nth(Call::Open, nth), FaultKind::Refused(Errno::MFILE));
        bench.turn_over();
        bench.turn_over();
        let again = Bench::on(bench.disk.after_crash(Crash::DropUnsynced));
        are(&take(&queue, 300), expected.clone(), &format!("opening {nth}"));
        are(&take(&again.queue("q"), 300), expected.clone(), &format!("opening {nth}, after a restart"));
    }
}

/// It may be on disk, and then the journal files it gave up must not count again beside the segments it names.
#[test]
fn a_commit_that_failed_is_kept_to_by_the_next_one() {
    let mut tried = 0;
    for nth in 1..16 {
        let bench = Bench::new();
        let queue = bench.queue("q");
        bench.publish(&[&queue], 0..300, 1000);
        bench.disk.fail(When::Nth(Call::Write, nth), FaultKind::NoSpace);
        bench.checkpoint();
        bench.disk.clear_faults();
        if !bench.broker.is_disk_full() || bench.segments().is_empty() {
            continue;
        }
        tried += 1;
        let storage = bench.broker.storage.as_ref().unwrap();
        for _ in 0..2 {
            let nothing = Wish { files: 0, only_if_sparse: true };
            bench.broker.retire(storage, storage.committed.lock(), nothing, &|| false).unwrap();
        }
        bench.publish(&[&queue], 300..310, 1000);
        let again = Bench::on(bench.disk.after_crash(Crash::DropUnsynced));
        are(&take(&again.queue("q"), 1000), 0..310, &format!("write {nth}"));
        bench.checkpoint();
        let again = Bench::on(bench.disk.after_crash(Crash::DropUnsynced));
        are(&take(&again.queue("q"), 1000), 0..310, &format!("write {nth}, later"));
    }
    assert!(tried > 0);
}

#[test]
fn a_sync_that_fails_ends_the_broker() {
    let mut ended = 0;
    for nth in 1..12 {
        let bench = Bench::new();
        let queue = bench.queue("q");
        bench.publish(&[&queue], 0..300, 1000);
        bench.disk.fail(When::Nth(Call::Sync, nth), FaultKind::LostSync);
        bench.checkpoint();
        if bench.failed.load(Ordering::Relaxed) {
            ended += 1;
            assert!(bench.broker.journal.has_failed());
        }
        let again = Bench::on(bench.disk.after_crash(Crash::DropUnsynced));
        are(&take(&again.queue("q"), 1000), 0..300, &format!("sync {nth}"));
    }
    assert!(ended >= 5, "{ended} of the syncs were noticed");
}

#[test]
fn a_journal_file_with_a_damaged_message_is_set_aside() {
    for copied_forward in [false, true] {
        let bench = Bench::new();
        let queue = bench.queue("q");
        let count = if copied_forward { 3 } else { 300 };
        bench.publish(&[&queue], 0..count, 1000);
        // What follows proves that these were durable.
        let other = bench.queue("other");
        bench.publish(&[&other], 1000..1100, 1000);
        take(&other, 1000);
        let disk = bench.disk.after_crash(Crash::KeepAll);
        drop((queue, other, bench));
        let name = "journal-00000001";
        let content = &disk.snapshot()[name];
        disk.flip_bit(name, body_at(content, 1), 3).unwrap();
        let bench = Bench::on(disk);
        bench.turn_over();
        let names = bench.disk.snapshot().into_keys().collect::<Vec<_>>();
        assert!(names.iter().any(|name| name == "damaged-journal-00000001"), "{copied_forward} {names:?}");
        are(&take(&bench.queue("q"), 1000), (0..count).filter(|number| *number != 1), "all but one");
        let bench = bench.restart();
        assert!(bench.disk.snapshot().contains_key("damaged-journal-00000001"));
    }
}

#[test]
fn a_damaged_message_stays_in_its_segment_until_the_queue_is_purged() {
    let bench = Bench::new();
    bench.publish(&[&bench.queue("q")], 0..300, 1000);
    bench.checkpoint();
    let disk = bench.disk.after_crash(Crash::KeepAll);
    drop(bench);
    let name = "segment-00000001";
    let content = &disk.snapshot()[name];
    disk.flip_bit(name, body_at(content, 20), 3).unwrap();
    let mut bench = Bench::on(disk);
    let expected: Vec<u64> = (0..300).filter(|number| *number != 20).collect();
    for round in 0..2 {
        let expected = if round == 0 { expected.clone() } else { Vec::new() };
        are(&take(&bench.queue("q"), 1000), expected, "all but one");
        assert!(bench.broker.journal.wait_synced(bench.broker.journal.end()));
        bench.turn_over();
        assert_eq!(bench.segments().iter().map(|(name, _)| name).collect::<Vec<_>>(), [name], "{round}");
        bench = bench.restart();
    }
    assert_eq!(bench.queue("q").counts().0.ready, 1);
    bench.queue("q").purge();
    bench.turn_over();
    assert_eq!(bench.segments(), []);
}

#[test]
fn above_the_budget_messages_that_are_not_stored_leave_memory_and_come_back() {
    let bench = Bench::new();
    let queue = bench.queue("q");
    let all: Vec<Message> = (0..2000).map(|number| message(number, 1000, number % 3 == 0)).collect();
    queue.publish(all.into_iter()).unwrap();
    assert!(bench.broker.journal.wait_durable(bench.broker.journal.end()));
    let before = bench.broker.message_memory();
    assert!(bench.broker.relieve_memory(before / 4) > before / 2);
    assert!(bench.broker.message_memory() < before / 3);
    assert!(!bench.segments().is_empty());
    bench.checkpoint();
    let (first, rest) = (take(&queue, 700), take(&queue, 5000));
    are(&[first, rest].concat(), 0..2000, "stored or not");
    bench.turn_over();
    assert_eq!(bench.segments(), []);
    // What is not stored does not come back from a restart, wherever it was.
    let all: Vec<Message> = (0..900).map(|number| message(number, 1000, number % 3 == 0)).collect();
    queue.publish(all.into_iter()).unwrap();
    assert!(bench.broker.journal.wait_durable(bench.broker.journal.end()));
    bench.broker.relieve_memory(0);
    bench.checkpoint();
    drop(queue);
    let bench = bench.restart();
    are(&take(&bench.queue("q"), 5000), (0..900).step_by(3), "what is stored");
}

#[test]
fn a_message_enqueued_elsewhere_while_its_file_is_retired_is_stored_again() {
    let bench = Bench::new();
    let (queue, other) = (bench.queue("q"), bench.queue("p"));
    bench.publish(&[&queue], 0..300, 1000);
    let held: BTreeMap<Position, Message> =
        std::iter::from_fn(|| get(&queue)).take(20).map(|got| (got.position, got.message)).collect();
    bench.checkpoint();
    other.publish(held.into_values()).unwrap();
    assert!(bench.broker.journal.wait_durable(bench.broker.journal.end()));
    drop((queue, other));
    let bench = bench.restart();
    are(&take(&bench.queue("p"), 1000), 0..20, "enqueued elsewhere");
}

#[test]
fn policies_and_limits_outlast_the_files_that_told_of_them() {
    let bench = Bench::new();
    let policy = |name: &str, length: u64| {
        let value = serde_json::json!({ "pattern": "^q", "definition": { "max-length": length } });
        Policy::from_value(name, &value, PolicyKind::User).unwrap()
    };
    let limits = VHostLimits { max_connections: Some(7), max_queues: None };
    let vhost = bench.vhost();
    [policy("a", 1), policy("b", 2), policy("a", 3)].into_iter().for_each(|policy| {
        vhost.set_policy(PolicyKind::User, policy, INTERNAL);
    });
    vhost.set_policy(PolicyKind::Operator, policy("b", 4), INTERNAL);
    vhost.clear_policy(PolicyKind::User, "b", INTERNAL).unwrap();
    vhost.set_limits(limits, INTERNAL);
    let told = |bench: &Bench, kind| -> Vec<Policy> {
        bench.vhost().policies(kind).iter().map(|policy| (**policy).clone()).collect()
    };
    drop(vhost);
    bench.turn_over();
    let bench = bench.restart();
    assert_eq!(told(&bench, PolicyKind::User), [policy("a", 3)]);
    assert_eq!(told(&bench, PolicyKind::Operator), [policy("b", 4)]);
    assert_eq!(bench.vhost().limits(), limits);
    // What is cleared after that stays cleared.
    let vhost = bench.vhost();
    vhost.clear_policy(PolicyKind::User, "a", INTERNAL).unwrap();
    vhost.set_limits(VHostLimits::default(), INTERNAL);
    drop(vhost);
    bench.turn_over();
    let bench = bench.restart();
    assert_eq!(told(&bench, PolicyKind::User), []);
    assert_eq!(told(&bench, PolicyKind::Operator), [policy("b", 4)]);
    assert!(bench.vhost().limits().is_empty());
}
