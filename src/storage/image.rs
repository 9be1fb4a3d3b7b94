//! Durable state as the journal tells it: definitions, and the messages of each queue by position.

use std::collections::{BTreeMap, HashMap};

use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::protocol::field::Table;
use crate::routing::{BindingSpec, ExchangeSpec, Router};
use crate::storage::record::Entry;

/// What was durable.
#[derive(Debug, Default)]
pub struct Image {
    vhosts: BTreeMap<String, VHostImage>,
    queues: HashMap<QueueId, QueueImage>,
    next_queue: u64,
}

#[derive(Debug)]
struct VHostImage {
    exchanges: BTreeMap<String, ExchangeSpec>,
    /// Bindings. Its exchanges are never auto-deleted: what a transient binding held is not known here.
    router: Router<QueueId>,
}

/// A durable queue.
#[derive(Debug, Default)]
pub struct QueueImage {
    declared: Option<Declared>,
    /// Messages that were not removed.
    pub messages: BTreeMap<Position, Message>,
    /// Messages below it may have been delivered.
    pub delivered: Position,
    /// No message at or above it was ever seen.
    pub next: Position,
}

#[derive(Debug)]
struct Declared {
    vhost: String,
    name: String,
    auto_delete: bool,
    arguments: Table,
}

/// A durable queue with its name.
#[derive(Debug)]
pub struct NamedQueue {
    /// Its number.
    pub id: QueueId,
    /// Its name.
    pub name: String,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: Table,
    /// What is in it.
    pub content: QueueImage,
}

/// The durable state of one vhost.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Durable exchanges, without those every vhost has.
    pub exchanges: Vec<ExchangeSpec>,
    /// Durable queues.
    pub queues: Vec<NamedQueue>,
    /// Bindings between them.
    pub bindings: Vec<BindingSpec<QueueId>>,
}

impl Image {
    /// Applies the next record. `message` is that of an enqueue record, unless it is damaged.
    pub(super) fn apply(&mut self, entry: Entry, message: Option<Message>) {
        match entry {
            Entry::ExchangeDeclared(vhost, exchange) => {
                let vhost = self.vhost(vhost);
                vhost.router.declare(ExchangeSpec { auto_delete: false, ..exchange.clone() });
                vhost.exchanges.entry(exchange.name.clone()).or_insert(exchange);
            }
            Entry::ExchangeDeleted(vhost, name) => {
                let vhost = self.vhost(vhost);
                vhost.exchanges.remove(&name);
                vhost.router.delete(&name);
            }
            Entry::QueueDeclared(vhost, id, name, auto_delete, arguments) => {
                self.vhost(vhost.clone());
                self.next_queue = self.next_queue.max(id.0);
                let declared = Declared { vhost, name, auto_delete, arguments };
                self.queue(id).declared.get_or_insert(declared);
            }
            Entry::QueueDeleted(id) => {
                self.next_queue = self.next_queue.max(id.0);
                self.queues.remove(&id);
                for vhost in self.vhosts.values_mut() {
                    vhost.router.remove_queue(id);
                }
            }
            // One end may be gone, or be told of by a later snapshot together with the binding.
            Entry::Bound(vhost, binding) => {
                let router = &mut self.vhost(vhost).router;
                let _ = router.bind(&binding.source, &binding.destination, &binding.key, &binding.arguments);
            }
            Entry::Unbound(vhost, binding) => {
                let router = &mut self.vhost(vhost).router;
                router.unbind(&binding.source, &binding.destination, &binding.key, &binding.arguments);
            }
            Entry::Enqueued(id, position, _) => {
                let queue = self.queue(id);
                queue.next = queue.next.max(position.next());
                if let Some(message) = message {
                    queue.messages.insert(position, message);
                }
            }
            Entry::Removed(id, position) => {
                let queue = self.queue(id);
                queue.next = queue.next.max(position.next());
                queue.messages.remove(&position);
            }
            Entry::DeliveredThrough(id, position) => {
                let queue = self.queue(id);
                queue.delivered = position;
            }
        }
    }

    fn vhost(&mut self, name: String) -> &mut VHostImage {
        self.vhosts
            .entry(name)
            .or_insert_with(|| VHostImage { exchanges: BTreeMap::new(), router: Router::with_predeclared() })
    }

    /// A queue, perhaps one that a later record declares.
    fn queue(&mut self, id: QueueId) -> &mut QueueImage {
        self.next_queue = self.next_queue.max(id.0);
        self.queues.entry(id).or_default()
    }

    /// The highest queue number that was ever seen.
    #[must_use]
    pub fn last_queue(&self) -> u64 {
        self.next_queue
    }

    /// The vhosts that something durable was in.
    pub fn vhosts(&self) -> impl Iterator<Item = &str> {
        self.vhosts.keys().map(String::as_str)
    }

    /// Takes the state of one vhost out.
    #[must_use]
    pub fn take(&mut self, vhost: &str) -> Definitions {
        let Some(image) = self.vhosts.remove(vhost) else { return Definitions::default() };
        let is_here = |_: &QueueId, queue: &mut QueueImage| {
            queue.declared.as_ref().is_some_and(|declared| declared.vhost == vhost)
        };
        let mut queues: Vec<NamedQueue> = self
            .queues
            .extract_if(is_here)
            .filter_map(|(id, content)| NamedQueue::new(id, content))
            .collect();
        queues.sort_by_key(|queue| queue.id);
        Definitions {
            exchanges: image.exchanges.into_values().collect(),
            queues,
            bindings: image.router.bindings().collect(),
        }
    }
}

impl NamedQueue {
    fn new(id: QueueId, mut content: QueueImage) -> Option<Self> {
        let Declared { name, auto_delete, arguments, .. } = content.declared.take()?;
        Some(Self { id, name, auto_delete, arguments, content })
    }
}
