//! The values of the catalogue's tables. Each ends with a checksum of the table's name, the key and the value before
//! it, so that a value is taken for nothing else and for nobody else's. See `docs/storage.md`.

use std::io;

use roaring::RoaringTreemap;

use super::snapshot::{StoredQueue, StoredRun};
use crate::deaths::Reason;
use crate::ids::{Position, QueueId};
use crate::queue::{LaneState, Marks};
use crate::storage::codec::{Reader, put_bytes, put_int};

/// The version of what is in the tables.
pub(super) const VERSION: u64 = 2;

/// Names of tables.
pub(super) const META: &str = "meta";
pub(super) const DEFINITIONS: &str = "definitions";
pub(super) const QUEUES: &str = "queues";
pub(super) const SEGMENTS: &str = "segments";

/// The only key of the meta table.
pub(super) const META_KEY: &str = "catalogue";

const CHECKSUM: usize = 4;

/// The meta record behind its version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) oldest: u64,
    pub(super) last_queue: u64,
    pub(super) last_segment: u64,
    /// How many definitions there are, and so on: a page that is lost takes many with it and leaves no other trace.
    pub(super) definitions: u64,
    pub(super) queues: u64,
    pub(super) segments: u64,
}

/// What a meta record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaRecord {
    /// One of this version.
    Known(Meta),
    /// One of another version.
    Foreign,
}

fn checksum(table: &str, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    [table.as_bytes(), key, value].into_iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Puts the checksum behind a value.
fn seal(table: &str, key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(table, key, &value);
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

/// The value before its checksum, if that fits.
fn unseal<'a>(table: &str, key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (value, stored) = sealed.split_last_chunk::<CHECKSUM>()?;
    (checksum(table, key, value) == u32::from_le_bytes(*stored)).then_some(value)
}

/// Reads a value to its end.
fn whole<T>(value: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Option<T> {
    let mut reader = Reader(value);
    read(&mut reader).filter(|_| reader.0.is_empty())
}

pub(super) fn encode_meta(meta: &Meta) -> Vec<u8> {
    let Meta { oldest, last_queue, last_segment, definitions, queues, segments } = *meta;
    let mut value = Vec::new();
    for number in [VERSION, oldest, last_queue, last_segment, definitions, queues, segments] {
        put_int(&mut value, number);
    }
    seal(META, META_KEY.as_bytes(), value)
}

pub(super) fn decode_meta(sealed: &[u8]) -> Option<MetaRecord> {
    let value = unseal(META, META_KEY.as_bytes(), sealed)?;
    if Reader(value).int()? != VERSION {
        return Some(MetaRecord::Foreign);
    }
    whole(value, |reader| {
        reader.int()?;
        Some(MetaRecord::Known(Meta {
            oldest: reader.int()?,
            last_queue: reader.int()?,
            last_segment: reader.int()?,
            definitions: reader.int()?,
            queues: reader.int()?,
            segments: reader.int()?,
        }))
    })
}

pub(super) fn encode_definitions(vhost: &str, records: &[u8]) -> Vec<u8> {
    seal(DEFINITIONS, vhost.as_bytes(), records.to_vec())
}

pub(super) fn decode_definitions(vhost: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    unseal(DEFINITIONS, vhost.as_bytes(), sealed).map(<[u8]>::to_vec)
}

pub(super) fn encode_segment(number: u64, len: u64) -> Vec<u8> {
    let mut value = Vec::new();
    put_int(&mut value, len);
    seal(SEGMENTS, &number.to_le_bytes(), value)
}

pub(super) fn decode_segment(number: u64, sealed: &[u8]) -> Option<u64> {
    whole(unseal(SEGMENTS, &number.to_le_bytes(), sealed)?, |reader| reader.int())
}

/// The error is one of the bitmap's writer, which memory does not give.
pub(super) fn encode_queue(id: QueueId, queue: &StoredQueue) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    put_marks(&mut value, &queue.marks);
    put_int(&mut value, queue.runs.len() as u64);
    let mut live = Vec::new();
    for run in &queue.runs {
        for number in [run.segment, run.from, run.until, run.bytes] {
            put_int(&mut value, number);
        }
        let mut positions = run.live.clone();
        positions.optimize();
        live.clear();
        positions.serialize_into(&mut live)?;
        put_bytes(&mut value, &live);
    }
    Ok(seal(QUEUES, &id.0.to_le_bytes(), value))
}

pub(super) fn decode_queue(id: QueueId, sealed: &[u8]) -> Option<StoredQueue> {
    whole(unseal(QUEUES, &id.0.to_le_bytes(), sealed)?, |reader| {
        let marks = decode_marks(reader)?;
        let count = reader.int()?;
        // The number is not trusted with an allocation: each run takes some of the bytes there are.
        let mut runs = Vec::new();
        for _ in 0..count {
            runs.push(decode_run(reader)?);
        }
        Some(StoredQueue { id, marks, runs })
    })
}

fn put_marks(value: &mut Vec<u8>, marks: &Marks) {
    let Marks { lanes, dead, counts, has_lifetimes } = marks;
    value.push(u8::from(*has_lifetimes));
    put_int(value, lanes.len() as u64);
    for LaneState { number, delivered, next } in lanes {
        value.push(*number);
        put_int(value, delivered.0);
        put_int(value, next.0);
    }
    put_int(value, dead.len() as u64);
    for (position, reason) in dead {
        put_int(value, position.0);
        value.push(reason.code());
    }
    put_int(value, counts.len() as u64);
    for (position, count) in counts {
        put_int(value, position.0);
        put_int(value, u64::from(*count));
    }
}

fn decode_marks(reader: &mut Reader<'_>) -> Option<Marks> {
    let mut marks = Marks { has_lifetimes: reader.flag()?, ..Marks::default() };
    for _ in 0..reader.int()? {
        let number = reader.octet()?;
        let (delivered, next) = (Position(reader.int()?), Position(reader.int()?));
        marks.lanes.push(LaneState { number, delivered, next });
    }
    for _ in 0..reader.int()? {
        marks.dead.push((Position(reader.int()?), Reason::from_code(reader.octet()?)?));
    }
    for _ in 0..reader.int()? {
        marks.counts.push((Position(reader.int()?), u32::try_from(reader.int()?).ok()?));
    }
    Some(marks)
}

fn decode_run(reader: &mut Reader<'_>) -> Option<StoredRun> {
    Some(StoredRun {
        segment: reader.int()?,
        from: reader.int()?,
        until: reader.int()?,
        bytes: reader.int()?,
        live: {
            let mut bytes = reader.bytes()?;
            let live = RoaringTreemap::deserialize_from(&mut bytes).ok()?;
            bytes.is_empty().then_some(live)?
        },
    })
}
