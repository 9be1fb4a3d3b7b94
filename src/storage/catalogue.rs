//! The catalogue: what checkpoints have folded away, in a database of its own. See `docs/storage.md`.
//!
//! It is small beside what it tells of: where the messages of each queue lie in segment files, which of them are left,
//! and the definitions. A checkpoint changes it in one transaction, a start reads all of it.
//!
//! Between commits the database is closed and takes no memory. A start does not change it: what a crash left is
//! repaired in memory, and for good by the next commit.
//!
//! Damage is found by three means. A start has the database check all its pages; every value has a checksum of its
//! own; and the numbers of values are counted. The database was not made for files that lie to it, and may panic at
//! one; that is caught, and told as damage like the rest.

mod backend;
mod format;
mod snapshot;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use crate::ids::QueueId;
use crate::storage::disk::{Disk, DiskFile, Open, may_pass};

use backend::{Backend, Failure, Overlay, of_sync};
use format::{META_KEY, Meta, MetaRecord};
pub use snapshot::{Change, Snapshot, StoredQueue, StoredRun, StoredSegment};

/// The name of the database.
pub const NAME: &str = "catalogue";

/// Its name until the first commit is whole.
pub const DRAFT: &str = "catalogue.new";

/// Bytes that the database may keep in memory while it is open.
const CACHE: usize = 1024 * 1024;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(format::META);
const DEFINITIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(format::DEFINITIONS);
const QUEUES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new(format::QUEUES);
const SEGMENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new(format::SEGMENTS);

/// The catalogue of a data directory.
#[derive(Debug)]
pub struct Catalogue {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whether there is a file, under a durable name.
    exists: bool,
    /// Whether a commit failed for good.
    failed: bool,
}

impl Catalogue {
    /// Opens the catalogue of `disk` and reads it. Without a file everything is empty, and the first commit creates
    /// one.
    ///
    /// Damage is [`ErrorKind::InvalidData`], with a text that says where; so is a format of another version. Other
    /// errors are the disk's.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<(Self, Snapshot)> {
        if disk.list()?.iter().any(|name| name == DRAFT) {
            disk.remove(DRAFT)?;
        }
        let file = match disk.open(NAME, Open::Write) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let exists = file.is_some();
        if let Some(file) = &file {
            backend::make_durable(&**file)?;
            disk.sync_dir()?;
        }
        let snapshot = file.map(read).transpose()?.unwrap_or_default();
        Ok((Self { disk, state: Mutex::new(State { exists, failed: false }) }, snapshot))
    }

    /// Reads the catalogue of `disk` as [`open`](Self::open) does, and changes nothing; `None` if there is none.
    pub fn look(disk: &dyn Disk) -> io::Result<Option<Snapshot>> {
        match disk.open(NAME, Open::Read) {
            Ok(file) => read(file).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A catalogue that is begun anew: the first commit takes the place of what is there, all at once.
    #[must_use]
    pub fn anew(disk: Arc<dyn Disk>) -> Self {
        Self { disk, state: Mutex::new(State { exists: false, failed: false }) }
    }

    /// Makes a change. It is durable, as a whole, when this returns; its cost is that of what it names, and about eight
    /// syncs. Commits wait for each other.
    ///
    /// - What [may pass](may_pass): the same may be tried again.
    /// - Any other error is final, whether it is the disk's or [`ErrorKind::InvalidData`] for damage: all later commits
    ///   fail.
    ///
    /// After an error of either kind nobody knows which state is on disk, the one before the change or the one after
    /// it. What either refers to has to be kept until a commit succeeds, and that has to name all that this one named.
    pub fn commit(&self, change: &Change) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.failed {
            return Err(io::Error::other("catalogue: an earlier commit has failed"));
        }
        let result = if state.exists { self.update(change) } else { self.create(change) };
        match &result {
            Ok(()) => state.exists = true,
            Err(error) => state.failed = !may_pass(error),
        }
        result
    }

    fn update(&self, change: &Change) -> io::Result<()> {
        write(self.disk.open(NAME, Open::Write)?, change, Found::Catalogue)
    }

    /// The file gets its name when it is whole, so that one that is not whole is known for damaged.
    fn create(&self, change: &Change) -> io::Result<()> {
        match self.disk.remove(DRAFT) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = write(self.disk.open(DRAFT, Open::Create)?, change, Found::Nothing)
            .and_then(|()| self.disk.rename(DRAFT, NAME));
        if let Err(error) = written {
            // The room may be needed. The error above is the one that counts.
            let _ = self.disk.remove(DRAFT);
            return Err(error);
        }
        self.disk.sync_dir().map_err(of_sync)
    }
}

/// What is in the file before a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Catalogue,
}

fn damaged(told: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("catalogue: {told}"))
}

/// Does something with the database. Of errors the disk's is told, and damage otherwise.
fn attempt<T>(failure: &Failure, work: impl FnOnce() -> Result<T, redb::Error>) -> io::Result<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    if let Some(error) = failure.take() {
        return Err(error);
    }
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(redb::Error::UpgradeRequired(_))) => Err(damaged("another format version of the database")),
        Ok(Err(redb::Error::Io(error))) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(damaged("the file is too short"))
        }
        // Without the database's words for it.
        Ok(Err(redb::Error::Io(error))) => Err(damaged(error)),
        Ok(Err(error)) => Err(damaged(error)),
        Err(_) => Err(damaged("the database cannot be read")),
    }
}

fn read(file: Arc<dyn DiskFile>) -> io::Result<Snapshot> {
    let failure = Failure::default();
    let overlay = Overlay::new(file, failure.clone())?;
    attempt(&failure, || {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(overlay)?;
        read_all(&database.begin_read()?)
    })
}

/// An error of the catalogue's own, where the database's are expected.
fn told(what: impl Into<String>) -> redb::Error {
    redb::Error::Io(io::Error::new(ErrorKind::InvalidData, what.into()))
}

fn known(sealed: Option<&[u8]>) -> Result<Meta, redb::Error> {
    let sealed = sealed.ok_or_else(|| told("there is no meta record"))?;
    match format::decode_meta(sealed) {
        Some(MetaRecord::Known(meta)) => Ok(meta),
        Some(MetaRecord::Foreign) => Err(told("another format version")),
        None => Err(told("the meta record is damaged")),
    }
}

fn read_all(transaction: &ReadTransaction) -> Result<Snapshot, redb::Error> {
    let meta = known(transaction.open_table(META)?.get(META_KEY)?.as_ref().map(|value| value.value()))?;
    let Meta { oldest, last_queue, last_segment, .. } = meta;
    let mut snapshot = Snapshot { oldest, last_queue, last_segment, ..Snapshot::default() };
    for entry in transaction.open_table(DEFINITIONS)?.iter()? {
        let (key, value) = entry?;
        let vhost = key.value();
        let records = format::decode_definitions(vhost, value.value())
            .ok_or_else(|| told(format!("the definitions of vhost {vhost:?} are damaged")))?;
        snapshot.definitions.push((vhost.to_owned(), records));
    }
    for entry in transaction.open_table(QUEUES)?.iter()? {
        let (key, value) = entry?;
        let id = QueueId(key.value());
        let queue = format::decode_queue(id, value.value())
            .ok_or_else(|| told(format!("the record of queue {id} is damaged")))?;
        snapshot.queues.push(queue);
    }
    for entry in transaction.open_table(SEGMENTS)?.iter()? {
        let (key, value) = entry?;
        let number = key.value();
        let len = format::decode_segment(number, value.value())
            .ok_or_else(|| told(format!("the record of segment {number} is damaged")))?;
        snapshot.segments.push(StoredSegment { number, len });
    }
    for (what, there, expected) in [
        ("definitions", snapshot.definitions.len(), meta.definitions),
        ("queues", snapshot.queues.len(), meta.queues),
        ("segments", snapshot.segments.len(), meta.segments),
    ] {
        if there as u64 != expected {
            return Err(told(format!("there are {there} {what} where {expected} should be")));
        }
    }
    Ok(snapshot)
}

/// Makes a change to the database in `file`.
fn write(file: Arc<dyn DiskFile>, change: &Change, found: Found) -> io::Result<()> {
    let failure = Failure::default();
    let backend = Backend::new(file, failure.clone());
    let database = attempt(&failure, || {
        let database = Builder::new().set_cache_size(CACHE).create_with_backend(backend)?;
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        apply(&transaction, change, found)?;
        transaction.commit()?;
        Ok(database)
    })?;
    match attempt(&failure, || Ok(Database::close(database)?)) {
        // The change is durable. That it cannot be recorded that the database was closed costs the next one who
        // opens it a little time; to call it failed would keep a full disk full.
        Err(error) if may_pass(&error) => Ok(()),
        closed => closed,
    }
}

fn apply(transaction: &WriteTransaction, change: &Change, found: Found) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(META)?;
    let before = match found {
        Found::Nothing => Meta::default(),
        Found::Catalogue => known(table.get(META_KEY)?.as_ref().map(|value| value.value()))?,
    };
    let (mut definitions, mut queues, mut segments) = (before.definitions, before.queues, before.segments);
    {
        let mut table = transaction.open_table(DEFINITIONS)?;
        for (vhost, records) in &change.definitions {
            let value = records.as_ref().map(|records| format::encode_definitions(vhost, records));
            put(&mut table, vhost.as_str(), value, &mut definitions)?;
        }
    }
    {
        let mut table = transaction.open_table(QUEUES)?;
        for (id, queue) in &change.queues {
            let value = queue.as_ref().map(|queue| format::encode_queue(*id, queue)).transpose()?;
            put(&mut table, id.0, value, &mut queues)?;
        }
    }
    {
        let mut table = transaction.open_table(SEGMENTS)?;
        for (number, len) in &change.segments {
            let value = len.map(|len| format::encode_segment(*number, len));
            put(&mut table, *number, value, &mut segments)?;
        }
    }
    let Change { oldest, last_queue, last_segment, .. } = *change;
    let meta = Meta { oldest, last_queue, last_segment, definitions, queues, segments };
    table.insert(META_KEY, &format::encode_meta(&meta)[..])?;
    Ok(())
}

/// Puts or removes a value, and keeps count of what is in the table.
fn put<'k, K: redb::Key + 'static>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: K::SelfType<'k>,
    value: Option<Vec<u8>>,
    count: &mut u64,
) -> Result<(), redb::Error> {
    let (was, is) = match value {
        Some(value) => (table.insert(key, &value[..])?.is_some(), true),
        None => (table.remove(key)?.is_some(), false),
    };
    *count = count.saturating_add(u64::from(is)).saturating_sub(u64::from(was));
    Ok(())
}
