//! What is left in old journal files: little of it is appended to the journal again, much of it goes to segments.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use foldhash::fast::FixedState;
use roaring::RoaringTreemap;

use crate::broker::checkpoint::Halt;
use crate::broker::queue_cell::QueueCell;
use crate::ids::{Place, Position};
use crate::message::Message;
use crate::queue::{Run, StoredHere, Wanted};
use crate::storage::bodies::{Bodies, Problem};
use crate::storage::item::RawItem;
use crate::storage::journal::Retiring;
use crate::storage::segment::{Kind, SegmentWriter};
use crate::storage::segments::Segments;

/// What is appended again: less than this part of the files that are retired.
const COPIED_PART: u64 = 8;

/// Messages that are looked up in the journal at once.
const AT_ONCE: usize = 16 * 1024;

/// What a queue has left in the files.
struct Remainder<'a> {
    cell: &'a Arc<QueueCell>,
    messages: Vec<StoredHere>,
    bytes: u64,
}

/// A run that is written, and where each of its messages is.
pub(in crate::broker) struct Written<'a> {
    pub(in crate::broker) cell: &'a Arc<QueueCell>,
    pub(in crate::broker) run: Run,
    pub(in crate::broker) items: Vec<(Position, u64)>,
}

/// What was moved out of journal files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Nothing: it would have been too much.
    Nothing,
    /// Everything that is needed.
    All,
    /// What can be read of it.
    AllButDamaged,
}

/// Moves everything that queues still have in the retiring files, unless that is more than `most` bytes. After it nothing
/// needs the files but the catalogue.
pub(super) fn move_out(
    bodies: &Bodies,
    segments: &Segments,
    cells: &[Arc<QueueCell>],
    retiring: Retiring,
    most: u64,
    given_up: &dyn Fn() -> bool,
) -> Result<Moved, Halt> {
    // All are found before any is moved: a message in several queues is found by where it is stored.
    let remainders = cells.iter().map(|cell| {
        let messages = cell.stored_below(retiring.below);
        let bytes = messages.iter().map(|message| message.stored_len).sum();
        Remainder { cell, messages, bytes }
    });
    let remainders: Vec<_> = remainders.filter(|remainder| !remainder.messages.is_empty()).collect();
    let total: u64 = remainders.iter().map(|remainder| remainder.bytes).sum();
    if total > most {
        return Ok(Moved::Nothing);
    }
    let mut problems = Vec::new();
    if total < retiring.bytes / COPIED_PART {
        copy_forward(bodies, &remainders, &mut problems, given_up)?;
        return Ok(tell(problems));
    }
    let mut written = Vec::new();
    let mut files = Vec::new();
    let source = Source { bodies, bytes: retiring.bytes };
    let done = write_all(&source, segments, remainders, &mut written, &mut files, &mut problems);
    if let Err(error) = done.and_then(|()| segments.sync_names()) {
        files.into_iter().for_each(|number| segments.discard(number));
        return Err(error.into());
    }
    for Written { cell, run, items } in written {
        cell.moved(&run, &items);
    }
    Ok(tell(problems))
}

/// Tells what could not be read.
fn tell(problems: Vec<Problem>) -> Moved {
    if problems.is_empty() {
        return Moved::All;
    }
    for Problem { file, offset, why } in problems {
        tracing::error!(file, offset, "{why}; it is left out");
    }
    Moved::AllButDamaged
}

/// The journal files that messages are copied from.
struct Source<'a> {
    bodies: &'a Bodies,
    /// How large they are together.
    bytes: u64,
}

/// Appends messages to the journal again. One that several queues have is stored once.
fn copy_forward(
    bodies: &Bodies,
    remainders: &[Remainder<'_>],
    problems: &mut Vec<Problem>,
    given_up: &dyn Fn() -> bool,
) -> Result<(), Halt> {
    let mut known: HashMap<u64, Message, FixedState> = HashMap::default();
    let mut stored = Vec::new();
    for Remainder { cell, messages, .. } in remainders {
        for here in messages {
            if let Some(message) = &here.message {
                known.entry(here.address).or_insert_with(|| message.clone());
            }
        }
        let absent = messages.iter().filter(|here| !known.contains_key(&here.address)).map(wanted);
        let read = bodies.read_places(cell.id, absent.collect(), problems);
        for message in read.into_iter().filter_map(|found| found.message) {
            known.insert(message.stored_at(), message);
        }
        let found = messages
            .iter()
            .filter_map(|here| Some((here.position, here.address, known.get(&here.address)?.clone())));
        stored.push((cell, cell.store_again(&found.collect::<Vec<_>>())));
    }
    if !bodies.journal.wait_durable_unless(bodies.journal.end(), given_up) {
        return Err(Halt::at(&bodies.journal));
    }
    stored.iter().for_each(|(cell, stored)| cell.stored_again(stored));
    Ok(())
}

fn wanted(here: &StoredHere) -> Wanted {
    let StoredHere { position, address, stored_len, .. } = *here;
    Wanted { position, place: Place::journal(address), stored_len }
}

/// The addresses that several queues have.
fn shared_addresses(remainders: &[Remainder<'_>]) -> HashSet<u64, FixedState> {
    if remainders.len() < 2 {
        return HashSet::default();
    }
    let all = remainders.iter().flat_map(|remainder| &remainder.messages);
    let mut addresses: Vec<u64> = all.map(|here| here.address).collect();
    addresses.sort_unstable();
    addresses.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
}

/// Writes segments: one for each queue that has much, and one for all others together.
fn write_all<'a>(
    source: &Source<'_>,
    segments: &Segments,
    remainders: Vec<Remainder<'a>>,
    written: &mut Vec<Written<'a>>,
    files: &mut Vec<u64>,
    problems: &mut Vec<Problem>,
) -> io::Result<()> {
    // A body that several queues have is carried once, so these queues share a file.
    let shared = shared_addresses(&remainders);
    let has_own = |remainder: &Remainder<'_>| {
        remainder.bytes >= source.bytes / COPIED_PART
            && (shared.is_empty() || !remainder.messages.iter().any(|here| shared.contains(&here.address)))
    };
    let (own, together): (Vec<_>, Vec<_>) = remainders.into_iter().partition(has_own);
    let groups = own.into_iter().map(|remainder| vec![remainder]).chain(std::iter::once(together));
    for group in groups.filter(|group| !group.is_empty()) {
        let writer = segments.create(Kind::Durable)?;
        let number = writer.number();
        files.push(number);
        let stored = HashMap::default();
        let mut segment = Segment { bodies: source.bodies, writer, shared: &shared, stored };
        for remainder in group {
            written.push(segment.write(&remainder, problems)?);
        }
        segments.added(number, segment.writer.finish()?, Kind::Durable);
    }
    Ok(())
}

/// A segment being written.
struct Segment<'a> {
    bodies: &'a Bodies,
    writer: SegmentWriter,
    /// The addresses that several queues have.
    shared: &'a HashSet<u64, FixedState>,
    /// Where the items are in this file that have their bodies.
    stored: HashMap<u64, u64, FixedState>,
}

impl Segment<'_> {
    /// Writes what one queue has, in the order of its positions.
    fn write<'c>(
        &mut self,
        remainder: &Remainder<'c>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<Written<'c>> {
        let from = self.writer.offset();
        let mut items = Vec::with_capacity(remainder.messages.len());
        let mut rest = &remainder.messages[..];
        while let Some(first) = rest.first() {
            // A stretch of messages that are all to be read, in the order in which they lie there, or one that is not.
            let is_read =
                |here: &StoredHere| here.message.is_none() && !self.stored.contains_key(&here.address);
            let reads =
                rest.windows(2).take_while(|pair| pair[0].address < pair[1].address && is_read(&pair[1]));
            let count = if is_read(first) { reads.take(AT_ONCE).count() + 1 } else { 1 };
            let (stretch, after) = rest.split_at(count);
            rest = after;
            if is_read(first) {
                self.copy(remainder.cell, stretch, &mut items, problems)?;
            } else {
                let offset = self.put(remainder.cell, first)?;
                items.push((first.position, offset));
            }
        }
        Ok(Written { cell: remainder.cell, run: new_run(&self.writer, from, false), items })
    }

    /// Copies messages from the journal. What cannot be read is left out.
    fn copy(
        &mut self,
        cell: &QueueCell,
        stretch: &[StoredHere],
        items: &mut Vec<(Position, u64)>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        let wanted: Vec<_> = stretch.iter().map(|here| (here.address, wanted(here))).collect();
        let mut result = Ok(());
        self.bodies.read_journal(&wanted, problems, |wanted, address, item| {
            let Some(item) = item.filter(|_| result.is_ok()) else { return };
            let RawItem { contiguous, large, checksum } = item;
            match self.writer.append_raw(cell.id, wanted.position, contiguous, large, checksum) {
                Ok(offset) => {
                    if self.shared.contains(&address) {
                        self.stored.insert(address, offset);
                    }
                    items.push((wanted.position, offset));
                }
                Err(error) => result = Err(error),
            }
        });
        result
    }

    /// Puts down a message that is in memory, or a reference to one that is in the file.
    fn put(&mut self, cell: &QueueCell, here: &StoredHere) -> io::Result<u64> {
        if let Some(target) = self.stored.get(&here.address) {
            return self.writer.append_reference(cell.id, here.position, *target);
        }
        let Some(message) = &here.message else { return Err(io::ErrorKind::NotFound.into()) };
        let offset = self.writer.append(cell.id, here.position, message)?;
        if self.shared.contains(&here.address) {
            self.stored.insert(here.address, offset);
        }
        Ok(offset)
    }
}

/// The run that was written since `from`.
pub(in crate::broker) fn new_run(writer: &SegmentWriter, from: u64, transient: bool) -> Run {
    let (segment, until) = (writer.number(), writer.offset());
    Run { segment, from, until, bytes: 0, live: RoaringTreemap::new(), transient }
}
