//! Repairing a data directory: what is sound of it is kept, and what is not is put aside.
//!
//! Messages in the journal and in damaged segments are written to new segments. A new catalogue says where everything
//! is, and that the journal begins with a new, empty file. It takes the place of the old one by a rename: a crash before
//! leaves the damaged state, to be repaired again, and a crash after it the repaired one. Only then old files get other
//! names. Nothing is removed.
//!
//! Damage may have taken acknowledgements and delivery marks with it. So where records are lost all messages count as
//! delivered before. It may also have taken the highest positions and queue numbers with it. They are given again then,
//! which does no harm: nothing of what is kept speaks of them.

mod rewritten;

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use self::rewritten::Rewritten;
use crate::ids::QueueId;
use crate::storage::catalogue::{self, Catalogue, Change, StoredQueue, StoredRun};
use crate::storage::disk::{Disk, Open, read_exact_at, write_all_at};
use crate::storage::file::FileHeader;
use crate::storage::image::{Definitions, NamedQueue, RunImage};
use crate::storage::record::Record;
use crate::storage::recovery::PREFIX;
use crate::storage::segment;
use crate::storage::verify::{DAMAGED_PREFIX, Examined, Report, Told};
use crate::storage::writer::Tail;

/// The body address from which a journal goes on whose own is not known. None has come so far.
const FAR: u64 = 1 << 60;

/// Bytes that are copied at once.
const CHUNK: usize = 1024 * 1024;

/// A damaged data directory that is to be repaired. Nothing else may use it meanwhile: hold its lock.
pub struct Repair {
    disk: Arc<dyn Disk>,
    examined: Examined,
}

/// What a repair has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages that are there now.
    pub messages: u64,
    /// Files that were put aside: what they were called, and what they are now.
    pub renamed: Vec<(String, String)>,
}

impl Repair {
    /// Looks at a data directory.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn new(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let examined = Examined::new(&*disk)?;
        Ok(Self { disk, examined })
    }

    /// What was found. What its problems affect is what a repair drops.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.examined.report
    }

    /// Why this program cannot repair the directory; `None` if it can.
    #[must_use]
    pub fn refusal(&self) -> Option<&'static str> {
        let is_newer =
            matches!(&self.examined.told, Told::Damaged(told) if told.contains("another format version"));
        (self.examined.journal.is_foreign || is_newer)
            .then_some("a file has another format version: it is that program that has to repair it")
    }

    /// Repairs the directory.
    ///
    /// # Errors
    /// If the disk fails or is full. Then the directory is as damaged as before, or repaired.
    pub fn carry_out(self) -> io::Result<Outcome> {
        let Self { disk, examined } = self;
        let mut new = Rewritten::new(&*disk, first_segment(&*disk, &examined)?);
        let mut outcome = Outcome::default();
        let change = match prepare(&*disk, &examined, &mut new, &mut outcome) {
            Ok(change) => change,
            Err(error) => {
                // Nothing refers to them, and the room may be needed.
                new.discard();
                return Err(error);
            }
        };
        let needed: Vec<u64> = change.segments.iter().map(|(number, _)| *number).collect();
        Catalogue::anew(disk.clone()).commit(&change)?;
        let names = disk.list()?;
        // Without the catalogue's word for it nobody knows that a segment is of no use.
        let knows_all = !is_catalogue_damaged(&examined.report);
        let is_surplus = |name: &&String| {
            let number = segment::number_of(name).filter(|number| !needed.contains(number));
            number.is_some_and(|number| !knows_all || examined.damaged_segments.contains(&number))
        };
        let mut aside: Vec<String> = names.iter().filter(is_surplus).cloned().collect();
        aside.extend(examined.journal.needed.iter().cloned());
        aside.sort_unstable();
        aside.dedup();
        for name in aside.into_iter().filter(|name| names.contains(name)) {
            let kept = free_name(&*disk, &name)?;
            disk.rename(&name, &kept)?;
            outcome.renamed.push((name, kept));
        }
        disk.sync_dir()?;
        Ok(outcome)
    }
}

/// Writes everything that the new catalogue speaks of. Until that is there nothing has changed.
fn prepare(
    disk: &dyn Disk,
    examined: &Examined,
    new: &mut Rewritten<'_>,
    outcome: &mut Outcome,
) -> io::Result<Change> {
    let queues = write(new, examined)?;
    new.finish()?;
    disk.sync_dir()?;
    outcome.messages = count(&queues);
    let exists = disk.list()?.iter().any(|name| name == catalogue::NAME);
    if exists && is_catalogue_damaged(&examined.report) {
        outcome.renamed.push((catalogue::NAME.to_owned(), keep_catalogue(disk)?));
    }
    let oldest = begin_journal(disk, examined)?;
    change(disk, examined, queues, new, oldest)
}

fn is_catalogue_damaged(report: &Report) -> bool {
    report.problems.iter().any(|problem| problem.file == catalogue::NAME)
}

/// The first number for a new segment: no file has it, and none ever had, as far as anybody knows.
fn first_segment(disk: &dyn Disk, examined: &Examined) -> io::Result<u64> {
    let known = match &examined.told {
        Told::Snapshot(snapshot) => snapshot.last_segment,
        Told::Nothing | Told::Damaged(_) => 0,
    };
    let names = disk.list()?;
    let number = |name: &String| segment::number_of(name.strip_prefix(DAMAGED_PREFIX).unwrap_or(name));
    Ok(names.iter().filter_map(number).fold(known, u64::max) + 1)
}

/// A queue as the catalogue is to have it.
type Kept = (QueueId, StoredQueue);

/// Writes what cannot stay where it is.
fn write(new: &mut Rewritten<'_>, examined: &Examined) -> io::Result<Vec<Kept>> {
    let is_uncertain = examined.journal.lost > 0 || is_catalogue_damaged(&examined.report);
    let mut kept = Vec::new();
    for queue in examined.vhosts.iter().flat_map(|(_, vhost)| &vhost.queues) {
        let NamedQueue { id, content, .. } = queue;
        let stays = |run: &&RunImage| !examined.damaged_segments.contains(&run.segment);
        let mut runs: Vec<RunImage> = content.runs.iter().filter(stays).cloned().collect();
        for run in content.runs.iter().filter(|run| !stays(run)) {
            runs.extend(new.copy_run(*id, run)?);
        }
        runs.extend(new.copy_messages(*id, &content.messages, &examined.files)?);
        let mut marks = content.marks.clone();
        if is_uncertain {
            marks.lanes.iter_mut().for_each(|lane| lane.delivered = lane.next);
        }
        let runs = runs.into_iter().map(|run| {
            let RunImage { segment, from, until, bytes, live } = run;
            StoredRun { segment, from, until, bytes, live }
        });
        kept.push((*id, StoredQueue { id: *id, marks, runs: runs.collect() }));
    }
    Ok(kept)
}

fn count(queues: &[Kept]) -> u64 {
    queues.iter().flat_map(|(_, queue)| &queue.runs).map(|run| run.live.len()).sum()
}

/// Begins a journal file behind all there are, which continues them. Returns its number.
fn begin_journal(disk: &dyn Disk, examined: &Examined) -> io::Result<u64> {
    let state = &examined.journal;
    let tail = match state.end {
        Some((tail, true)) => tail,
        // One group is left out between, so that nobody takes the address for that of what is before.
        Some((tail, false)) => {
            Tail { address: FAR, sequence: tail.sequence.saturating_add(1), chain: 0, ..tail }
        }
        None => Tail { end: 0, address: FAR, sequence: 1, chain: 0 },
    };
    let mut number = state.highest.saturating_add(1);
    let file = loop {
        match disk.open(&format!("{PREFIX}{number:08}"), Open::Create) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number = number.saturating_add(1),
            opened => break opened?,
        }
    };
    let Tail { end: base, address, sequence, chain } = tail;
    // Until the catalogue says otherwise what was needed is needed.
    let header = FileHeader { number, sequence, base, chain, oldest: state.told.max(1), address };
    write_all_at(&*file, &mut [IoSlice::new(&header.encode())], 0)?;
    file.sync_all()?;
    disk.sync_dir()?;
    Ok(number)
}

/// All that the new catalogue says.
fn change(
    disk: &dyn Disk,
    examined: &Examined,
    queues: Vec<Kept>,
    new: &Rewritten<'_>,
    oldest: u64,
) -> io::Result<Change> {
    let mut segments: Vec<u64> =
        queues.iter().flat_map(|(_, queue)| &queue.runs).map(|run| run.segment).collect();
    segments.sort_unstable();
    segments.dedup();
    let last_segment = new.last().max(segments.last().copied().unwrap_or(0));
    let length = |number: u64| {
        let file = disk.open(&segment::name_of(number), Open::Read)?;
        Ok((number, Some(file.len()?)))
    };
    Ok(Change {
        oldest,
        last_queue: examined.last_queue.saturating_add(examined.journal.lost),
        last_segment,
        definitions: examined
            .vhosts
            .iter()
            .map(|(vhost, all)| (vhost.clone(), Some(encoded(vhost, all))))
            .collect(),
        queues: queues.into_iter().map(|(id, queue)| (id, Some(queue))).collect(),
        segments: segments.into_iter().map(length).collect::<io::Result<_>>()?,
    })
}

/// The definitions of a vhost as records.
fn encoded(vhost: &str, definitions: &Definitions) -> Vec<u8> {
    let mut records = Vec::new();
    for exchange in &definitions.exchanges {
        Record::ExchangeDeclared { vhost, exchange }.encode(&mut records);
    }
    for NamedQueue { id, name, auto_delete, arguments, .. } in &definitions.queues {
        let (id, auto_delete) = (*id, *auto_delete);
        Record::QueueDeclared { vhost, id, name, auto_delete, arguments }.encode(&mut records);
    }
    for binding in &definitions.bindings {
        Record::Bound { vhost, binding }.encode(&mut records);
    }
    for parameter in &definitions.parameters {
        Record::ParameterSet { vhost, parameter }.encode(&mut records);
    }
    records
}

/// A name for a file that is put aside.
fn free_name(disk: &dyn Disk, name: &str) -> io::Result<String> {
    let names = disk.list()?;
    let first = format!("{DAMAGED_PREFIX}{name}");
    let more = (2..).map(|count: u64| format!("{first}.{count}"));
    let mut all = std::iter::once(first.clone()).chain(more);
    Ok(all.find(|name| !names.contains(name)).unwrap_or(first))
}

/// Copies the catalogue, which is about to be written over. Returns the copy's name.
fn keep_catalogue(disk: &dyn Disk) -> io::Result<String> {
    let name = free_name(disk, catalogue::NAME)?;
    let (from, to) = (disk.open(catalogue::NAME, Open::Read)?, disk.open(&name, Open::Create)?);
    let len = from.len()?;
    let mut at = 0;
    let mut bytes = vec![0; CHUNK];
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(CHUNK).min(CHUNK);
        read_exact_at(&*from, &mut bytes[..count], at)?;
        write_all_at(&*to, &mut [IoSlice::new(&bytes[..count])], at)?;
        at += count as u64;
    }
    to.sync_all()?;
    disk.sync_dir()?;
    Ok(name)
}
