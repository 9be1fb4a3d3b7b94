//! Class basic: dispatch, qos and get. Publishing, consuming and settling have files of their own.

use std::sync::Arc;

use crate::broker::queue_cell::{GetResult, QueueCell};
use crate::channel::gates::Gate;
use crate::channel::unacked::Unacked;
use crate::identity::operation::Operation;
use crate::protocol::frame::{FrameKind, begin_frame, end_frame};
use crate::protocol::method::{Args, basic};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::arguments::QueueKind;
use crate::queue::rules::Traits;
use crate::queue::{Got, Settle};
use crate::session::channel::Then;
use crate::session::consumers::Consumer;
use crate::session::open::{Open, Stop};
use crate::session::wire::Wire;

/// Whether a method only settles deliveries: those are collected until the end of the read.
pub(super) fn is_settlement(method: &basic::Method<'_>) -> bool {
    matches!(method, basic::Method::Ack(_) | basic::Method::Nack(_) | basic::Method::Reject(_))
}

/// A basic.get whose message is being read. Until it is answered, the connection is not read.
#[derive(Debug)]
pub(super) struct PendingGet {
    number: u16,
    cell: Arc<QueueCell>,
    no_ack: bool,
}

impl Open {
    pub(super) fn on_basic(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: basic::Method<'_>,
    ) -> Result<(), Stop> {
        use basic::Method as M;
        match method {
            M::Ack(ack) => self.settle(number, ack.delivery_tag, ack.multiple, Settle::Ack)?,
            M::Nack(nack) => {
                let how = if nack.requeue { Settle::Requeue } else { Settle::Reject };
                self.settle(number, nack.delivery_tag, nack.multiple, how)?;
            }
            // Unlike with nack, a consumer that rejects has failed, as in RabbitMQ since 4.3.
            M::Reject(reject) => {
                let how = if reject.requeue { Settle::Fail } else { Settle::Reject };
                self.settle(number, reject.delivery_tag, false, how)?;
            }
            M::Get(get) => self.on_get(wire, number, get)?,
            M::Consume(consume) => self.on_consume(wire, number, consume)?,
            M::Cancel(cancel) => self.on_cancel(wire, number, cancel),
            M::Qos(qos) => self.on_qos(wire, number, qos)?,
            M::Recover(recover) => self.on_recover(wire, number, recover.requeue, true)?,
            M::RecoverAsync(recover) => self.on_recover(wire, number, recover.requeue, false)?,
            // Some clients answer the server's basic.cancel.
            M::CancelOk(_) => {}
            // Taken with its content, before the dispatch.
            M::Publish(_) => {}
            M::QosOk(_)
            | M::ConsumeOk(_)
            | M::Return(_)
            | M::Deliver(_)
            | M::GetOk(_)
            | M::GetEmpty(_)
            | M::RecoverOk(_) => {
                let text = "unexpected method from a client";
                return Err(AmqpError::new(ReplyCode::CommandInvalid, text).into());
            }
        }
        Ok(())
    }

    fn on_get(&mut self, wire: &mut Wire, number: u16, get: basic::Get<'_>) -> Result<(), AmqpError> {
        let name = self.channel(number)?.queue_name(get.queue)?.to_owned();
        self.check(Operation::TakeFrom(&name))?;
        let cell = self.vhost.find_queue(&name, wire.id)?;
        self.check_unacked(wire, number, get.no_ack)?;
        let Traits { kind, single_active, .. } = cell.traits();
        if kind == QueueKind::Quorum && single_active {
            let text = format!(
                "cannot obtain access to locked queue '{name}' in vhost '{}'. basic.get operations are not supported by \
                 quorum queues with single active consumer",
                self.vhost.name
            );
            return Err(AmqpError::new(ReplyCode::ResourceLocked, text));
        }
        self.get(wire, PendingGet { number, cell, no_ack: get.no_ack })
    }

    /// Asks again for a message that had to be read first.
    pub(super) fn retry_get(&mut self, wire: &mut Wire) -> Result<(), Stop> {
        let Some(pending) = self.pending_get.take() else { return Ok(()) };
        let number = pending.number;
        let result = self.get(wire, pending).map_err(Stop::Error);
        self.after_method(wire, number, <basic::Get<'_> as Args>::ID, result)
    }

    fn get(&mut self, wire: &mut Wire, get: PendingGet) -> Result<(), AmqpError> {
        let PendingGet { number, cell, no_ack } = &get;
        let (number, no_ack) = (*number, *no_ack);
        let got = match cell.get(no_ack, &wire.outlet) {
            GetResult::Got(got) => got,
            GetResult::Gone => return Err(self.vhost.no_queue(&cell.spec.name)),
            GetResult::Absent => {
                self.pending_get = Some(get);
                return Ok(());
            }
            GetResult::Empty => {
                self.count_get_empty(number, cell);
                self.reply(wire, number, Gate::OPEN, &basic::GetEmpty { cluster_id: "" }, Then::Nothing);
                return Ok(());
            }
        };
        let Got { message, position, redelivered, remaining } = got;
        if self.traced {
            let cell = cell.clone();
            self.trace_delivery(wire, number, &cell.spec.name, &message, redelivered);
        }
        if no_ack {
            // Taken for good: its reply is on its way, and a connection that dies loses it as in RabbitMQ.
            let lsn = cell.settle(None, std::iter::once(position), Settle::Ack);
            let channel = self.channel(number)?;
            channel.acked_at = channel.acked_at.max(lsn);
        }
        let key = if no_ack { None } else { Some(self.getter(number, cell)) };
        self.count_got(number, cell, no_ack, redelivered);
        let channel = self.channel(number)?;
        let tag = match key {
            None => channel.unacked.skip(),
            Some(consumer) => channel.unacked.push(Unacked { consumer, position }),
        };
        channel.count_unacked();
        if channel.has_window && !no_ack {
            wire.outlet.use_window(number);
        }
        let frame_max = wire.frame_max;
        let left = channel.reply_with(wire, Gate::OPEN, Then::Nothing, |out| {
            let start = begin_frame(out, FrameKind::Method, number);
            let id = <basic::GetOk<'_> as Args>::ID;
            out.extend_from_slice(&id.class.to_be_bytes());
            out.extend_from_slice(&id.method.to_be_bytes());
            out.extend_from_slice(&tag.to_be_bytes());
            out.push(u8::from(redelivered));
            message.write_names(out);
            out.extend_from_slice(&u32::try_from(remaining).unwrap_or(u32::MAX).to_be_bytes());
            end_frame(out, start);
            message.write_content_copied(out, number, frame_max);
        });
        if !left {
            self.waits(number);
        }
        Ok(())
    }

    /// Frees the key of messages got from a queue when all of them are settled.
    pub(super) fn forget_getter(&mut self, number: u16, key: u32) {
        let is_done =
            |consumer: &Consumer| consumer.id.is_none() && consumer.live && consumer.outstanding == 0;
        if !self.consumers.get(key).is_some_and(is_done) {
            return;
        }
        let Some(channel) = self.channels.get_mut(&number) else { return };
        if let Some(at) = channel.getters.iter().position(|&getter| getter == key) {
            channel.getters.swap_remove(at);
            self.consumers.retire(key);
        }
    }

    /// The key under which a channel holds what it got from a queue.
    fn getter(&mut self, number: u16, cell: &Arc<QueueCell>) -> u32 {
        let known = self.channels.get(&number).and_then(|channel| {
            let is_it = |&&key: &&u32| self.consumers.get(key).is_some_and(|known| known.cell.id == cell.id);
            channel.getters.iter().find(is_it).copied()
        });
        let key = known.unwrap_or_else(|| {
            let key = self.consumers.add(number, "", cell.clone(), None, false);
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.getters.push(key);
            }
            self.count_by_queue(key);
            key
        });
        self.timeouts.delivered = true;
        if let Some(getter) = self.consumers.get_mut(key) {
            getter.outstanding += 1;
        }
        key
    }
}
