//! The queue as a pure state machine: ready and unacked messages, consumers and their credit.
//!
//! It knows neither sockets, files, clocks nor locks. What it has to say to a consumer goes through that
//! consumer's [`Link`]; what has to happen outside it returns. Messages are numbered densely on arrival and
//! delivered by number, so a requeued message is back in its place.

pub mod arguments;
mod consumers;
mod entries;
mod positions;
#[cfg(test)]
mod tests;

use crate::ids::{ConsumerId, Position};
use crate::message::Message;

pub use consumers::ConsumerSpec;
use consumers::Consumers;
use entries::{Entries, Entry, State};
use positions::PositionSet;

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
    _entries: Entries,
    _returned: PositionSet,
}

/// A purge. It holds the messages: dropping it frees them, which takes time where there are many and needs no lock.
#[derive(Debug, Default)]
#[must_use]
pub struct Purged {
    /// How many messages were dropped.
    pub count: u64,
    returned: Vec<Entry>,
    never_delivered: Entries,
}

impl Purged {
    fn memory(&self) -> u64 {
        let entries = self.never_delivered.iter().map(|(_, entry)| entry).chain(&self.returned);
        entries.map(|entry| memory_of(&entry.message)).sum()
    }
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
    consumers: Consumers<L>,
    had_consumer: bool,
}

impl<L> Default for Queue<L> {
    fn default() -> Self {
        Self {
            entries: Entries::default(),
            head: Position::default(),
            returned: PositionSet::default(),
            depth: Depth::default(),
            memory: 0,
            consumers: Consumers::default(),
            had_consumer: false,
        }
    }
}

impl<L: Link> Queue<L> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A queue as it was before a restart. Messages come in rising order of their positions, those below `delivered`
    /// may have been delivered; new ones get positions from `next` on.
    #[must_use]
    pub fn restored(
        messages: impl IntoIterator<Item = (Position, Message)>,
        delivered: Position,
        next: Position,
    ) -> Self {
        let mut queue = Self::default();
        for (position, message) in messages {
            queue.depth.ready += 1;
            queue.depth.ready_bytes += message.body_len();
            queue.memory += memory_of(&message);
            queue.entries.restore(position, message, position < delivered);
            queue.returned.insert(position);
        }
        queue.entries.skip_to(next);
        queue.head = queue.entries.next();
        queue
    }

    /// Messages from here on were never delivered.
    #[must_use]
    pub fn delivered_through(&self) -> Position {
        self.head
    }

    /// All messages, delivered or not, in the order of their positions.
    pub fn messages(&self) -> impl Iterator<Item = (Position, &Message)> {
        self.entries.iter().map(|(position, entry)| (position, &entry.message))
    }

    /// The message at `position`, if it is still there.
    pub fn message(&mut self, position: Position) -> Option<&Message> {
        self.entries.entry(position).map(|entry| &entry.message)
    }

    /// Appends a message. Call [`deliver`](Self::deliver) after a batch of them.
    #[inline]
    pub fn publish(&mut self, message: Message) -> Position {
        self.depth.ready += 1;
        self.depth.ready_bytes += message.body_len();
        self.memory += memory_of(&message);
        self.entries.push(message)
    }

    /// Hands ready messages to consumers with credit, until one of both runs out. Connections to wake are added to
    /// `wakes`.
    pub fn deliver(&mut self, wakes: &mut Vec<L>) {
        while let Some(id) = self.consumers.turn() {
            let Some(position) = self.next_ready() else { return };
            let (Some(consumer), Some(entry)) = (self.consumers.consumer(id), self.entries.entry(position))
            else {
                debug_assert!(false, "a ready position without an entry");
                return;
            };
            match consumer.link.push(&entry.message, position, entry.redelivered) {
                Push::Taken { wake } => {
                    if wake {
                        wakes.push(consumer.link.clone());
                    }
                    let bytes = entry.message.body_len();
                    entry.state = if consumer.spec.no_ack { State::Held } else { State::Unacked };
                    let no_ack = consumer.spec.no_ack;
                    self.consumers.served(id);
                    self.took_ready(position, bytes, no_ack);
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
        self.depth.ready_bytes -= bytes;
        if no_ack {
            self.depth.held += 1;
        } else {
            self.depth.unacked += 1;
        }
    }

    /// Takes the next ready message for basic.get. It is settled like a delivery, with no consumer.
    pub fn get(&mut self, no_ack: bool) -> Option<Got> {
        let position = self.next_ready()?;
        let entry = self.entries.entry(position)?;
        entry.state = if no_ack { State::Held } else { State::Unacked };
        let (message, redelivered) = (entry.message.clone(), entry.redelivered);
        self.took_ready(position, message.body_len(), no_ack);
        Some(Got { message, position, redelivered, remaining: self.depth.ready })
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
    /// `removed` is called for each message that leaves the queue.
    pub fn settle(
        &mut self,
        consumer: Option<ConsumerId>,
        positions: impl Iterator<Item = Position>,
        how: Settle,
        mut removed: impl FnMut(Position, &Message),
    ) {
        let mut credit = 0;
        for position in positions {
            let Some(entry) = self.entries.entry(position) else { continue };
            match entry.state {
                State::Ready => continue,
                State::Unacked => {
                    self.depth.unacked -= 1;
                    credit += 1;
                }
                State::Held => self.depth.held -= 1,
            }
            match how {
                Settle::Ack | Settle::Reject => {
                    removed(position, &entry.message);
                    self.memory -= memory_of(&entry.message);
                    self.entries.remove(position);
                }
                Settle::Requeue | Settle::Unsent => {
                    entry.state = State::Ready;
                    entry.redelivered |= how == Settle::Requeue;
                    self.depth.ready += 1;
                    self.depth.ready_bytes += entry.message.body_len();
                    self.returned.insert(position);
                }
            }
        }
        if let Some(consumer) = consumer.filter(|_| credit > 0) {
            self.consumers.give_credit(consumer, credit);
        }
        self.release_if_empty();
    }

    /// Drops all ready messages. Unacked ones stay. `removed` is called for each one that leaves the queue.
    pub fn purge(&mut self, mut removed: impl FnMut(Position, &Message)) -> Purged {
        let mut returned = Vec::new();
        while let Some(position) = self.returned.pop_first() {
            if let Some(entry) = self.entries.remove(position) {
                removed(position, &entry.message);
                returned.push(entry);
            }
        }
        let never_delivered = self.entries.split_off(self.head);
        for (position, entry) in never_delivered.iter() {
            removed(position, &entry.message);
        }
        self.head = self.entries.next();
        let purged = Purged { count: self.depth.ready, returned, never_delivered };
        // The fewer messages are looked at; all of them may be many.
        self.memory = if self.depth.unacked + self.depth.held < purged.count {
            self.entries.iter().map(|(_, entry)| memory_of(&entry.message)).sum()
        } else {
            self.memory - purged.memory()
        };
        self.depth.ready = 0;
        self.depth.ready_bytes = 0;
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
            _entries: std::mem::take(&mut self.entries),
            _returned: std::mem::take(&mut self.returned),
        };
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
        self.memory
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
