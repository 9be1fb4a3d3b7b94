//! Class tx: publishes and settlements kept until commit.

use std::sync::Arc;

use crate::broker::transaction::Commit;
use crate::broker::vhost::Route;
use crate::channel::gates::Gate;
use crate::channel::unacked::Unacked;
use crate::message::Message;
use crate::protocol::method::tx;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::Settle;
use crate::session::channel::{Mode, Then};
use crate::session::open::Open;
use crate::session::publish::return_message;
use crate::session::wire::Wire;

/// Most bytes of messages in one transaction.
const BYTES_LIMIT: usize = 32 * 1024 * 1024;

/// Most publishes and settlements in one transaction.
const STEPS_LIMIT: usize = 100_000;

/// A publish inside a transaction, with the route it had when it was checked.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) message: Message,
    pub(super) route: Arc<Route>,
    pub(super) mandatory: bool,
}

/// What a channel in transaction mode has done since its last commit.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: Vec<Staged>,
    bytes: usize,
    settlements: Vec<(u64, Unacked, Settle)>,
}

impl Transaction {
    pub(super) fn publish(&mut self, staged: Staged) -> Result<(), AmqpError> {
        self.bytes += staged.message.wire_size();
        self.publishes.push(staged);
        self.check_size()
    }

    /// Where settled deliveries are noted. They are out of the channel's unacked list already.
    pub(super) fn settlements(&mut self) -> &mut Vec<(u64, Unacked, Settle)> {
        &mut self.settlements
    }

    /// How many messages are published when it is committed.
    pub(super) fn published(&self) -> usize {
        self.publishes.len()
    }

    /// How many deliveries are settled when it is committed.
    pub(super) fn settled(&self) -> usize {
        self.settlements.len()
    }

    fn check_size(&self) -> Result<(), AmqpError> {
        if self.bytes <= BYTES_LIMIT && self.publishes.len() + self.settlements.len() <= STEPS_LIMIT {
            return Ok(());
        }
        let text = format!("transaction is larger than {BYTES_LIMIT} bytes or {STEPS_LIMIT} operations");
        Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
    }

    /// Forgets everything, and returns the deliveries that are unacked again.
    pub(super) fn take_back(&mut self) -> impl Iterator<Item = (u64, Unacked)> + use<> {
        let Self { settlements, .. } = std::mem::take(self);
        settlements.into_iter().map(|(tag, unacked, _)| (tag, unacked))
    }
}

impl Open {
    pub(super) fn on_tx(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: tx::Method,
    ) -> Result<(), AmqpError> {
        use tx::Method as M;
        match method {
            M::Select(_) => {
                let channel = self.channel(number)?;
                match channel.mode {
                    Mode::Plain => {
                        channel.mode = Mode::Tx(Box::default());
                        channel.shown.set_mode(false, true);
                    }
                    Mode::Tx(_) => {}
                    Mode::Confirm(_) => {
                        let text = "cannot switch from confirm to tx mode";
                        return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
                    }
                }
                self.reply(wire, number, Gate::OPEN, &tx::SelectOk {}, Then::Nothing);
            }
            M::Commit(_) => {
                let transaction = std::mem::take(self.transaction(number)?);
                let gate = self.commit(wire, number, transaction)?;
                self.channel(number)?.count_uncommitted();
                self.reply(wire, number, gate, &tx::CommitOk {}, Then::Nothing);
            }
            M::Rollback(_) => {
                let taken = self.transaction(number)?.take_back();
                let channel = self.channel(number)?;
                channel.unacked.restore(taken);
                channel.count_uncommitted();
                self.reply(wire, number, Gate::OPEN, &tx::RollbackOk {}, Then::Nothing);
            }
            M::SelectOk(_) | M::CommitOk(_) | M::RollbackOk(_) => {
                return Err(AmqpError::new(ReplyCode::CommandInvalid, "unexpected method from a client"));
            }
        }
        Ok(())
    }

    fn transaction(&mut self, number: u16) -> Result<&mut Transaction, AmqpError> {
        match &mut self.channel(number)?.mode {
            Mode::Tx(transaction) => Ok(transaction),
            _ => Err(AmqpError::new(ReplyCode::PreconditionFailed, "channel is not transactional")),
        }
    }

    /// Applies a transaction as one and returns the gate of its commit-ok.
    ///
    /// # Errors
    /// 406 if a queue has no room for what it was sent. Nothing is applied then, and what was acknowledged goes back with
    /// the rest when the channel ends.
    fn commit(&mut self, wire: &mut Wire, number: u16, transaction: Transaction) -> Result<Gate, AmqpError> {
        let Transaction { publishes, settlements, .. } = transaction;
        if publishes.is_empty() && settlements.is_empty() {
            return Ok(Gate::OPEN);
        }
        let mut commit = Commit::default();
        let (mut published, mut unroutable, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for Staged { message, mut route, mandatory } in publishes {
            if !route.queues.is_empty() && !route.queues.iter().any(|cell| self.vhost.stands(cell)) {
                // The queues it was for are gone since; they may exist again, or others in their place.
                route = self.vhost.route_of(&message, &mut self.scratch);
            }
            if self.traced {
                self.trace_publish(wire, number, &message, &route);
            }
            sizes.push(message.body_len());
            unroutable.extend(route.queues.is_empty().then_some(mandatory));
            published.push(route.clone());
            if route.queues.is_empty() && mandatory {
                return_message(wire, number, &message);
            }
            // Its time in a queue begins when it comes there.
            let message = self.builder.renew(message);
            for cell in &route.queues {
                commit.publish(cell, message.clone());
            }
        }
        for &(_, unacked, how) in &settlements {
            if let Some(consumer) = self.consumers.get(unacked.consumer) {
                commit.settle(&consumer.cell, consumer.id, unacked.position, how);
            }
        }
        let Ok(lsn) = commit.apply(&wire.broker.journal) else {
            let taken = settlements.into_iter().map(|(tag, unacked, _)| (tag, unacked));
            self.channel(number)?.unacked.restore(taken);
            return Err(AmqpError::new(ReplyCode::PreconditionFailed, "partial tx completion"));
        };
        self.has_published |= !published.is_empty();
        published.iter().for_each(|route| self.publishes.count_alone(number, route));
        sizes.into_iter().for_each(|bytes| self.tally.count_sizes(bytes, 1));
        unroutable.iter().for_each(|&mandatory| self.count_unroutable(number, mandatory));
        self.count_publishes();
        for (_, unacked, how) in settlements {
            self.count_settled(unacked.consumer, how, 1);
            self.consumers.settled(unacked.consumer, 1);
            self.settled_on(wire, number, 1, lsn);
            self.forget_getter(number, unacked.consumer);
        }
        self.move_letters();
        Ok(Gate::durable(lsn))
    }
}
