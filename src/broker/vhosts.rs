//! The vhosts there are. They come and go while the broker runs; nobody who handles messages looks here.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::broker::agenda::Agenda;
use crate::broker::events::Event;
use crate::broker::globals::Globals;
use crate::broker::limits::VHostLimits;
use crate::broker::statistics::activity::Booked;
use crate::broker::vhost::{Shared, VHost};
use crate::channel::gates::Gate;
use crate::lock::{Rank, RankedRwLock};
use crate::storage::image::{self, Definitions, Image};
use crate::time::Clock;

/// The longest name in bytes: AMQP cannot carry more.
const LONGEST_NAME: usize = 255;

/// Vhosts by name.
type ByName = BTreeMap<String, Arc<VHost>>;

/// What people say about a vhost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// What it is for.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The type of queues that are declared without one, as far as they can be of it.
    pub default_queue_type: QueueType,
    /// It is not deleted as long as this is so.
    pub protected_from_deletion: bool,
}

/// A type that queues may have without being asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// As queues are by themselves.
    #[default]
    Classic,
    /// With the rules of quorum queues.
    Quorum,
}

impl QueueType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Classic, Self::Quorum];

    /// The name in `x-queue-type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Metadata {
    /// As it is stored, and as RabbitMQ's API has it.
    #[must_use]
    pub fn value(&self) -> Value {
        let default_queue_type = self.default_queue_type.name();
        json!({
            "description": self.description,
            "tags": self.tags,
            "default_queue_type": default_queue_type,
            "protected_from_deletion": self.protected_from_deletion,
        })
    }

    /// What was stored.
    pub(super) fn from_text(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let tags = value.get("tags").and_then(Value::as_array).into_iter().flatten();
        Self {
            description: value.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
            tags: tags.filter_map(Value::as_str).map(str::to_owned).collect(),
            default_queue_type: value
                .get("default_queue_type")
                .and_then(Value::as_str)
                .and_then(QueueType::parse)
                .unwrap_or_default(),
            protected_from_deletion: value
                .get("protected_from_deletion")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
        }
    }
}

/// Why a vhost is not added or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VHostError {
    /// There is one of this name.
    #[error("Virtual host '{0}' already exists")]
    Exists(String),
    /// There is none of this name.
    #[error("Virtual host '{0}' does not exist")]
    Missing(String),
    /// There are as many as may be.
    #[error("cannot create vhost '{0}': vhost limit of {1} is reached")]
    Full(String, u32),
    /// The name cannot be one.
    #[error("a vhost's name should be 1 to {LONGEST_NAME} bytes of text without control characters")]
    BadName,
    /// It may not be deleted.
    #[error("Virtual host '{0}' is protected from deletion")]
    Protected(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct VHosts {
    by_name: RankedRwLock<Arc<ByName>>,
    /// Held by whoever adds or deletes one. Taken before all other locks.
    changing: Mutex<()>,
    globals: Arc<Globals>,
    /// What queues of those counted that are gone. Held while one goes, so that nothing counts twice or not at all.
    gone: Mutex<Booked>,
    /// What new ones are made with.
    shared: Mutex<Shared>,
    clock: Clock,
    /// The task that looks at agendas.
    waker: Mutex<Option<Waker>>,
}

impl VHosts {
    /// Those that are stored, and those of these names.
    pub(super) fn restored(
        globals: Arc<Globals>,
        mut image: Image,
        shared: Shared,
        clock: Clock,
        names: &[String],
    ) -> Self {
        let vhosts = Self {
            by_name: RankedRwLock::new(Rank::Registry, Arc::default()),
            changing: Mutex::new(()),
            globals,
            gone: Mutex::default(),
            shared: Mutex::new(shared),
            clock,
            waker: Mutex::new(None),
        };
        let known: BTreeMap<String, String> = vhosts.globals.all(image::VHOST).into_iter().collect();
        // Data of versions that did not store which there are tells it by what is in them.
        let mut all: Vec<String> = image.vhosts().map(str::to_owned).collect();
        all.extend(known.keys().chain(names).cloned());
        all.sort_unstable();
        all.dedup();
        for name in all {
            if !known.contains_key(&name) {
                vhosts.globals.set(image::VHOST, &name, Metadata::default().value().to_string());
            }
            let definitions = image.take(&name);
            vhosts.put(&name, definitions);
        }
        vhosts
    }

    fn put(&self, name: &str, definitions: Definitions) {
        let vhost = self.make(name, definitions);
        let metadata = self.globals.get(image::VHOST, name).map(|text| Metadata::from_text(&text));
        vhost.set_default_queue_type(metadata.unwrap_or_default().default_queue_type);
        self.publish(vhost);
    }

    /// A vhost that nobody finds yet.
    pub(super) fn make(&self, name: &str, definitions: Definitions) -> Arc<VHost> {
        let agenda = Arc::new(Agenda::new(self.clock.clone()));
        let shared = self.shared.lock().clone();
        VHost::restored(name.to_owned(), agenda, shared, definitions)
    }

    /// Has a vhost be found.
    pub(super) fn publish(&self, vhost: Arc<VHost>) {
        Arc::make_mut(&mut self.by_name.write()).insert(vhost.name.clone(), vhost.clone());
        // Whoever names another task after this knows the vhost.
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            vhost.register_agenda(&waker);
            waker.wake();
        }
    }

    /// Keeps vhosts from being added and deleted. Taken before all other locks but that of who changes users.
    pub(super) fn hold(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }

    /// All of them as they are now.
    pub(super) fn all(&self) -> Arc<ByName> {
        self.by_name.read().clone()
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<VHost>> {
        self.by_name.read().get(name).cloned()
    }

    pub(super) fn register_agendas(&self, waker: &Waker) {
        *self.waker.lock() = Some(waker.clone());
        self.all().values().for_each(|vhost| vhost.register_agenda(waker));
    }

    pub(super) fn set_default_limits(&self, limits: VHostLimits) {
        let _changing = self.changing.lock();
        self.shared.lock().default_limits = limits;
        self.all().values().for_each(|vhost| vhost.set_default_limits(limits));
    }
}

impl Broker {
    /// Makes a vhost. The gate opens when it is durable.
    ///
    /// # Errors
    /// If there is one of this name, or it cannot be one, or there are as many as may be.
    pub fn add_vhost(&self, name: &str, metadata: &Metadata, by: &str) -> Result<Gate, VHostError> {
        check_name(name)?;
        let vhosts = &self.vhosts;
        let _events = self.events.after();
        let _changing = vhosts.changing.lock();
        if vhosts.get(name).is_some() {
            return Err(VHostError::Exists(name.to_owned()));
        }
        if let Some(limit) = self.limits.vhosts.exceeded_by(vhosts.all().len() + 1) {
            return Err(VHostError::Full(name.to_owned(), limit));
        }
        let gate = vhosts.globals.set(image::VHOST, name, metadata.value().to_string());
        vhosts.put(name, Definitions::default());
        vhosts.get(name).iter().for_each(|vhost| vhost.note_exchanges(by));
        self.events.note(|| Event::vhost_created(name, &metadata.value(), self.events.node(), by));
        Ok(gate)
    }

    /// Deletes a vhost with all that is in it, and closes its connections. The gate opens when that is durable, all of it
    /// at once.
    ///
    /// # Errors
    /// If there is none of this name, or it is [protected](Metadata::protected_from_deletion).
    pub fn delete_vhost(&self, name: &str, by: &str) -> Result<Gate, VHostError> {
        let vhosts = &self.vhosts;
        let _events = self.events.after();
        let missing = || VHostError::Missing(name.to_owned());
        let (vhost, gate) = {
            let _changing = vhosts.changing.lock();
            let vhost = vhosts.get(name).ok_or_else(missing)?;
            if self.vhost_metadata(name).is_some_and(|metadata| metadata.protected_from_deletion) {
                return Err(VHostError::Protected(name.to_owned()));
            }
            // Checkpoints find it until the journal says that it is gone.
            let gate = vhosts.globals.clear_with(image::VHOST, name, |record| vhost.delete(by, record));
            let mut gone = vhosts.gone.lock();
            gone.count(vhost.queue_sums());
            Arc::make_mut(&mut vhosts.by_name.write()).remove(name);
            self.events.note(|| Event::vhost_deleted(name, by));
            (vhost, gate.ok_or_else(missing)?)
        };
        self.registry.close_where(&vhost.deleted_error(), |_, of| Arc::ptr_eq(of, &vhost));
        Ok(gate)
    }

    /// What queues of all vhosts have counted together, those of vhosts that are gone too, as of the last sample. The
    /// counts never shrink.
    #[must_use]
    pub fn queue_sums(&self) -> Booked {
        let gone = self.vhosts.gone.lock();
        let mut sums = *gone;
        for vhost in self.vhosts.all().values() {
            let Booked { ready, unacked, .. } = sums;
            let of_vhost = vhost.queue_sums();
            sums.count(of_vhost);
            (sums.ready, sums.unacked) = (ready + of_vhost.ready, unacked + of_vhost.unacked);
        }
        sums
    }

    /// What was said about a vhost. `None` if there is none of this name.
    #[must_use]
    pub fn vhost_metadata(&self, name: &str) -> Option<Metadata> {
        self.vhosts.globals.get(image::VHOST, name).map(|text| Metadata::from_text(&text))
    }

    /// Changes what is said about a vhost. Queues that are there stay what they are. The gate opens when it is durable.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn set_vhost_metadata(
        &self,
        name: &str,
        change: impl FnOnce(&mut Metadata),
        by: &str,
    ) -> Result<Gate, VHostError> {
        let vhosts = &self.vhosts;
        let _events = self.events.after();
        let _changing = vhosts.changing.lock();
        let vhost = vhosts.get(name).ok_or_else(|| VHostError::Missing(name.to_owned()))?;
        let mut metadata = self.vhost_metadata(name).unwrap_or_default();
        change(&mut metadata);
        let gate = vhosts.globals.set(image::VHOST, name, metadata.value().to_string());
        vhost.set_default_queue_type(metadata.default_queue_type);
        let (tracing, node) = (vhost.is_traced(), self.events.node());
        self.events.note(|| Event::vhost_updated(name, &metadata.value(), tracing, node, by));
        Ok(gate)
    }
}

/// Checks that a vhost may have this name.
///
/// # Errors
/// [`VHostError::BadName`].
pub(super) fn check_name(name: &str) -> Result<(), VHostError> {
    let is_one = !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    if is_one { Ok(()) } else { Err(VHostError::BadName) }
}
