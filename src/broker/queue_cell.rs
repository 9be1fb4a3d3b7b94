//! A queue as the broker shares it: its name and properties, and its state behind one lock.
//!
//! Journal records and deliveries are made inside the lock, so that both have the queue's order; wakes happen after
//! it.

mod folding;
mod letters;
mod marking;
mod reading;
mod showing;

pub(super) use letters::Letters;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::broker::agenda::Agenda;
use crate::broker::outlet::{Outlet, OutletLink};
use crate::broker::queue_cell::letters::LettersState;
use crate::broker::queue_cell::showing::Seen;
use crate::ids::{ConnectionId, ConsumerId, Lsn, Position, QueueId};
use crate::lock::{Rank, RankedMutex, RankedMutexGuard};
use crate::message::Message;
use crate::protocol::field::Table;
use crate::queue::rules::{Rules, Traits};
use crate::queue::{Closed, ConsumerSpec, Depth, Event, ExclusiveUse, Get, Got, Purged, Queue, Settle};
use crate::storage::bodies::Bodies;
use crate::storage::image::QueueImage;
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
    traits: Traits,
    bodies: Arc<Bodies>,
    agenda: Arc<Agenda<Self>>,
    /// A message may be refused. Written under the lock.
    may_refuse: AtomicBool,
    state: RankedMutex<State>,
    me: Weak<Self>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue<OutletLink>,
    pub(super) gone: bool,
    letters: LettersState,
    /// When the agenda has it looked at.
    armed: Option<u64>,
    /// Something changed that the catalogue has to say.
    changed: bool,
    /// Connections whose basic.get found that the next message has to be read first.
    getters: Vec<Arc<Outlet>>,
    seen: Seen,
}

impl Taken {
    /// This and what became of others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { safe: self.safe.max(other.safe), refused: self.refused + other.refused }
    }
}

/// The queue was deleted meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// What became of messages that were published to a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The journal position after which they are safe: [`Lsn::ZERO`] if none is to be kept.
    pub safe: Lsn,
    /// How many of them the queue has refused.
    pub refused: u64,
}

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
    pub(super) fn new(
        id: QueueId,
        spec: QueueSpec,
        bodies: Arc<Bodies>,
        agenda: Arc<Agenda<Self>>,
    ) -> Arc<Self> {
        let traits = Traits::of_arguments(spec.arguments.as_ref());
        Self::with_queue(id, spec, bodies, agenda, Queue::new(traits))
    }

    /// A queue with the content it had before a restart.
    pub(super) fn restored(
        id: QueueId,
        spec: QueueSpec,
        bodies: Arc<Bodies>,
        agenda: Arc<Agenda<Self>>,
        content: QueueImage,
    ) -> Arc<Self> {
        let traits = Traits::of_arguments(spec.arguments.as_ref());
        Self::with_queue(id, spec, bodies, agenda, Queue::restored(traits, folding::restored(content)))
    }

    fn with_queue(
        id: QueueId,
        spec: QueueSpec,
        bodies: Arc<Bodies>,
        agenda: Arc<Agenda<Self>>,
        mut queue: Queue<OutletLink>,
    ) -> Arc<Self> {
        queue.touch(agenda.now());
        let state = State {
            queue,
            gone: false,
            letters: LettersState::default(),
            armed: None,
            changed: true,
            getters: Vec::new(),
            seen: Seen::new(agenda.now()),
        };
        let state = RankedMutex::new(Rank::Queue, state);
        let may_refuse = AtomicBool::new(false);
        let traits = Traits::of_arguments(spec.arguments.as_ref());
        let cell = Arc::new_cyclic(|me| Self {
            id,
            spec,
            traits,
            bodies,
            agenda,
            may_refuse,
            state,
            me: me.clone(),
        });
        // What it had before a restart counts from the start.
        cell.note_change(&mut cell.state.lock());
        cell
    }

    /// Delivers from a queue that is locked, drops what is over its time or has no room, tells the journal of it, and sees
    /// to what is in memory.
    pub(super) fn deliver(&self, state: &mut State, wakes: &mut Vec<OutletLink>) {
        self.deliver_at(state, wakes, u64::MAX);
    }

    /// As [`deliver`](Self::deliver), of messages that came at `latest`: those without any time to wait have it.
    pub(super) fn deliver_at(&self, state: &mut State, wakes: &mut Vec<OutletLink>, latest: u64) {
        self.note_change(state);
        let paging = state.queue.is_paging();
        if paging {
            state.queue.note_written(self.bodies.journal.written_address());
        }
        let timed = state.queue.needs_time();
        let now = if timed { self.agenda.now().min(latest) } else { 0 };
        state.queue.deliver(now, wakes);
        self.mark_delivered(state);
        self.note_freed(state);
        self.note_events(state);
        if timed || state.queue.is_unfinished() {
            self.arm(state);
        }
        if paging {
            state.queue.relieve();
        }
        self.load(state);
    }

    /// Tells the journal what happened in a queue that is locked beside publishes and acknowledgements. Returns the
    /// position after it.
    fn note_events(&self, state: &mut State) -> Lsn {
        let mut lsn = Lsn::ZERO;
        let events = state.queue.take_events();
        if !events.is_empty() {
            lsn = self.bodies.journal.append(|batch| self.record_events(state, &events, batch));
        }
        self.list_letters(state);
        lsn
    }

    fn record_events(&self, state: &mut State, events: &[Event], batch: &mut Append<'_>) {
        state.changed |= !events.is_empty();
        for event in events {
            match *event {
                Event::Removed(position) => batch.removed(self.id, position),
                Event::Dead(position, reason) => {
                    batch.record(&Record::Dead { queue: self.id, position, reason });
                }
                Event::Returned(position, count) => {
                    batch.record(&Record::Returned { queue: self.id, position, count });
                }
            }
        }
    }

    /// Has a queue that is locked looked at when it wants to.
    fn arm(&self, state: &mut State) {
        if let Some(at) = state.queue.next_deadline()
            && state.armed.is_none_or(|armed| at < armed)
        {
            state.armed = Some(at);
            self.agenda.arm(at, &self.me);
        }
    }

    /// Looks at the queue because its moment has come. Returns whether the queue itself is over its time, so that
    /// [`VHost::delete_expired`](crate::broker::vhost::VHost::delete_expired) is due.
    pub(super) fn look(&self) -> bool {
        let mut wakes = Vec::new();
        let expired = {
            let mut state = self.state.lock();
            state.armed = None;
            if state.gone {
                return false;
            }
            self.deliver(&mut state, &mut wakes);
            state.queue.is_expired(self.agenda.now())
        };
        wake(wakes);
        expired
    }

    /// The queue was used: its time by `x-expires` begins anew.
    pub(super) fn touch(&self) {
        let mut state = self.state.lock();
        if state.queue.rules().expires.is_some() {
            state.queue.touch(self.agenda.now());
        }
    }

    /// Whether a message may be refused now, so that its publisher has to be told of each.
    #[inline]
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.may_refuse.load(Ordering::Relaxed)
    }

    pub(super) fn lock_also(&self) -> RankedMutexGuard<'_, State> {
        self.state.lock_also()
    }

    /// As [`publish`](Self::publish), and empties `messages`.
    ///
    /// # Errors
    /// If the queue is gone; `messages` is as it was.
    pub fn publish_all(&self, messages: &mut Vec<Message>) -> Result<Taken, Gone> {
        self.publish_with(|| messages.drain(..))
    }

    /// Appends `messages` in order and delivers what consumers take.
    ///
    /// # Errors
    /// If the queue is gone.
    pub fn publish(&self, messages: impl Iterator<Item = Message>) -> Result<Taken, Gone> {
        self.publish_with(|| messages)
    }

    fn publish_with<I>(&self, messages: impl FnOnce() -> I) -> Result<Taken, Gone>
    where
        I: Iterator<Item = Message>,
    {
        let mut wakes = Vec::new();
        let taken = {
            let mut state = self.state.lock();
            if state.gone {
                return Err(Gone);
            }
            let mut came = 0;
            let messages = messages().inspect(|message| came = message.published_at());
            let taken = self.enqueue(&mut state, messages, &mut wakes);
            self.deliver_at(&mut state, &mut wakes, came);
            taken
        };
        wake(wakes);
        Ok(taken)
    }

    fn enqueue(
        &self,
        state: &mut State,
        messages: impl Iterator<Item = Message>,
        wakes: &mut Vec<OutletLink>,
    ) -> Taken {
        let refuses = state.queue.rules().refuses();
        if !self.spec.durable && !refuses {
            state.queue.publish_all(messages);
            return Taken::default();
        }
        let (mut kept, mut refused) = (false, 0);
        let end = self.bodies.journal.append(|batch| {
            let mut messages = messages.peekable();
            if !refuses {
                let keeps_all = state.queue.keeps_all();
                let transient = |message: &Message| !keeps_all && !message.is_persistent();
                state.queue.publish_all(std::iter::from_fn(|| messages.next_if(transient)));
            }
            for message in messages {
                if refuses && self.refuse(state, &message, wakes) {
                    refused += 1;
                } else {
                    kept |= self.enqueue_one(state, message, batch);
                }
            }
        });
        Taken { safe: if kept { end } else { Lsn::ZERO }, refused }
    }

    /// Whether a queue that is locked has no room for a message. What came before it in the same batch may be with
    /// consumers first.
    fn refuse(&self, state: &mut State, message: &Message, wakes: &mut Vec<OutletLink>) -> bool {
        let refused = !self.has_room(state, message, wakes);
        if refused {
            state.letters.refuse(state.queue.rules(), message);
        }
        refused
    }

    /// Appends a message to a queue that is locked and not gone. Returns whether it has a record.
    pub(super) fn enqueue_one(&self, state: &mut State, message: Message, batch: &mut Append<'_>) -> bool {
        let kept = self.spec.durable && (message.is_persistent() || state.queue.keeps_all());
        let message = if kept { batch.own(message) } else { message };
        if kept {
            state.changed = true;
            let position = state.queue.next_position(&message);
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
        let events = queue.take_events();
        self.record_events(state, &events, batch);
    }

    /// Takes the next ready message. `outlet` is woken when it is to be asked for again.
    pub fn get(&self, no_ack: bool, outlet: &Arc<Outlet>) -> GetResult {
        let mut state = self.state.lock();
        if state.gone {
            return GetResult::Gone;
        }
        self.note_change(&mut state);
        let now = self.agenda.now();
        let mut got = state.queue.get(no_ack, now);
        if matches!(got, Get::Absent) && !self.load(&mut state) {
            // What was to be read is nowhere, and not in the queue any more.
            got = state.queue.get(no_ack, now);
        }
        self.note_events(&mut state);
        if state.queue.needs_time() || state.queue.is_unfinished() {
            self.arm(&mut state);
        }
        // The one behind it may have to be read before it is known when it is over its time.
        self.load(&mut state);
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
        let id = state.queue.consume(spec, link).map_err(|ExclusiveUse| ConsumeError::Exclusive)?;
        self.mark_waiting(&mut state);
        // What comes first may have to be read.
        self.load(&mut state);
        Ok(id)
    }

    /// What holds for the queue from now on: its arguments together with the policies that match it.
    pub fn set_rules(&self, rules: Rules) {
        self.may_refuse.store(rules.refuses(), Ordering::Relaxed);
        let now = self.agenda.now();
        self.change(|queue| {
            // As in RabbitMQ its time begins anew with every change.
            queue.touch(now);
            queue.set_rules(rules);
        });
    }

    /// As [`set_rules`](Self::set_rules), if they are not those that hold already. What follows is left to the agenda's
    /// task: there may be many queues and much to drop.
    pub fn follow_rules(&self, rules: Rules) {
        let mut state = self.state.lock();
        if *state.queue.rules() == rules {
            return;
        }
        self.may_refuse.store(rules.refuses(), Ordering::Relaxed);
        state.queue.touch(self.agenda.now());
        state.queue.set_rules(rules);
        state.armed = Some(0);
        self.agenda.arm(0, &self.me);
    }

    /// Milliseconds that a delivery may await its acknowledgement, if the queue's rules say so; 0 is for ever.
    #[must_use]
    pub fn consumer_timeout(&self) -> Option<u64> {
        self.state.lock().queue.rules().consumer_timeout
    }

    /// What a queue does by its arguments alone.
    #[must_use]
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// Starts or stops deliveries to a consumer.
    pub fn set_active(&self, consumer: ConsumerId, active: bool) {
        self.change(|queue| queue.set_active(consumer, active));
    }

    /// A consumer's outlet has room again.
    pub fn resume(&self, consumer: ConsumerId) {
        self.change(|queue| queue.resume(consumer));
    }

    /// Delivers what can be, after a change that did not.
    pub fn go_on(&self) {
        self.change(|_| {});
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
        if state.queue.rules().expires.is_some() {
            state.queue.touch(self.agenda.now());
            self.arm(&mut state);
        }
        self.spec.auto_delete && state.queue.was_abandoned() && !state.gone
    }

    /// Drops all ready messages; returns how many, and the journal position after it.
    pub fn purge(&self) -> (u64, Lsn) {
        let (purged, lsn) = {
            let mut state = self.state.lock();
            self.note_change(&mut state);
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
        self.book_locked(&mut state);
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
