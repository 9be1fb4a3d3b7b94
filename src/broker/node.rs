//! The facts of this node that the API and metrics show. Those who know them write them here: the process at its start,
//! listeners when they are bound, and the watches of memory and disk with every look.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};

/// What the process is and where it has its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Its number in the operating system.
    pub pid: u32,
    /// The version of this program.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
    /// The compiler it was built with.
    pub compiler: String,
    /// Directory of the data; `None` if everything is in memory.
    pub data_dir: Option<PathBuf>,
    /// The configuration file that was read.
    pub config_file: Option<PathBuf>,
    /// The file that is logged to; `None` is the console.
    pub log_file: Option<PathBuf>,
    /// Processors that the process may use.
    pub processors: usize,
    /// Most files that it may have open; `None` if any number.
    pub open_files_limit: Option<u64>,
    /// Most resident bytes before publishers are blocked, as the configuration says; 0 is no limit. What holds now is in
    /// [`Thresholds`](crate::broker::thresholds::Thresholds).
    pub memory_limit: u64,
}

/// Something that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// RabbitMQ's name for what is spoken there: "amqp", "amqp/ssl", "http", "https"; and "http/web-amqp",
    /// "https/web-amqp" for AMQP over WebSocket.
    pub protocol: &'static str,
    /// Where.
    pub at: ListenerAddress,
}

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerAddress {
    /// An address with the port that was chosen for port 0.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What a watch of memory found with its last look. Zero where none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    /// Bytes in use: resident without what the allocator keeps.
    pub used: u64,
    /// Resident bytes.
    pub resident: u64,
}

/// What a watch of the disk found with its last look. Zero where none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Free bytes.
    pub free: u64,
    /// All bytes.
    pub total: u64,
    /// Less than so many free bytes block publishers.
    pub limit: u64,
}

/// A certificate that listeners show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file that it is in.
    pub file: PathBuf,
    /// Until when it is valid, in seconds since 1970.
    pub ends_at: u64,
}

/// A checkpoint that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCheckpoint {
    /// When it was done, in milliseconds since 1970.
    pub unix_ms: u64,
    /// How long it took.
    pub took: Duration,
    /// Bytes of segments that it wrote.
    pub written: u64,
}

/// Tells the certificates that listeners show now.
type Certificates = Box<dyn Fn() -> Vec<Certificate> + Send + Sync>;

/// See the module.
pub struct Node {
    /// Its name: "leveret@host".
    pub name: String,
    /// When it was started, in milliseconds since 1970.
    pub started_at: u64,
    process: OnceLock<ProcessFacts>,
    listeners: Mutex<Vec<Listener>>,
    memory: [AtomicU64; 2],
    disk: [AtomicU64; 3],
    open_files: AtomicU64,
    certificates: OnceLock<Certificates>,
    configuration: Mutex<Map<String, Value>>,
    checkpoint: Mutex<Option<LastCheckpoint>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Node {
    pub(super) fn new(name: String, started_at: u64) -> Self {
        Self {
            name,
            started_at,
            process: OnceLock::new(),
            listeners: Mutex::default(),
            memory: Default::default(),
            disk: Default::default(),
            open_files: AtomicU64::new(0),
            certificates: OnceLock::new(),
            configuration: Mutex::default(),
            checkpoint: Mutex::default(),
        }
    }

    /// Says what the process is. The first word counts.
    pub fn set_process(&self, facts: ProcessFacts) {
        // Said twice it would be the same.
        let _ = self.process.set(facts);
    }

    /// What the process is; nothing is known of it in a broker that is part of a test.
    #[must_use]
    pub fn process(&self) -> ProcessFacts {
        self.process.get().cloned().unwrap_or_default()
    }

    /// Something listens from now on.
    pub fn add_listener(&self, listener: Listener) {
        self.listeners.lock().push(listener);
    }

    /// Nothing listens there any more.
    pub fn remove_listener(&self, listener: &Listener) {
        let mut listeners = self.listeners.lock();
        if let Some(at) = listeners.iter().position(|known| known == listener) {
            listeners.remove(at);
        }
    }

    /// All that listens.
    #[must_use]
    pub fn listeners(&self) -> Vec<Listener> {
        self.listeners.lock().clone()
    }

    /// Says who tells the certificates of listeners, which are renewed while they listen. The first word counts.
    pub fn set_certificates(&self, tell: impl Fn() -> Vec<Certificate> + Send + Sync + 'static) {
        // Said twice it would be the same.
        let _ = self.certificates.set(Box::new(tell));
    }

    /// The certificates that listeners show now.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        self.certificates.get().map(|tell| tell()).unwrap_or_default()
    }

    /// Says by which options everything runs: sections of keys with their values, without secrets.
    pub fn set_configuration(&self, options: Map<String, Value>) {
        *self.configuration.lock() = options;
    }

    /// By which options everything runs.
    #[must_use]
    pub fn configuration(&self) -> Map<String, Value> {
        self.configuration.lock().clone()
    }

    /// Notes what memory is in use.
    pub fn set_memory(&self, figures: MemoryFigures) {
        let MemoryFigures { used, resident } = figures;
        write(&self.memory, [used, resident]);
    }

    /// What memory is in use.
    #[must_use]
    pub fn memory(&self) -> MemoryFigures {
        let [used, resident] = read(&self.memory);
        MemoryFigures { used, resident }
    }

    /// Notes what is free on the disk.
    pub fn set_disk(&self, figures: DiskFigures) {
        let DiskFigures { free, total, limit } = figures;
        write(&self.disk, [free, total, limit]);
    }

    /// What is free on the disk.
    #[must_use]
    pub fn disk(&self) -> DiskFigures {
        let [free, total, limit] = read(&self.disk);
        DiskFigures { free, total, limit }
    }

    /// Notes a checkpoint that was done.
    pub(super) fn note_checkpoint(&self, done: LastCheckpoint) {
        *self.checkpoint.lock() = Some(done);
    }

    /// The last checkpoint; `None` if there was none since the start.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<LastCheckpoint> {
        *self.checkpoint.lock()
    }

    /// Notes how many files are open, sockets among them.
    pub fn set_open_files(&self, count: u64) {
        self.open_files.store(count, Ordering::Relaxed);
    }

    /// How many files are open, sockets among them.
    #[must_use]
    pub fn open_files(&self) -> u64 {
        self.open_files.load(Ordering::Relaxed)
    }
}

fn write<const N: usize>(figures: &[AtomicU64; N], values: [u64; N]) {
    figures.iter().zip(values).for_each(|(figure, value)| figure.store(value, Ordering::Relaxed));
}

fn read<const N: usize>(figures: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|at| figures[at].load(Ordering::Relaxed))
}
