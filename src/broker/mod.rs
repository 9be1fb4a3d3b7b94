//! The state all connections share: vhosts with their exchanges and queues, users, connections, alarms.
//!
//! Every durable change passes through here and into the journal. Locks are taken in the order of
//! [`Rank`](crate::lock::Rank); nothing here waits or knows a socket.

pub mod alarms;
mod checkpoint;
pub mod names;
mod needed;
pub mod options;
pub mod outlet;
pub mod queue_cell;
pub mod registry;
pub mod transaction;
pub mod users;
pub mod vhost;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use crate::broker::alarms::Alarms;
use crate::broker::names::Names;
use crate::broker::options::BrokerOptions;
use crate::broker::registry::Registry;
use crate::broker::users::{User, Users};
use crate::broker::vhost::VHost;
use crate::message::Message;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::storage::disk::Disk;
use crate::storage::image::{Definitions, Image};
use crate::storage::journal::{Base, Journal};
use crate::storage::options::JournalOptions;
use crate::storage::room::Room;

/// A broker.
#[derive(Debug)]
pub struct Broker {
    /// `cluster_name` of the server properties.
    pub cluster_name: String,
    /// Who may log in.
    pub users: Users,
    /// Open connections.
    pub registry: Registry,
    /// What blocks publishers.
    pub alarms: Alarms,
    /// Generated names.
    pub names: Names,
    /// Where durable changes go.
    pub journal: Arc<Journal>,
    vhosts: HashMap<String, Arc<VHost>>,
    storage: Option<Storage>,
}

/// What a broker with a disk has.
struct Storage {
    options: JournalOptions,
    disk: Arc<dyn Disk>,
    /// Keeps other processes off the directory.
    _lock: Mutex<Box<dyn Send>>,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What a broker begins with.
#[derive(Default)]
struct Content {
    vhosts: Vec<(String, Definitions)>,
    last_queue: u64,
    /// Messages in queues by their address, but those that are damaged.
    messages: HashMap<u64, Message>,
}

impl Content {
    /// Reads all messages of an image.
    fn load(mut image: Image, configured: &[String], journal: &Journal) -> io::Result<Self> {
        // A vhost that is not in the configuration any more keeps what is in it, though nobody may open it.
        let kept = image.vhosts().map(str::to_owned).filter(|name| !configured.contains(name));
        let names: Vec<String> =
            kept.collect::<Vec<_>>().into_iter().chain(configured.iter().cloned()).collect();
        let vhosts: Vec<_> = names.into_iter().map(|name| (name.clone(), image.take(&name))).collect();
        let mut messages = HashMap::new();
        let queues = vhosts.iter().flat_map(|(_, definitions)| &definitions.queues);
        for stored in queues.flat_map(|queue| &queue.content.messages) {
            if !messages.contains_key(&stored.address)
                && let Some(message) = journal.read(stored.address, u64::from(stored.stored_len))?
            {
                messages.insert(stored.address, message);
            }
        }
        Ok(Self { vhosts, last_queue: image.last_queue(), messages })
    }
}

impl Broker {
    /// A broker that keeps everything in memory.
    #[must_use]
    pub fn new(options: BrokerOptions) -> Arc<Self> {
        Self::with_journal(options, Journal::in_memory(), None)
    }

    /// A broker on a given journal that keeps nothing; `seed` makes its generated names repeat.
    #[must_use]
    pub fn with_journal(options: BrokerOptions, journal: Journal, seed: Option<u64>) -> Arc<Self> {
        let vhosts = options.vhosts.iter().map(|name| (name.clone(), Definitions::default())).collect();
        let content = Content { vhosts, ..Content::default() };
        Self::restored(options, Arc::new(journal), content, seed, None)
    }

    /// A broker that keeps what is durable on `disk`, with what is there. `failed` is called once if storage cannot
    /// go on; the process is to end then.
    ///
    /// # Errors
    /// If another process uses the directory, the disk fails, or something that was durable is damaged.
    pub fn open(
        options: BrokerOptions,
        disk: Arc<dyn Disk>,
        journal: JournalOptions,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let lock = disk.lock()?;
        let base = Base { image: Image::default(), oldest: needed::read(&*disk)? };
        let (opened, image) = Journal::open(disk.clone(), journal, base, failed)?;
        let content = Content::load(image, &options.vhosts, &opened)?;
        let storage = Storage { options: journal, disk, _lock: Mutex::new(lock) };
        Ok(Self::restored(options, Arc::new(opened), content, None, Some(storage)))
    }

    fn restored(
        options: BrokerOptions,
        journal: Arc<Journal>,
        content: Content,
        seed: Option<u64>,
        storage: Option<Storage>,
    ) -> Arc<Self> {
        let Content { vhosts, last_queue, messages } = content;
        let last_queue = Arc::new(AtomicU64::new(last_queue));
        let vhost = |(name, definitions): (String, Definitions)| {
            let vhost =
                VHost::restored(name.clone(), journal.clone(), last_queue.clone(), definitions, &messages);
            (name, vhost)
        };
        let vhosts = vhosts.into_iter().map(vhost).collect();
        Arc::new(Self {
            users: Users::new(&options.users),
            registry: Registry::new(options.max_connections, options.max_handshakes),
            alarms: Alarms::new(journal.room().map(Room::alarm).unwrap_or_default()),
            names: Names::new(seed),
            vhosts,
            cluster_name: options.cluster_name,
            journal,
            storage,
        })
    }

    /// The vhost that `user` wants to open.
    ///
    /// # Errors
    /// 530 if there is none of that name, or the user may not open it.
    pub fn open_vhost(&self, name: &str, user: &User) -> Result<Arc<VHost>, AmqpError> {
        let Some(vhost) = self.vhosts.get(name) else {
            return Err(AmqpError::new(ReplyCode::NotAllowed, format!("vhost {name} not found")));
        };
        if !user.may_open(name) {
            let text = format!("access to vhost '{name}' refused for user '{}'", user.name);
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        Ok(vhost.clone())
    }

    /// Most connections at a time, and most in their handshake, from now on; 0 is no limit.
    pub fn set_max_connections(&self, limit: u32, handshakes: u32) {
        self.registry.set_limit(limit);
        self.registry.set_handshake_limit(handshakes);
    }

    /// About how many bytes of memory all queued messages take.
    #[must_use]
    pub fn message_memory(&self) -> u64 {
        let queues = self.vhosts.values().flat_map(|vhost| vhost.queues());
        queues.map(|cell| cell.memory()).sum()
    }

    /// Turns the memory alarm on or off. Returns whether that changed it.
    pub fn set_memory_alarm(&self, on: bool) -> bool {
        let changed = self.alarms.set_memory(on);
        self.wake_all_if(changed);
        changed
    }

    /// Turns the disk alarm on or off. Returns whether that changed it.
    pub fn set_disk_alarm(&self, on: bool) -> bool {
        let changed = self.alarms.set_disk(on);
        self.wake_all_if(changed);
        changed
    }

    fn wake_all_if(&self, changed: bool) {
        if changed {
            for outlet in self.registry.outlets() {
                outlet.wake();
            }
        }
    }

    /// Asks every connection to close with `reason`.
    pub fn close_all(&self, reason: &AmqpError) {
        for outlet in self.registry.outlets() {
            outlet.request_close(reason.clone());
        }
    }
}
