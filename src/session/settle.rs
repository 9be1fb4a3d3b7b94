//! basic.ack, nack, reject and recover.

use crate::broker::queue_cell::QueueCell;
use crate::channel::gates::Gate;
use crate::ids::{Lsn, Position};
use crate::protocol::method::basic;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::Settle;
use crate::session::channel::{Mode, Then};
use crate::session::open::Open;
use crate::session::wire::Wire;

impl Open {
    /// Settles a delivery tag of a channel: notes it for the end of this read, or for the commit.
    pub(super) fn settle(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        how: Settle,
    ) -> Result<(), AmqpError> {
        let Self { channels, settlements, .. } = self;
        let Some(channel) = channels.get_mut(&number) else { return Ok(()) };
        let settled = match &mut channel.mode {
            Mode::Tx(transaction) => {
                let staged = transaction.settlements();
                channel.unacked.settle(tag, multiple, |tag, unacked| staged.push((tag, unacked, how)))
            }
            _ => channel.unacked.settle(tag, multiple, |_, unacked| {
                settlements.push((unacked.consumer, unacked.position, how));
            }),
        };
        if matches!(channel.mode, Mode::Tx(_)) {
            channel.count_uncommitted();
        }
        settled.map_err(|unknown| AmqpError::new(ReplyCode::PreconditionFailed, unknown.to_string()))
    }

    /// Tells the queues what was settled: each once, so that what several consumers give back is in order before any
    /// of it is delivered again.
    pub(super) fn flush_settlements(&mut self, wire: &mut Wire) {
        let mut settlements = std::mem::take(&mut self.settlements);
        let consumers = &self.consumers;
        let queue = |key: u32| consumers.get(key).map(|consumer| consumer.cell.id);
        if settlements.iter().any(|(key, ..)| *key != settlements[0].0) {
            settlements.sort_by_cached_key(|(key, ..)| queue(*key));
        }
        let mut rest = &settlements[..];
        while let Some(&(key, ..)) = rest.first() {
            let (consumers, cell) = (&self.consumers, self.consumers.get(key).map(|c| c.cell.clone()));
            let same = |other: u32| {
                other == key || consumers.get(other).map(|c| c.cell.id) == cell.as_ref().map(|cell| cell.id)
            };
            let len = rest.iter().take_while(|(other, ..)| same(*other)).count();
            let group = &rest[..len];
            rest = &rest[len..];
            if let Some(cell) = cell {
                self.settle_group(wire, &cell, group);
            }
        }
        settlements.clear();
        self.settlements = settlements;
    }

    /// Settles what belongs to one queue.
    fn settle_group(&mut self, wire: &mut Wire, cell: &QueueCell, group: &[(u32, Position, Settle)]) {
        let id = |key: u32| self.consumers.get(key).and_then(|consumer| consumer.id);
        let Some(&(key, _, how)) = group.first() else { return };
        let uniform = group.iter().all(|(other, _, way)| *other == key && *way == how);
        let lsn = if uniform {
            cell.settle(id(key), group.iter().map(|(_, position, _)| *position), how)
        } else {
            cell.settle_all(group.iter().map(|&(key, position, how)| (id(key), position, how)))
        };
        for part in group.chunk_by(|a, b| a.0 == b.0 && a.2 == b.2) {
            let (key, _, how) = part[0];
            let Some(consumer) = self.consumers.get(key) else { continue };
            let (number, no_ack) = (consumer.channel, consumer.no_ack);
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.count_settled(key, how, u64::from(count));
            // What was not sent was not counted as given.
            if how != Settle::Unsent {
                self.consumers.settled(key, count);
                self.forget_getter(number, key);
            }
            if !no_ack {
                self.settled_on(wire, number, count, lsn);
            }
        }
    }

    /// Books `count` settled deliveries of a channel.
    pub(super) fn settled_on(&mut self, wire: &Wire, number: u16, count: u32, lsn: Lsn) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.acked_at = channel.acked_at.max(lsn);
        channel.count_unacked();
        if channel.has_window {
            let mut resume = Vec::new();
            wire.outlet.open_window(number, count, &mut resume);
            self.consumers.resume(&resume);
        }
    }

    pub(super) fn on_recover(
        &mut self,
        wire: &mut Wire,
        number: u16,
        requeue: bool,
        reply: bool,
    ) -> Result<(), AmqpError> {
        if !requeue {
            return Err(AmqpError::new(ReplyCode::NotImplemented, "requeue=false"));
        }
        // A transaction keeps what it has settled: that is not unacked any more.
        let Self { channels, settlements, .. } = self;
        if let Some(channel) = channels.get_mut(&number) {
            settlements.extend(channel.unacked.drain().map(|u| (u.consumer, u.position, Settle::Requeue)));
        }
        self.flush_settlements(wire);
        if reply {
            self.reply(wire, number, Gate::OPEN, &basic::RecoverOk {}, Then::Nothing);
        }
        Ok(())
    }

    /// Notes that everything a channel has not acknowledged goes back to its place; its transaction is dropped.
    pub(super) fn give_back_unacked(&mut self, number: u16) {
        let Self { channels, settlements, .. } = self;
        let Some(channel) = channels.get_mut(&number) else { return };
        if let Mode::Tx(transaction) = &mut channel.mode {
            channel.unacked.restore(transaction.take_back());
        }
        settlements.extend(channel.unacked.drain().map(|u| (u.consumer, u.position, Settle::Fail)));
    }
}
