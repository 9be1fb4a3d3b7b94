//! The journal and its recovery on a simulated disk: what was appended comes back, whatever happens to the disk.

mod damage;
mod faults;
mod reading;
mod records;
mod replay;
mod retiring;
mod starting;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::ids::{Lsn, Position, QueueId};
use crate::message::{Body, Message, MessageBuilder};
use crate::protocol::field::Table;
use crate::protocol::properties::{Properties, PropertiesBuilder};
use crate::routing::{BindingSpec, Destination, ExchangeKind, ExchangeSpec};
use crate::storage::disk::{Disk, Open, write_all_at};
use crate::storage::file::FILE_HEADER;
use crate::storage::group::{FIXED, GroupHeader, MAGIC, align};
use crate::storage::image::{Definitions, Image, NamedQueue};
use crate::storage::journal::{Base, Journal};
use crate::storage::options::JournalOptions;
use crate::storage::record::Record;
use crate::storage::simulated_disk::{Crash, SimulatedDisk};

const VHOST: &str = "/";
const QUEUE: QueueId = QueueId(1);

/// Small files without a checkpoint's budget.
fn small() -> JournalOptions {
    JournalOptions { file_size: 4096, ..JournalOptions::default() }
}

/// Files for more than a test writes, and no more zeros ahead than it takes time to copy.
fn large() -> JournalOptions {
    JournalOptions { file_size: 64 * 1024, ..JournalOptions::default() }
}

/// Says durably which journal file is the first that is needed, as the catalogue does.
fn say_needed(disk: &SimulatedDisk, oldest: u64) -> io::Result<()> {
    let file = match disk.open("catalogue.new", Open::Create) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.open("catalogue.new", Open::Write)?
        }
        file => file?,
    };
    write_all_at(&*file, &mut [IoSlice::new(&oldest.to_le_bytes())], 0)?;
    file.sync_all()?;
    disk.rename("catalogue.new", "catalogue")?;
    disk.sync_dir()
}

fn base(disk: &SimulatedDisk) -> Base {
    let content = disk.snapshot().remove("catalogue");
    let oldest = content.map_or(0, |content| u64::from_le_bytes(content.try_into().unwrap()));
    Base { image: Image::default(), oldest }
}

fn open_with(disk: &SimulatedDisk, options: JournalOptions) -> io::Result<(Journal, Image)> {
    Journal::open(Arc::new(disk.clone()), options, base(disk), |_| {})
}

fn open(disk: &SimulatedDisk) -> io::Result<(Journal, Image)> {
    open_with(disk, large())
}

/// What is in the journal of a disk.
struct Found {
    definitions: Definitions,
    /// Messages by queue and position, but those that are damaged.
    messages: BTreeMap<(QueueId, u64), Message>,
    /// The position to which it goes.
    end: u64,
}

fn found(disk: &SimulatedDisk) -> io::Result<Found> {
    let copy = disk.after_crash(Crash::KeepAll);
    let (journal, mut image) = open(&copy)?;
    let definitions = image.take(VHOST);
    let messages = load(&journal, &definitions)?;
    Ok(Found { definitions, messages, end: journal.end().0 })
}

fn load(journal: &Journal, definitions: &Definitions) -> io::Result<BTreeMap<(QueueId, u64), Message>> {
    let mut messages = BTreeMap::new();
    for queue in &definitions.queues {
        for stored in queue.content.messages.iter() {
            if let Some(message) = journal.read(stored.address, u64::from(stored.stored_len))? {
                assert_eq!(message.body_len(), u64::from(stored.body_len));
                assert_eq!(message.stored_at(), stored.address);
                messages.insert((queue.id, stored.position.0), message);
            }
        }
    }
    Ok(messages)
}

/// The positions that a queue has.
fn positions(queue: &NamedQueue) -> Vec<u64> {
    queue.content.messages.iter().map(|message| message.position.0).collect()
}

/// The messages of the first queue by position.
fn messages(disk: &SimulatedDisk) -> io::Result<BTreeMap<u64, Message>> {
    let messages = found(disk)?.messages.into_iter();
    Ok(messages.filter(|((queue, _), _)| *queue == QUEUE).map(|((_, at), message)| (at, message)).collect())
}

/// How many messages there are, if they are the first ones and as they were.
#[track_caller]
fn prefix(disk: &SimulatedDisk, size: usize) -> io::Result<u64> {
    let found = messages(disk)?;
    for (at, (position, message)) in (0..).zip(&found) {
        assert_eq!(at, *position, "no gap");
        check(message, at, size);
    }
    Ok(found.len() as u64)
}

fn body(n: u64, size: usize) -> Vec<u8> {
    (0..size).map(|at| (n as usize * 37 + at / 5) as u8).collect()
}

fn message(n: u64, size: usize) -> Message {
    let raw = PropertiesBuilder::new().set_delivery_mode(2).set_timestamp(n).finish();
    MessageBuilder::default().build("x", "key", Properties::parse(&raw).unwrap(), Body::Owned(body(n, size)))
}

#[track_caller]
fn check(found: &Message, n: u64, size: usize) {
    let made = message(n, size);
    assert_eq!((found.exchange(), found.routing_key()), ("x", "key"));
    assert_eq!(found.raw_properties(), made.raw_properties(), "message {n}");
    assert!(found.body() == made.body(), "the body of message {n}");
    assert!(found.is_persistent() && found.body_len() == size as u64);
}

fn declare(journal: &Journal, id: QueueId) -> Lsn {
    let name = format!("queue {id}");
    let arguments = &Table::default();
    let record = Record::QueueDeclared { vhost: VHOST, id, name: &name, auto_delete: false, arguments };
    journal.append(|batch| batch.record(&record))
}

fn enqueue(journal: &Journal, queue: QueueId, position: u64, message: &Message) -> Lsn {
    let position = Position(position);
    journal.append(|batch| {
        let message = batch.own(message.clone());
        batch.record(&Record::Enqueued { queue, position, message: &message });
    })
}

fn remove(journal: &Journal, queue: QueueId, position: u64) -> Lsn {
    journal.append(|batch| batch.removed(queue, Position(position)))
}

/// A disk with a queue of `count` durable messages of `size`, each in a group of its own.
fn disk_of(count: u64, size: usize, options: JournalOptions) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, options).unwrap();
    assert!(journal.wait_durable(declare(&journal, QUEUE)));
    for n in 0..count {
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, size))));
    }
    drop(journal);
    disk
}

/// The groups of a file: where each begins, its header, and where it ends.
fn groups(content: &[u8]) -> Vec<(u64, GroupHeader, u64)> {
    let mut at = FILE_HEADER;
    let mut groups = Vec::new();
    while let Some(fixed) = content.get(at as usize..at as usize + FIXED)
        && fixed.starts_with(&MAGIC)
    {
        let (header, _) = GroupHeader::parse(fixed.try_into().unwrap()).unwrap();
        groups.push((at, header, at + header.len()));
        at = align(at + header.len());
    }
    groups
}

#[test]
fn messages_of_every_size_come_back() {
    let disk = SimulatedDisk::new(1);
    let (journal, image) = open(&disk).unwrap();
    assert_eq!((journal.end(), image.last_queue()), (Lsn::ZERO, 0));
    declare(&journal, QUEUE);
    let kib = 1024;
    let sizes = [0, 1, 100, 16 * kib - 1, 16 * kib, 16 * kib + 1, 40 * kib, 300 * kib, 2, 300 * kib];
    for (n, &size) in (0..).zip(&sizes) {
        enqueue(&journal, QUEUE, n, &message(n, size));
    }
    // More large bodies than one write takes slices, in one batch.
    let many: Vec<Message> = (100..240).map(|n| message(n, 17 * kib)).collect();
    let end = journal.append(|batch| {
        for (n, message) in (100..).map(Position).zip(&many) {
            batch.record(&Record::Enqueued { queue: QUEUE, position: n, message });
        }
    });
    assert!(journal.wait_durable(end));
    let found = messages(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    assert_eq!(found.len(), sizes.len() + many.len());
    for (n, &size) in (0..).zip(&sizes) {
        check(&found[&n], n, size);
    }
    (100..240).for_each(|n| check(&found[&n], n, 17 * kib));
}

#[test]
fn definitions_references_removals_and_marks_come_back() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    let exchange = |name: &str, alternate: Option<&str>| ExchangeSpec {
        name: name.to_owned(),
        kind: ExchangeKind::Topic,
        durable: true,
        auto_delete: true,
        internal: true,
        arguments: Table::default(),
        alternate: alternate.map(str::to_owned),
    };
    let exchanges = [exchange("x", Some("")), exchange("y", Some("x")), exchange("gone", None)];
    for exchange in &exchanges {
        journal.append(|batch| batch.record(&Record::ExchangeDeclared { vhost: VHOST, exchange }));
    }
    (1..=3).map(QueueId).for_each(|id| {
        declare(&journal, id);
    });
    let binding = |source: &str, destination, key: &str| BindingSpec {
        source: source.to_owned(),
        destination,
        key: key.to_owned(),
        arguments: Table::default(),
    };
    let bindings = [
        binding("x", Destination::Queue(QueueId(1)), "a.*"),
        binding("x", Destination::Exchange("y".to_owned()), "#"),
        binding("y", Destination::Queue(QueueId(2)), "unbound"),
        binding("y", Destination::Queue(QueueId(3)), "its queue goes"),
        binding("gone", Destination::Queue(QueueId(1)), "its exchange goes"),
    ];
    for binding in &bindings {
        journal.append(|batch| batch.record(&Record::Bound { vhost: VHOST, binding }));
    }
    let shared = message(7, 20_000);
    (1..=3).map(QueueId).for_each(|id| {
        enqueue(&journal, id, 4, &shared);
    });
    enqueue(&journal, QUEUE, 5, &message(8, 10));
    remove(&journal, QUEUE, 4);
    journal.append(|batch| {
        batch.record(&Record::DeliveredThrough { queue: QUEUE, position: Position(4099) });
        batch.record(&Record::Unbound { vhost: VHOST, binding: &bindings[2] });
        batch.record(&Record::QueueDeleted { id: QueueId(3) });
        batch.record(&Record::ExchangeDeleted { vhost: VHOST, name: "gone" });
    });
    journal.close();

    let found = found(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    let Found { definitions, messages, end } = found;
    assert_eq!(end, journal.end().0);
    assert_eq!(definitions.exchanges, exchanges[..2]);
    assert_eq!(definitions.bindings, bindings[..2]);
    let [first, second] = &definitions.queues[..] else { panic!("two queues: {definitions:?}") };
    assert_eq!(
        (&*first.name, first.id, first.content.first_lane().delivered),
        ("queue 1", QUEUE, Position(4099))
    );
    assert_eq!((positions(first), positions(second)), (vec![5], vec![4]));
    check(&messages[&(QUEUE, 5)], 8, 10);
    check(&messages[&(QueueId(2), 4)], 7, 20_000);
    assert_eq!(second.content.first_lane().next, Position(5));
    // Stored once, though it went to three queues.
    let written: usize =
        disk.snapshot().values().map(|content| content.iter().filter(|b| **b != 0).count()).sum();
    assert!(written < 25_000, "{written}");
}

/// Publishes on `disk` until that crashes; how many messages were durable.
fn publish_until_crash(disk: &SimulatedDisk) -> u64 {
    let Ok((journal, _)) = open_with(disk, small()) else { return 0 };
    declare(&journal, QUEUE);
    let mut durable = 0;
    for n in 0..24 {
        let lsn = enqueue(&journal, QUEUE, n, &message(n, 500));
        if n % 3 == 0 && journal.wait_durable(lsn) {
            durable = n + 1;
        }
        if disk.has_crashed() {
            break;
        }
    }
    durable
}

#[test]
fn a_crash_at_any_call_leaves_a_prefix_with_all_that_was_durable() {
    for operation in (1..).step_by(3) {
        let disk = SimulatedDisk::new(operation);
        disk.crash_at(operation);
        let durable = publish_until_crash(&disk);
        let crashed = disk.has_crashed();
        let torn = disk.last_unsynced_write();
        let tears = [0, 1, torn / 2, torn.saturating_sub(1)].map(|bytes| Crash::TearLast { bytes });
        for how in Crash::EACH.into_iter().chain(tears) {
            let count = prefix(&disk.after_crash(how), 500).unwrap();
            assert!(count >= durable, "{how:?} at {operation}: {count} of {durable}");
        }
        if !crashed {
            assert!(operation > 40, "{operation}");
            return;
        }
    }
}

#[test]
fn a_crash_during_recovery_changes_nothing_that_was_found() {
    let disk = SimulatedDisk::new(3);
    disk.crash_at(40);
    publish_until_crash(&disk);
    for how in Crash::EACH {
        let first = disk.after_crash(how);
        let count = prefix(&first, 500).unwrap();
        for operation in 1.. {
            let recovering = first.after_crash(Crash::KeepAll);
            recovering.crash_at(operation);
            let opened = open(&recovering).is_ok();
            for again in Crash::EACH {
                let after = prefix(&recovering.after_crash(again), 500).unwrap();
                // What a killed process wrote and nobody synced may still go in a power cut.
                let same = after == count || (how == Crash::KeepAll && again != Crash::KeepAll);
                assert!(same, "{how:?}, then {again:?} at {operation}: {after} instead of {count}");
            }
            if opened {
                break;
            }
        }
    }
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_and_the_journal_goes_on() {
    let disk = disk_of(2, 100, large());
    let (journal, _) = open(&disk).unwrap();
    let lsn = enqueue(&journal, QUEUE, 2, &message(2, 90));
    // Appended and written, but not synced.
    while journal.progress().written < lsn {
        std::thread::yield_now();
    }
    // The writer goes on; this stands still.
    let disk = disk.after_crash(Crash::KeepAll);
    let torn = disk.last_unsynced_write();
    for bytes in 0..=torn {
        let after = disk.after_crash(Crash::TearLast { bytes });
        let (journal, mut image) = open(&after).unwrap();
        let found = image.take(VHOST).queues.remove(0).content.messages.len() as u64;
        assert!(found == 2 || (found == 3 && bytes >= torn.min(FIXED)), "{found} at {bytes} of {torn}");
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, found, &message(found, 90))));
        drop(journal);
        assert_eq!(messages(&after.after_crash(Crash::DropUnsynced)).unwrap().len() as u64, found + 1);
    }
}

#[test]
fn files_are_begun_one_after_the_other() {
    let disk = disk_of(40, 700, small());
    let files = disk.snapshot();
    assert!(files.len() > 5, "{} files", files.len());
    assert_eq!(prefix(&disk, 700).unwrap(), 40);
    assert!(files.values().all(|content| content.len() < 20_000), "no file is much larger than it should be");
}

#[test]
fn a_batch_is_in_one_file_and_whole_or_absent() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    declare(&journal, QUEUE);
    let end = journal.append(|batch| {
        for n in 0..50 {
            let (queue, position) = (QUEUE, Position(n));
            batch.record(&Record::Enqueued { queue, position, message: &message(n, 500) });
        }
    });
    while journal.progress().written < end {
        std::thread::yield_now();
    }
    // The writer goes on; this stands still.
    let disk = disk.after_crash(Crash::KeepAll);
    let torn = disk.last_unsynced_write();
    assert!(torn > 25_000);
    for bytes in (0..=torn).step_by(torn / 50) {
        let count = prefix(&disk.after_crash(Crash::TearLast { bytes }), 500).unwrap();
        assert!(count == 0 || count == 50, "{count} at {bytes}");
    }
    for _ in 0..30 {
        let count = prefix(&disk.after_crash(Crash::RandomSubset), 500).unwrap();
        assert!(count == 0 || count == 50, "{count}");
    }
}

#[test]
fn nothing_appended_is_nothing_written() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    assert_eq!(journal.append(|_| {}), Lsn::ZERO);
    assert!(journal.wait_durable(journal.end()));
    journal.close();
    assert!(disk.list().unwrap().is_empty());
}
