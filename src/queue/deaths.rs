//! Messages that die in a queue: rejected, expired, without room, or given up. They leave it in the order of their
//! deaths, each with one step that puts it where it belongs.

use std::collections::{BTreeMap, VecDeque};

use super::{Link, MESSAGE_OVERHEAD, Queue, State};
use crate::deaths::Reason;
use crate::ids::Position;
use crate::message::{Message, Returns};

/// Something that happened to a stored message beside its acknowledgement, so that the journal has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It left the queue.
    Removed(Position),
    /// It is on its way to the dead-letter exchange.
    Dead(Position, Reason),
    /// It came back after a failure, the how manyth is said.
    Returned(Position, u32),
}

/// A message on its way to the dead-letter exchange.
#[derive(Clone, Debug)]
pub struct DeadMessage {
    /// Its position.
    pub position: Position,
    /// Why it died.
    pub reason: Reason,
    /// The message.
    pub message: Message,
}

/// What a queue knows of deaths.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// Dead messages that are to be moved, in the order in which they died.
    dead: VecDeque<(Position, Reason)>,
    /// Dead messages that nobody took, and that wait for [`Queue::try_stuck_again`].
    stuck: VecDeque<(Position, Reason)>,
    /// So many of these were looked at for bodies to let go.
    swept: usize,
    /// Body bytes of all dead messages.
    dead_bytes: u64,
    /// Messages that had died before a restart and lie in a segment. They count as ready until they are read.
    doomed: BTreeMap<Position, Reason>,
    /// How often messages came back.
    counts: BTreeMap<Position, Returns>,
    events: Vec<Event>,
}

impl Deaths {
    /// How many messages are on their way to the dead-letter exchange, also those that nobody took yet.
    pub(super) fn dead(&self) -> u64 {
        (self.dead.len() + self.stuck.len()) as u64
    }

    /// Body bytes of these.
    pub(super) fn dead_bytes(&self) -> u64 {
        self.dead_bytes
    }

    /// Whether it is known of any message that it came back.
    #[inline]
    pub(super) fn has_returns(&self) -> bool {
        !self.counts.is_empty()
    }

    /// How often the message at `position` came back.
    #[inline]
    pub(super) fn returns(&self, position: Position) -> Returns {
        if self.counts.is_empty() {
            return Returns::default();
        }
        self.counts.get(&position).copied().unwrap_or_default()
    }

    #[inline]
    pub(super) fn forget_count(&mut self, position: Position) {
        if !self.counts.is_empty() {
            self.counts.remove(&position);
        }
    }

    /// All ready messages were dropped; `is_there` tells which others are left.
    pub(super) fn purge(&mut self, is_there: impl Fn(Position) -> bool) {
        self.doomed.clear();
        self.counts.retain(|position, _| is_there(*position));
    }

    /// The positions of the dead that are to be moved, first to die first.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.dead.iter().map(|(position, _)| *position)
    }

    /// The dead one at `position`, with so many body bytes, cannot be read.
    pub(super) fn lose(&mut self, position: Position, bytes: u64) {
        self.dead_bytes -= bytes;
        if self.take(position).is_none() {
            self.stuck.retain(|(stuck, _)| *stuck != position);
            self.swept = 0;
        }
    }

    /// Takes the one at `position` out of those that are to be moved. Who moves them does so in their order.
    fn take(&mut self, position: Position) -> Option<Reason> {
        let at = self.dead.iter().position(|(dead, _)| *dead == position)?;
        self.dead.remove(at).map(|(_, reason)| reason)
    }

    /// Lets bodies of those that nobody took go by `let_go`, which tells whether more may, up to `left` of them.
    pub(super) fn sweep_stuck(&mut self, left: usize, mut let_go: impl FnMut(Position) -> bool) {
        let end = self.stuck.len().min(self.swept.saturating_add(left));
        while self.swept < end
            && let Some(&(position, _)) = self.stuck.get(self.swept)
            && let_go(position)
        {
            self.swept += 1;
        }
    }

    /// The reason why the message at `position`, which was read just now, is to die.
    pub(super) fn take_doom(&mut self, position: Position) -> Option<Reason> {
        if self.doomed.is_empty() { None } else { self.doomed.remove(&position) }
    }

    /// The message at `position`, with so many body bytes, is dead.
    pub(super) fn add(&mut self, position: Position, bytes: u64, reason: Reason) {
        self.dead.push_back((position, reason));
        self.dead_bytes += bytes;
    }

    pub(super) fn restore_doomed(&mut self, position: Position, reason: Reason) {
        self.doomed.insert(position, reason);
    }

    /// Of the returns only the failures outlast a restart.
    pub(super) fn restore_count(&mut self, position: Position, failed: u32) {
        self.counts.insert(position, Returns { all: failed, failed });
    }

    /// All marks that a restart has to know.
    pub(super) fn marks(&self) -> impl Iterator<Item = (Position, Reason)> {
        let doomed = self.doomed.iter().map(|(position, reason)| (*position, *reason));
        self.stuck.iter().chain(&self.dead).copied().chain(doomed)
    }

    /// How often consumers failed with each message.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Position, u32)> {
        let failures = self.counts.iter().map(|(position, returns)| (*position, returns.failed));
        failures.filter(|(_, failed)| *failed > 0)
    }
}

impl<L: Link> Queue<L> {
    /// The message at `position` dies. It is ready, or outstanding and not counted as that any more.
    pub(super) fn kill(&mut self, position: Position, reason: Reason) {
        let Some(entry) = self.lanes.entry(position) else { return };
        let (stored, ready) = (entry.is_stored(), entry.state() == State::Ready);
        let (bytes, memory, absent) = (entry.body_len(), entry.memory(), entry.message.is_none());
        entry.set_state(State::Dead);
        if ready {
            self.take_position(position);
            self.depth.lose_ready(1, bytes);
            self.paging.died(position, memory, absent);
        }
        self.deaths.forget_count(position);
        if self.rules.dead_letters.is_some() {
            self.deaths.add(position, bytes, reason);
            if self.has_much_dead() {
                self.let_go_of(position);
            }
            if stored {
                self.deaths.events.push(Event::Dead(position, reason));
            }
            return;
        }
        if stored {
            self.deaths.events.push(Event::Removed(position));
        }
        self.forget(position);
    }

    /// Whether dead messages begin to fill the memory, since nobody moves them.
    fn has_much_dead(&self) -> bool {
        let dead = self.deaths.dead_bytes() + self.deaths.dead() * MESSAGE_OVERHEAD;
        self.memory.bytes > self.paging.kept() && dead > self.paging.kept() / 2
    }

    /// Counts that the message at `position` came back, perhaps because a consumer `failed`. Returns false if that was
    /// once too often, and it is dead.
    pub(super) fn counts_one_more(&mut self, position: Position, failed: bool) -> bool {
        if !self.rules.counts_deliveries {
            return true;
        }
        let mut returns = self.deaths.returns(position);
        returns.all = returns.all.saturating_add(1);
        returns.failed = returns.failed.saturating_add(u32::from(failed));
        if failed && self.rules.delivery_limit.is_some_and(|limit| returns.failed > limit) {
            self.kill(position, Reason::DeliveryLimit);
            return false;
        }
        self.deaths.counts.insert(position, returns);
        if failed && self.lanes.get(position).is_some_and(|entry| entry.is_stored()) {
            self.deaths.events.push(Event::Returned(position, returns.failed));
        }
        true
    }

    /// What happened since the last call that the journal has to know.
    #[inline]
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.deaths.events)
    }

    /// Whether there are dead messages to be moved now.
    #[inline]
    #[must_use]
    pub fn has_dead(&self) -> bool {
        !self.deaths.dead.is_empty()
    }

    /// The first dead messages, up to `most` of them and about `bytes` of bodies. Fewer if one has to be read first;
    /// then [`plan_load`](Self::plan_load) says so. They stay in the queue until [`bury`](Self::bury).
    pub fn first_dead(&mut self, most: usize, bytes: u64) -> Vec<DeadMessage> {
        let mut found = Vec::new();
        let mut size = 0;
        for &(position, reason) in self.deaths.dead.iter().take(most) {
            let Some(message) = self.lanes.get(position).and_then(|entry| entry.message.clone()) else {
                self.paging.want_dead();
                break;
            };
            size += message.wire_size() as u64;
            found.push(DeadMessage { position, reason, message });
            if size >= bytes {
                break;
            }
        }
        found
    }

    /// The dead message at `position`, one of [`first_dead`](Self::first_dead) in their order, has gone where it belongs.
    /// Returns whether it was stored here.
    pub fn bury(&mut self, position: Position) -> bool {
        // It may have been lost meanwhile.
        let Some(entry) = self.lanes.get(position) else { return false };
        let (stored, bytes) = (entry.is_stored(), entry.body_len());
        if self.deaths.take(position).is_some() {
            self.deaths.dead_bytes -= bytes;
        }
        self.forget(position);
        self.release_if_empty();
        stored
    }

    /// Nobody took the dead message at `position`, one of [`first_dead`](Self::first_dead) in their order. It stays, and
    /// those behind it are next, until [`try_stuck_again`](Self::try_stuck_again).
    pub fn set_aside(&mut self, position: Position) {
        if let Some(reason) = self.deaths.take(position) {
            self.deaths.stuck.push_back((position, reason));
        }
    }

    /// What nobody took is to be moved again, behind what was not tried yet.
    pub fn try_stuck_again(&mut self) {
        let Deaths { dead, stuck, swept, .. } = &mut self.deaths;
        dead.append(stuck);
        *swept = 0;
    }
}
