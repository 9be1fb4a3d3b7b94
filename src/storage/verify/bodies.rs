//! Reads all messages that queues have, and compares their checksums.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use super::report::{Lost, Names, Problem, SegmentFile};
use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::storage::catalogue::StoredSegment;
use crate::storage::disk::{Disk, DiskFile, Open, read_exact_at};
use crate::storage::files::{FileState, Finder, Located};
use crate::storage::image::{NamedQueue, RunImage, StoredMessage};
use crate::storage::item;
use crate::storage::segment::{self, Content, Found, RunReader, read_item};

/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

/// What is said of messages whose checksum is wrong.
const DAMAGED: &str = "a stored message is damaged";
const SEVERAL: &str = "stored messages are damaged from here on";

/// A message in the journal, and whose it is.
#[derive(Clone, Copy)]
struct InJournal {
    queue: QueueId,
    message: StoredMessage,
}

/// Reads the messages that lie in the journal. Returns how many are lost.
pub(super) fn check_journal(
    files: &VecDeque<FileState>,
    queues: &[&NamedQueue],
    names: &Names,
    problems: &mut Vec<Problem>,
) -> io::Result<u64> {
    let mut wanted: Vec<InJournal> = Vec::new();
    for queue in queues {
        wanted.extend(queue.content.messages.iter().map(|message| InJournal { queue: queue.id, message }));
    }
    wanted.sort_unstable_by_key(|wanted| wanted.message.address);
    let mut finder = Finder::new(files);
    let mut window = Window::default();
    // The damage that goes on: its file and offset, how many messages are stored there, and whose they are.
    let mut going: Option<(Arc<str>, u64, u64, Lost)> = None;
    let mut lost = 0;
    for same in wanted.chunk_by(|one, other| one.message.address == other.message.address) {
        let StoredMessage { address, stored_len, .. } = same[0].message;
        let located = finder.find(address);
        if let Some(located) = &located
            && window.read(located, stored_len)?.is_some()
        {
            end(going.take(), names, problems);
            continue;
        }
        let (name, offset) = located.map_or_else(|| (Arc::from("journal"), 0), |at| (at.name, at.offset));
        if going.as_ref().is_some_and(|(file, ..)| *file != name) {
            end(going.take(), names, problems);
        }
        let (_, _, stored, whose) = going.get_or_insert_with(|| (name, offset, 0, Lost::default()));
        *stored += 1;
        same.iter().for_each(|one| whose.add(one.queue, one.message.position));
        lost += same.len() as u64;
    }
    end(going, names, problems);
    Ok(lost)
}

fn end(going: Option<(Arc<str>, u64, u64, Lost)>, names: &Names, problems: &mut Vec<Problem>) {
    let Some((file, offset, stored, lost)) = going else { return };
    let what = if stored == 1 { DAMAGED } else { SEVERAL };
    problems.push(Problem::new(&*file, offset, what).with(lost.affected(names)));
}

/// The part of a file that was read last.
#[derive(Default)]
pub(in crate::storage) struct Window {
    file: Option<Arc<dyn DiskFile>>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The message of `stored_len` bytes that lies there; `None` if it is damaged.
    pub(in crate::storage) fn read(&mut self, at: &Located, stored_len: u32) -> io::Result<Option<Message>> {
        if u64::from(stored_len) > at.until.saturating_sub(at.offset) {
            return Ok(None);
        }
        let Some(bytes) = self.get(&at.file, at.offset, stored_len as usize)? else { return Ok(None) };
        let found = item::parse(bytes, at.seal).filter(|(_, consumed)| *consumed == bytes.len());
        Ok(found.map(|(message, _)| message))
    }

    /// `len` bytes at `at`; `None` if the file ends before.
    fn get(&mut self, file: &Arc<dyn DiskFile>, at: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let is_same = self.file.as_ref().is_some_and(|own| Arc::ptr_eq(own, file));
        let end = self.start + self.bytes.len() as u64;
        if !is_same || at < self.start || at + len as u64 > end {
            let left = usize::try_from(file.len()?.saturating_sub(at)).unwrap_or(usize::MAX);
            if left < len {
                return Ok(None);
            }
            self.file = None;
            self.bytes.resize(left.min(CHUNK.max(len)), 0);
            read_exact_at(&**file, &mut self.bytes, at)?;
            (self.file, self.start) = (Some(file.clone()), at);
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..from + len))
    }
}

/// Segment files, and what is wrong with them.
#[derive(Default)]
pub(super) struct Segments {
    pub(super) files: Vec<SegmentFile>,
    pub(super) leftovers: Vec<String>,
    /// Numbers of those with damage.
    pub(super) damaged: Vec<u64>,
    pub(super) lost: u64,
}

/// Reads all segment files, whole, and what queues have in them. `known` is what the catalogue says; without it all
/// files count.
pub(super) fn check_segments(
    disk: &dyn Disk,
    known: Option<&[StoredSegment]>,
    queues: &[&NamedQueue],
    names: &Names,
    problems: &mut Vec<Problem>,
) -> io::Result<Segments> {
    let mut runs: BTreeMap<u64, Vec<(QueueId, &RunImage)>> = BTreeMap::new();
    for queue in queues {
        for run in &queue.content.runs {
            runs.entry(run.segment).or_default().push((queue.id, run));
        }
    }
    let mut lengths: BTreeMap<u64, u64> = runs.keys().map(|number| (*number, 0)).collect();
    lengths.extend(known.unwrap_or_default().iter().map(|segment| (segment.number, segment.len)));
    let mut found = Segments::default();
    for name in disk.list()? {
        let Some(number) = segment::number_of(&name) else { continue };
        if known.is_none() {
            lengths.entry(number).or_default();
        } else if !lengths.contains_key(&number) {
            found.leftovers.push(name);
        }
    }
    for (number, len) in lengths {
        let before = problems.len();
        let runs = runs.remove(&number).unwrap_or_default();
        found.lost += check_segment(disk, (number, len), &runs, names, &mut found.files, problems)?;
        if problems.len() > before {
            found.damaged.push(number);
        }
    }
    Ok(found)
}

/// Checks one segment file. Returns how many messages are lost.
fn check_segment(
    disk: &dyn Disk,
    (number, expected): (u64, u64),
    runs: &[(QueueId, &RunImage)],
    names: &Names,
    files: &mut Vec<SegmentFile>,
    problems: &mut Vec<Problem>,
) -> io::Result<u64> {
    let name = segment::name_of(number);
    let file = match disk.open(&name, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut lost = Lost::default();
            for (queue, run) in runs {
                run.live.iter().for_each(|position| lost.add(*queue, Position(position)));
            }
            problems.push(Problem::new(name, 0, "the segment file is missing").with(lost.affected(names)));
            return Ok(lost.count());
        }
        Err(error) => return Err(error),
    };
    let bytes = file.len()?;
    let mut damages: BTreeMap<u64, (u64, &'static str, Lost)> = BTreeMap::new();
    let (mut messages, mut foreign) = (0, false);
    match segment::check(&*file, number) {
        Ok(report) => {
            messages = report.messages + report.references;
            for damage in report.damaged {
                let what = match (damage.offset, damage.message) {
                    (0, _) => "the file's header is damaged",
                    (_, Some(_)) => DAMAGED,
                    (_, None) => SEVERAL,
                };
                damages.insert(damage.offset, (damage.len, what, Lost::default()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => foreign = true,
        Err(error) => return Err(error),
    }
    if foreign {
        damages.insert(0, (0, crate::storage::recovery::FOREIGN, Lost::default()));
    }
    if bytes < expected {
        damages.insert(bytes, (expected - bytes, "the file is too short", Lost::default()));
    }
    for (queue, run) in runs {
        check_run(&*file, *queue, run, |offset, position| {
            let within = damages.range(..=offset).next_back();
            let key = within.filter(|(at, (len, ..))| offset - **at < *len).map_or(offset, |(at, _)| *at);
            damages.entry(key).or_insert((0, DAMAGED, Lost::default())).2.add(*queue, position);
        })?;
    }
    let mut lost = 0;
    for (offset, (_, what, whose)) in damages {
        lost += whose.count();
        problems.push(Problem::new(name.clone(), offset, what).with(whose.affected(names)));
    }
    files.push(SegmentFile { name, messages, bytes });
    Ok(lost)
}

/// Reads what is left of a run, and tells the offset and the position of what is damaged.
fn check_run(
    file: &dyn DiskFile,
    queue: QueueId,
    run: &RunImage,
    mut damaged: impl FnMut(u64, Position),
) -> io::Result<()> {
    let RunImage { segment: number, from, until, ref live, .. } = *run;
    let mut scratch = Vec::new();
    let stretch = segment::Run { segment: number, queue, from, until };
    let mut reader = RunReader::new(file, &stretch, CHUNK, &mut scratch)?;
    let mut missing = live.clone();
    let mut gap = None;
    while let Some(found) = reader.read_next()? {
        let item = match found {
            Found::Item(item) => item,
            Found::Damaged { from, .. } => {
                gap = gap.or(Some(from));
                continue;
            }
        };
        if !missing.remove(item.position().0) {
            continue;
        }
        match reader.content(&item)? {
            Content::Message(_) => {}
            Content::Reference(target) => {
                if read_item(file, number, target)?.is_none() {
                    damaged(target, item.position());
                }
            }
            Content::Damaged => damaged(item.offset(), item.position()),
        }
    }
    missing.iter().for_each(|position| damaged(gap.unwrap_or(from), Position(position)));
    Ok(())
}
