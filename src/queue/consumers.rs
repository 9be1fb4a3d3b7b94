//! Who takes from a queue: the consumers, their credit, and whose turn it is.
//!
//! Only consumers that can take a message now stand in a ring, so a queue with ten thousand saturated consumers
//! finds the one with room at once. Higher priorities go first; within one, the least recently served.
//!
//! With a single active consumer only that one may stand there. The others wait for it to leave: then the one with the
//! highest priority takes over, and among equals the oldest. In a quorum queue a consumer with a higher priority takes
//! over as soon as what the active one has is settled, as in RabbitMQ since 4.0.

use std::collections::VecDeque;

use super::arguments::QueueKind;
use super::figures::ConsumerState;
use super::rules::Traits;
use crate::ids::ConsumerId;
use crate::protocol::field::Table;

/// What a new consumer asks for.
#[derive(Clone, Debug, Default)]
pub struct ConsumerSpec {
    /// Most unacked messages at a time; 0 is no limit.
    pub prefetch: u16,
    /// Messages count as acknowledged once they are written to its socket.
    pub no_ack: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
    /// Consumers with a higher number are served first; 0 unless given.
    pub priority: i32,
    /// What it is called on its channel.
    pub tag: Box<str>,
    /// Its arguments.
    pub arguments: Table,
    /// Milliseconds that its deliveries may be out, if it says so itself; 0 is for ever.
    pub timeout: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Consumer<L> {
    pub(super) link: L,
    pub(super) spec: ConsumerSpec,
    pub(super) unacked: u32,
    /// Its consume-ok is out and its channel's flow is on.
    active: bool,
    /// Its outlet was full; it will call back.
    parked: bool,
    queued: bool,
    /// Grows from consumer to consumer.
    age: u64,
}

impl<L> Consumer<L> {
    fn can_take(&self) -> bool {
        let has_credit =
            self.spec.no_ack || self.spec.prefetch == 0 || self.unacked < u32::from(self.spec.prefetch);
        self.active && !self.parked && has_credit
    }
}

/// Consumers of one priority that can take a message.
#[derive(Debug)]
struct Ring {
    priority: i32,
    turns: VecDeque<ConsumerId>,
}

/// All consumers of a queue.
#[derive(Debug)]
pub(super) struct Consumers<L> {
    slots: Vec<Option<Consumer<L>>>,
    /// Numbers that are free, so that giving one is no search.
    free: Vec<ConsumerId>,
    /// Highest priority first.
    rings: Vec<Ring>,
    count: u32,
    exclusive: Option<ConsumerId>,
    single: Option<Single>,
    /// How many there ever were.
    born: u64,
}

/// Who is active, where only one is at a time.
#[derive(Debug, Default)]
struct Single {
    active: Option<ConsumerId>,
    /// One with a higher priority takes over.
    is_preemptive: bool,
    /// The active one is given nothing more: another one takes over when it has settled what it has.
    yields: bool,
}

impl<L> Default for Consumers<L> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            rings: Vec::new(),
            count: 0,
            exclusive: None,
            single: None,
            born: 0,
        }
    }
}

impl<L> Consumers<L> {
    /// For a queue with these traits.
    pub(super) fn new(traits: Traits) -> Self {
        let is_preemptive = traits.kind == QueueKind::Quorum;
        let single = traits.single_active.then_some(Single { is_preemptive, ..Single::default() });
        Self { single, ..Self::default() }
    }

    /// Whether only one at a time is given messages.
    pub(super) fn has_single(&self) -> bool {
        self.single.is_some()
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn has_exclusive(&self) -> bool {
        self.exclusive.is_some()
    }

    /// Adds a consumer that takes nothing until it is activated.
    pub(super) fn add(&mut self, spec: ConsumerSpec, link: L) -> ConsumerId {
        let free = self.free.pop();
        let id = free.unwrap_or_else(|| ConsumerId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX)));
        if spec.exclusive {
            self.exclusive = Some(id);
        }
        self.born += 1;
        let age = self.born;
        let consumer = Consumer { link, spec, unacked: 0, active: false, parked: false, queued: false, age };
        if free.is_some() {
            self.slots[id.0 as usize] = Some(consumer);
        } else {
            self.slots.push(Some(consumer));
        }
        self.count += 1;
        self.elect();
        id
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<Consumer<L>> {
        let consumer = self.slots.get_mut(id.0 as usize)?.take()?;
        if consumer.queued {
            self.leave_ring(id, consumer.spec.priority);
        }
        if self.exclusive == Some(id) {
            self.exclusive = None;
        }
        self.count -= 1;
        if self.count == 0 {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        } else {
            self.free.push(id);
        }
        if let Some(single) = self.single.as_mut().filter(|single| single.active == Some(id)) {
            (single.active, single.yields) = (None, false);
        }
        self.elect();
        Some(consumer)
    }

    /// Where only one is active: says who, if that is open.
    fn elect(&mut self) {
        let Some(single) = &mut self.single else { return };
        let slots = self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.as_ref()?)));
        let best =
            slots.max_by_key(|(_, consumer)| (consumer.spec.priority, std::cmp::Reverse(consumer.age)));
        let Some((best, priority)) =
            best.map(|(at, consumer)| (ConsumerId(at as u32), consumer.spec.priority))
        else {
            return;
        };
        let before = single.active;
        if let Some(active) = before {
            let Some(Some(consumer)) = self.slots.get(active.0 as usize) else { return };
            single.yields = single.is_preemptive && consumer.spec.priority < priority;
            if single.yields && consumer.unacked == 0 {
                (single.active, single.yields) = (Some(best), false);
            }
        } else {
            single.active = Some(best);
        }
        for id in [before, self.single.as_ref().and_then(|single| single.active)].into_iter().flatten() {
            self.update(id);
        }
    }

    /// Whether this one may be given messages, as far as only one is.
    #[inline]
    fn may_serve(&self, id: ConsumerId) -> bool {
        self.single.as_ref().is_none_or(|single| single.active == Some(id) && !single.yields)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Consumer<L>> {
        self.rings.clear();
        self.exclusive = None;
        if let Some(single) = &mut self.single {
            (single.active, single.yields) = (None, false);
        }
        self.count = 0;
        self.free = Vec::new();
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    /// All of them, in the order of their numbers.
    pub(super) fn states(&self) -> impl Iterator<Item = ConsumerState<'_, L>> {
        (0..).map(ConsumerId).zip(&self.slots).filter_map(|(id, slot)| {
            let Consumer { link, spec, unacked, .. } = slot.as_ref()?;
            let single_active = self.single.as_ref().map(|single| single.active == Some(id));
            Some(ConsumerState { id, spec, link, unacked: *unacked, single_active })
        })
    }

    #[inline]
    pub(super) fn consumer(&mut self, id: ConsumerId) -> Option<&mut Consumer<L>> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// The consumer whose turn it is.
    #[inline]
    pub(super) fn turn(&self) -> Option<ConsumerId> {
        self.rings.first()?.turns.front().copied()
    }

    /// How many messages the consumer whose turn it is can take, if no other one would get some of them in between.
    #[inline]
    pub(super) fn credit_alone(&self) -> usize {
        let Some(Ring { turns, .. }) = self.rings.first() else { return 0 };
        let Some(Some(consumer)) = turns.front().and_then(|id| self.slots.get(id.0 as usize)) else {
            return 0;
        };
        if turns.len() > 1 {
            return 0;
        }
        match consumer.spec {
            ConsumerSpec { no_ack: true, .. } | ConsumerSpec { prefetch: 0, .. } => usize::MAX,
            ConsumerSpec { prefetch, .. } => u32::from(prefetch).saturating_sub(consumer.unacked) as usize,
        }
    }

    /// The consumer whose turn it was took messages: it goes to the end of its ring, or out of it.
    #[inline]
    pub(super) fn served(&mut self, id: ConsumerId, messages: u32) {
        let Some(Some(consumer)) = self.slots.get_mut(id.0 as usize) else { return };
        if !consumer.spec.no_ack {
            consumer.unacked += messages;
        }
        let stays = consumer.can_take();
        let Some(ring) = self.rings.first_mut() else { return };
        if stays {
            if ring.turns.len() > 1 {
                ring.turns.rotate_left(1);
            }
            return;
        }
        consumer.queued = false;
        ring.turns.pop_front();
        if ring.turns.is_empty() {
            self.rings.remove(0);
        }
    }

    /// The consumer's outlet was full when its turn came.
    pub(super) fn park(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.consumer(id) {
            consumer.parked = true;
        }
        self.update(id);
    }

    /// Its outlet has room again.
    pub(super) fn resume(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.consumer(id) {
            consumer.parked = false;
        }
        self.update(id);
    }

    /// Lets it take messages, or stops it.
    pub(super) fn set_active(&mut self, id: ConsumerId, active: bool) {
        if let Some(consumer) = self.consumer(id) {
            consumer.active = active;
        }
        self.update(id);
    }

    /// `n` of its messages are settled.
    #[inline]
    pub(super) fn give_credit(&mut self, id: ConsumerId, n: u32) {
        let Some(consumer) = self.consumer(id) else { return };
        consumer.unacked = consumer.unacked.saturating_sub(n);
        let (queued, done) = (consumer.queued, consumer.unacked == 0);
        if done && self.single.as_ref().is_some_and(|single| single.yields) {
            self.elect();
        }
        if !queued {
            self.update(id);
        }
    }

    /// Puts the consumer into its ring or takes it out, as it can take a message or not.
    fn update(&mut self, id: ConsumerId) {
        let may_serve = self.may_serve(id);
        let Some(Some(consumer)) = self.slots.get_mut(id.0 as usize) else { return };
        let can_take = consumer.can_take() && may_serve;
        if can_take == consumer.queued {
            return;
        }
        consumer.queued = can_take;
        let priority = consumer.spec.priority;
        if !can_take {
            self.leave_ring(id, priority);
            return;
        }
        let at = self.ring(priority);
        if self.rings.get(at).is_none_or(|ring| ring.priority != priority) {
            self.rings.insert(at, Ring { priority, turns: VecDeque::new() });
        }
        self.rings[at].turns.push_back(id);
    }

    /// Where the ring of a priority is or would be.
    fn ring(&self, priority: i32) -> usize {
        self.rings.partition_point(|ring| ring.priority > priority)
    }

    /// Takes a consumer out of the ring it stands in. One that is parked or found closed is at the front of it: it
    /// was its turn.
    fn leave_ring(&mut self, id: ConsumerId, priority: i32) {
        let at = self.ring(priority);
        let Some(Ring { turns, .. }) = self.rings.get_mut(at) else { return };
        if turns.front() == Some(&id) {
            turns.pop_front();
        } else {
            turns.retain(|&turn| turn != id);
        }
        if turns.is_empty() {
            self.rings.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(consumers: &mut Consumers<()>) -> ConsumerId {
        let id = consumers.add(ConsumerSpec::default(), ());
        consumers.set_active(id, true);
        id
    }

    #[test]
    fn a_number_that_was_freed_is_given_again() {
        let mut consumers = Consumers::default();
        for number in 0..4 {
            assert_eq!(add(&mut consumers), ConsumerId(number));
        }
        for number in [1, 3] {
            assert!(consumers.remove(ConsumerId(number)).is_some());
            assert!(consumers.remove(ConsumerId(number)).is_none());
        }
        assert_eq!([add(&mut consumers), add(&mut consumers), add(&mut consumers)].map(|id| id.0), [3, 1, 4]);
        for number in 0..5 {
            consumers.remove(ConsumerId(number));
        }
        assert_eq!((consumers.slots.capacity(), consumers.free.capacity(), consumers.rings.len()), (0, 0, 0));
        assert_eq!(add(&mut consumers), ConsumerId(0));
    }

    #[test]
    fn those_that_are_full_leave_the_ring_from_its_front_and_come_back_at_its_end() {
        let mut consumers = Consumers::default();
        let ids: Vec<ConsumerId> = (0..5).map(|_| add(&mut consumers)).collect();
        for &id in &ids[..3] {
            assert_eq!(consumers.turn(), Some(id));
            consumers.park(id);
        }
        consumers.resume(ids[1]);
        // Not at the front: it was stopped while others had their turn.
        consumers.set_active(ids[4], false);
        let mut turns = Vec::new();
        for _ in 0..4 {
            let turn = consumers.turn().unwrap();
            consumers.served(turn, 1);
            turns.push(turn);
        }
        assert_eq!(turns, [ids[3], ids[1], ids[3], ids[1]]);
        consumers.park(ids[3]);
        consumers.park(ids[1]);
        assert_eq!((consumers.turn(), consumers.rings.len()), (None, 0));
    }
}
