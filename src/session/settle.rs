//! basic.ack, nack, reject and recover.

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
        settled.map_err(|unknown| AmqpError::new(ReplyCode::PreconditionFailed, unknown.to_string()))
    }

    /// Tells the queues what was settled: each once, if the settlements are not mixed.
    pub(super) fn flush_settlements(&mut self, wire: &mut Wire) {
        let mut settlements = std::mem::take(&mut self.settlements);
        if !settlements.is_sorted_by_key(|(key, ..)| *key) {
            settlements.sort_by_key(|(key, ..)| *key);
        }
        for group in settlements.chunk_by(|a, b| a.0 == b.0 && a.2 == b.2) {
            self.settle_group(wire, group);
        }
        settlements.clear();
        self.settlements = settlements;
    }

    fn settle_group(&mut self, wire: &mut Wire, group: &[(u32, Position, Settle)]) {
        let Some(&(key, _, how)) = group.first() else { return };
        let Some(consumer) = self.consumers.get(key) else { return };
        let number = consumer.channel;
        let positions = group.iter().map(|(_, position, _)| *position);
        let lsn = consumer.cell.settle(consumer.id, positions, how);
        let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
        self.consumers.settled(key, count);
        self.settled_on(wire, number, count, lsn);
    }

    /// Books `count` settled deliveries of a channel.
    pub(super) fn settled_on(&mut self, wire: &Wire, number: u16, count: u32, lsn: Lsn) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.acked_at = channel.acked_at.max(lsn);
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
        self.requeue_unacked(wire, number);
        if reply {
            let channel = self.channel(number)?;
            if !channel.reply(wire, Gate::OPEN, &basic::RecoverOk {}, Then::Nothing) {
                self.waits(number);
            }
        }
        Ok(())
    }

    /// Puts everything that a channel has not acknowledged back to its place.
    pub(super) fn requeue_unacked(&mut self, wire: &mut Wire, number: u16) {
        let Self { channels, settlements, .. } = self;
        let Some(channel) = channels.get_mut(&number) else { return };
        if let Mode::Tx(transaction) = &mut channel.mode {
            channel.unacked.restore(transaction.take_back());
        }
        settlements.extend(channel.unacked.drain().map(|u| (u.consumer, u.position, Settle::Requeue)));
        self.flush_settlements(wire);
    }
}
