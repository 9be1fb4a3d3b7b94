//! Reading the journal at the start.
//!
//! The header blocks of all needed files are followed from group to group, and their records applied. Bodies are passed
//! over: they are checked when they are read. Only in the newest file something may not be proven to be on disk. It is
//! followed twice: first to find its end and what of it is proven, and to check the bodies of the rest. Where the chain
//! breaks, a later group that claims durability past the break proves damage, and the start is refused; otherwise what
//! follows is a torn tail, and the next file begins by saying where it continues.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::storage::codec::Reader;
use crate::storage::disk::{Disk, DiskFile, Open, read_exact_at};
use crate::storage::enqueues::Enqueues;
use crate::storage::file::{FILE_HEADER, FileHeader};
use crate::storage::files::{Begun, Bodies, FileState};
use crate::storage::image::Image;
use crate::storage::item;
use crate::storage::journal::Base;
use crate::storage::progress::Progress;
use crate::storage::record::{Entry, decode};
use crate::storage::walk::{Chain, Group, find_groups, records_at};
use crate::storage::writer::Tail;

/// Names of journal files begin so.
pub(super) const PREFIX: &str = "journal-";

/// What is said of damage, here and by a check.
pub(super) const MISSING: &str = "records that were durable are missing or damaged from here on";
pub(super) const DAMAGED: &str = "records that were durable are damaged here";
pub(super) const HEADER_DAMAGED: &str = "the file's header is damaged";
pub(super) const FILE_MISSING: &str = "this file of the journal is missing";
pub(super) const NOT_UNDERSTOOD: &str = "its records are sound but not understood";
pub(super) const FOREIGN: &str = "it has another format version; this program does not read it";
pub(super) const NO_CATALOGUE: &str = "the catalogue is missing";
pub(super) const OLD_CATALOGUE: &str = "it is older than the journal";

/// What was found.
pub(super) struct Recovered {
    pub(super) image: Image,
    pub(super) files: VecDeque<FileState>,
    pub(super) spare: Vec<Begun>,
    pub(super) tail: Tail,
    /// The position up to which everything is on disk for certain.
    pub(super) proven: u64,
    /// `None` if there is no file.
    pub(super) unproven: Option<Unproven>,
}

/// A part of the newest file that may be in the operating system's memory only, as may the file's header.
pub(super) struct Unproven {
    pub(super) file: Arc<dyn DiskFile>,
    /// The offset of its first group.
    pub(super) from: u64,
    /// The offset behind its last one.
    pub(super) until: u64,
    /// A group that is cut off, with all that follows, though its header block is sound.
    pub(super) broken: Option<u64>,
}

/// A journal file that is needed.
struct Source {
    name: String,
    file: Arc<dyn DiskFile>,
    header: FileHeader,
    len: u64,
    /// Where its last group ends.
    end: u64,
    bodies: Bodies,
}

/// Reads the journal of `disk`.
pub(super) fn recover(disk: &dyn Disk, base: Base) -> io::Result<Recovered> {
    let Base { mut image, oldest } = base;
    let (mut sources, spare) = open_files(disk, oldest)?;
    let nothing = Tail { end: 0, address: 1, sequence: 1, chain: 0 };
    let mut tail = sources.first().map_or(nothing, |first| continued_by(&first.header));
    image.set_first_address(tail.address);
    let newest_len = sources.last().map_or(0, |newest| newest.len);
    let mut progress = Progress::new(sources.iter().map(|source| source.len).sum::<u64>() + newest_len);
    let (mut proven, mut unproven) = (tail.end, None);
    for index in 0..sources.len() {
        if tail != continued_by(&sources[index].header) {
            let before = &sources[index.saturating_sub(1)];
            return Err(damaged(&before.name, before.end, MISSING));
        }
        let is_newest = index + 1 == sources.len();
        let source = &mut sources[index];
        let mut until = source.len;
        if is_newest {
            let end = find_end(source, tail, &mut progress)?;
            progress.file_done(source.len);
            until = end.unproven.until;
            proven = end.proven;
            unproven = Some(end.unproven);
        }
        tail = replay(source, tail, until, &mut image, &mut progress)?;
        progress.file_done(source.len);
    }
    let files = sources.into_iter().map(Source::into_state).collect();
    Ok(Recovered { image, files, spare, tail, proven: proven.min(tail.end), unproven })
}

/// Opens the files that are needed, oldest first, and those that are not. `oldest` is what the catalogue says.
fn open_files(disk: &dyn Disk, oldest: u64) -> io::Result<(Vec<Source>, Vec<Begun>)> {
    let (mut sources, mut headless) = (Vec::new(), Vec::new());
    for name in disk.list()?.into_iter().filter(|name| name.starts_with(PREFIX)) {
        let file = disk.open(&name, Open::Write)?;
        let (len, block) = FileHeader::read_block(&*file)?;
        match FileHeader::parse(&block) {
            Some(header) => {
                let bodies = Bodies::default();
                sources.push(Source { name, file, header, len, end: FILE_HEADER, bodies });
            }
            None if FileHeader::is_foreign(&block) => {
                return Err(damaged(&name, 0, FOREIGN));
            }
            None => headless.push((name, file, len)),
        }
    }
    sources.sort_by_key(|source| source.header.number);
    let told = sources.last().map_or(0, |newest| newest.header.oldest);
    // The catalogue says so before any file does.
    if oldest == 0 && told > 1 {
        return Err(invalid(format!("catalogue: {NO_CATALOGUE}")));
    }
    if oldest < told && oldest > 0 {
        return Err(invalid(format!("catalogue: {OLD_CATALOGUE}")));
    }
    let oldest = oldest.max(told);
    let mut spare = Vec::new();
    for (name, file, len) in headless {
        // A header is on disk before the first group is written: without one the file was begun and never used, and
        // what is in it is older than anything needed.
        let mut is_needed = false;
        find_groups(&*file, len, FILE_HEADER, |_, header| is_needed |= header.epoch >= oldest)?;
        if is_needed {
            return Err(damaged(&name, 0, HEADER_DAMAGED));
        }
        spare.push(Begun { name: name.into(), file });
    }
    let needed = sources.partition_point(|source| source.header.number < oldest);
    spare.extend(sources.drain(..needed).map(|Source { name, file, .. }| Begun { name: name.into(), file }));
    let mut numbers = sources.iter().map(|source| source.header.number);
    let newest = sources.last().map_or(oldest, |newest| newest.header.number);
    if let Some(missing) = (oldest.max(1)..=newest).find(|expected| numbers.next() != Some(*expected)) {
        return Err(damaged(&format!("{PREFIX}{missing:08}"), 0, FILE_MISSING));
    }
    Ok((sources, spare))
}

fn continued_by(header: &FileHeader) -> Tail {
    Tail { end: header.base, address: header.address, sequence: header.sequence, chain: header.chain }
}

/// Where the newest file ends.
struct End {
    proven: u64,
    unproven: Unproven,
}

/// Follows the newest file, and ends where a message of the unproven tail is damaged.
fn find_end(source: &Source, tail: Tail, progress: &mut Progress) -> io::Result<End> {
    let mut chain = source.chain(tail);
    let mut proven = source.header.base;
    let mut tail: VecDeque<(u64, u64)> = VecDeque::new();
    while let Some(Group { at, header, .. }) = chain.next()? {
        proven = proven.max(header.durable);
        tail.push_back((at, header.base));
        while tail.front().is_some_and(|(_, base)| *base < proven) {
            tail.pop_front();
        }
        progress.is_at(at);
    }
    check_tail(source, chain.at, chain.tail)?;
    let end = chain.at.min(source.len);
    let from = tail.front().map_or(end, |(at, _)| *at);
    let mut broken = None;
    for (at, _) in tail {
        let sound = are_bodies_sound(&*source.file, source.len, source.header.number, at)?;
        if !sound.ok_or_else(|| not_understood(source, at))? {
            warn_torn(&source.name, at);
            broken = Some(at);
            break;
        }
    }
    let unproven = Unproven { file: source.file.clone(), from, until: broken.unwrap_or(end), broken };
    Ok(End { proven, unproven })
}

/// Looks behind the end for a group that proves that what is missing here was durable.
fn check_tail(source: &Source, at: u64, tail: Tail) -> io::Result<()> {
    let (mut is_torn, mut is_damaged) = (false, false);
    find_groups(&*source.file, source.len, at, |_, header| {
        let is_of_this = header.epoch == source.header.number;
        is_torn |= is_of_this;
        is_damaged |= is_of_this && header.durable > tail.end;
    })?;
    if is_damaged {
        return Err(damaged(&source.name, at, DAMAGED));
    }
    if is_torn {
        warn_torn(&source.name, at);
    }
    Ok(())
}

fn warn_torn(file: &str, offset: u64) {
    tracing::warn!(file, offset, "the journal's end is torn; nothing in it was durable, and it is cut off");
}

/// Whether all messages are whole that are stored with the group at `at` of file `number`; `None` if its records are not
/// understood.
pub(super) fn are_bodies_sound(
    file: &dyn DiskFile,
    file_len: u64,
    number: u64,
    at: u64,
) -> io::Result<Option<bool>> {
    let Some((header, records)) = records_at(file, file_len, at)? else { return Ok(Some(false)) };
    let group = Group { at, header, records: &records, address: 0 };
    let seal = item::seal(number);
    let (mut sound, mut offset) = (true, group.bodies_at());
    let mut bytes = Vec::new();
    let understood = each_record(&group, |entry, _| {
        let Some(len) = entry.stored_here().filter(|_| sound) else { return Ok(()) };
        // Not more than the group has, as a whole, which is not more than the file.
        let len = usize::try_from(len.min(header.bodies_len)).map_err(io::Error::other)?;
        bytes.resize(len, 0);
        match read_exact_at(file, &mut bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => sound = false,
            read => {
                read?;
                sound = item::parse(&bytes, seal).is_some_and(|(_, consumed)| consumed == len);
            }
        }
        offset += len as u64;
        Ok(())
    })?;
    Ok(understood.then_some(sound))
}

/// Applies the records of a file up to the offset `until`, and notes where its bodies are. Returns what continues it.
fn replay(
    source: &mut Source,
    tail: Tail,
    until: u64,
    image: &mut Image,
    progress: &mut Progress,
) -> io::Result<Tail> {
    let file = source.file.clone();
    let mut chain = Chain::new(&*file, source.len, source.header.number, tail);
    while chain.at < until
        && let Some(group) = chain.next()?
    {
        if !apply(&group, image) {
            return Err(not_understood(source, group.at));
        }
        source.bodies.push(group.address, group.bodies_at(), group.header.bodies_len);
        progress.is_at(group.at);
    }
    source.end = chain.at;
    Ok(chain.tail)
}

/// Applies the records of a group. Returns whether all was understood.
fn apply(group: &Group<'_>, image: &mut Image) -> bool {
    let mut reader = Reader(group.records);
    let (mut left, mut address) = (group.header.records, group.address);
    while left > 0 {
        let before = left;
        if let Some(run) = Enqueues::new(&mut reader, &mut left) {
            address = image.apply_enqueues(run, address);
        }
        if left < before {
            continue;
        }
        let Some(entry) = decode(&mut reader) else { return false };
        let Some(end) = end_of(group, &entry, address) else { return false };
        image.apply(entry, address);
        address = end;
        left -= 1;
    }
    is_all(group, reader, address)
}

/// The address behind what is stored with a record, of which the first is at `address`; `None` if the group has not as
/// much.
fn end_of(group: &Group<'_>, entry: &Entry, address: u64) -> Option<u64> {
    let len = entry.stored_here().unwrap_or(0);
    let end = address.saturating_add(len);
    (len == 0 || end <= group.address.saturating_add(group.header.bodies_len)).then_some(end)
}

/// Whether the records of a group have come to their end, and their messages to that of its bodies.
fn is_all(group: &Group<'_>, reader: Reader<'_>, address: u64) -> bool {
    reader.0.is_empty() && address == group.address.saturating_add(group.header.bodies_len)
}

/// Calls `each` with the records of a group, and the address of the next item of its body block: one message at a time,
/// also where a record is of several. Returns whether all was understood.
pub(super) fn each_record(
    group: &Group<'_>,
    mut each: impl FnMut(Entry, u64) -> io::Result<()>,
) -> io::Result<bool> {
    let mut reader = Reader(group.records);
    let mut address = group.address;
    for _ in 0..group.header.records {
        let Some(entry) = decode(&mut reader) else { return Ok(false) };
        let Some(end) = end_of(group, &entry, address) else { return Ok(false) };
        match entry {
            Entry::Enqueued(enqueued) => {
                for one in enqueued.each() {
                    each(Entry::Enqueued(one), address)?;
                    address = address.saturating_add(one.stored_here());
                }
            }
            entry => each(entry, address)?,
        }
        address = end;
    }
    Ok(is_all(group, reader, address))
}

impl Source {
    fn chain(&self, tail: Tail) -> Chain<'_> {
        Chain::new(&*self.file, self.len, self.header.number, tail)
    }

    fn into_state(self) -> FileState {
        let Self { name, file, header, len, end, bodies } = self;
        let FileHeader { number, base, address, .. } = header;
        FileState {
            number,
            base,
            address,
            begun: Some(Begun { name: name.into(), file }),
            bytes: len.max(end),
            end,
            bodies,
        }
    }
}

fn not_understood(source: &Source, at: u64) -> io::Error {
    damaged(&source.name, at, NOT_UNDERSTOOD)
}

fn damaged(file: &str, offset: u64, what: &str) -> io::Error {
    invalid(format!("{file} at offset {offset}: {what}"))
}

fn invalid(told: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, told)
}
