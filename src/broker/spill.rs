//! The memory budget: what is stored leaves memory, and then what is not stored goes to segments that are not synced,
//! longest backlog first.

use std::io;
use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::checkpoint::{Written, new_run};
use crate::broker::queue_cell::QueueCell;
use crate::broker::storage::Storage;
use crate::queue::KEPT_BYTES;
use crate::storage::segment::Kind;

/// About how large a segment of unstored messages gets.
const SEGMENT_SIZE: u64 = 64 * 1024 * 1024;

/// What a queue may keep at least, however many there are.
const LEAST_KEPT: u64 = 16 * 1024;

/// Bytes of messages that are held twice at once: in their queue and on their way to a file.
const BATCH: u64 = 1024 * 1024;

/// A queue with the memory that it takes.
struct Backlog {
    cell: Arc<QueueCell>,
    memory: u64,
}

impl Broker {
    /// Moves messages out of memory if all together take more than `budget` bytes, until they take an eighth less. From
    /// then on each queue keeps no more than its share, until all take less than half of the budget. Blocks, so it wants
    /// a thread of its own. Returns how many bytes were freed.
    pub fn relieve_memory(&self, budget: u64) -> u64 {
        let Some(storage) = &self.storage else { return 0 };
        let vhosts = self.vhosts.all();
        let cells = vhosts.values().flat_map(|vhost| vhost.queues());
        let mut backlogs: Vec<_> = cells.map(|cell| Backlog { memory: cell.memory(), cell }).collect();
        let before: u64 = backlogs.iter().map(|backlog| backlog.memory).sum();
        if before <= budget {
            if before <= budget / 2 && storage.set_short_of_memory(false) {
                backlogs.iter().for_each(|backlog| backlog.cell.keep(KEPT_BYTES));
            }
            return 0;
        }
        let timing = self.journal.meters().relief.begin();
        storage.set_short_of_memory(true);
        let share = budget / 2 / backlogs.len().max(1) as u64;
        backlogs.iter().for_each(|backlog| backlog.cell.keep(share.clamp(LEAST_KEPT, KEPT_BYTES)));
        let target = budget - budget / 8;
        backlogs.sort_unstable_by_key(|backlog| std::cmp::Reverse(backlog.memory));
        let mut left = before;
        for Backlog { cell, memory } in &mut backlogs {
            if left <= target {
                break;
            }
            let now = cell.relieve_all();
            left = left.saturating_sub(memory.saturating_sub(now));
            *memory = now;
        }
        backlogs.sort_unstable_by_key(|backlog| std::cmp::Reverse(backlog.memory));
        if left > target {
            match spill(storage, &backlogs, left - target) {
                Ok(freed) => left = left.saturating_sub(freed),
                Err(error) => tracing::error!(%error, "messages cannot be moved out of memory"),
            }
        }
        tracing::debug!(before, after = left, budget, "messages were moved out of memory");
        let freed = before.saturating_sub(left);
        timing.end(freed);
        freed
    }

    /// Whether queues keep less than usual because memory was short.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.storage.as_ref().is_some_and(Storage::is_short_of_memory)
    }
}

/// Moves at least `bytes` of unstored messages out of memory, if there are as many. Returns how many bytes that were.
fn spill(storage: &Storage, backlogs: &[Backlog], bytes: u64) -> io::Result<u64> {
    // Nobody else removes segments meanwhile: until they are moved, no queue refers to what is written here.
    let _committed = storage.committed.lock();
    let mut freed = 0;
    let mut rest = backlogs.iter();
    let mut current = rest.next().map(|backlog| (&backlog.cell, backlog.cell.tail()));
    while freed < bytes && current.is_some() {
        let mut writer = storage.segments.create(Kind::Transient)?;
        let number = writer.number();
        let mut written = Vec::new();
        let mut result = Ok(());
        while let Some((cell, from)) = current
            && writer.offset() < SEGMENT_SIZE
            && freed < bytes
        {
            let begin = writer.offset();
            let (messages, next) = cell.unstored(from, BATCH);
            let mut items = Vec::with_capacity(messages.len());
            for one in messages {
                match writer.append(cell.id, one.position, &one.message) {
                    Ok(offset) => items.push((one.position, offset)),
                    Err(error) => result = Err(error),
                }
                freed += one.message.stored_len();
            }
            written.push(Written { cell, run: new_run(&writer, begin, true), items });
            current = match next {
                Some(next) => Some((cell, next)),
                None => rest.next().map(|backlog| (&backlog.cell, backlog.cell.tail())),
            };
        }
        match result.and_then(|()| writer.finish()) {
            Ok(len) => storage.segments.added(number, len, Kind::Transient),
            Err(error) => {
                storage.segments.discard(number);
                return Err(error);
            }
        }
        for Written { cell, run, items } in written {
            cell.moved(&run, &items);
        }
    }
    Ok(freed)
}
