//! Messages that die in a queue: rejected, expired, without room, or given up. They leave it in the order of their
//! deaths, each with one step that puts it where it belongs.

use std::collections::{BTreeMap, VecDeque};

use super::{Link, Queue, State};
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
    /// Dead messages, in the order in which they died.
    dead: VecDeque<(Position, Reason)>,
    /// Messages that had died before a restart and lie in a segment. They count as ready until they are read.
    doomed: BTreeMap<Position, Reason>,
    /// How often messages came back.
    counts: BTreeMap<Position, Returns>,
    events: Vec<Event>,
}

impl Deaths {
    /// How many messages are on their way to the dead-letter exchange.
    pub(super) fn dead(&self) -> u64 {
        self.dead.len() as u64
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

    /// The positions of the dead, first to die first.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.dead.iter().map(|(position, _)| *position)
    }

    /// The dead one at `position` cannot be read.
    pub(super) fn lose(&mut self, position: Position) {
        self.dead.retain(|(dead, _)| *dead != position);
    }

    /// The reason why the message at `position`, which was read just now, is to die.
    pub(super) fn take_doom(&mut self, position: Position) -> Option<Reason> {
        if self.doomed.is_empty() { None } else { self.doomed.remove(&position) }
    }

    pub(super) fn restore_dead(&mut self, position: Position, reason: Reason) {
        self.dead.push_back((position, reason));
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
        self.dead.iter().copied().chain(doomed)
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
            self.depth.lose_ready(bytes);
            self.paging.died(position, memory, absent);
        }
        self.deaths.forget_count(position);
        if self.rules.dead_letters.is_some() {
            self.deaths.dead.push_back((position, reason));
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

    /// Whether there are messages on their way to the dead-letter exchange.
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

    /// The dead message at `position` has gone where it belongs. Returns whether it was stored here.
    pub fn bury(&mut self, position: Position) -> bool {
        match self.deaths.dead.front() {
            Some((first, _)) if *first == position => {
                self.deaths.dead.pop_front();
            }
            // Only one that stays is passed over.
            _ => self.deaths.lose(position),
        }
        let stored = self.lanes.get(position).is_some_and(|entry| entry.is_stored());
        self.forget(position);
        self.release_if_empty();
        stored
    }
}
