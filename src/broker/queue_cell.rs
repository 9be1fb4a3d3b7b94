//! A queue as the broker shares it: its name and properties, and its state behind one lock.
//!
//! Journal records and deliveries are made inside the lock, so that both have the queue's order; wakes happen after
//! it.

mod folding;

use std::sync::{Arc, Weak};

use crate::broker::outlet::{Outlet, OutletLink};
use crate::ids::{ConnectionId, ConsumerId, Lsn, Position, QueueId};
use crate::lock::{Rank, RankedMutex, RankedMutexGuard};
use crate::message::Message;
use crate::protocol::field::Table;
use crate::queue::rules::Rules;
use crate::queue::{
    Closed, ConsumerSpec, Depth, ExclusiveUse, Get, Got, Load, Purged, Queue, Restored, Settle,
};
use crate::storage::bodies::{Bodies, Outcome, Problem, Read};
use crate::storage::journal::Append;
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
    bodies: Arc<Bodies>,
    state: RankedMutex<State>,
    me: Weak<Self>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue<OutletLink>,
    pub(super) gone: bool,
    /// The journal says that messages below may have been delivered.
    delivered_mark: Position,
    /// Something changed that the catalogue has to say.
    changed: bool,
    /// Connections whose basic.get found that the next message has to be read first.
    getters: Vec<Arc<Outlet>>,
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
    /// The next message is being read. The connection is woken when it is there, or somebody else has it.
    Absent,
    /// The queue was deleted meanwhile.
    Gone,
}

impl QueueCell {
    pub(super) fn new(id: QueueId, spec: QueueSpec, bodies: Arc<Bodies>) -> Arc<Self> {
        Self::with_queue(id, spec, bodies, Queue::new(), Position::default())
    }

    /// A queue with the content it had before a restart.
    pub(super) fn restored(
        id: QueueId,
        spec: QueueSpec,
        bodies: Arc<Bodies>,
        mut content: Restored,
    ) -> Arc<Self> {
        let delivered = content.delivered;
        // Past the mark, so that a new message is not taken for one that may have been delivered.
        content.next = content.next.max(delivered);
        Self::with_queue(id, spec, bodies, Queue::restored(content), delivered)
    }

    fn with_queue(
        id: QueueId,
        spec: QueueSpec,
        bodies: Arc<Bodies>,
        queue: Queue<OutletLink>,
        delivered_mark: Position,
    ) -> Arc<Self> {
        let state = State { queue, gone: false, delivered_mark, changed: true, getters: Vec::new() };
        let state = RankedMutex::new(Rank::Queue, state);
        Arc::new_cyclic(|me| Self { id, spec, bodies, state, me: me.clone() })
    }

    /// Delivers from a queue that is locked, marks in the journal how far, and sees to what is in memory.
    pub(super) fn deliver(&self, state: &mut State, wakes: &mut Vec<OutletLink>) {
        let paging = state.queue.is_paging();
        if paging {
            state.queue.note_written(self.bodies.journal.written_address());
        }
        state.queue.deliver(wakes);
        self.mark_delivered(state);
        self.note_freed(state);
        if paging {
            state.queue.relieve();
            self.load(state);
        }
    }

    /// Has read what a queue that is locked needs next. Returns whether something is being read.
    fn load(&self, state: &mut State) -> bool {
        if let Some(load) = state.queue.plan_load()
            && let Some(cell) = self.me.upgrade()
        {
            self.bodies.submit(Box::new(move || cell.carry_out(load)));
        }
        state.queue.is_loading()
    }

    /// Reads, and delivers what was read.
    fn carry_out(&self, load: Load) {
        let Outcome { read, problems } = self.bodies.read(self.id, load);
        let mut wakes = Vec::new();
        let (damaged, getters) = {
            // Of a queue that was deleted meanwhile nothing is wanted, but who waits for it is to be told.
            let mut state = self.state.lock();
            let damaged = match read {
                Read::Places(found) => state.queue.loaded(found),
                Read::Run { unread, next, found, gaps } => state.queue.loaded_run(&unread, next, found, gaps),
            };
            self.deliver(&mut state, &mut wakes);
            (damaged, std::mem::take(&mut state.getters))
        };
        wake(wakes);
        getters.iter().for_each(|outlet| outlet.wake());
        // Otherwise they were moved or removed while they were read.
        if damaged > 0 {
            tracing::error!(queue = ?self.spec.name, messages = damaged, "stored messages are left out of the queue");
            for Problem { file, offset, why } in problems {
                tracing::error!(queue = ?self.spec.name, file, offset, "{why}");
            }
        }
    }

    fn mark_delivered(&self, state: &mut State) {
        let delivered = state.queue.delivered_through();
        // With nothing out nothing was delivered just now: the head moves by a purge and a restart too.
        let Depth { unacked, held, .. } = state.queue.depth();
        if !self.spec.durable || delivered <= state.delivered_mark || unacked + held == 0 {
            return;
        }
        let position = Position(delivered.0 + MARK_AHEAD);
        let record = Record::DeliveredThrough { queue: self.id, position };
        self.bodies.journal.append(|batch| batch.record(&record));
        state.delivered_mark = position;
        state.changed = true;
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
                state.queue.publish(message, false);
            }
            return Lsn::ZERO;
        }
        let mut kept = false;
        let end = self.bodies.journal.append(|batch| {
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
            state.changed = true;
            let position = state.queue.next_position();
            batch.record(&Record::Enqueued { queue: self.id, position, message: &message });
        }
        state.queue.publish(message, kept);
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
        self.bodies.journal.append(|batch| self.settle_in(state, consumer, positions, how, batch))
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
        let State { queue, changed, .. } = state;
        queue.settle(consumer, positions, how, |position, stored| {
            if stored {
                *changed = true;
                batch.removed(self.id, position);
            }
        });
    }

    /// Takes the next ready message. `outlet` is woken when it is to be asked for again.
    pub fn get(&self, no_ack: bool, outlet: &Arc<Outlet>) -> GetResult {
        let mut state = self.state.lock();
        if state.gone {
            return GetResult::Gone;
        }
        let mut got = state.queue.get(no_ack);
        if matches!(got, Get::Absent) && !self.load(&mut state) {
            // What was to be read is nowhere, and not in the queue any more.
            got = state.queue.get(no_ack);
        }
        match got {
            Get::Got(got) => {
                self.mark_delivered(&mut state);
                GetResult::Got(got)
            }
            Get::Empty => GetResult::Empty,
            Get::Absent => {
                if !state.getters.iter().any(|getter| Arc::ptr_eq(getter, outlet)) {
                    state.getters.push(outlet.clone());
                }
                GetResult::Absent
            }
        }
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

    /// What holds for the queue from now on: its arguments together with the policies that match it.
    pub fn set_rules(&self, rules: Rules) {
        self.change(|queue| queue.set_rules(rules));
    }

    /// Milliseconds that a delivery may await its acknowledgement, if the queue's rules say so; 0 is for ever.
    #[must_use]
    pub fn consumer_timeout(&self) -> Option<u64> {
        self.state.lock().queue.rules().consumer_timeout
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
            let purged = self.purge_locked(&mut state);
            self.note_freed(&mut state);
            purged
        };
        // What it holds is freed here, after the lock.
        (purged.count, lsn)
    }

    fn purge_locked(&self, state: &mut State) -> (Purged, Lsn) {
        if !self.spec.durable {
            return (state.queue.purge(|_| {}), Lsn::ZERO);
        }
        let mut purged = Purged::default();
        state.changed = true;
        let lsn = self.bodies.journal.append(|batch| {
            purged = state
                .queue
                .purge(|range| batch.removed_range(self.id, range.start, range.end.0 - range.start.0));
        });
        (purged, lsn)
    }

    /// Has segments looked at by the next checkpoint, if the queue has let go of one.
    fn note_freed(&self, state: &mut State) {
        if state.queue.take_freed() {
            self.bodies.note_freed();
        }
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
        let closed = state.queue.close(wakes);
        if closed.frees_segments {
            self.bodies.note_freed();
        }
        Ok(closed)
    }
}

/// Wakes the connections behind `links`, after all locks are gone.
pub(super) fn wake(links: Vec<OutletLink>) {
    for link in links {
        link.outlet.wake();
    }
}
