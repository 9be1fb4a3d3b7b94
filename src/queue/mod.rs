//! The queue as a pure state machine: ready and unacked messages, consumers and their credit.
//!
//! It knows neither sockets, files, clocks nor locks. What it has to say to a consumer goes through that
//! consumer's [`Link`]; what has to happen outside it returns. Messages are numbered densely on arrival and
//! delivered by number, so a requeued message is back in its place. Their bodies may leave memory; then the queue
//! says what has to be read before it can deliver.

pub mod arguments;
mod consumers;
mod entries;
mod folding;
mod paging;
mod positions;
pub mod rules;
mod runs;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::ids::{ConsumerId, Position};
use crate::message::Message;

pub use consumers::ConsumerSpec;
use consumers::Consumers;
use entries::{Entries, Entry, State, Taken};
pub use folding::{Restored, RestoredMessage, StoredHere, Unstored};
use paging::Paging;
pub use paging::{Found, KEPT_BYTES, Load, Wanted};
use positions::PositionSet;
use rules::Rules;
use runs::Runs;
pub use runs::{Run, Unread};

/// The way to one consumer. Called while the queue is locked, so that deliveries keep the queue's order: it only
/// puts the message down for the consumer's connection.
pub trait Link: Clone {
    /// Offers a message.
    fn push(&self, message: &Message, position: Position, redelivered: bool) -> Push;

    /// Tells the consumer that its queue is gone. Returns whether its connection has to be woken.
    fn gone(&self) -> bool;
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

/// A queue's end. It holds the messages: dropping it frees them, which takes time where there are many and needs no
/// lock.
#[derive(Debug)]
#[must_use]
pub struct Closed {
    /// How many messages were ready.
    pub ready: u64,
    /// Some of its messages were in segment files.
    pub frees_segments: bool,
    _entries: Entries,
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
const MESSAGE_OVERHEAD: u64 = 104;

fn memory_of(message: &Message) -> u64 {
    message.wire_size() as u64 + MESSAGE_OVERHEAD
}

/// One queue.
#[derive(Debug)]
pub struct Queue<L> {
    entries: Entries,
    /// The first position that was never delivered. All from here on are ready.
    head: Position,
    /// Ready ones below `head`: they came back.
    returned: PositionSet,
    depth: Depth,
    /// Bytes that its messages take in memory.
    memory: u64,
    runs: Runs,
    paging: Paging,
    /// Messages below it may have been delivered before the last restart.
    flagged_below: Position,
    consumers: Consumers<L>,
    had_consumer: bool,
    rules: Rules,
}

impl<L> Default for Queue<L> {
    fn default() -> Self {
        Self {
            entries: Entries::default(),
            head: Position::default(),
            returned: PositionSet::default(),
            depth: Depth::default(),
            memory: 0,
            runs: Runs::default(),
            paging: Paging::default(),
            flagged_below: Position::default(),
            consumers: Consumers::default(),
            had_consumer: false,
            rules: Rules::default(),
        }
    }
}

impl<L: Link> Queue<L> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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

    /// Messages from here on were never delivered.
    #[must_use]
    pub fn delivered_through(&self) -> Position {
        self.head
    }

    /// Appends a message; `stored` says that it has a record of its own in the journal. Call
    /// [`deliver`](Self::deliver) after a batch of them.
    #[inline]
    pub fn publish(&mut self, message: Message, stored: bool) -> Position {
        self.depth.ready += 1;
        self.depth.ready_bytes += message.body_len();
        self.memory += memory_of(&message);
        self.entries.push(Entry::new(message, stored))
    }

    /// Hands ready messages to consumers with credit, until one of both runs out or the next message is not in memory.
    /// Connections to wake are added to `wakes`.
    pub fn deliver(&mut self, wakes: &mut Vec<L>) {
        while let Some(id) = self.consumers.turn() {
            let Some(position) = self.next_ready() else { return };
            let Some(entry) = self.entries.entry(position) else { return self.paging.want() };
            let Some(message) = &entry.message else { return self.paging.want() };
            let Some(consumer) = self.consumers.consumer(id) else { return };
            match consumer.link.push(message, position, entry.redelivered()) {
                Push::Taken { wake } => {
                    if wake {
                        wakes.push(consumer.link.clone());
                    }
                    let no_ack = consumer.spec.no_ack;
                    entry.set_state(if no_ack { State::Held } else { State::Unacked });
                    let bytes = entry.body_len();
                    self.consumers.served(id);
                    self.took_ready(position, bytes, no_ack);
                    self.let_go_delivered(position);
                }
                Push::Full => self.consumers.park(id),
                Push::Closed => self.consumers.set_active(id, false),
            }
        }
    }

    /// The ready message to deliver next.
    #[inline]
    fn next_ready(&self) -> Option<Position> {
        if let Some(first) = self.returned.first() {
            return Some(first);
        }
        (self.head < self.entries.next()).then_some(self.head)
    }

    /// Books the message at `position`, which was the next ready one, as delivered.
    #[inline]
    fn took_ready(&mut self, position: Position, bytes: u64, no_ack: bool) {
        if position == self.head {
            self.head = position.next();
        } else {
            self.returned.pop_first();
        }
        self.depth.ready -= 1;
        self.depth.ready_bytes = self.depth.ready_bytes.saturating_sub(bytes);
        self.paging.took(position, bytes);
        if no_ack {
            self.depth.held += 1;
        } else {
            self.depth.unacked += 1;
        }
    }

    /// Takes the next ready message for basic.get. It is settled like a delivery, with no consumer.
    pub fn get(&mut self, no_ack: bool) -> Get {
        let Some(position) = self.next_ready() else { return Get::Empty };
        let entry = self.entries.entry(position);
        let Some((message, entry)) = entry.and_then(|entry| Some((entry.message.clone()?, entry))) else {
            self.paging.want();
            return Get::Absent;
        };
        entry.set_state(if no_ack { State::Held } else { State::Unacked });
        let redelivered = entry.redelivered();
        self.took_ready(position, message.body_len(), no_ack);
        self.let_go_delivered(position);
        Get::Got(Got { message, position, redelivered, remaining: self.depth.ready })
    }

    /// Adds a consumer. It is given nothing before [`set_active`](Self::set_active), so that its consume-ok comes
    /// first.
    ///
    /// # Errors
    /// If it asks for exclusive use and is not alone, or another one has exclusive use.
    pub fn consume(&mut self, spec: ConsumerSpec, link: L) -> Result<ConsumerId, ExclusiveUse> {
        if self.consumers.has_exclusive() || (spec.exclusive && self.consumers.count() > 0) {
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

    /// Settles deliveries at `positions`, given to `consumer` or taken by get or by a consumer that is gone. A
    /// position that is not outstanding is passed over, so settling twice does nothing the second time.
    ///
    /// `removed` is called for each message that leaves the queue, with whether it is stored.
    pub fn settle(
        &mut self,
        consumer: Option<ConsumerId>,
        positions: impl Iterator<Item = Position>,
        how: Settle,
        mut removed: impl FnMut(Position, bool),
    ) {
        let mut credit = 0;
        for position in positions {
            let Some(entry) = self.entries.entry(position) else { continue };
            match entry.state() {
                State::Ready => continue,
                State::Unacked => {
                    self.depth.unacked -= 1;
                    credit += 1;
                }
                State::Held => self.depth.held -= 1,
            }
            match how {
                Settle::Ack | Settle::Reject => {
                    removed(position, entry.is_stored());
                    self.forget(position);
                }
                Settle::Requeue | Settle::Unsent => {
                    entry.set_state(State::Ready);
                    if how == Settle::Requeue {
                        entry.set_redelivered();
                    }
                    self.depth.ready += 1;
                    self.depth.ready_bytes += entry.body_len();
                    self.paging.came_back(position, entry);
                    self.returned.insert(position);
                }
            }
        }
        if let Some(consumer) = consumer.filter(|_| credit > 0) {
            self.consumers.give_credit(consumer, credit);
        }
        self.lower_relief();
        self.release_if_empty();
    }

    /// Takes the entry of a message that has left the queue.
    #[inline]
    fn forget(&mut self, position: Position) {
        let Some(entry) = self.entries.remove(position) else { return };
        if let Some(message) = &entry.message {
            self.memory -= memory_of(message);
        }
        if !self.runs.is_empty() {
            self.runs.remove(entry.place, position, entry.body_len());
        }
    }

    /// Drops all ready messages. Unacked ones stay. `removed` is called for each range of positions that was dropped.
    pub fn purge(&mut self, mut removed: impl FnMut(Range<Position>)) -> Purged {
        let returned = std::mem::take(&mut self.returned);
        let mut purged = Purged { count: self.depth.ready, taken: Vec::new() };
        for range in returned.ranges().chain(std::iter::once(self.head..self.entries.next())) {
            if range.is_empty() {
                continue;
            }
            removed(range.clone());
            purged.taken.push(self.entries.take_range(range.clone()));
            self.runs.remove_range(range);
        }
        self.head = self.entries.next();
        // The fewer messages are looked at; all of them may be many.
        let memory = |entry: &Entry| entry.message.as_ref().map_or(0, memory_of);
        self.memory = if self.depth.unacked + self.depth.held < purged.count {
            self.entries.iter().map(|(_, entry)| memory(entry)).sum()
        } else {
            self.memory - purged.taken.iter().flat_map(Taken::iter).map(memory).sum::<u64>()
        };
        self.depth.ready = 0;
        self.depth.ready_bytes = 0;
        self.paging.emptied();
        self.release_if_empty();
        purged
    }

    /// The position the next message gets.
    #[must_use]
    pub fn next_position(&self) -> Position {
        self.entries.next()
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
            _entries: std::mem::take(&mut self.entries),
            _returned: std::mem::take(&mut self.returned),
            _runs: std::mem::take(&mut self.runs),
        };
        self.paging.emptied();
        self.head = Position::default();
        self.depth = Depth::default();
        self.memory = 0;
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
        self.memory + self.entries.memory()
    }

    /// How many consumers there are.
    #[must_use]
    pub fn consumer_count(&self) -> u32 {
        self.consumers.count()
    }

    #[inline]
    fn release_if_empty(&mut self) {
        let depth = &self.depth;
        if depth.ready + depth.unacked + depth.held == 0 && self.consumers.count() == 0 {
            self.entries.release_if_empty();
        }
    }
}
