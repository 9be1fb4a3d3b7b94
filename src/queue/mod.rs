//! The queue as a pure state machine: ready and unacked messages, consumers and their credit.
//!
//! It knows neither sockets, files, clocks nor locks. What it has to say to a consumer goes through that
//! consumer's [`Link`]; what has to happen outside it returns. Messages are numbered densely on arrival and
//! delivered by number, so a requeued message is back in its place. Their bodies may leave memory; then the queue
//! says what has to be read before it can deliver.

pub mod arguments;
mod chunk;
mod consumers;
mod deaths;
mod delivering;
mod entries;
mod entry;
mod figures;
mod folding;
mod lanes;
mod limits;
pub mod log;
mod paging;
mod positions;
pub mod rules;
mod runs;
mod settling;
#[cfg(test)]
mod tests;

use crate::ids::{ConsumerId, Position};
use crate::message::Message;

pub use consumers::ConsumerSpec;
use consumers::Consumers;
use deaths::Deaths;
pub use deaths::{DeadMessage, Event};
use entries::Taken;
use entry::{Entry, State};
pub use figures::{ConsumerState, Counts, Figures};
use figures::{Memory, Outstanding, Stored};
pub use folding::{LaneState, Marks, Restored, StoredHere, Unstored};
use lanes::Lanes;
use paging::Paging;
pub use paging::{Found, KEPT_BYTES, Load, Wanted};
use positions::PositionSet;
use rules::{Rules, Traits};
use runs::Runs;
pub use runs::{Run, Unread};

/// The way to one consumer. Called while the queue is locked, so that deliveries keep the queue's order.
pub trait Link: Clone {
    /// What takes messages for the consumer.
    type Intake<'a>: Intake
    where
        Self: 'a;

    /// Begins to offer messages. What is returned may hold a lock: it is kept for a few messages at most.
    fn intake(&self) -> Self::Intake<'_>;

    /// Tells the consumer that its queue is gone. Returns whether its connection has to be woken.
    fn gone(&self) -> bool;
}

/// Where messages for one consumer are put down for its connection.
pub trait Intake {
    /// Offers a message.
    fn push(&mut self, message: &Message, position: Position, redelivered: bool) -> Push;
}

/// What became of a message offered to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The consumer's connection has it. `wake` asks for one wake after the queue's lock is gone.
    Taken {
        /// The connection sleeps and has not been told yet.
        wake: bool,
    },
    /// No room now; the connection remembers the consumer and will [`Queue::resume`] it.
    Full,
    /// The connection has ended; it is about to cancel the consumer.
    Closed,
}

/// How deliveries are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Done: the message is gone.
    Ack,
    /// Dropped by the consumer.
    Reject,
    /// Back to its place, and flagged.
    Requeue,
    /// The same after a failure, of which a quorum queue allows only so many.
    Fail,
    /// Back to its place as if it had never left: it was not written to the consumer's socket.
    Unsent,
}

/// Why a consumer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is in exclusive use")]
pub struct ExclusiveUse;

/// What basic.get finds.
#[derive(Debug)]
pub enum Get {
    /// A message.
    Got(Got),
    /// Nothing is ready.
    Empty,
    /// The next message has to be read first: ask again when it is.
    Absent,
}

/// A message taken by basic.get.
#[derive(Debug)]
pub struct Got {
    /// The message.
    pub message: Message,
    /// Its place, for settling it.
    pub position: Position,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Ready messages left.
    pub remaining: u64,
}

/// Messages of a queue by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting for a consumer.
    pub ready: u64,
    /// Body bytes of the ready ones.
    pub ready_bytes: u64,
    /// Delivered and not settled.
    pub unacked: u64,
    /// On their way to consumers that do not acknowledge.
    pub held: u64,
}

impl Depth {
    /// Messages are not ready any more. What is known of bytes may be an estimate after a crash, but not without messages.
    #[inline]
    fn lose_ready(&mut self, messages: u64, bytes: u64) {
        self.ready -= messages;
        self.ready_bytes = if self.ready == 0 { 0 } else { self.ready_bytes.saturating_sub(bytes) };
    }
}

/// A queue's end. It holds the messages: dropping it frees them, which takes time where there are many and needs no
/// lock.
#[derive(Debug)]
#[must_use]
pub struct Closed {
    /// How many messages were ready.
    pub ready: u64,
    /// Some of its messages were in segment files.
    pub frees_segments: bool,
    _lanes: Lanes,
    _returned: PositionSet,
    _runs: Runs,
}

/// A purge. It holds the messages: dropping it frees them, which takes time where there are many and needs no lock.
#[derive(Debug, Default)]
#[must_use]
pub struct Purged {
    /// How many messages were dropped.
    pub count: u64,
    taken: Vec<Taken>,
}

/// Bytes that a message takes beside what it sends: its counters, its place in the table, and what the allocator
/// rounds up.
const MESSAGE_OVERHEAD: u64 = 120;

/// About how many bytes of memory a message takes.
#[inline]
#[must_use]
pub fn memory_of(message: &Message) -> u64 {
    message.wire_size() as u64 + MESSAGE_OVERHEAD
}

/// One queue.
#[derive(Debug)]
pub struct Queue<L> {
    lanes: Lanes,
    /// Ready ones that were delivered before: they came back.
    returned: PositionSet,
    depth: Depth,
    /// What its messages take in memory.
    memory: Memory,
    outstanding: Outstanding,
    stored: Stored,
    counts: Counts,
    runs: Runs,
    paging: Paging,
    consumers: Consumers<L>,
    had_consumer: bool,
    traits: Traits,
    rules: Rules,
    deaths: Deaths,
    /// Messages with a lifetime of their own may be in it.
    has_lifetimes: bool,
    /// When it was last used, in milliseconds since 1970.
    used_at: u64,
    /// There is more to drop than is done at once.
    unfinished: bool,
    /// Messages came back to a classic queue: what has no room goes before consumers get anything.
    requeued: bool,
}

impl<L> Default for Queue<L> {
    fn default() -> Self {
        Self {
            lanes: Lanes::default(),
            returned: PositionSet::default(),
            depth: Depth::default(),
            memory: Memory::default(),
            outstanding: Outstanding::default(),
            stored: Stored::default(),
            counts: Counts::default(),
            runs: Runs::default(),
            paging: Paging::default(),
            consumers: Consumers::default(),
            had_consumer: false,
            traits: Traits::default(),
            rules: Rules::default(),
            deaths: Deaths::default(),
            has_lifetimes: false,
            used_at: 0,
            unfinished: false,
            requeued: false,
        }
    }
}

impl<L: Link> Queue<L> {
    /// An empty queue.
    #[must_use]
    pub fn new(traits: Traits) -> Self {
        let consumers = Consumers::new(traits);
        Self { traits, consumers, ..Self::default() }
    }

    /// What holds for the queue from now on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// What holds for the queue.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Appends a message; `stored` says that it has a record of its own in the journal, at
    /// [`next_position`](Self::next_position). Call [`deliver`](Self::deliver) after a batch of them.
    #[inline]
    pub fn publish(&mut self, message: Message, stored: bool) -> Position {
        let memory = self.memory.add(&message);
        self.counts.publish += 1;
        self.depth.ready += 1;
        self.depth.ready_bytes += message.body_len();
        if stored {
            self.counts.disk_writes += 1;
            self.stored.add(message.body_len());
        }
        self.has_lifetimes |= message.has_lifetime();
        let lane = self.traits.lane_of(&message);
        let position = self.lanes.lane(lane).entries.push(Entry::new(message, stored));
        self.paging.came(position, memory);
        position
    }

    /// As [`publish`](Self::publish), messages that are not stored.
    #[inline]
    pub fn publish_all(&mut self, messages: impl Iterator<Item = Message>) {
        let mut memory = Memory::default();
        for message in messages {
            let bytes = memory.add(&message);
            self.has_lifetimes |= message.has_lifetime();
            let lane = self.traits.lane_of(&message);
            let position = self.lanes.lane(lane).entries.push(Entry::new(message, false));
            self.paging.came(position, bytes);
        }
        self.counts.publish += memory.messages;
        self.depth.ready += memory.messages;
        self.depth.ready_bytes += memory.bodies;
        self.memory += memory;
    }

    /// Takes the next ready message for basic.get at `now`, in milliseconds since 1970. It is settled like a delivery,
    /// with no consumer.
    pub fn get(&mut self, no_ack: bool, now: u64) -> Get {
        self.used_at = now;
        if self.may_expire() {
            self.drop_before_get(now);
        }
        let Some(position) = self.next_ready() else {
            self.counts.get_empty += 1;
            return Get::Empty;
        };
        let entry = self.lanes.entry(position);
        let Some((message, entry)) = entry.and_then(|entry| Some((entry.message.clone()?, entry))) else {
            self.paging.want();
            return Get::Absent;
        };
        entry.set_state(if no_ack { State::Held } else { State::Unacked });
        let (redelivered, bytes) = (entry.redelivered(), entry.body_len());
        self.counts.got(no_ack, redelivered);
        self.took_ready(position, bytes, no_ack);
        if self.may_expire() {
            // What is told to remain is there.
            self.drop_before_get(now);
        }
        let message = message.as_seen(self.deaths.returns(position)).unwrap_or(message);
        Get::Got(Got { message, position, redelivered, remaining: self.depth.ready })
    }

    /// Adds a consumer. It is given nothing before [`set_active`](Self::set_active), so that its consume-ok comes
    /// first.
    ///
    /// # Errors
    /// If it asks for exclusive use and is not alone, or another one has exclusive use, or only one consumer is active at
    /// a time.
    pub fn consume(&mut self, spec: ConsumerSpec, link: L) -> Result<ConsumerId, ExclusiveUse> {
        let taken = self.consumers.count() > 0 || self.consumers.has_single();
        if self.consumers.has_exclusive() || (spec.exclusive && taken) {
            return Err(ExclusiveUse);
        }
        self.had_consumer = true;
        Ok(self.consumers.add(spec, link))
    }

    /// Starts or stops giving messages to a consumer: after its consume-ok, and for channel.flow.
    pub fn set_active(&mut self, id: ConsumerId, active: bool) {
        self.consumers.set_active(id, active);
    }

    /// A consumer whose outlet was full can take messages again.
    pub fn resume(&mut self, id: ConsumerId) {
        self.consumers.resume(id);
    }

    /// Removes a consumer. What it was given stays as it is until it is settled, by `None` as consumer.
    pub fn cancel(&mut self, id: ConsumerId) {
        self.consumers.remove(id);
        self.release_if_empty();
    }

    /// Whether the last consumer has left: an auto-delete queue goes then.
    #[must_use]
    pub fn was_abandoned(&self) -> bool {
        self.had_consumer && self.consumers.count() == 0
    }

    /// Ends the queue: all messages are dropped, with what is returned, and every consumer is told. Connections to
    /// wake are added to `wakes`.
    pub fn close(&mut self, wakes: &mut Vec<L>) -> Closed {
        for consumer in self.consumers.drain() {
            if consumer.link.gone() {
                wakes.push(consumer.link);
            }
        }
        let closed = Closed {
            ready: self.depth.ready,
            frees_segments: !self.runs.is_empty(),
            _lanes: std::mem::take(&mut self.lanes),
            _returned: std::mem::take(&mut self.returned),
            _runs: std::mem::take(&mut self.runs),
        };
        self.paging.emptied();
        self.deaths = Deaths::default();
        self.depth = Depth::default();
        self.memory = Memory::default();
        self.outstanding = Outstanding::default();
        self.stored = Stored::default();
        closed
    }

    /// How many messages there are.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// About how many bytes of memory its messages take. One that lies in several queues counts in each.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory.bytes + self.lanes.memory()
    }

    /// How many consumers there are.
    #[must_use]
    pub fn consumer_count(&self) -> u32 {
        self.consumers.count()
    }
}
