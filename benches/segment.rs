//! Segment files: writing messages of one queue to a file and reading them again, from the page cache. Run with
//! `cargo bench --bench segment`.

#![allow(clippy::expect_used, reason = "a disk that fails has nothing to measure")]

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tempfile::TempDir;

use leveret::ids::{Position, QueueId};
use leveret::message::{Body, Message, MessageBuilder};
use leveret::protocol::properties::{Properties, PropertiesBuilder};
use leveret::storage::disk::{Disk, DiskFile, Open, RealDisk};
use leveret::storage::segment::{Content, Found, Kind, Run, RunReader, SegmentWriter, name_of, read_item};

const QUEUE: QueueId = QueueId(1);
const NUMBER: u64 = 1;

/// Body sizes, and how many messages of each.
const SIZES: &[(usize, u64)] = &[(128, 100_000), (4096, 10_000), (1 << 20, 100)];

/// How much a queue reads at once.
const CHUNK: usize = 256 * 1024;

fn main() {
    divan::main();
}

fn message(size: usize) -> Message {
    let raw = PropertiesBuilder::new().set_content_type("application/json").set_delivery_mode(2).finish();
    let body = Body::Owned(vec![7; size]);
    MessageBuilder::default().build("orders", "eu.created", Properties::assume_valid(&raw), body)
}

fn disk() -> (TempDir, RealDisk) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = RealDisk::open(directory.path()).expect("a disk");
    (directory, disk)
}

fn write(disk: &dyn Disk, kind: Kind, (size, count): (usize, u64)) -> Run {
    let message = message(size);
    let mut writer = SegmentWriter::create(disk, NUMBER, kind).expect("a segment");
    let from = writer.offset();
    for position in 0..count {
        writer.append(QUEUE, Position(position), &message).expect("room");
    }
    let run = Run { segment: NUMBER, queue: QUEUE, from, until: writer.offset() };
    writer.finish().expect("a sync");
    run
}

fn written(of: (usize, u64)) -> (TempDir, Arc<dyn DiskFile>, Run) {
    let (directory, disk) = disk();
    let run = write(&disk, Kind::Transient, of);
    let file = disk.open(&name_of(NUMBER), Open::Read).expect("the segment");
    (directory, file, run)
}

/// Without syncs, which measure the disk.
#[divan::bench(args = SIZES, sample_count = 20)]
fn write_a_run(bencher: Bencher<'_, '_>, of: &(usize, u64)) {
    let (_directory, disk) = disk();
    bencher
        .counter(ItemsCount::new(of.1))
        .counter(BytesCount::new(of.0 as u64 * of.1))
        .bench_local(|| write(&disk, Kind::Transient, *of));
}

/// With the sync at the end.
#[divan::bench(sample_count = 20)]
fn write_a_durable_run(bencher: Bencher<'_, '_>) {
    let (_directory, disk) = disk();
    bencher.counter(ItemsCount::new(SIZES[0].1)).bench_local(|| write(&disk, Kind::Durable, SIZES[0]));
}

/// All messages of a run, one after the other.
#[divan::bench(args = SIZES, sample_count = 20)]
fn read_a_run(bencher: Bencher<'_, '_>, of: &(usize, u64)) {
    let (_directory, file, run) = written(*of);
    let mut scratch = Vec::new();
    bencher.counter(ItemsCount::new(of.1)).counter(BytesCount::new(of.0 as u64 * of.1)).bench_local(|| {
        let mut reader = RunReader::new(&*file, &run, CHUNK, &mut scratch).expect("a length");
        let mut read = 0;
        while let Some(Found::Item(item)) = reader.read_next().expect("a read") {
            if let Content::Message(message) = reader.content(&item).expect("a read") {
                black_box(message);
                read += 1;
            }
        }
        assert_eq!(read, of.1);
    });
}

/// Headers only, as of messages that are in memory or gone.
#[divan::bench(args = SIZES, sample_count = 20)]
fn skip_a_run(bencher: Bencher<'_, '_>, of: &(usize, u64)) {
    let (_directory, file, run) = written(*of);
    let mut scratch = Vec::new();
    bencher.counter(ItemsCount::new(of.1)).bench_local(|| {
        let mut reader = RunReader::new(&*file, &run, CHUNK, &mut scratch).expect("a length");
        while let Some(found) = reader.read_next().expect("a read") {
            black_box(found);
        }
    });
}

/// One message by its place, as a reference is followed.
#[divan::bench(args = SIZES)]
fn read_one_message(bencher: Bencher<'_, '_>, of: &(usize, u64)) {
    let (_directory, file, run) = written(*of);
    bencher.bench_local(|| read_item(&*file, NUMBER, run.from).expect("a read"));
}
