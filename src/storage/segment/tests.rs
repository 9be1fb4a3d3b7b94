//! Segments on a simulated disk: what was written is read, and nothing else ever.

mod damage;
mod faults;

use std::io::ErrorKind;
use std::sync::Arc;

use proptest::prelude::*;

use super::header::SEGMENT_HEADER;
use super::item::ITEM_HEADER;
use super::writer::DIRECT;
use super::*;
use crate::ids::{Position, QueueId};
use crate::message::{Body, Message, MessageBuilder};
use crate::output::COPY_LIMIT;
use crate::protocol::properties::{Properties, PropertiesBuilder};
use crate::storage::disk::{Disk, DiskFile, Open};
use crate::storage::simulated_disk::{Crash, SimulatedDisk};

const NUMBER: u64 = 7;

/// A message that only `seed` and its size decide.
fn message(seed: u64, size: usize, persistent: bool) -> Message {
    let mut properties = PropertiesBuilder::new();
    properties.set_timestamp(seed);
    if persistent {
        properties.set_delivery_mode(2);
    }
    let raw = properties.finish();
    let body = (0..size).map(|at| (seed as usize * 37 + at / 5) as u8).collect();
    MessageBuilder::default().build("x", "key", Properties::parse(&raw).unwrap(), Body::Owned(body))
}

#[track_caller]
fn same(found: &Message, written: &Message) {
    assert!(found.stored() == written.stored(), "{found:?} is not {written:?}");
    let told = |message: &Message| (message.body_len(), message.is_persistent(), message.priority());
    assert_eq!(told(found), told(written));
}

/// What stands in a segment, as the test wrote it.
#[derive(Clone, Debug)]
struct Written {
    queue: QueueId,
    position: Position,
    offset: u64,
    /// Where the item ends, without what aligns the next one.
    end: u64,
    /// Where the message is, if not here.
    target: Option<u64>,
    message: Message,
}

/// What a test writes: queues, each with messages by their sizes. One without a size is a reference to the first
/// message of the queue before.
type Plan = Vec<Vec<Option<usize>>>;

fn write(disk: &dyn Disk, kind: Kind, plan: &Plan) -> std::io::Result<(Vec<Written>, Vec<Run>, u64)> {
    let mut writer = SegmentWriter::create(disk, NUMBER, kind)?;
    let (mut written, mut runs): (Vec<Written>, Vec<Run>) = (Vec::new(), Vec::new());
    for (queue, sizes) in (1..).map(QueueId).zip(plan) {
        let from = writer.offset();
        let shared = runs.last().and_then(|run| written.iter().find(|item| item.offset == run.from)).cloned();
        for (at, size) in (0..).zip(sizes) {
            let position = Position(at * 3);
            let (offset, target, message) = match (size, &shared) {
                (None, Some(shared)) if shared.target.is_none() => {
                    let offset = writer.append_reference(queue, position, shared.offset)?;
                    (offset, Some(shared.offset), shared.message.clone())
                }
                _ => {
                    let message = message(written.len() as u64, size.unwrap_or(9), kind == Kind::Durable);
                    (writer.append(queue, position, &message)?, None, message)
                }
            };
            let data = if target.is_some() {
                8
            } else {
                message.stored_len() as usize - crate::message::ITEM_HEADER
            };
            let end = offset + (ITEM_HEADER + data) as u64;
            written.push(Written { queue, position, offset, end, target, message });
        }
        if !sizes.is_empty() {
            runs.push(Run { segment: NUMBER, queue, from, until: writer.offset() });
        }
    }
    let len = writer.offset();
    assert_eq!(writer.finish()?, len);
    Ok((written, runs, len))
}

fn open(disk: &SimulatedDisk) -> Arc<dyn DiskFile> {
    disk.open(&name_of(NUMBER), Open::Read).unwrap()
}

/// The message of an item, by the way that its content tells.
fn message_of(file: &dyn DiskFile, reader: &mut RunReader<'_>, item: &Item) -> Option<Message> {
    match reader.content(item).unwrap() {
        Content::Message(message) => Some(message),
        Content::Reference(target) => read_item(file, NUMBER, target).unwrap().map(|(_, _, message)| message),
        Content::Damaged => None,
    }
}

/// What is found in the runs: sound messages by their item's offset, and damaged items and parts. Whatever is found
/// is as it was written; the parts follow one another.
fn found(
    file: &dyn DiskFile,
    written: &[Written],
    runs: &[Run],
    chunk: usize,
) -> (Vec<u64>, Vec<u64>, Vec<(u64, u64)>) {
    let (mut sound, mut damaged, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    let mut scratch = vec![0xAA; 100];
    for run in runs {
        let mut reader = RunReader::new(file, run, chunk, &mut scratch).unwrap();
        let mut at = run.from;
        while let Some(found) = reader.read_next().unwrap() {
            match found {
                Found::Damaged { from, to } => {
                    assert!(from == at && to > from);
                    gaps.push((from, to));
                }
                Found::Item(item) => {
                    assert_eq!(item.offset(), at);
                    let index = written.binary_search_by_key(&item.offset(), |item| item.offset).unwrap();
                    let expected = &written[index];
                    assert_eq!((item.queue(), item.position()), (expected.queue, expected.position));
                    assert_eq!(item.offset() + item.item_len(), expected.end);
                    match message_of(file, &mut reader, &item) {
                        Some(message) => {
                            same(&message, &expected.message);
                            sound.push(item.offset());
                        }
                        None => damaged.push(item.offset()),
                    }
                }
            }
            at = reader.offset();
        }
        assert_eq!(at, run.until);
    }
    (sound, damaged, gaps)
}

fn sizes() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![
        4 => (0_usize..300).prop_map(Some),
        2 => Just(None),
        1 => Just(Some(0)),
        1 => (COPY_LIMIT - 60..COPY_LIMIT + 3).prop_map(Some),
        1 => (DIRECT - 2..DIRECT + 3).prop_map(Some),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    prop::collection::vec(prop::collection::vec(sizes(), 0..20), 0..6)
}

fn chunks() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1_usize..200, Just(4096), Just(256 * 1024), Just(4 << 20)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(plan in plans(), chunk in chunks(), durable in any::<bool>()) {
        let disk = SimulatedDisk::new(1);
        let kind = if durable { Kind::Durable } else { Kind::Transient };
        let (written, runs, len) = write(&disk, kind, &plan).unwrap();
        let file = open(&disk);
        prop_assert_eq!(file.len().unwrap(), len);
        prop_assert_eq!(read_header(&*file).unwrap(), Ok(Header { number: NUMBER, kind }));
        let (sound, damaged, gaps) = found(&*file, &written, &runs, chunk);
        prop_assert!(sound.iter().eq(written.iter().map(|item| &item.offset)));
        prop_assert!(damaged.is_empty() && gaps.is_empty());

        for item in &written {
            let (queue, position, message) = read_item(&*file, NUMBER, item.offset).unwrap().unwrap();
            prop_assert_eq!((queue, position), (item.queue, item.position));
            same(&message, &item.message);
        }
        let report = check(&*file, NUMBER).unwrap();
        let references = written.iter().filter(|item| item.target.is_some()).count() as u64;
        let bytes = written.iter().map(|item| item.end - item.offset).sum();
        let messages = written.len() as u64 - references;
        prop_assert_eq!(report, Report { messages, references, bytes, damaged: Vec::new() });
    }

    /// Readers that stop after a few items and go on where they were, skipping some.
    #[test]
    fn a_run_is_read_in_any_pieces(
        sizes in prop::collection::vec(sizes(), 1..40),
        steps in prop::collection::vec((1_usize..5, chunks(), any::<bool>()), 40),
    ) {
        let disk = SimulatedDisk::new(1);
        let (written, runs, _) = write(&disk, Kind::Durable, &vec![sizes]).unwrap();
        let file = open(&disk);
        let mut rest = written.iter();
        let (mut run, mut scratch) = (runs[0], Vec::new());
        for (count, chunk, skip) in steps {
            let mut reader = RunReader::new(&*file, &run, chunk, &mut scratch).unwrap();
            for _ in 0..count {
                let Some(found) = reader.read_next().unwrap() else { break };
                let (Found::Item(item), Some(expected)) = (found, rest.next()) else { panic!("{found:?}") };
                prop_assert_eq!((item.offset(), item.position()), (expected.offset, expected.position));
                if !skip {
                    same(&message_of(&*file, &mut reader, &item).unwrap(), &expected.message);
                }
            }
            run.from = reader.offset();
        }
        prop_assert_eq!(run.from, rest.next().map_or(run.until, |item| item.offset));
    }
}

#[test]
fn large_messages_and_many_of_them_are_read() {
    let disk = SimulatedDisk::new(1);
    let mib = Some(1 << 20);
    let plan = vec![vec![mib, Some(0), mib], vec![Some(100); 10_000], vec![None, Some(3 << 20), None]];
    let (written, runs, len) = write(&disk, Kind::Durable, &plan).unwrap();
    assert!(len > 6 << 20);
    for chunk in [4096, 256 * 1024] {
        assert_eq!(found(&*open(&disk), &written, &runs, chunk).0.len(), written.len());
    }
}

#[test]
fn what_is_skipped_is_not_read() {
    let disk = SimulatedDisk::new(1);
    let (_, runs, _) = write(&disk, Kind::Durable, &vec![vec![Some(1 << 20); 4]]).unwrap();
    let file = open(&disk);
    let mut scratch = Vec::new();
    let mut reader = RunReader::new(&*file, &runs[0], 4096, &mut scratch).unwrap();
    let before = disk.operations();
    while reader.read_next().unwrap().is_some() {}
    assert_eq!(disk.operations() - before, 4);
    assert_eq!(scratch.len(), 4096);
}

#[test]
fn raw_parts_are_a_message_again() {
    let disk = SimulatedDisk::new(1);
    let mut writer = SegmentWriter::create(&disk, NUMBER, Kind::Durable).unwrap();
    let made = [message(1, 50, true), message(2, COPY_LIMIT + 1, true), message(3, 0, true)];
    let offsets = made.each_ref().map(|made| {
        let (contiguous, large) = made.stored();
        let large = large.map(|large| &large[..]);
        writer.append_raw(QueueId(1), Position(0), contiguous, large, made.checksum()).unwrap()
    });
    // Copied with what is wrong with it, and still wrong.
    let bad = writer.append_raw(QueueId(1), Position(1), b"abc", None, 5).unwrap();
    writer.finish().unwrap();
    let file = open(&disk);
    for (offset, made) in offsets.into_iter().zip(&made) {
        same(&read_item(&*file, NUMBER, offset).unwrap().unwrap().2, made);
    }
    assert!(read_item(&*file, NUMBER, bad).unwrap().is_none());
}

#[test]
fn what_cannot_be_written_is_refused_and_harms_nothing() {
    let disk = SimulatedDisk::new(1);
    assert_eq!(
        SegmentWriter::create(&disk, 1 << 28, Kind::Durable).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let mut writer = SegmentWriter::create(&disk, NUMBER, Kind::Durable).unwrap();
    let (queue, made) = (QueueId(1), message(1, 10, true));
    let first = writer.append(queue, Position(0), &made).unwrap();
    assert_eq!(first, SEGMENT_HEADER);
    let here = writer.offset();
    for target in [0, SEGMENT_HEADER - 8, SEGMENT_HEADER + 1, here, here + 8, u64::MAX] {
        let error = writer.append_reference(queue, Position(1), target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{target}");
    }
    let error = writer.append_raw(queue, Position(1), &[], Some(&[1]), 0).unwrap_err();
    assert_eq!((error.kind(), writer.offset()), (ErrorKind::InvalidInput, here));
    writer.append_reference(queue, Position(1), first).unwrap();
    writer.finish().unwrap();
    let report = check(&*open(&disk), NUMBER).unwrap();
    assert_eq!((report.messages, report.references, report.damaged.len()), (1, 1, 0));
}

#[test]
fn a_segment_is_full_where_a_place_cannot_point() {
    let mut writer = SegmentWriter::create(&SimulatedDisk::new(1), NUMBER, Kind::Durable).unwrap();
    let (queue, made) = (QueueId(1), message(1, 10, true));
    writer.skip_to((16 << 30) - 8);
    writer.append(queue, Position(0), &made).unwrap();
    let end = writer.offset();
    assert_eq!(writer.append(queue, Position(1), &made).unwrap_err().kind(), ErrorKind::FileTooLarge);
    let error = writer.append_reference(queue, Position(1), SEGMENT_HEADER).unwrap_err();
    assert_eq!((error.kind(), writer.offset()), (ErrorKind::FileTooLarge, end));
}

#[test]
fn a_leftover_of_the_same_name_is_replaced() {
    let disk = SimulatedDisk::new(1);
    write(&disk, Kind::Durable, &vec![vec![Some(5000); 40]]).unwrap();
    let (written, runs, len) = write(&disk, Kind::Durable, &vec![vec![Some(1)]]).unwrap();
    disk.sync_dir().unwrap();
    for how in Crash::EACH {
        let file = open(&disk.after_crash(how));
        assert_eq!((file.len().unwrap(), found(&*file, &written, &runs, 4096).0.len()), (len, 1));
    }
}

#[test]
fn a_name_tells_its_number() {
    for (number, name) in [(1, "segment-00000001"), ((1 << 28) - 1, "segment-268435455")] {
        assert_eq!((name_of(number), number_of(name)), (name.to_owned(), Some(number)));
    }
    for name in [
        "segment-",
        "segment-1",
        "segment-+0000001",
        "segment-000000001",
        "journal-00000001",
        "segment-zzzzzzzz",
    ] {
        assert_eq!(number_of(name), None, "{name}");
    }
}
