//! A simulated disk that is photographed: before each call that changes something, what a crash there would leave.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use leveret::storage::disk::{Disk, DiskFile, Open, Space};
use leveret::storage::journal::Journal;
use leveret::storage::options::Sync;
use leveret::storage::simulated_disk::{Crash, SimulatedDisk};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What a disk after a crash may hold, in journal positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// All up to here survives a power cut.
    pub durable: u64,
    /// All up to here survives a kill.
    pub written: u64,
    /// Nothing after this was ever appended.
    pub end: u64,
}

impl Bounds {
    /// The bounds of a disk whose content is known.
    pub fn exactly(lsn: u64) -> Self {
        Self { durable: lsn, written: lsn, end: lsn }
    }

    /// The least that is there after a crash.
    pub fn least(&self, how: Crash) -> u64 {
        if how == Crash::KeepAll { self.written } else { self.durable }
    }
}

/// A disk after a crash.
#[derive(Debug)]
pub struct Photograph {
    pub disk: SimulatedDisk,
    pub how: Crash,
    pub bounds: Bounds,
    /// The call that did not happen any more.
    pub before: String,
}

/// How many crashes are tried at each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Density {
    /// One of a random kind, at so many of a hundred calls.
    Some(u32),
    /// All kinds.
    All,
}

/// Records that a broker may make when it starts.
const MOST_DROPS: u64 = 1000;

/// Takes the photographs.
#[derive(Debug)]
pub struct Watch {
    disk: SimulatedDisk,
    journal: OnceLock<Weak<Journal>>,
    /// Before the journal is open.
    opening: Bounds,
    /// What is called durable survives a power cut.
    synced: bool,
    album: Mutex<Album>,
}

#[derive(Debug)]
struct Album {
    random: StdRng,
    density: Density,
    photographs: Vec<Photograph>,
}

impl Watch {
    /// Watches `disk`, which holds what `opening` says until [`follow`](Self::follow) names the journal on it.
    /// `sync` is what the journal is told.
    pub fn new(disk: SimulatedDisk, opening: Bounds, sync: Sync, density: Density, seed: u64) -> Arc<Self> {
        let random = StdRng::seed_from_u64(seed);
        let synced = sync == Sync::Always;
        let album = Mutex::new(Album { random, density, photographs: Vec::new() });
        Arc::new(Self { disk, journal: OnceLock::new(), opening, synced, album })
    }

    /// The disk to work on.
    pub fn watched(self: &Arc<Self>) -> Arc<dyn Disk> {
        Arc::new(WatchedDisk(self.clone()))
    }

    pub fn follow(&self, journal: &Arc<Journal>) {
        self.journal.set(Arc::downgrade(journal)).expect("one journal");
    }

    /// The photographs taken since the last time.
    pub fn take(&self) -> Vec<Photograph> {
        std::mem::take(&mut self.album.lock().expect("a lock").photographs)
    }

    /// Photographs the disk as it is now.
    pub fn photograph(&self, before: &str) {
        let mut album = self.album.lock().expect("a lock");
        let Album { random, density, photographs } = &mut *album;
        let torn = self.disk.last_unsynced_write();
        let tear = Crash::TearLast { bytes: random.random_range(0..=torn) };
        match *density {
            Density::All => {
                for how in Crash::EACH.into_iter().chain([tear]) {
                    photographs.push(self.one(how, before));
                }
            }
            Density::Some(percent) => {
                if random.random_range(0..100) < percent {
                    let how = Crash::EACH.get(random.random_range(0..9_usize)).copied().unwrap_or(tear);
                    photographs.push(self.one(how, before));
                }
            }
        }
    }

    fn one(&self, how: Crash, before: &str) -> Photograph {
        let journal = self.journal.get().and_then(Weak::upgrade);
        let progress = journal.as_ref().map(|journal| journal.progress());
        // Between the positions and the end, so that each is on its side.
        let disk = self.disk.after_crash(how);
        let bounds = match (journal, progress) {
            (Some(journal), Some(progress)) => {
                // What a start found may be durable without the journal's knowing it yet.
                let told = if self.synced { progress.durable.0 } else { 0 };
                let durable = told.max(self.opening.durable);
                Bounds { durable, written: progress.written.0, end: journal.end().0 }
            }
            // A broker drops what is too much or too late before anyone can follow.
            _ => Bounds { end: self.opening.end + MOST_DROPS, ..self.opening },
        };
        Photograph { disk, how, bounds, before: before.to_owned() }
    }
}

#[derive(Debug)]
struct WatchedDisk(Arc<Watch>);

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    name: String,
    watch: Arc<Watch>,
}

impl Disk for WatchedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.disk.list()
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if how == Open::Create {
            self.0.photograph(&format!("create {name}"));
        }
        let file = self.0.disk.open(name, how)?;
        Ok(Arc::new(WatchedFile { file, name: name.to_owned(), watch: self.0.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.photograph(&format!("rename {from} to {to}"));
        self.0.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.photograph(&format!("remove {name}"));
        self.0.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.photograph("sync_dir");
        self.0.disk.sync_dir()
    }

    fn space(&self) -> io::Result<Space> {
        self.0.disk.space()
    }

    fn lock(&self) -> io::Result<Box<dyn Send>> {
        self.0.disk.lock()
    }
}

impl DiskFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.watch.photograph(&format!("write {} at {at}", self.name));
        self.file.write_at(slices, at)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.watch.photograph(&format!("allocate {} to {len}", self.name));
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch.photograph(&format!("set_len {} to {len}", self.name));
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.photograph(&format!("sync_data {}", self.name));
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.watch.photograph(&format!("sync_all {}", self.name));
        self.file.sync_all()
    }
}
