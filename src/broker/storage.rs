//! What a broker with a disk has: the catalogue, the segments, and word of what went wrong.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::broker::checkpoint::Committed;
use crate::storage::backup::check_complete;
use crate::storage::catalogue::Catalogue;
use crate::storage::disk::Disk;
use crate::storage::image::Image;
use crate::storage::journal::{Base, Journal};
use crate::storage::options::JournalOptions;
use crate::storage::segments::Segments;

/// Called once when storage cannot go on.
type OnFailure = Mutex<Option<Box<dyn FnOnce(&io::Error) + Send>>>;

/// See the module.
pub(super) struct Storage {
    pub(super) options: JournalOptions,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) catalogue: Catalogue,
    pub(super) segments: Arc<Segments>,
    /// Held by whoever writes or removes segments.
    pub(super) committed: Mutex<Committed>,
    /// Held while a copy is made.
    pub(super) backup: Mutex<()>,
    failed: Arc<OnFailure>,
    /// The last checkpoint found no room.
    full: AtomicBool,
    /// Queues keep less in memory than usual.
    short_of_memory: AtomicBool,
    /// Keeps other processes off the directory.
    _lock: Mutex<Box<dyn Send>>,
}

impl Storage {
    /// Opens what is on `disk`, and the journal with the state that all of it adds up to.
    ///
    /// # Errors
    /// If another process uses the directory, it is an incomplete copy, the disk fails, or something that was durable is
    /// damaged.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<(Self, Journal, Image)> {
        let lock = disk.lock()?;
        check_complete(&*disk)?;
        let (catalogue, snapshot) = Catalogue::open(disk.clone())?;
        let committed = Committed::from(&snapshot);
        let (last_segment, known) = (snapshot.last_segment, snapshot.segments.clone());
        let base = Base::from_catalogue(snapshot)?;
        let failed: Arc<OnFailure> = Arc::new(Mutex::new(Some(Box::new(failed))));
        let told = failed.clone();
        let (journal, image) = Journal::open(disk.clone(), options, base, move |error| tell(&told, error))?;
        let known = known.into_iter().map(|segment| (segment.number, segment.len));
        let segments = Segments::open(disk.clone(), last_segment, known)?;
        let storage = Self {
            options,
            disk,
            catalogue,
            segments: Arc::new(segments),
            committed: Mutex::new(committed),
            backup: Mutex::new(()),
            failed,
            full: AtomicBool::new(false),
            short_of_memory: AtomicBool::new(false),
            _lock: Mutex::new(lock),
        };
        Ok((storage, journal, image))
    }

    /// Storage cannot go on: nothing is confirmed any more.
    pub(super) fn fail(&self, journal: &Journal, error: &io::Error) {
        journal.fail();
        tell(&self.failed, error);
    }

    /// Notes whether the last checkpoint found no room. Returns what was noted before.
    pub(super) fn set_full(&self, full: bool) -> bool {
        self.full.swap(full, Ordering::Relaxed)
    }

    /// Notes whether queues keep less in memory than usual. Returns what was noted before.
    pub(super) fn set_short_of_memory(&self, short: bool) -> bool {
        self.short_of_memory.swap(short, Ordering::Relaxed)
    }

    /// Whether queues keep less in memory than usual.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.short_of_memory.load(Ordering::Relaxed)
    }

    /// Whether the last checkpoint found no room.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

fn tell(failed: &OnFailure, error: &io::Error) {
    let once = failed.lock().take();
    if let Some(once) = once {
        once(error);
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("options", &self.options).finish_non_exhaustive()
    }
}
