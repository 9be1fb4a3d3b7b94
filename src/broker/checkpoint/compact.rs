//! Segments of which little is left are written anew, so that a few slow messages do not keep many dead ones.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::checkpoint::remainder::{Written, new_run};
use crate::broker::queue_cell::QueueCell;
use crate::broker::storage::Storage;
use crate::queue::Run;
use crate::storage::segment::{self, Content, Found, Kind, RunReader, SegmentWriter, read_item};
use crate::storage::segments::Segments;

/// A segment is written anew when less than this part of it is there.
const LIVE_PART: u64 = 4;

/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

impl Broker {
    /// Writes segments anew of which less than a quarter is needed, if together they waste more than a journal file has.
    pub(super) fn compact(&self, storage: &Storage, cells: &[Arc<QueueCell>]) -> io::Result<()> {
        let mut live: BTreeMap<u64, u64> = BTreeMap::new();
        for cell in cells {
            cell.count_segments(|number, bytes| *live.entry(number).or_default() += bytes);
        }
        let all = storage.segments.all();
        let sparse = all.iter().filter_map(|&(number, len, transient)| {
            let live = *live.get(&number)?;
            (!transient && live < len / LIVE_PART).then(|| (number, len - live))
        });
        let sparse: BTreeMap<u64, u64> = sparse.collect();
        if sparse.values().sum::<u64>() <= storage.options.file_size {
            return Ok(());
        }
        let mut writer = storage.segments.create(Kind::Durable)?;
        let number = writer.number();
        let copied = copy_all(&storage.segments, &mut writer, cells, |segment| sparse.contains_key(&segment));
        let finished = copied.and_then(|copied| Ok((copied, writer.finish()?)));
        let (copied, len) = match finished.and_then(|done| storage.segments.sync_names().map(|()| done)) {
            Ok(done) => done,
            Err(error) => {
                storage.segments.discard(number);
                return Err(error);
            }
        };
        storage.segments.added(number, len, Kind::Durable);
        for (from, Written { cell, run, items }) in copied {
            cell.rewritten(from, run, &items);
        }
        self.bodies.note_freed();
        Ok(())
    }
}

/// A run that was copied: which one, and what it is now.
type Copied<'a> = ((u64, u64), Written<'a>);

fn copy_all<'a>(
    segments: &Segments,
    writer: &mut SegmentWriter,
    cells: &'a [Arc<QueueCell>],
    is_sparse: impl Fn(u64) -> bool,
) -> io::Result<Vec<Copied<'a>>> {
    let mut copied = Vec::new();
    // Where bodies that several queues have are now, by where they were.
    let mut targets: HashMap<(u64, u64), u64> = HashMap::new();
    for cell in cells {
        for run in cell.runs().into_iter().filter(|run| is_sparse(run.segment)) {
            let written = copy_run(segments, writer, cell, &run, &mut targets)?;
            copied.push(((run.segment, run.from), written));
        }
    }
    Ok(copied)
}

/// Copies what is there of a run. What cannot be read is left where it is: errors are those of writing.
fn copy_run<'a>(
    segments: &Segments,
    writer: &mut SegmentWriter,
    cell: &'a Arc<QueueCell>,
    run: &Run,
    targets: &mut HashMap<(u64, u64), u64>,
) -> io::Result<Written<'a>> {
    let from = writer.offset();
    let mut items = Vec::new();
    let Ok(file) = segments.file(run.segment) else {
        return Ok(Written { cell, run: new_run(writer, from, false), items });
    };
    let mut scratch = Vec::new();
    let stretch = segment::Run { segment: run.segment, queue: cell.id, from: run.from, until: run.until };
    let mut reader = RunReader::new(&*file, &stretch, CHUNK, &mut scratch).ok();
    while let Some(reader) = &mut reader
        && let Ok(Some(found)) = reader.read_next()
    {
        let Found::Item(item) = found else { continue };
        let position = item.position();
        if !run.live.contains(position.0) {
            continue;
        }
        let offset = match reader.content(&item) {
            Ok(Content::Message(message)) => writer.append(cell.id, position, &message)?,
            Ok(Content::Damaged) | Err(_) => continue,
            Ok(Content::Reference(target)) => match targets.get(&(run.segment, target)) {
                Some(target) => writer.append_reference(cell.id, position, *target)?,
                None => {
                    let Ok(Some((.., message))) = read_item(&*file, run.segment, target) else { continue };
                    let offset = writer.append(cell.id, position, &message)?;
                    targets.insert((run.segment, target), offset);
                    offset
                }
            },
        };
        targets.entry((run.segment, item.offset())).or_insert(offset);
        items.push((position, offset));
    }
    Ok(Written { cell, run: new_run(writer, from, false), items })
}
