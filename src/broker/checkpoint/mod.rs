//! Checkpoints: what is still needed of the journal's oldest files moves to segments, the catalogue says so, and the
//! files are free. A message that was consumed before costs nothing more.
//!
//! The order is what makes it safe: segments and their names are on disk before the catalogue speaks of them; the
//! journal is durable past everything that the catalogue reflects; and only when the catalogue is durable are journal
//! files written over and segments removed.

mod compact;
mod remainder;
#[cfg(test)]
mod tests;

use remainder::Moved;
pub(super) use remainder::{Written, new_run};

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::broker::Broker;
use crate::broker::node::LastCheckpoint;
use crate::broker::queue_cell::QueueCell;
use crate::broker::storage::Storage;
use crate::ids::QueueId;
use crate::storage::catalogue::{Change, Snapshot};
use crate::storage::disk::{is_full, may_pass};
use crate::storage::image::GLOBAL;
use crate::storage::journal::{Journal, Retiring};
use crate::storage::segments::Segments;

/// What the catalogue says, as far as checkpoints have to know it.
#[derive(Debug, Default)]
pub(super) struct Committed {
    queues: HashSet<QueueId>,
    segments: BTreeMap<u64, u64>,
    /// The vhosts it has, and the broker itself, with the number of the last change of definitions that it reflects.
    definitions: HashMap<String, Option<u64>>,
}

impl From<&Snapshot> for Committed {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            queues: snapshot.queues.iter().map(|queue| queue.id).collect(),
            segments: snapshot.segments.iter().map(|segment| (segment.number, segment.len)).collect(),
            // What the journal says beyond it is not counted: all are written anew once.
            definitions: snapshot.definitions.iter().map(|(name, _)| (name.clone(), None)).collect(),
        }
    }
}

impl Committed {
    /// The segments that the catalogue may name, with their lengths.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u64, u64)> {
        self.segments.iter().map(|(number, len)| (*number, *len))
    }
}

/// How a checkpoint went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Journal files that are free now.
    pub files: usize,
    /// Segments that are removed.
    pub segments: usize,
    /// There may be more to do at once.
    pub unfinished: bool,
}

/// What a checkpoint is to do.
#[derive(Clone, Copy, Debug)]
struct Wish {
    /// So many journal files are to be retired.
    files: usize,
    /// But only if less than half of what is in them is needed.
    only_if_sparse: bool,
}

/// Why a checkpoint came to nothing.
#[derive(Debug)]
enum Halt {
    /// It waited for the journal, and was to wait no longer.
    GivenUp,
    /// Something could not be read or written, or the journal has failed.
    Failed(io::Error),
}

impl Halt {
    /// Of who waited for the journal in vain.
    fn at(journal: &Journal) -> Self {
        if journal.has_failed() {
            Self::Failed(io::Error::other("the journal has failed"))
        } else {
            Self::GivenUp
        }
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Journal files that are retired at once: a bound on the memory that this takes.
const FILES_AT_ONCE: usize = 2;

impl Broker {
    /// Retires journal files if there are too many and, if asked to `sweep`, removes segments that nobody needs. Blocks,
    /// so it wants a thread of its own.
    ///
    /// If the disk is full, or takes nothing for another reason that may pass, nothing is lost, [`Broker::is_disk_full`]
    /// says so and the next call tries again. Any other failure is that of storage, and ends it.
    pub fn checkpoint(&self, sweep: bool) -> Checkpoint {
        self.checkpoint_unless(sweep, &|| false)
    }

    /// As [`checkpoint`](Self::checkpoint), but does not wait for the journal any more when `given_up` says so, which is
    /// asked every now and then: a full disk may keep it waiting for good. Then nothing is lost and nothing is done, and
    /// there may be no other.
    pub fn checkpoint_unless(&self, sweep: bool, given_up: &dyn Fn() -> bool) -> Checkpoint {
        let Some(storage) = &self.storage else { return Checkpoint::default() };
        let options = &storage.options;
        let committed = storage.committed.lock();
        let journal = &self.bodies.journal;
        let surplus = journal.surplus(options.budget, options.most_files());
        let freed = sweep && self.bodies.take_freed();
        let wish = if surplus > 0 {
            Wish { files: surplus.min(FILES_AT_ONCE), only_if_sparse: false }
        } else {
            // Where room is scarce files go as well that would not have to, if that frees more than it takes.
            let surplus = if sweep && self.alarms.is_disk_on() { journal.surplus(0, 1) } else { 0 };
            Wish { files: surplus.min(FILES_AT_ONCE), only_if_sparse: true }
        };
        if (wish.files == 0 && !freed) || journal.has_failed() {
            return Checkpoint::default();
        }
        let timing = journal.meters().checkpoints.begin();
        // Who is not in here writes none.
        let before = storage.segments.usage().written;
        match self.retire(storage, committed, wish, given_up) {
            Ok(done) => {
                let written = storage.segments.usage().written - before;
                let took = timing.end(written);
                self.node.note_checkpoint(LastCheckpoint { unix_ms: self.clock.unix_ms(), took, written });
                if storage.set_full(false) {
                    tracing::info!("there is room for checkpoints again");
                }
                done
            }
            Err(Halt::GivenUp) => Checkpoint::default(),
            Err(Halt::Failed(error)) => {
                self.bodies.note_freed();
                if !may_pass(&error) {
                    storage.fail(&self.bodies.journal, &error);
                } else if !storage.set_full(true) {
                    if is_full(&error) {
                        tracing::error!(%error, "the disk is full: the journal cannot be retired");
                    } else {
                        tracing::error!(%error, "the disk takes nothing: the journal cannot be retired");
                    }
                }
                Checkpoint::default()
            }
        }
    }

    fn retire(
        &self,
        storage: &Storage,
        mut committed: MutexGuard<'_, Committed>,
        wish: Wish,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Checkpoint, Halt> {
        let journal = &self.bodies.journal;
        let retiring = if wish.files > 0 { journal.begin_retire(journal.end(), wish.files) } else { None };
        let before = journal.oldest();
        let cells = self.durable_queues();
        let fold = |retiring| self.fold(storage, &cells, retiring, wish, given_up);
        let folded = retiring.map_or(Ok(Moved::All), fold);
        let compacted = folded.and_then(|moved| Ok(self.compact(storage, &cells).map(|()| moved)?));
        if retiring.is_some() && !matches!(compacted, Ok(Moved::All | Moved::AllButDamaged)) {
            journal.abort_retire();
        }
        let moved = compacted?;
        if moved == Moved::Nothing {
            return Ok(Checkpoint::default());
        }
        // From here on nothing is given up: a commit that failed may be on disk all the same. Then a record that refers
        // to a message in these files would be of no use, and the next commit must not call them needed again.
        let oldest = journal.say_retired();
        self.commit(storage, &mut committed, &cells, oldest, given_up)?;
        journal.end_retire(moved == Moved::AllButDamaged)?;
        let files = usize::try_from(oldest.saturating_sub(before)).unwrap_or(0);
        let segments = self.remove_segments(storage, &committed);
        Ok(Checkpoint { files, segments, unfinished: files > 0 })
    }

    /// Moves what is needed of old journal files elsewhere.
    fn fold(
        &self,
        storage: &Storage,
        cells: &[Arc<QueueCell>],
        retiring: Retiring,
        wish: Wish,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Moved, Halt> {
        let journal = &self.bodies.journal;
        // What is not written cannot be read.
        if !journal.wait_durable_unless(journal.end(), given_up) {
            return Err(Halt::at(journal));
        }
        let most = if wish.only_if_sparse { retiring.bytes / 2 } else { u64::MAX };
        remainder::move_out(&self.bodies, &storage.segments, cells, retiring, most, given_up)
    }

    /// Writes everything that has changed into the catalogue.
    fn commit(
        &self,
        storage: &Storage,
        committed: &mut Committed,
        cells: &[Arc<QueueCell>],
        oldest: u64,
        given_up: &dyn Fn() -> bool,
    ) -> Result<(), Halt> {
        let journal = &self.bodies.journal;
        let mut definitions = Vec::new();
        let mut counts = HashMap::new();
        let known = |name: &str| committed.definitions.get(name).copied().flatten();
        let vhosts = self.vhosts.all();
        let mut note = |name: &str, (count, records): (u64, Option<Vec<u8>>)| {
            counts.insert(name.to_owned(), Some(count));
            definitions.extend(records.map(|records| (name.to_owned(), Some(records))));
        };
        vhosts.values().for_each(|vhost| note(&vhost.name, vhost.definitions(known(&vhost.name))));
        note(GLOBAL, self.globals.definitions(known(GLOBAL)));
        let gone = committed.definitions.keys().filter(|name| !counts.contains_key(*name));
        definitions.extend(gone.map(|name| (name.clone(), None)));
        let changed: Vec<_> = cells.iter().filter_map(|cell| Some((cell, cell.take_changed()?))).collect();
        let there: HashSet<QueueId> = cells.iter().map(|cell| cell.id).collect();
        let gone = committed.queues.difference(&there).map(|id| (*id, None));
        let queues: Vec<_> =
            changed.iter().map(|(cell, stored)| (cell.id, Some(stored.clone()))).chain(gone).collect();
        let segments = needed_segments(&storage.segments, cells);
        // All of them: what a commit that failed has said of them is not known.
        let needed = segments.iter().map(|(number, len)| (*number, Some(*len)));
        let removed = committed.segments.keys().filter(|number| !segments.contains_key(number));
        let change = Change {
            oldest,
            last_queue: self.last_queue(),
            last_segment: storage.segments.last(),
            definitions,
            queues,
            segments: needed.chain(removed.map(|number| (*number, None))).collect(),
        };
        // What it reflects has to be durable first: it might tell of an acknowledgement and not of the publish that
        // was in one transaction with it.
        let result = if journal.wait_synced_unless(journal.end(), given_up) {
            storage.catalogue.commit(&change).map_err(Halt::from)
        } else {
            Err(Halt::at(journal))
        };
        if let Err(halt) = result {
            // It may be on disk or not; the next one is to undo what it says and is not true any more.
            changed.iter().for_each(|(cell, _)| cell.set_changed());
            committed.queues.extend(there);
            committed.segments.extend(segments);
            counts.into_keys().for_each(|name| {
                committed.definitions.insert(name, None);
            });
            return Err(halt);
        }
        *committed = Committed { queues: there, segments, definitions: counts };
        Ok(())
    }

    /// Removes the segments that no queue refers to, and that the catalogue does not either. Returns how many.
    fn remove_segments(&self, storage: &Storage, committed: &Committed) -> usize {
        let mut needed: BTreeMap<u64, u64> = committed.segments.keys().map(|number| (*number, 0)).collect();
        for cell in self.vhosts.all().values().flat_map(|vhost| vhost.queues()) {
            cell.count_segments(|number, bytes| *needed.entry(number).or_default() += bytes);
        }
        let all = storage.segments.all();
        // A body that several queues have counts for each of them, and is there once.
        let bytes = all.iter().filter_map(|(number, len, _)| Some((*needed.get(number)?).min(*len)));
        storage.segments.note_needed(bytes.sum());
        let surplus = all.iter().filter(|(number, ..)| !needed.contains_key(number));
        surplus.map(|(number, ..)| storage.segments.discard(*number)).count()
    }

    fn durable_queues(&self) -> Vec<Arc<QueueCell>> {
        let vhosts = self.vhosts.all();
        let queues = vhosts.values().flat_map(|vhost| vhost.queues());
        let mut queues: Vec<_> = queues.filter(|cell| cell.spec.durable).collect();
        queues.sort_unstable_by_key(|cell| cell.id);
        queues
    }
}

/// The durable segments that queues refer to, with their lengths.
fn needed_segments(segments: &Segments, cells: &[Arc<QueueCell>]) -> BTreeMap<u64, u64> {
    let mut needed = BTreeSet::new();
    for cell in cells {
        cell.count_segments(|number, _| {
            needed.insert(number);
        });
    }
    let durable = segments.all().into_iter().filter(|(.., transient)| !transient);
    durable.filter(|(number, ..)| needed.contains(number)).map(|(number, len, _)| (number, len)).collect()
}
