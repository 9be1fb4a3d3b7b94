//! Letting files of the journal go that are not needed any more.

use std::io;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::Journal;
use crate::ids::Lsn;
use crate::storage::files::{Begun, Held};

/// Spare files kept for the next ones, unless room is scarce; more are removed.
const SPARE_FILES: usize = 2;

/// Files begin so that were set aside because something in them cannot be read. Nothing of the broker touches them.
pub const DAMAGED_PREFIX: &str = "damaged-";

/// Files that are being retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retiring {
    /// What is stored at lower body addresses is in them.
    pub below: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// The number of the first file that is kept.
    pub oldest: u64,
}

/// What the files take that are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalUsage {
    /// How many there are.
    pub files: u64,
    /// Their bytes on disk, zeros ahead included.
    pub bytes: u64,
}

impl Journal {
    /// What the files take that are needed.
    #[must_use]
    pub fn usage(&self) -> JournalUsage {
        let inner = self.shared.inner.lock();
        let bytes = inner.files.iter().map(|file| file.bytes).sum();
        JournalUsage { files: inner.files.len() as u64, bytes }
    }

    /// How many of the oldest files are to go for the journal to have at most so many bytes and files. The newest
    /// one never is.
    #[must_use]
    pub fn surplus(&self, bytes: u64, files: u64) -> usize {
        let inner = self.shared.inner.lock();
        let too_many = inner.files.len().saturating_sub(usize::try_from(files).unwrap_or(usize::MAX));
        let mut size: u64 = inner.files.iter().map(|file| file.bytes).sum();
        let too_large = inner.files.iter().take_while(|file| {
            let over = size > bytes;
            size -= file.bytes;
            over
        });
        too_many.max(too_large.count()).min(inner.files.len().saturating_sub(1))
    }

    /// Begins to retire up to `files` of the oldest files, none that reaches further than `until`: from now on
    /// messages stored in them are stored again when they are enqueued. `None` if there is no such file. What is in
    /// them and still needed is to be stored elsewhere; then [`say_retired`](Self::say_retired) and
    /// [`end_retire`](Self::end_retire), or [`abort_retire`](Self::abort_retire) if that cannot be done.
    #[must_use]
    pub fn begin_retire(&self, until: Lsn, files: usize) -> Option<Retiring> {
        let mut inner = self.shared.inner.lock();
        // What may have been said of more files before holds.
        let said = inner.files.iter().take_while(|file| file.number < inner.said_retired).count();
        // The first file kept has to be there: a start would miss it.
        let mut kept = inner.files.iter().skip(1).take(files.max(said));
        let ends = kept.by_ref().take_while(|next| next.base <= until.0 && next.begun.is_some());
        let (below, oldest) = ends.map(|next| (next.address, next.number)).last()?;
        let bytes = inner.files.iter().take_while(|file| file.number < oldest).map(|file| file.bytes).sum();
        inner.retiring = below;
        inner.retiring_files = oldest;
        Some(Retiring { below, bytes, oldest })
    }

    /// The catalogue is about to say that retiring files are not needed. Whether it says so is not known until
    /// [`end_retire`](Self::end_retire): it may, though it told of an error, and so it cannot be given up any more.
    /// Returns the number of the first file that is kept.
    pub fn say_retired(&self) -> u64 {
        let mut inner = self.shared.inner.lock();
        inner.said_retired = inner.retiring_files;
        inner.files.front().map_or(1, |file| file.number).max(inner.said_retired)
    }

    /// Ends what [`say_retired`](Self::say_retired) began, when the catalogue says durably that the files are not
    /// needed: they may be written over at once, unless somebody reads from them. Those that are too many for that are
    /// removed. If they are `damaged`, with messages that could not be read, they get other names instead, and are kept
    /// for whoever looks after it.
    ///
    /// # Errors
    /// If a file cannot be removed or renamed.
    pub fn end_retire(&self, damaged: bool) -> io::Result<()> {
        let mut aside = Vec::new();
        let woken = {
            let mut inner = self.shared.inner.lock();
            let oldest = inner.said_retired;
            while inner.files.front().is_some_and(|file| file.number < oldest)
                && let Some(file) = inner.files.pop_front()
            {
                if damaged {
                    aside.extend(file.begun);
                } else {
                    inner.spare.extend(file.begun);
                }
            }
            self.shared.note_files(&inner);
            std::mem::take(&mut inner.retire_waiters)
        };
        woken.iter().for_each(Waker::wake_by_ref);
        if let Some((disk, _)) = &self.disk {
            for Begun { name, .. } in aside {
                disk.rename(&name, &format!("{DAMAGED_PREFIX}{name}"))?;
                tracing::error!(
                    file = &*name,
                    "a journal file with damaged messages is kept as {DAMAGED_PREFIX}{name}"
                );
            }
        }
        self.remove_surplus()
    }

    /// Removes spare files that are too many. Those that somebody reads from are looked at again the next time.
    fn remove_surplus(&self) -> io::Result<()> {
        let Some((disk, room)) = &self.disk else { return Ok(()) };
        let kept = if room.alarm().load(Ordering::Relaxed) { 0 } else { SPARE_FILES };
        let surplus: Vec<Begun> = {
            let mut inner = self.shared.inner.lock();
            let mut left = inner.spare.len().saturating_sub(kept);
            // The one that the writer is about to begin is held by it.
            let removed = inner.spare.extract_if(.., |spare| {
                let goes = left > 0 && !spare.is_pinned();
                left -= usize::from(goes);
                goes
            });
            removed.collect()
        };
        surplus.iter().try_for_each(|spare| disk.remove(&spare.name))
    }

    /// Gives up what [`begin_retire`](Self::begin_retire) began: messages in these files may be referred to again, but for
    /// those in files of which the catalogue may have said that they are not needed.
    pub fn abort_retire(&self) {
        let mut inner = self.shared.inner.lock();
        let mut kept = inner.files.iter().skip_while(|file| file.number < inner.said_retired);
        inner.retiring = kept.next().map_or(inner.next_address, |file| file.address);
        inner.retiring_files = inner.said_retired;
    }

    /// The number of the oldest file that is needed; that of the first file there will be if there is none.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.shared.inner.lock().files.front().map_or(1, |file| file.number)
    }

    /// The files that are needed, oldest first, each up to its last written group.
    #[must_use]
    pub fn hold_files(&self) -> Vec<Held> {
        let inner = self.shared.inner.lock();
        let begun = inner.files.iter().filter_map(|file| Some((file.begun.clone()?, file.end)));
        begun.map(|(Begun { name, file }, len)| Held { name, file, len }).collect()
    }

    /// Whether there are so many files that publishers should wait until a checkpoint has retired some: what a start
    /// has to read is bounded.
    #[must_use]
    pub fn is_oversized(&self) -> bool {
        self.shared.oversized.load(Ordering::Relaxed)
    }

    /// Wakes `waker` once when files were retired; at once if there are not too many.
    pub fn wake_when_retired(&self, waker: &Waker) {
        let mut inner = self.shared.inner.lock();
        if self.is_oversized() {
            if !inner.retire_waiters.iter().any(|waiting| waiting.will_wake(waker)) {
                inner.retire_waiters.push(waker.clone());
            }
            return;
        }
        drop(inner);
        waker.wake_by_ref();
    }
}
