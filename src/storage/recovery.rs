//! Reading the journal at the start.
//!
//! First the header blocks of all files are followed from group to group, which tells where the journal ends and what
//! is proven durable; then records and messages are applied. Where the chain breaks, a later group that claims
//! durability past the break proves damage, and the start is refused; otherwise what follows is a torn tail, and the
//! next file begins by saying where it continues.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use crate::message::Message;
use crate::storage::codec::Reader;
use crate::storage::disk::{Disk, DiskFile, Open, read_exact_at, write_all_at};
use crate::storage::file::{FILE_HEADER, FileHeader};
use crate::storage::group::{ALIGNMENT, FIXED, GroupHeader, MAGIC, align};
use crate::storage::image::Image;
use crate::storage::journal::FileState;
use crate::storage::record::{Entry, Stored, decode};
use crate::storage::writer::Tail;

/// Names of journal files begin so.
const PREFIX: &str = "journal-";

/// How much is read at once where groups are looked for; a multiple of [`ALIGNMENT`].
const SCAN_CHUNK: usize = 64 * 1024;

/// What was found.
pub(super) struct Recovered {
    pub(super) image: Image,
    pub(super) files: VecDeque<FileState>,
    pub(super) spare: Vec<String>,
    pub(super) tail: Tail,
}

/// A journal file that is needed.
struct Source {
    name: String,
    file: Arc<dyn DiskFile>,
    header: FileHeader,
    len: u64,
    end: u64,
}

/// A sound group.
struct Found {
    source: usize,
    at: u64,
    header: GroupHeader,
    checksum: u32,
}

/// Reads the journal of `disk`.
pub(super) fn recover(disk: &dyn Disk) -> io::Result<Recovered> {
    let (mut sources, spare) = open_files(disk)?;
    let groups = follow(&mut sources)?;
    let (image, tail) = apply(&mut sources, &groups)?;
    for source in &sources {
        // What was read from the operating system's memory is built upon now.
        source.file.sync_all()?;
    }
    disk.sync_dir()?;
    let files = sources
        .into_iter()
        .map(|source| FileState {
            number: source.header.number,
            base: source.header.base,
            name: source.name,
            bytes: source.len.max(source.end),
        })
        .collect();
    Ok(Recovered { image, files, spare, tail })
}

/// Opens the files that are needed, oldest first, and names those that are not.
fn open_files(disk: &dyn Disk) -> io::Result<(Vec<Source>, Vec<String>)> {
    let (mut sources, mut headless) = (Vec::new(), Vec::new());
    for name in disk.list()?.into_iter().filter(|name| name.starts_with(PREFIX)) {
        let file = disk.open(&name, Open::Write)?;
        let len = file.len()?;
        let mut block = vec![0; FILE_HEADER as usize];
        if len >= FILE_HEADER {
            read_exact_at(&*file, &mut block, 0)?;
        }
        match FileHeader::parse(&block) {
            Some(header) => sources.push(Source { name, file, header, len, end: FILE_HEADER }),
            None if FileHeader::is_foreign(&block) => {
                return Err(damaged(
                    &name,
                    0,
                    "it has another format version; this program does not read it",
                ));
            }
            None => headless.push((name, file, len)),
        }
    }
    sources.sort_by_key(|source| source.header.number);
    let oldest = sources.last().map_or(0, |newest| newest.header.oldest);
    let mut spare = Vec::new();
    for (name, file, len) in headless {
        // A header is on disk before the first group is written: without one the file was begun and never used, and
        // what is in it is older than anything needed.
        let groups = find_groups(&*file, len, FILE_HEADER)?;
        if groups.iter().any(|(_, header, _)| header.epoch >= oldest) {
            return Err(damaged(&name, 0, "the file's header is damaged"));
        }
        spare.push(name);
    }
    let needed = sources.partition_point(|source| source.header.number < oldest);
    spare.extend(sources.drain(..needed).map(|source| source.name));
    let numbers = sources.iter().map(|source| source.header.number);
    if let Some((missing, _)) = (oldest..).zip(numbers).find(|(expected, number)| expected != number) {
        return Err(damaged(&format!("{PREFIX}{missing:08}"), 0, "this file of the journal is missing"));
    }
    Ok((sources, spare))
}

/// Follows the groups of all files.
fn follow(sources: &mut [Source]) -> io::Result<Vec<Found>> {
    let mut groups: Vec<Found> = Vec::new();
    let mut tail = begin(sources);
    for index in 0..sources.len() {
        let source = &sources[index];
        if tail != continued_by(&source.header) {
            let before = &sources[index.saturating_sub(1)];
            let text = "records that were durable are missing or damaged from here on";
            return Err(damaged(&before.name, before.end, text));
        }
        let mut at = FILE_HEADER;
        while let Some((header, checksum)) = sound_group(source, at, tail)? {
            groups.push(Found { source: index, at, header, checksum });
            at = align(at + header.len());
            tail = behind(&header, checksum);
        }
        if index + 1 == sources.len() {
            check_tail(source, at, tail)?;
        }
        sources[index].end = at;
    }
    Ok(groups)
}

/// What the oldest file continues.
fn begin(sources: &[Source]) -> Tail {
    let first = sources.first().map(|first| continued_by(&first.header));
    first.unwrap_or(Tail { sequence: 1, ..Tail::default() })
}

fn continued_by(header: &FileHeader) -> Tail {
    Tail { end: header.base, sequence: header.sequence, chain: header.chain }
}

/// What continues a group.
fn behind(header: &GroupHeader, checksum: u32) -> Tail {
    Tail { end: header.base + u64::from(header.records), sequence: header.sequence + 1, chain: checksum }
}

/// The group at `at`, if one that continues `tail` is there with a sound header block.
fn sound_group(source: &Source, at: u64, tail: Tail) -> io::Result<Option<(GroupHeader, u32)>> {
    let Some((header, checksum)) = read_group(&*source.file, source.len, at)? else { return Ok(None) };
    let continues = header.epoch == source.header.number
        && header.sequence == tail.sequence
        && header.base == tail.end
        && header.chain == tail.chain;
    Ok(continues.then_some((header, checksum)))
}

/// The group at `at`, if there is one with a sound header block; perhaps of an earlier life of the file.
fn read_group(file: &dyn DiskFile, len: u64, at: u64) -> io::Result<Option<(GroupHeader, u32)>> {
    if at + FIXED as u64 > len {
        return Ok(None);
    }
    let mut fixed = [0; FIXED];
    read_exact_at(file, &mut fixed, at)?;
    let Some((header, checksum)) = GroupHeader::parse(&fixed) else { return Ok(None) };
    if at.checked_add(header.len()).is_none_or(|end| end > len) {
        return Ok(None);
    }
    let mut records = vec![0; header.records_len as usize];
    read_exact_at(file, &mut records, at + FIXED as u64)?;
    Ok(GroupHeader::is_sound(&fixed, &records, checksum).then_some((header, checksum)))
}

/// All groups with sound header blocks from `from` on, wherever they begin.
fn find_groups(file: &dyn DiskFile, len: u64, from: u64) -> io::Result<Vec<(u64, GroupHeader, u32)>> {
    let mut found = Vec::new();
    let mut chunk = vec![0; SCAN_CHUNK];
    let mut at = from;
    while at < len {
        let filled = usize::try_from(len - at).unwrap_or(SCAN_CHUNK).min(SCAN_CHUNK);
        read_exact_at(file, &mut chunk[..filled], at)?;
        for (start, piece) in
            (at..).step_by(ALIGNMENT as usize).zip(chunk[..filled].chunks(ALIGNMENT as usize))
        {
            if piece.starts_with(&MAGIC)
                && let Some((header, checksum)) = read_group(file, len, start)?
            {
                found.push((start, header, checksum));
            }
        }
        at += filled as u64;
    }
    Ok(found)
}

/// Looks behind the end for a group that proves that what is missing here was durable.
fn check_tail(source: &Source, at: u64, tail: Tail) -> io::Result<()> {
    let groups = find_groups(&*source.file, source.len, at)?;
    let mut groups = groups.iter().filter(|(_, header, _)| header.epoch == source.header.number).peekable();
    let torn = groups.peek().is_some();
    if groups.any(|(_, header, _)| header.durable > tail.end) {
        return Err(damaged(&source.name, at, "records that were durable are damaged here"));
    }
    if torn {
        let (file, offset) = (&source.name, at);
        tracing::warn!(
            file,
            offset,
            "the journal's end is torn; nothing in it was durable, and it is cut off"
        );
    }
    Ok(())
}

/// Applies all records, and ends where a message of the unproven tail is damaged.
fn apply(sources: &mut [Source], groups: &[Found]) -> io::Result<(Image, Tail)> {
    let proven = groups.iter().map(|group| group.header.durable);
    let proven = proven.chain(sources.iter().map(|source| source.header.base)).max().unwrap_or(0);
    let mut image = Image::default();
    let mut stored: HashMap<u64, Message> = HashMap::new();
    let mut tail = begin(sources);
    for group in groups {
        let source = &sources[group.source];
        let Some(batch) = read_batch(source, group)? else {
            return Err(damaged(&source.name, group.at, "its records are sound but not understood"));
        };
        let broken = batch.iter().any(|(entry, message)| is_damaged(entry, message.as_ref()));
        if broken && group.header.base >= proven {
            let (file, offset) = (&source.name, group.at);
            tracing::warn!(
                file,
                offset,
                "the journal's end is torn; nothing in it was durable, and it is cut off"
            );
            // Durably, or the group would still stand there when the next file has gone on without it.
            write_all_at(&*source.file, &mut [IoSlice::new(&[0; FIXED])], group.at)?;
            sources[group.source].end = group.at;
            break;
        }
        let mut lsn = group.header.base;
        for (entry, message) in batch {
            lsn += 1;
            if is_damaged(&entry, message.as_ref()) {
                let (file, offset) = (&source.name, group.at);
                tracing::error!(file, offset, "a stored message is damaged; it is left out");
            }
            let message = find_message(&entry, message, lsn, &mut stored);
            image.apply(entry, message);
        }
        if group.header.base >= proven {
            write_again(source, group.at, group.header.len())?;
        }
        tail = behind(&group.header, group.checksum);
    }
    if let Some(newest) = sources.last() {
        write_again(newest, 0, FILE_HEADER)?;
    }
    Ok((image, tail))
}

/// Writes what was read. After a sync that failed, the operating system may show what is not on the disk, and would
/// not write it for another sync.
fn write_again(source: &Source, at: u64, len: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    read_exact_at(&*source.file, &mut bytes, at)?;
    write_all_at(&*source.file, &mut [IoSlice::new(&bytes)], at)
}

fn is_damaged(entry: &Entry, message: Option<&Message>) -> bool {
    matches!(entry, Entry::Enqueued(_, _, Stored::Here { .. })) && message.is_none()
}

/// The message of an enqueue record: read with it, or stored with an earlier one.
fn find_message(
    entry: &Entry,
    message: Option<Message>,
    lsn: u64,
    stored: &mut HashMap<u64, Message>,
) -> Option<Message> {
    match entry {
        Entry::Enqueued(_, _, Stored::Here { .. }) => {
            let message = message?;
            message.set_stored_at(lsn);
            stored.insert(lsn, message.clone());
            Some(message)
        }
        Entry::Enqueued(_, _, Stored::At(at)) => stored.get(at).cloned(),
        _ => None,
    }
}

/// The records of a group, each with its message if that is stored with it and sound.
type Batch = Vec<(Entry, Option<Message>)>;

/// Reads a group; `None` if its records are not understood.
fn read_batch(source: &Source, group: &Found) -> io::Result<Option<Batch>> {
    let len = usize::try_from(group.header.len()).map_err(io::Error::other)? - FIXED;
    let mut bytes = vec![0; len];
    read_exact_at(&*source.file, &mut bytes, group.at + FIXED as u64)?;
    let (records, mut bodies) = bytes.split_at(group.header.records_len as usize);
    let mut reader = Reader(records);
    let mut batch = Vec::with_capacity(group.header.records as usize);
    while batch.len() < group.header.records as usize {
        let Some(entry) = decode(&mut reader) else { return Ok(None) };
        let message = match &entry {
            Entry::Enqueued(_, _, Stored::Here { contiguous, large, checksum }) => {
                take_message(&mut bodies, *contiguous, *large, *checksum)
            }
            _ => None,
        };
        batch.push((entry, message));
    }
    Ok(Some(batch))
}

fn take_message(
    bodies: &mut &[u8],
    contiguous: usize,
    large: Option<usize>,
    checksum: u32,
) -> Option<Message> {
    let (first, rest) = bodies.split_at_checked(contiguous)?;
    let (second, rest) = rest.split_at_checked(large.unwrap_or(0))?;
    *bodies = rest;
    Message::from_stored(first, large.map(|_| Bytes::copy_from_slice(second)), checksum)
}

fn damaged(file: &str, offset: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} at offset {offset}: {what}"))
}
