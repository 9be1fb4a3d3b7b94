//! A copy of the data directory while the broker runs.
//!
//! It has what a crash at one moment would have left: the catalogue, the segments it names, and the journal up to a
//! group. That moment is after the call, so that everything promised before is in it. Between two checkpoints only the
//! end of the journal changes. So a checkpoint is held up only until the catalogue is copied, and what the next ones
//! would remove or write over is kept until it is copied too.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::broker::Broker;
use crate::broker::storage::Storage;
use crate::storage::backup::{Backup, Report, Watch};
use crate::storage::catalogue;
use crate::storage::disk::{Disk, Open};
use crate::storage::journal::Held;
use crate::storage::segment;
use crate::storage::segments::Pinned;

/// How long a checkpoint is waited for at a time.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be copied after the catalogue, and is kept until it is.
struct Parts {
    segments: Vec<u64>,
    _pinned: Pinned,
    journal: Vec<Held>,
}

impl Broker {
    /// Copies everything to `target`, which has to be empty. On the copy a broker has exactly the state of some moment
    /// since the call; but while its own disk is full, what cannot be written is missing. Publishers and consumers go on. Blocks, so it wants a thread of its own. The copy is on disk
    /// when this returns.
    ///
    /// # Errors
    /// Whatever it is, the broker is unharmed, and the copy is removed or marked as incomplete. There is no copy of a
    /// broker in memory, of one whose storage has failed, and not two at a time; `target` may have
    /// files, no room, or fail; or `watch` was told to stop.
    pub fn backup(&self, target: &dyn Disk, watch: &Watch) -> io::Result<Report> {
        let Some(storage) = &self.storage else {
            return Err(io::Error::new(ErrorKind::Unsupported, "the broker keeps nothing on a disk"));
        };
        let Some(_only) = storage.backup.try_lock() else {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "another backup is being made"));
        };
        let mut backup = Backup::begin(target, watch)?;
        let journal = &self.bodies.journal;
        // Then all of it is in the files that are held below. If there is no room for it, all that was promised is.
        let is_stuck = Cell::new(false);
        let given_up = || {
            is_stuck.set(journal.is_stuck());
            is_stuck.get() || watch.check().is_err()
        };
        if !journal.wait_synced_unless(journal.end(), given_up) {
            watch.check()?;
            if !is_stuck.get() {
                return Err(failed());
            }
        }
        let parts = self.copy_catalogue(storage, &mut backup)?;
        for number in &parts.segments {
            let name = segment::name_of(*number);
            let file = storage.disk.open(&name, Open::Read);
            let file = file.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
            backup.copy(&name, &*file, file.len()?)?;
        }
        for Held { name, file, len } in &parts.journal {
            backup.copy(name, &**file, *len)?;
        }
        backup.finish()
    }

    /// Copies the catalogue as it is between two checkpoints, and keeps what belongs to it.
    fn copy_catalogue(&self, storage: &Storage, backup: &mut Backup<'_>) -> io::Result<Parts> {
        let committed = loop {
            if let Some(committed) = storage.committed.try_lock_for(LOOK) {
                break committed;
            }
            backup.check()?;
            if self.bodies.journal.is_stuck() {
                let text = "the broker's own disk is full, and a checkpoint waits for room";
                return Err(io::Error::new(ErrorKind::StorageFull, text));
            }
        };
        if self.bodies.journal.has_failed() {
            return Err(failed());
        }
        let catalogue = match storage.disk.open(catalogue::NAME, Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let mut journal = self.bodies.journal.hold_files();
        for held in &mut journal {
            // Groups are aligned; the end of the last one may not be.
            held.len = held.len.min(held.file.len()?);
        }
        let mut bytes: u64 = journal.iter().map(|held| held.len).sum();
        bytes += committed.segments().map(|(_, len)| len).sum::<u64>();
        let catalogue = catalogue.map(|file| file.len().map(|len| (file, len))).transpose()?;
        bytes += catalogue.as_ref().map_or(0, |(_, len)| *len);
        backup.expect(bytes)?;
        if let Some((file, len)) = catalogue {
            backup.copy(catalogue::NAME, &*file, len)?;
        }
        let segments: Vec<u64> = committed.segments().map(|(number, _)| number).collect();
        let pinned = storage.segments.pin(segments.iter().copied());
        Ok(Parts { segments, _pinned: pinned, journal })
    }
}

fn failed() -> io::Error {
    io::Error::other("the broker's storage has failed, or is being closed")
}
