//! How ready messages go to consumers: in the order of their positions, to whose turn it is.

use super::entry::{Entry, State};
use super::{Intake, Link, Push, Queue, limits};
use crate::ids::{ConsumerId, Position};
use crate::message::Returns;

impl<L: Link> Queue<L> {
    /// Hands ready messages to consumers with credit, until one of both runs out or the next message is not in memory.
    /// Then drops what has no room or is over its time at `now`, in milliseconds since 1970. Connections to wake are
    /// added to `wakes`.
    pub fn deliver(&mut self, now: u64, wakes: &mut Vec<L>) {
        let mut drops = limits::DROPS_AT_ONCE;
        self.unfinished = false;
        if std::mem::take(&mut self.requeued) && self.rules.is_limited() {
            self.drop_surplus(now, drops);
        }
        loop {
            let absent = self.hand_out(now, &mut drops, wakes);
            if self.may_expire() || self.rules.is_limited() {
                self.drop_surplus(now, drops);
            }
            // Once that is dropped for which they wait, the next one may be in memory.
            if absent.is_none() || absent == self.next_ready() || self.unfinished {
                return;
            }
        }
    }

    /// Hands out messages, and drops up to `drops` that are over their time. Returns the one that consumers wait for if
    /// it is not in memory.
    #[inline]
    fn hand_out(&mut self, now: u64, drops: &mut usize, wakes: &mut Vec<L>) -> Option<Position> {
        let may_expire = self.may_expire();
        while let Some(id) = self.consumers.turn() {
            if !may_expire && self.hand_out_row(id, wakes) {
                continue;
            }
            let position = self.next_ready()?;
            let Some(entry) = self.lanes.entry(position) else {
                self.paging.want();
                return Some(position);
            };
            let Some(message) = &entry.message else {
                self.paging.want();
                return Some(position);
            };
            // At its last moment it is still given to who waits for it: a lifetime of zero is one.
            if may_expire && self.rules.deadline(message).is_some_and(|deadline| deadline < now) {
                if *drops == 0 {
                    break;
                }
                *drops -= 1;
                self.expire(position);
                continue;
            }
            let Some(consumer) = self.consumers.consumer(id) else { break };
            let seen = message.as_seen(self.deaths.returns(position));
            let message = seen.as_ref().unwrap_or(message);
            let redelivered = entry.redelivered();
            let push = consumer.link.intake().push(message, position, redelivered);
            if let Push::Taken { wake } = push {
                if wake {
                    wakes.push(consumer.link.clone());
                }
                let no_ack = consumer.spec.no_ack;
                entry.set_state(if no_ack { State::Held } else { State::Unacked });
                let bytes = entry.body_len();
                self.consumers.served(id, 1);
                self.counts.delivered(no_ack, 1, u64::from(redelivered));
                self.took_ready(position, bytes, no_ack);
            } else {
                self.not_taken(id, push);
            }
        }
        None
    }

    /// Hands out neighbouring messages that were never delivered, if the consumer whose turn it is shares it with nobody and
    /// none of them has to be looked at by itself: what they change together is changed once. Returns whether it did
    /// anything.
    #[inline]
    fn hand_out_row(&mut self, id: ConsumerId, wakes: &mut Vec<L>) -> bool {
        let credit = self.consumers.credit_alone();
        if credit == 0 || !self.returned.is_empty() || self.deaths.has_returns() {
            return false;
        }
        let Some(lane) = self.lanes.first_with_fresh() else { return false };
        let Some(consumer) = self.consumers.consumer(id) else { return false };
        let (first, no_ack) = (lane.head, consumer.spec.no_ack);
        let state = if no_ack { State::Held } else { State::Unacked };
        let (mut end, mut bytes, mut redelivered) = (first, 0, 0);
        let (mut wakes_it, mut refused) = (false, None);
        let mut intake = consumer.link.intake();
        for entry in lane.entries.neighbours(first).iter_mut().take(credit) {
            let Some(message) = &entry.message else { break };
            let seen = message.as_seen(Returns::default());
            let was_delivered = entry.redelivered();
            match intake.push(seen.as_ref().unwrap_or(message), end, was_delivered) {
                Push::Taken { wake } => wakes_it |= wake,
                push => {
                    refused = Some(push);
                    break;
                }
            }
            entry.set_state(state);
            bytes += entry.body_len();
            redelivered += u64::from(was_delivered);
            end = end.next();
        }
        drop(intake);
        if wakes_it {
            wakes.push(consumer.link.clone());
        }
        lane.head = end;
        let count = end.0 - first.0;
        if count > 0 {
            self.consumers.served(id, count as u32);
            self.counts.delivered(no_ack, count, redelivered);
            self.book_delivered(count, bytes, no_ack);
            if self.is_paging() || self.paging.is_wanted(first) {
                (first.0..end.0).map(Position).for_each(|position| self.left_window(position));
            }
        }
        if let Some(push) = refused {
            self.not_taken(id, push);
        }
        count > 0 || refused.is_some()
    }

    /// A message that was ready was delivered: it is not waited for any more, and may leave memory.
    fn left_window(&mut self, position: Position) {
        if self.paging.is_wanted(position) {
            self.paging.took(self.lanes.get(position).map_or(0, Entry::memory));
        }
        self.let_go_delivered(position);
    }

    /// A consumer took no message when its turn came.
    fn not_taken(&mut self, id: ConsumerId, push: Push) {
        if push == Push::Full {
            self.counts.parked += 1;
            self.consumers.park(id);
        } else {
            self.consumers.set_active(id, false);
        }
    }

    /// The ready message to deliver next.
    #[inline]
    pub(super) fn next_ready(&self) -> Option<Position> {
        let fresh = self.lanes.first_fresh();
        match self.returned.first() {
            Some(returned) => Some(fresh.map_or(returned, |fresh| fresh.min(returned))),
            None => fresh,
        }
    }

    /// Whether the message at `position`, if there is one, is ready.
    pub(super) fn is_ready(&self, position: Position) -> bool {
        let fresh = self.lanes.of(position).is_some_and(|lane| lane.fresh().contains(&position));
        fresh || self.returned.contains(position)
    }

    /// Takes the position of a ready message out of those that are ready.
    #[inline]
    pub(super) fn take_position(&mut self, position: Position) {
        match self.lanes.of_mut(position) {
            Some(lane) if lane.head == position => lane.head = position.next(),
            _ => self.take_returned_or_later(position),
        }
    }

    fn take_returned_or_later(&mut self, position: Position) {
        if self.returned.first() == Some(position) {
            self.returned.pop_first();
            return;
        }
        let Some(lane) = self.lanes.of_mut(position) else { return };
        if position < lane.head {
            self.returned.remove(position);
            return;
        }
        self.returned.insert_range(lane.head..position);
        lane.head = position.next();
    }

    /// Books the message at `position`, which was the next ready one, as delivered.
    #[inline]
    pub(super) fn took_ready(&mut self, position: Position, bytes: u64, no_ack: bool) {
        self.take_position(position);
        self.book_delivered(1, bytes, no_ack);
        self.left_window(position);
    }

    #[inline]
    fn book_delivered(&mut self, messages: u64, bytes: u64, no_ack: bool) {
        self.depth.lose_ready(messages, bytes);
        if no_ack {
            self.depth.held += messages;
            self.outstanding.held_bytes += bytes;
        } else {
            self.depth.unacked += messages;
            self.outstanding.unacked_bytes += bytes;
        }
    }
}
