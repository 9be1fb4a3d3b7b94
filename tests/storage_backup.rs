//! Copies of a broker under load: each has all that was confirmed before it was asked for, and nothing that was gone.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

#[path = "storage_simulation/messages.rs"]
mod messages;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::broker::outlet::Outlet;
use leveret::broker::queue_cell::{GetResult, QueueCell};
use leveret::broker::vhost::{QueueDeclare, VHost};
use leveret::ids::ConnectionId;
use leveret::queue::Settle;
use leveret::storage::backup::{INCOMPLETE, Report, Watch, copy_directory};
use leveret::storage::disk::{Disk, DiskFile, Open, Space};
use leveret::storage::options::{JournalOptions, Sync};
use leveret::storage::simulated_disk::{Crash, SimulatedDisk};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use messages::{Kind, Messages, id_of};

const PERSISTENT: Kind = Kind { persistent: true, priority: None, lifetime: None };

/// What the shared file of the simulation takes from its model.
mod model {
    pub type Id = u64;
}

const ME: ConnectionId = ConnectionId(1);
/// The last one is filled before anything else, and nobody reads it: its messages are in segments.
const QUEUES: [&str; 4] = ["q0", "q1", "q2", "kept"];

/// What is known of the messages of one queue.
#[derive(Clone, Debug, Default)]
struct Ledger {
    sent: BTreeSet<u64>,
    confirmed: BTreeSet<u64>,
    /// An acknowledgement was sent.
    asked: BTreeSet<u64>,
    /// It is certain that it counts.
    gone: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    ledger: Mutex<Ledger>,
    messages: Mutex<Messages>,
}

fn open(disk: &SimulatedDisk, sync: Sync) -> Arc<Broker> {
    let options = JournalOptions { sync, file_size: 32 * 1024, budget: 128 * 1024 };
    Broker::open(BrokerOptions::default(), Arc::new(disk.clone()), options, |_| {}).expect("a broker")
}

fn vhost(broker: &Broker) -> Arc<VHost> {
    let user = broker.users.login("guest", b"guest", true).expect("a login");
    broker.open_vhost("/", &user).expect("a vhost")
}

fn queue(broker: &Broker, name: &str) -> Arc<QueueCell> {
    let declare = QueueDeclare { name, durable: true, ..Default::default() };
    vhost(broker).declare_queue(declare, ME).expect("a queue").cell
}

fn get(cell: &QueueCell) -> GetResult {
    let outlet = Outlet::new();
    loop {
        match cell.get(false, &outlet) {
            GetResult::Absent => std::thread::yield_now(),
            other => return other,
        }
    }
}

impl Queue {
    /// Publishes and acknowledges until `stop`.
    fn work(&self, broker: &Broker, name: &str, seed: u64, stop: &AtomicBool) {
        let mut random = StdRng::seed_from_u64(seed);
        let cell = queue(broker, name);
        let mut left = 0_usize;
        while !stop.load(Ordering::Relaxed) {
            // As connections do.
            if left < 400 && !broker.journal.is_oversized() {
                left += self.publish(broker, &cell, &mut random);
            }
            let taken = random.random_range(0..if left < 200 { 8 } else { 24 });
            left -= self.take(broker, &cell, taken);
        }
    }

    /// Publishes more than the journal keeps.
    fn fill(&self, broker: &Broker, name: &str) {
        let (cell, mut random) = (queue(broker, name), StdRng::seed_from_u64(7));
        for _ in 0..40 {
            self.publish(broker, &cell, &mut random);
            broker.checkpoint(true);
        }
    }

    fn publish(&self, broker: &Broker, cell: &QueueCell, random: &mut StdRng) -> usize {
        let count = random.random_range(1..16);
        let made: Vec<_> = {
            let mut messages = self.messages.lock().expect("a lock");
            (0..count)
                .map(|_| messages.make("", &cell.spec.name, random.random_range(0..2500), PERSISTENT))
                .collect()
        };
        let ids: Vec<u64> = made.iter().map(|(id, _)| *id).collect();
        self.ledger.lock().expect("a lock").sent.extend(&ids);
        let lsn = cell.publish(made.into_iter().map(|(_, message)| message)).expect("a queue").safe;
        assert!(broker.journal.wait_durable(lsn));
        self.ledger.lock().expect("a lock").confirmed.extend(&ids);
        ids.len()
    }

    fn take(&self, broker: &Broker, cell: &QueueCell, count: usize) -> usize {
        let mut positions = Vec::new();
        let mut ids = Vec::new();
        while positions.len() < count
            && let GetResult::Got(got) = get(cell)
        {
            ids.push(id_of(&got.message).expect("a number"));
            positions.push(got.position);
        }
        self.ledger.lock().expect("a lock").asked.extend(&ids);
        let lsn = cell.settle(None, positions.into_iter(), Settle::Ack);
        assert!(broker.journal.wait_durable(lsn));
        self.ledger.lock().expect("a lock").gone.extend(&ids);
        ids.len()
    }

    fn known(&self) -> Ledger {
        self.ledger.lock().expect("a lock").clone()
    }

    /// Judges what is in the queue of a copy that was asked for when `before` was known, and done at `after`.
    fn audit(&self, cell: &QueueCell, before: &Ledger, after: &Ledger) {
        let mut found = Vec::new();
        while let GetResult::Got(got) = get(cell) {
            found.push(self.messages.lock().expect("a lock").check(&got.message).expect("as it was sent"));
        }
        assert!(found.is_sorted(), "in order");
        let found: BTreeSet<u64> = found.into_iter().collect();
        let lost: Vec<_> =
            before.confirmed.difference(&found).filter(|id| !after.asked.contains(id)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let back: Vec<_> = found.intersection(&before.gone).collect();
        assert!(back.is_empty(), "came back: {back:?}");
        assert!(found.is_subset(&after.sent), "never sent");
    }
}

/// Takes `count` copies while threads publish, acknowledge and make checkpoints, and judges them.
fn copies_under_load(seed: u64, sync: Sync, count: u32) {
    let disk = SimulatedDisk::new(seed);
    let broker = open(&disk, sync);
    let queues: [Queue; 4] = Default::default();
    queues[3].fill(&broker, "kept");
    let known = || queues.each_ref().map(Queue::known);
    let stop = AtomicBool::new(false);
    let mut with_segments = 0;
    std::thread::scope(|scope| {
        for (number, (name, queue)) in (0..3).zip(QUEUES.iter().zip(&queues)) {
            let (broker, stop) = (&broker, &stop);
            scope.spawn(move || queue.work(broker, name, seed * 10 + number, stop));
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                broker.checkpoint(true);
                std::thread::yield_now();
            }
        });
        // Whatever fails below, the others are to end.
        let _end = Stop(&stop);
        while queues[..3].iter().any(|queue| queue.known().confirmed.len() < 300) {
            std::thread::yield_now();
        }
        for round in 0..count {
            let target = SimulatedDisk::new(seed);
            if round % 4 == 3 {
                target.set_capacity(50_000);
                let error = broker.backup(&target, &Watch::default()).expect_err("no room");
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                assert!(target.snapshot().is_empty());
                continue;
            }
            let before = known();
            let Report { files, .. } = broker.backup(&target, &Watch::default()).expect("a copy");
            let after = known();
            let names = target.list().expect("names");
            assert_eq!(names.len(), files);
            with_segments += usize::from(names.iter().any(|name| name.starts_with("segment-")));
            let copy = open(&target.after_crash(Crash::DropUnsynced), sync);
            for (index, name) in QUEUES.iter().enumerate() {
                let cell = vhost(&copy).find_queue(name, ME).expect("a queue");
                queues[index].audit(&cell, &before[index], &after[index]);
            }
        }
    });
    assert!(with_segments > 0, "no copy had a segment");
    assert!(!broker.journal.has_failed());
    broker.journal.close();
    let after = known();
    drop(broker);
    let copy = SimulatedDisk::new(seed);
    copy_directory(&disk, &copy, &Watch::default()).expect("a copy of a stopped broker");
    for disk in [disk, copy.after_crash(Crash::DropUnsynced)] {
        let broker = open(&disk, sync);
        for (index, name) in QUEUES.iter().enumerate() {
            queues[index].audit(&queue(&broker, name), &after[index], &after[index]);
        }
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_copy_under_load_has_what_was_confirmed() {
    copies_under_load(1, Sync::Always, 24);
}

#[test]
fn a_copy_has_what_was_confirmed_though_it_was_not_synced() {
    copies_under_load(2, Sync::Never, 12);
}

/// A stopped broker's disk with some messages, in segments too.
fn filled() -> SimulatedDisk {
    let disk = SimulatedDisk::new(7);
    Queue::default().fill(&open(&disk, Sync::Always), "q0");
    disk
}

#[test]
fn whatever_call_fails_or_is_the_last_one_no_copy_is_taken_for_whole_that_is_not() {
    let source = filled();
    let broker = open(&source, Sync::Always);
    let whole = SimulatedDisk::new(1);
    broker.backup(&whole, &Watch::default()).expect("a copy");
    let (calls, whole) = (whole.operations(), whole.snapshot());
    assert!(whole.keys().any(|name| name.starts_with("segment-")) && whole.contains_key("catalogue"));
    let check = |found: &SimulatedDisk, told: &str| {
        let names = found.snapshot();
        if names.contains_key(INCOMPLETE) {
            let opened =
                Broker::open(BrokerOptions::default(), Arc::new(found.clone()), Default::default(), |_| {});
            let error = opened.expect_err("a copy that is not whole");
            assert!(error.to_string().contains(INCOMPLETE), "{error}");
        } else {
            assert!(names.is_empty() || names == whole, "{told}: {:?}", names.keys());
        }
    };
    for call in 1..=calls {
        let disk = SimulatedDisk::new(call);
        disk.crash_at(call);
        broker.backup(&disk, &Watch::default()).expect_err("a crash");
        for how in Crash::EACH.into_iter().chain([Crash::RandomSubset; 8]) {
            check(&disk.after_crash(how), &format!("{how:?} at call {call} of {calls}"));
        }
        use leveret::storage::simulated_disk::FaultKind::{Io, LostSync, NoSpace};
        for fault in [Io, NoSpace, LostSync] {
            let disk = SimulatedDisk::new(call);
            disk.fail(call, fault);
            let told = format!("{fault:?} at call {call} of {calls}");
            broker.backup(&disk, &Watch::default()).expect_err(&told);
            check(&disk, &told);
            check(&disk.after_crash(Crash::DropUnsynced), &told);
        }
    }
    let disk = SimulatedDisk::new(1);
    broker.backup(&disk, &Watch::default()).expect("the broker is unharmed");
    assert_eq!(disk.snapshot(), whole);
}

/// A disk on which something happens when the first copy of a segment begins.
struct Interrupted<F>(SimulatedDisk, Mutex<Option<F>>);

impl<F> std::fmt::Debug for Interrupted<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<F: FnOnce() + Send> Disk for Interrupted<F> {
    fn list(&self) -> std::io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str, how: Open) -> std::io::Result<Arc<dyn DiskFile>> {
        if name.starts_with("segment-")
            && let Some(happen) = self.1.lock().expect("a lock").take()
        {
            happen();
        }
        self.0.open(name, how)
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> std::io::Result<()> {
        self.0.sync_dir()
    }

    fn space(&self) -> std::io::Result<Space> {
        self.0.space()
    }

    fn lock(&self) -> std::io::Result<Box<dyn Send>> {
        self.0.lock()
    }
}

#[test]
fn what_checkpoints_give_up_meanwhile_is_copied_all_the_same() {
    let source = SimulatedDisk::new(7);
    let broker = open(&source, Sync::Always);
    let (kept, other) = (Queue::default(), Queue::default());
    kept.fill(&broker, "kept");
    let cell = queue(&broker, "kept");
    let (before, files) = (kept.known(), source.list().expect("names"));
    let happen = || {
        cell.purge();
        (0..4).for_each(|_| other.fill(&broker, "other"));
        let error = broker.backup(&SimulatedDisk::new(2), &Watch::default()).expect_err("one at a time");
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    };
    let target = Interrupted(SimulatedDisk::new(1), Mutex::new(Some(happen)));
    broker.backup(&target, &Watch::default()).expect("a copy");
    assert!(target.1.lock().expect("a lock").is_none(), "it happened");
    let copy = open(&target.0, Sync::Always);
    kept.audit(&vhost(&copy).find_queue("kept", ME).expect("a queue"), &before, &before);
    assert!(vhost(&copy).find_queue("other", ME).is_err());
    // Nothing is kept for it any more.
    broker.checkpoint(true);
    let left = source.list().expect("names");
    let is_gone = |name: &&String| name.starts_with("segment-") && !left.contains(name);
    assert!(files.iter().any(|name| is_gone(&name)), "{files:?} {left:?}");
}

#[test]
fn a_broker_whose_disk_is_full_is_copied_without_what_waits_for_room() {
    let source = SimulatedDisk::new(7);
    let broker = open(&source, Sync::Always);
    let (known, mut random) = (Queue::default(), StdRng::seed_from_u64(7));
    let cell = queue(&broker, "q0");
    known.publish(&broker, &cell, &mut random);
    source.set_capacity(0);
    while !broker.journal.is_stuck() {
        let (id, message) = known.messages.lock().expect("a lock").make("", "q0", 20_000, PERSISTENT);
        known.ledger.lock().expect("a lock").sent.insert(id);
        cell.publish(std::iter::once(message)).expect("a queue");
        std::thread::yield_now();
    }
    let target = SimulatedDisk::new(1);
    broker.backup(&target, &Watch::default()).expect("a copy");
    let copy = open(&target, Sync::Always);
    known.audit(&queue(&copy, "q0"), &known.known(), &known.known());
    source.set_capacity(u64::MAX);
    assert!(broker.journal.wait_durable(broker.journal.end()));
}

#[test]
fn what_cannot_be_copied_is_refused() {
    let source = filled();
    let kind = |error: std::io::Error| error.kind();
    let watch = Watch::default();
    let occupied = SimulatedDisk::new(1);
    occupied.open("other", Open::Create).expect("a file");
    let refused = copy_directory(&source, &occupied, &watch).expect_err("not empty");
    assert_eq!(kind(refused), ErrorKind::DirectoryNotEmpty);
    let nothing =
        copy_directory(&SimulatedDisk::new(1), &SimulatedDisk::new(2), &watch).expect_err("no data");
    assert_eq!(kind(nothing), ErrorKind::NotFound);

    let broker = open(&source, Sync::Always);
    let in_use = copy_directory(&source, &SimulatedDisk::new(2), &watch).expect_err("in use");
    assert_eq!(kind(in_use), ErrorKind::WouldBlock);
    let refused = broker.backup(&occupied, &watch).expect_err("not empty");
    assert_eq!(kind(refused), ErrorKind::DirectoryNotEmpty);
    assert_eq!(occupied.list().expect("names"), ["other"]);
    let stopped = Watch::default();
    stopped.stop();
    let target = SimulatedDisk::new(2);
    broker.backup(&target, &stopped).expect_err("stopped");
    assert!(target.snapshot().is_empty());

    broker.backup(&target, &watch).expect("a copy");
    let (done, of) = watch.progress();
    assert_eq!(done, of);
    broker.journal.close();
    let closed = broker.backup(&SimulatedDisk::new(3), &watch);
    assert!(closed.is_ok(), "all of it is on disk");
    drop(broker);

    target.open(INCOMPLETE, Open::Create).expect("a marker");
    let incomplete = copy_directory(&target, &SimulatedDisk::new(2), &watch).expect_err("incomplete");
    assert_eq!(kind(incomplete), ErrorKind::InvalidData);
    let memory = Broker::new(BrokerOptions::default());
    assert_eq!(
        kind(memory.backup(&SimulatedDisk::new(2), &watch).expect_err("memory")),
        ErrorKind::Unsupported
    );
}
