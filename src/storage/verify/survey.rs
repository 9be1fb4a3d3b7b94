//! A journal of which parts may be damaged: what of it is sound, and where it is not.
//!
//! It is followed as at a start. Where the chain breaks and something behind proves damage, the next sound group of the
//! file is looked for and followed from there. A *stretch* is what is followed without a break.
//!
//! Behind a break the body addresses have to be found again. They are known if the damaged group's lengths are right
//! after all, or if the rest of the file leads without a break to the next one, whose header has its address. If not,
//! the messages that are stored there get addresses that no journal reaches; records that refer to them by the true
//! ones find nothing.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use super::report::{Affected, JournalFile, Problem};
use crate::ids::QueueId;
use crate::queue::log::ADDRESSES;
use crate::storage::codec::Reader;
use crate::storage::disk::{Disk, DiskFile, Open, read_exact_at};
use crate::storage::file::{FILE_HEADER, FileHeader};
use crate::storage::files::{Begun, Bodies, FileState};
use crate::storage::group::{FIXED, GroupHeader, align};
use crate::storage::image::Image;
use crate::storage::item;
use crate::storage::item::RawItem;
use crate::storage::record::{Enqueued, Entry, decode};
use crate::storage::recovery::{
    DAMAGED, FILE_MISSING, FOREIGN, HEADER_DAMAGED, MISSING, NOT_UNDERSTOOD, PREFIX, are_bodies_sound,
    each_record,
};
use crate::storage::walk::{Chain, find_groups};
use crate::storage::writer::Tail;

/// Addresses from here on stand for those that are not known. A journal is never so long.
const UNKNOWN: u64 = ADDRESSES / 2;

/// A file that is needed.
struct Source {
    name: String,
    file: Arc<dyn DiskFile>,
    len: u64,
    number: u64,
    /// Where its first group is.
    first: u64,
    start: Start,
}

/// What a file continues.
#[derive(Clone, Copy)]
struct Start {
    tail: Tail,
    /// The tail's address is one.
    has_address: bool,
}

/// Groups that continue each other.
struct Stretch {
    source: usize,
    from: u64,
    until: u64,
    start: Tail,
    /// The end, its address counted from the stretch's begin.
    end: Tail,
    address: Option<u64>,
}

/// What is known of a journal.
pub(super) struct Survey {
    sources: Vec<Source>,
    stretches: Vec<Stretch>,
    pub(super) files: Vec<JournalFile>,
    pub(super) spare: Vec<String>,
    pub(super) problems: Vec<Problem>,
    /// For problems, by their place in the list, the queues they may be about.
    pub(super) hints: Vec<(usize, BTreeSet<QueueId>)>,
    /// A file is of another format version.
    pub(super) is_foreign: bool,
    /// The highest number that a file has, or should have.
    pub(super) highest: u64,
    /// The names of the files that are needed.
    pub(super) needed: Vec<String>,
    /// What would be appended next, if that is known.
    pub(super) end: Option<(Tail, bool)>,
    /// The oldest file that was needed, as the newest one says.
    pub(super) told: u64,
    /// The first file there ever was is not there.
    pub(super) begins_late: bool,
    /// Records that are lost; at least one if nobody knows how many.
    pub(super) lost: u64,
}

/// Looks at the journal of `disk`. `oldest` is what the catalogue says; `None` if nobody knows.
pub(super) fn survey(disk: &dyn Disk, oldest: Option<u64>) -> io::Result<Survey> {
    let mut survey = Survey::find(disk, oldest)?;
    let mut before: Option<Start> = None;
    for index in 0..survey.sources.len() {
        before = Some(survey.follow(index, before)?);
    }
    survey.end = before.map(|end| (end.tail, end.has_address));
    survey.find_addresses();
    Ok(survey)
}

impl Survey {
    /// Finds the files that are needed.
    fn find(disk: &dyn Disk, oldest: Option<u64>) -> io::Result<Self> {
        let mut survey = Self {
            sources: Vec::new(),
            stretches: Vec::new(),
            files: Vec::new(),
            spare: Vec::new(),
            problems: Vec::new(),
            hints: Vec::new(),
            is_foreign: false,
            highest: 0,
            needed: Vec::new(),
            end: None,
            told: 0,
            begins_late: false,
            lost: 0,
        };
        let mut headless = Vec::new();
        let mut newest = 0;
        for name in disk.list()?.into_iter().filter(|name| name.starts_with(PREFIX)) {
            let file = disk.open(&name, Open::Read)?;
            let (len, mut block) = FileHeader::read_block(&*file)?;
            match FileHeader::parse(&block) {
                Some(header) => {
                    if header.number > newest {
                        (newest, survey.told) = (header.number, header.oldest);
                    }
                    survey.sources.push(Source::new(name, file, len, &header));
                }
                None if FileHeader::is_foreign(&block) => {
                    survey.problems.push(Problem::new(name.as_str(), 0, FOREIGN));
                    match FileHeader::parse_as_own(&mut block) {
                        Some(header) => survey.sources.push(Source::new(name, file, len, &header)),
                        None => survey.is_foreign = true,
                    }
                }
                None => headless.push((name, file, len)),
            }
        }
        let floor = oldest.unwrap_or(0).max(survey.told);
        for (name, file, len) in headless {
            match Source::without_header(&name, file, len, floor)? {
                Some(source) => {
                    let is_cut = source.first > FILE_HEADER;
                    survey.lost += u64::from(is_cut);
                    let affected = is_cut.then_some(Affected::UnknownRecords);
                    survey.problems.push(Problem::new(name, 0, HEADER_DAMAGED).with(affected));
                    survey.sources.push(source);
                }
                None => survey.spare.push(name),
            }
        }
        survey.sources.sort_by_key(|source| source.number);
        survey.highest = survey.sources.last().map_or(floor, |newest| newest.number.max(floor));
        // If nobody knows which one is the first, all count that come without a gap before the newest.
        let first = oldest.map_or_else(|| survey.first_without_gap(), |_| floor.max(1));
        let needed = survey.sources.partition_point(|source| source.number < first);
        survey.spare.extend(survey.sources.drain(..needed).map(|source| source.name));
        survey.spare.sort_unstable();
        survey.begins_late = survey.sources.first().is_some_and(|source| source.number > 1);
        survey.needed = survey.sources.iter().map(|source| source.name.clone()).collect();
        let mut expected = first;
        let numbers: Vec<u64> = survey.sources.iter().map(|source| source.number).collect();
        for number in numbers {
            survey.missing(expected..number);
            expected = number.saturating_add(1);
        }
        if survey.sources.is_empty() && floor > 0 {
            survey.missing(floor..floor.saturating_add(1));
        }
        Ok(survey)
    }

    fn first_without_gap(&self) -> u64 {
        let mut first = self.sources.last().map_or(1, |newest| newest.number);
        for source in self.sources.iter().rev() {
            if source.number.saturating_add(1) == first {
                first = source.number;
            }
        }
        first
    }

    /// Files of these numbers are missing.
    fn missing(&mut self, numbers: std::ops::Range<u64>) {
        let what = match numbers.end.saturating_sub(numbers.start) {
            0 => return,
            1 => FILE_MISSING.to_owned(),
            count => format!("{FILE_MISSING}, and those after it up to number {}", numbers.start + count - 1),
        };
        self.lost += 1;
        let problem = Problem::new(format!("{PREFIX}{:08}", numbers.start), 0, what);
        self.problems.push(problem.with([Affected::UnknownRecords]));
    }

    /// Follows a file, which is to continue `before`. Returns what the next one is to continue.
    fn follow(&mut self, index: usize, before: Option<Start>) -> io::Result<Start> {
        let start = self.sources[index].start;
        if let Some(before) = before
            && !before.is_continued_by(&start)
        {
            let source = &self.sources[index - 1];
            let end = self.files.last().map_or(0, |file| file.end);
            let lost = start.tail.end.saturating_sub(before.tail.end);
            self.lost += lost;
            let records = Affected::Records { count: lost, queues: Vec::new() };
            self.problems.push(Problem::new(source.name.clone(), end, MISSING).with([records]));
            let hints = queues_at(&*source.file, end, source.len)?;
            self.hints.push((self.problems.len() - 1, hints));
        }
        let next = self.sources.get(index + 1).map(|next| next.start);
        let source = &self.sources[index];
        let mut file = JournalFile {
            name: source.name.clone(),
            number: source.number,
            bytes: source.len,
            ..JournalFile::default()
        };
        // A header that is damaged does not say the address, but the file before may.
        let address = match before {
            Some(before) if !start.has_address => {
                let follows = before.has_address && before.is_continued_by(&start);
                follows.then_some(before.tail.address)
            }
            _ => start.has_address.then_some(start.tail.address),
        };
        let mut newest = Newest { durable: start.tail.end, unproven: VecDeque::new() };
        let mut at = source.first;
        let mut tail = Tail { address: 0, ..start.tail };
        let mut address = address;
        loop {
            let stretch = self.stretch(index, at, tail, address, next, &mut newest)?;
            (at, tail) = (stretch.until, stretch.end);
            self.stretches.push(stretch);
            let Some((resumed, resumed_tail, known)) =
                self.resume(index, at, tail, address, next, &mut file)?
            else {
                break;
            };
            (at, tail, address) = (resumed, resumed_tail, known);
        }
        file.end = at.min(file.bytes);
        if next.is_none() {
            self.cut_tail(index, &newest, &mut file)?;
        }
        self.files.push(file);
        let end = self.stretches.last().map_or(tail, |last| last.end);
        let known = self.stretches.last().and_then(|last| last.address);
        let address = known.map(|known| known.saturating_add(end.address));
        Ok(Start { tail: Tail { address: address.unwrap_or(0), ..end }, has_address: address.is_some() })
    }

    /// Follows groups as long as they continue each other.
    fn stretch(
        &self,
        index: usize,
        from: u64,
        start: Tail,
        address: Option<u64>,
        next: Option<Start>,
        newest: &mut Newest,
    ) -> io::Result<Stretch> {
        let source = &self.sources[index];
        let mut chain = Chain::new(&*source.file, source.len, source.number, start);
        chain.at = from;
        loop {
            // What a later file does not continue was cut off.
            if next.is_some_and(|next| chain.tail.sequence >= next.tail.sequence) {
                break;
            }
            let (at, tail) = (chain.at, chain.tail);
            let Some(group) = chain.next()? else { break };
            if next.is_none() {
                newest.durable = newest.durable.max(group.header.durable);
                newest.unproven.push_back((at, tail));
                newest.unproven_from();
            }
        }
        Ok(Stretch { source: index, from, until: chain.at, start, end: chain.tail, address })
    }

    /// Looks where to go on behind a break: the offset, what a group there continues, and its address if that is known.
    fn resume(
        &mut self,
        index: usize,
        at: u64,
        tail: Tail,
        address: Option<u64>,
        next: Option<Start>,
        file: &mut JournalFile,
    ) -> io::Result<Option<(u64, Tail, Option<u64>)>> {
        let source = &self.sources[index];
        if next.is_some_and(|next| next.tail.sequence <= tail.sequence) {
            return Ok(None);
        }
        let mut found: Option<(u64, GroupHeader)> = None;
        let mut proven = next.is_some();
        find_groups(&*source.file, source.len, at, |at, header| {
            let continues = header.epoch == source.number
                && header.sequence >= tail.sequence
                && header.base >= tail.end
                && next.is_none_or(|next| header.sequence < next.tail.sequence);
            if header.epoch == source.number && next.is_none() {
                proven |= header.durable > tail.end;
                file.torn = true;
            }
            if continues && found.is_none() {
                found = Some((at, *header));
            }
        })?;
        let Some((resumed, header)) = found.filter(|_| proven) else { return Ok(None) };
        file.torn = false;
        let lost = header.base - tail.end;
        let hints = queues_at(&*source.file, at, resumed)?;
        let bodies = if header.sequence == tail.sequence.saturating_add(1) {
            lost_bodies(&*source.file, at, resumed, source.number)?
        } else {
            None
        };
        let known = match (address, bodies) {
            (Some(address), Some(bodies)) => {
                Some(address.saturating_add(tail.address).saturating_add(bodies))
            }
            _ => None,
        };
        self.lost += lost;
        let records = Affected::Records { count: lost, queues: Vec::new() };
        self.problems.push(Problem::new(source.name.clone(), at, DAMAGED).with([records]));
        self.hints.push((self.problems.len() - 1, hints));
        let tail = Tail { end: header.base, address: 0, sequence: header.sequence, chain: header.chain };
        Ok(Some((resumed, tail, known)))
    }

    /// Cuts the newest file where a message is damaged that nothing proves to be on disk, as a start does.
    fn cut_tail(&mut self, index: usize, newest: &Newest, file: &mut JournalFile) -> io::Result<()> {
        let source = &self.sources[index];
        file.torn |= is_begun(source, file.end)?;
        for &(at, tail) in &newest.unproven {
            if are_bodies_sound(&*source.file, source.len, source.number, at)? == Some(false) {
                file.torn = true;
                file.end = at;
                if let Some(last) = self.stretches.last_mut() {
                    (last.until, last.end) = (at, tail);
                }
                break;
            }
        }
        Ok(())
    }

    /// Finds addresses from the end of files, where they are not known from the beginning.
    fn find_addresses(&mut self) {
        let mut next: Option<(usize, Start)> = None;
        for stretch in self.stretches.iter_mut().rev() {
            let source = &self.sources[stretch.source];
            let end = Start { tail: stretch.end, has_address: false };
            if let Some((_, start)) = next.filter(|(source, _)| *source == stretch.source + 1)
                && stretch.address.is_none()
                && start.has_address
                && end.is_continued_by(&start)
            {
                stretch.address = start.tail.address.checked_sub(stretch.end.address);
            }
            // What comes before leads to this file's header only if this stretch begins with it.
            next = (stretch.from == FILE_HEADER).then_some((stretch.source, source.start));
        }
    }

    /// Applies what is sound to `image`, and returns where its bodies are.
    pub(super) fn replay(&mut self, image: &mut Image) -> io::Result<VecDeque<FileState>> {
        let mut states: Vec<FileState> = Vec::new();
        let mut unknown = UNKNOWN;
        let first = self.stretches.first().and_then(|stretch| stretch.address);
        image.set_first_address(first.unwrap_or(1));
        for at in 0..self.stretches.len() {
            let stretch = &self.stretches[at];
            let index = stretch.source;
            let source = &self.sources[index];
            let address = stretch.address.unwrap_or(unknown);
            if stretch.address.is_none() {
                unknown = unknown.saturating_add(stretch.end.address);
            }
            let tail = Tail { address, ..stretch.start };
            let mut chain = Chain::new(&*source.file, source.len, source.number, tail);
            chain.at = stretch.from;
            let mut bodies = Bodies::default();
            while chain.at < stretch.until
                && let Some(group) = chain.next()?
            {
                let mut messages = 0;
                let understood = each_record(&group, |entry, _| {
                    messages += u64::from(entry.stored_here().is_some());
                    Ok(())
                })?;
                if !understood {
                    let count = u64::from(group.header.records);
                    let records = Affected::Records { count, queues: Vec::new() };
                    self.lost += count;
                    let problem = Problem::new(source.name.clone(), group.at, NOT_UNDERSTOOD);
                    self.problems.push(problem.with([records]));
                    continue;
                }
                each_record(&group, |entry, address| {
                    image.apply(entry, address);
                    Ok(())
                })?;
                bodies.push(group.address, group.bodies_at(), group.header.bodies_len);
                let file = &mut self.files[index];
                file.records += u64::from(group.header.records);
                file.messages += messages;
            }
            states.push(source.state(stretch.start.end, address, bodies));
        }
        states.sort_by_key(|state| state.address);
        Ok(states.into())
    }
}

/// The newest file, of which something may not be on disk.
struct Newest {
    durable: u64,
    /// Offsets of groups that nothing proves to be on disk, and what they continue.
    unproven: VecDeque<(u64, Tail)>,
}

impl Newest {
    fn unproven_from(&mut self) {
        while self.unproven.front().is_some_and(|(_, tail)| tail.end < self.durable) {
            self.unproven.pop_front();
        }
    }
}

impl Start {
    /// Whether `next` begins where this ends.
    fn is_continued_by(&self, next: &Self) -> bool {
        let (tail, other) = (self.tail, next.tail);
        let addresses = !self.has_address || !next.has_address || tail.address == other.address;
        (tail.end, tail.sequence, tail.chain) == (other.end, other.sequence, other.chain) && addresses
    }
}

impl Source {
    fn new(name: String, file: Arc<dyn DiskFile>, len: u64, header: &FileHeader) -> Self {
        let FileHeader { number, sequence, base, chain, address, .. } = *header;
        let start = Start { tail: Tail { end: base, address, sequence, chain }, has_address: true };
        Self { name, file, len, number, first: FILE_HEADER, start }
    }

    /// A file whose header is damaged, as its groups tell of it; `None` if it is not needed.
    fn without_header(
        name: &str,
        file: Arc<dyn DiskFile>,
        len: u64,
        oldest: u64,
    ) -> io::Result<Option<Self>> {
        let mut number = 0;
        find_groups(&*file, len, FILE_HEADER, |_, header| number = number.max(header.epoch))?;
        if number == 0 || number < oldest {
            return Ok(None);
        }
        let mut first: Option<(u64, GroupHeader)> = None;
        find_groups(&*file, len, FILE_HEADER, |at, header| {
            if header.epoch == number && first.is_none() {
                first = Some((at, *header));
            }
        })?;
        Ok(first.map(|(at, header)| {
            let GroupHeader { sequence, base, chain, .. } = header;
            let start = Start { tail: Tail { end: base, address: 0, sequence, chain }, has_address: false };
            Self { name: name.to_owned(), file, len, number, first: at, start }
        }))
    }

    fn state(&self, base: u64, address: u64, bodies: Bodies) -> FileState {
        let begun = Some(Begun { name: self.name.as_str().into(), file: self.file.clone() });
        FileState { number: self.number, base, address, begun, bytes: self.len, end: self.len, bodies }
    }
}

/// Whether a group of this file was begun at `at`, which is not whole.
fn is_begun(source: &Source, at: u64) -> io::Result<bool> {
    let fixed = read_block(&*source.file, at, at.saturating_add(FIXED as u64))?;
    let header = fixed.first_chunk::<FIXED>().and_then(GroupHeader::parse);
    Ok(header.is_some_and(|(header, _)| header.epoch == source.number))
}

/// The bytes from `at` to `until`, but not more than a group's records have.
fn read_block(file: &dyn DiskFile, at: u64, until: u64) -> io::Result<Vec<u8>> {
    const MOST: u64 = 64 * 1024 * 1024;
    let len =
        usize::try_from(until.min(file.len()?).saturating_sub(at).min(MOST)).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    read_exact_at(file, &mut bytes, at)?;
    Ok(bytes)
}

/// The queues that a damaged group at `at` seems to be about. It ends before `until`.
fn queues_at(file: &dyn DiskFile, at: u64, until: u64) -> io::Result<BTreeSet<QueueId>> {
    let mut queues = BTreeSet::new();
    let fixed = read_block(file, at, until.min(at.saturating_add(FIXED as u64)))?;
    let header = fixed.first_chunk::<FIXED>().and_then(GroupHeader::parse);
    let len = header.map_or(0, |(header, _)| u64::from(header.records_len));
    let begin = at.saturating_add(FIXED as u64);
    let records = read_block(file, begin, begin.saturating_add(len).min(until))?;
    let mut reader = Reader(&records);
    while !reader.0.is_empty()
        && let Some(entry) = decode(&mut reader)
    {
        if let Entry::Enqueued(Enqueued { queue, .. })
        | Entry::Removed(queue, ..)
        | Entry::DeliveredThrough(queue, _)
        | Entry::Dead(queue, ..)
        | Entry::Returned(queue, ..) = entry
        {
            queues.insert(queue);
        }
    }
    Ok(queues)
}

/// Bytes of the bodies of a damaged group, if its lengths are right: it ends where the next begins, and its body block
/// is nothing but sound items.
fn lost_bodies(file: &dyn DiskFile, at: u64, next: u64, number: u64) -> io::Result<Option<u64>> {
    let fixed = read_block(file, at, at.saturating_add(FIXED as u64))?;
    let Some((header, _)) = fixed.first_chunk::<FIXED>().and_then(GroupHeader::parse) else {
        return Ok(None);
    };
    if at.checked_add(header.len()).is_none_or(|end| end > next || align(end) != next) {
        return Ok(None);
    }
    let begin = at + FIXED as u64 + u64::from(header.records_len);
    let bodies = read_block(file, begin, begin.saturating_add(header.bodies_len))?;
    let mut rest = &bodies[..];
    while !rest.is_empty() {
        let Some(item) = RawItem::parse(rest, item::seal(number)).filter(RawItem::is_sound) else {
            return Ok(None);
        };
        rest = &rest[item.len()..];
    }
    Ok((bodies.len() as u64 == header.bodies_len).then_some(header.bodies_len))
}
