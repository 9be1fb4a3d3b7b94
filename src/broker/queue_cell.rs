//! A queue as the broker shares it: its name and properties, and its state behind one lock.
//!
//! Journal records and deliveries are made inside the lock, so that both have the queue's order; wakes happen after
//! it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::outlet::OutletLink;
use crate::ids::{ConnectionId, ConsumerId, Lsn, Position, QueueId};
use crate::lock::{Rank, RankedMutex, RankedMutexGuard};
use crate::message::Message;
use crate::protocol::field::Table;
use crate::queue::{Closed, ConsumerSpec, Depth, ExclusiveUse, Got, Purged, Queue, Settle};
use crate::storage::image::{QueueImage, StoredMessage};
use crate::storage::journal::{Append, Journal};
use crate::storage::record::Record;

/// What a queue was declared as.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Its name.
    pub name: String,
    /// Survives a restart. An exclusive queue never does.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// The connection it belongs to, if it is exclusive.
    pub owner: Option<ConnectionId>,
    /// Its arguments.
    pub arguments: Table,
}

/// A queue.
#[derive(Debug)]
pub struct QueueCell {
    /// Its number.
    pub id: QueueId,
    /// What it was declared as.
    pub spec: QueueSpec,
    journal: Arc<Journal>,
    state: RankedMutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue<OutletLink>,
    pub(super) gone: bool,
    /// The journal says that messages below may have been delivered.
    delivered_mark: Position,
}

/// How far ahead of the deliveries a queue marks them in the journal: one record for so many messages.
const MARK_AHEAD: u64 = 4096;

/// The queue was deleted meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Why a consumer was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeError {
    /// Exclusive use.
    Exclusive,
    /// The queue was deleted meanwhile.
    Gone,
}

/// What basic.get found.
#[derive(Debug)]
pub enum GetResult {
    /// A message.
    Got(Got),
    /// Nothing is ready.
    Empty,
    /// The queue was deleted meanwhile.
    Gone,
}

impl QueueCell {
    pub(super) fn new(id: QueueId, spec: QueueSpec, journal: Arc<Journal>) -> Arc<Self> {
        Self::with_queue(id, spec, journal, Queue::new(), Position::default())
    }

    /// A queue with the content it had before a restart. `loaded` has its messages by address, but those that are
    /// damaged.
    pub(super) fn restored(
        id: QueueId,
        spec: QueueSpec,
        journal: Arc<Journal>,
        content: QueueImage,
        loaded: &HashMap<u64, Message>,
    ) -> Arc<Self> {
        let QueueImage { messages, delivered, next, .. } = content;
        let messages = messages.into_iter().filter_map(|StoredMessage { position, address, .. }| {
            let message = loaded.get(&address).cloned();
            if message.is_none() {
                let queue = &spec.name;
                tracing::error!(queue, %position, "a stored message is damaged; it is left out");
            }
            Some((position, message?))
        });
        // Past the mark, so that a new message is not taken for one that may have been delivered.
        let queue = Queue::restored(messages, delivered, next.max(delivered));
        Self::with_queue(id, spec, journal, queue, delivered)
    }

    fn with_queue(
        id: QueueId,
        spec: QueueSpec,
        journal: Arc<Journal>,
        queue: Queue<OutletLink>,
        delivered_mark: Position,
    ) -> Arc<Self> {
        let state = State { queue, gone: false, delivered_mark };
        Arc::new(Self { id, spec, journal, state: RankedMutex::new(Rank::Queue, state) })
    }

    /// Delivers from a queue that is locked, and marks in the journal how far.
    pub(super) fn deliver(&self, state: &mut State, wakes: &mut Vec<OutletLink>) {
        state.queue.deliver(wakes);
        self.mark_delivered(state);
    }

    fn mark_delivered(&self, state: &mut State) {
        let delivered = state.queue.delivered_through();
        // With nothing out nothing was delivered just now: the head moves by a purge and a restart too.
        let Depth { unacked, held, .. } = state.queue.depth();
        if !self.spec.durable || delivered <= state.delivered_mark || unacked + held == 0 {
            return;
        }
        let position = Position(delivered.0 + MARK_AHEAD);
        self.journal.append(|batch| batch.record(&Record::DeliveredThrough { queue: self.id, position }));
        state.delivered_mark = position;
    }

    /// The positions of the messages that are stored below a body address.
    pub(super) fn stored_below(&self, address: u64) -> Vec<Position> {
        let state = self.state.lock();
        let stored =
            state.queue.messages().filter(|(_, message)| (1..address).contains(&message.stored_at()));
        stored.map(|(position, _)| position).collect()
    }

    /// Stores those of these messages again that are still there.
    pub(super) fn store_again(&self, positions: &[Position]) {
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        let queue = &mut state.queue;
        self.journal.append(|batch| {
            for &position in positions {
                if let Some(message) = queue.message(position) {
                    batch.store_again(self.id, position, message);
                }
            }
        });
    }

    /// Marks again how far messages may have been delivered.
    pub(super) fn store_mark(&self) {
        let state = self.state.lock();
        let position = state.delivered_mark;
        if !state.gone && position > Position::default() {
            self.journal.append(|batch| batch.record(&Record::DeliveredThrough { queue: self.id, position }));
        }
    }

    pub(super) fn lock_also(&self) -> RankedMutexGuard<'_, State> {
        self.state.lock_also()
    }

    /// As [`publish`](Self::publish), and empties `messages`.
    ///
    /// # Errors
    /// If the queue is gone; `messages` is as it was.
    pub fn publish_all(&self, messages: &mut Vec<Message>) -> Result<Lsn, Gone> {
        self.publish_with(|| messages.drain(..))
    }

    /// Appends `messages` in order and delivers what consumers take. Returns the position after which they are safe:
    /// [`Lsn::ZERO`] if none is to be kept.
    ///
    /// # Errors
    /// If the queue is gone.
    pub fn publish(&self, messages: impl Iterator<Item = Message>) -> Result<Lsn, Gone> {
        self.publish_with(|| messages)
    }

    fn publish_with<I>(&self, messages: impl FnOnce() -> I) -> Result<Lsn, Gone>
    where
        I: Iterator<Item = Message>,
    {
        let mut wakes = Vec::new();
        let lsn = {
            let mut state = self.state.lock();
            if state.gone {
                return Err(Gone);
            }
            let lsn = self.enqueue(&mut state, messages());
            self.deliver(&mut state, &mut wakes);
            lsn
        };
        wake(wakes);
        Ok(lsn)
    }

    fn enqueue(&self, state: &mut State, messages: impl Iterator<Item = Message>) -> Lsn {
        if !self.spec.durable {
            for message in messages {
                state.queue.publish(message);
            }
            return Lsn::ZERO;
        }
        let mut kept = false;
        let end = self.journal.append(|batch| {
            for message in messages {
                kept |= self.enqueue_one(state, message, batch);
            }
        });
        if kept { end } else { Lsn::ZERO }
    }

    /// Appends a message to a queue that is locked and not gone. Returns whether it has a record.
    pub(super) fn enqueue_one(&self, state: &mut State, message: Message, batch: &mut Append<'_>) -> bool {
        let kept = self.spec.durable && message.is_persistent();
        let message = if kept { batch.own(message) } else { message };
        if kept {
            let position = state.queue.next_position();
            batch.record(&Record::Enqueued { queue: self.id, position, message: &message });
        }
        state.queue.publish(message);
        kept
    }

    /// Settles deliveries of `consumer`, or with `None` those of get and of consumers that are gone. Returns the
    /// journal position after it.
    pub fn settle(
        &self,
        consumer: Option<ConsumerId>,
        positions: impl Iterator<Item = Position>,
        how: Settle,
    ) -> Lsn {
        let mut wakes = Vec::new();
        let lsn = {
            let mut state = self.state.lock();
            let lsn = self.remove(&mut state, consumer, positions, how);
            self.deliver(&mut state, &mut wakes);
            lsn
        };
        wake(wakes);
        lsn
    }

    fn remove(
        &self,
        state: &mut State,
        consumer: Option<ConsumerId>,
        positions: impl Iterator<Item = Position>,
        how: Settle,
    ) -> Lsn {
        if !self.spec.durable {
            state.queue.settle(consumer, positions, how, |_, _| {});
            return Lsn::ZERO;
        }
        self.journal.append(|batch| self.settle_in(state, consumer, positions, how, batch))
    }

    /// Settles deliveries of several consumers, and in several ways, before any of them is delivered again.
    pub fn settle_all(
        &self,
        settlements: impl Iterator<Item = (Option<ConsumerId>, Position, Settle)>,
    ) -> Lsn {
        let mut wakes = Vec::new();
        let lsn = {
            let mut state = self.state.lock();
            let mut lsn = Lsn::ZERO;
            for (consumer, position, how) in settlements {
                lsn = lsn.max(self.remove(&mut state, consumer, std::iter::once(position), how));
            }
            self.deliver(&mut state, &mut wakes);
            lsn
        };
        wake(wakes);
        lsn
    }

    /// Settles in a queue that is locked.
    pub(super) fn settle_in(
        &self,
        state: &mut State,
        consumer: Option<ConsumerId>,
        positions: impl Iterator<Item = Position>,
        how: Settle,
        batch: &mut Append<'_>,
    ) {
        state.queue.settle(consumer, positions, how, |position, message| {
            if self.spec.durable && message.is_persistent() {
                batch.removed(self.id, position);
            }
        });
    }

    /// Takes the next ready message.
    pub fn get(&self, no_ack: bool) -> GetResult {
        let mut state = self.state.lock();
        if state.gone {
            return GetResult::Gone;
        }
        let got = state.queue.get(no_ack);
        self.mark_delivered(&mut state);
        got.map_or(GetResult::Empty, GetResult::Got)
    }

    /// Adds a consumer, which takes nothing before [`set_active`](Self::set_active).
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn consume(&self, spec: ConsumerSpec, link: OutletLink) -> Result<ConsumerId, ConsumeError> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(ConsumeError::Gone);
        }
        state.queue.consume(spec, link).map_err(|ExclusiveUse| ConsumeError::Exclusive)
    }

    /// Starts or stops deliveries to a consumer.
    pub fn set_active(&self, consumer: ConsumerId, active: bool) {
        self.change(|queue| queue.set_active(consumer, active));
    }

    /// A consumer's outlet has room again.
    pub fn resume(&self, consumer: ConsumerId) {
        self.change(|queue| queue.resume(consumer));
    }

    fn change(&self, change: impl FnOnce(&mut Queue<OutletLink>)) {
        let mut wakes = Vec::new();
        {
            let mut state = self.state.lock();
            change(&mut state.queue);
            self.deliver(&mut state, &mut wakes);
        }
        wake(wakes);
    }

    /// Removes a consumer. Returns whether the queue is an auto-delete queue that has lost its last one: then
    /// [`VHost::delete_abandoned`](crate::broker::vhost::VHost::delete_abandoned) is due.
    #[must_use]
    pub fn cancel(&self, consumer: ConsumerId) -> bool {
        let mut state = self.state.lock();
        state.queue.cancel(consumer);
        self.spec.auto_delete && state.queue.was_abandoned() && !state.gone
    }

    /// Drops all ready messages; returns how many, and the journal position after it.
    pub fn purge(&self) -> (u64, Lsn) {
        let (purged, lsn) = {
            let mut state = self.state.lock();
            if self.spec.durable {
                self.purge_journaled(&mut state)
            } else {
                (state.queue.purge(|_, _| {}), Lsn::ZERO)
            }
        };
        // What it holds is freed here, after the lock.
        (purged.count, lsn)
    }

    fn purge_journaled(&self, state: &mut State) -> (Purged, Lsn) {
        let mut purged = Purged::default();
        let lsn = self.journal.append(|batch| {
            purged = state.queue.purge(|position, message| {
                if message.is_persistent() {
                    batch.removed(self.id, position);
                }
            });
        });
        (purged, lsn)
    }

    /// Messages and consumers.
    pub fn counts(&self) -> (Depth, u32) {
        let state = self.state.lock();
        (state.queue.depth(), state.queue.consumer_count())
    }

    /// About how many bytes of memory its messages take.
    pub fn memory(&self) -> u64 {
        self.state.lock().queue.memory()
    }

    /// Ends the queue unless `keep` objects. Called with the topology locked; what it returns is to be dropped after
    /// that lock too.
    pub(super) fn close<E>(
        &self,
        keep: impl FnOnce(&Queue<OutletLink>) -> Result<(), E>,
        wakes: &mut Vec<OutletLink>,
    ) -> Result<Closed, E> {
        let mut state = self.state.lock();
        keep(&state.queue)?;
        state.gone = true;
        Ok(state.queue.close(wakes))
    }
}

/// Wakes the connections behind `links`, after all locks are gone.
pub(super) fn wake(links: Vec<OutletLink>) {
    for link in links {
        link.outlet.wake();
    }
}
