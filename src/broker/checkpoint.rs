//! Retiring journal files: what is still needed of the oldest is stored again at the journal's end, then its space is
//! free.
//!
//! A file is retired when the journal is over its budget, unless most of what it holds is needed: then it may grow to
//! twice that, so that each message is copied a bounded number of times however long it stays.

use crate::broker::vhost::VHost;
use crate::broker::{Broker, Storage, needed};
use crate::storage::journal::Retiring;

/// Messages of one queue that are stored again under one lock.
const SLICE: usize = 256;

impl Broker {
    /// Retires journal files if there are too many. Blocks until what was stored again is durable, so it wants a
    /// thread of its own. Returns whether any was retired.
    pub fn checkpoint(&self) -> bool {
        let Some(storage) = &self.storage else { return false };
        let surplus = |bytes: u64| self.journal.surplus(bytes, (bytes / storage.options.file_size).max(2));
        // What is needed is counted only where it matters.
        if surplus(storage.options.budget) == 0 {
            return false;
        }
        let needed = self.durable_memory();
        let files = surplus(storage.options.budget.max(needed.saturating_mul(2)));
        files > 0 && self.retire(storage, files)
    }

    /// Retires up to so many of the oldest files.
    fn retire(&self, storage: &Storage, files: usize) -> bool {
        let retiring = self.journal.begin_retire(self.journal.end(), files);
        let Some(Retiring { below, oldest, .. }) = retiring else { return false };
        let queues = self.vhosts.values().flat_map(|vhost| vhost.queues());
        let queues: Vec<_> = queues.filter(|cell| cell.spec.durable).collect();
        // All are found before any is moved: a message in several queues is found by where it is stored.
        let found: Vec<_> = queues
            .iter()
            .map(|cell| (cell, cell.stored_below(below)))
            .filter(|(_, positions)| !positions.is_empty())
            .collect();
        for vhost in self.vhosts.values() {
            vhost.store_definitions();
        }
        queues.iter().for_each(|cell| cell.store_mark());
        for (cell, positions) in found {
            for positions in positions.chunks(SLICE) {
                cell.store_again(positions);
            }
        }
        if !self.journal.wait_synced(self.journal.end()) {
            return false;
        }
        if let Err(error) = needed::write(&*storage.disk, oldest) {
            tracing::warn!(%error, "journal files cannot be retired");
            self.journal.abort_retire();
            return false;
        }
        self.journal.end_retire();
        if self.alarms.is_disk_on() {
            // Their space is free when a newer file says that they are not needed, and with publishers blocked there
            // may be nothing else to begin one for.
            queues.iter().for_each(|cell| cell.store_mark());
        }
        true
    }

    /// About how many bytes of messages in durable queues there are.
    fn durable_memory(&self) -> u64 {
        let queues = self.vhosts.values().flat_map(|vhost: &std::sync::Arc<VHost>| vhost.queues());
        queues.filter(|cell| cell.spec.durable).map(|cell| cell.memory()).sum()
    }
}
