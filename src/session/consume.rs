//! basic.consume and basic.cancel, and the end of consumers with their channel.

use crate::broker::outlet::OutletLink;
use crate::broker::queue_cell::ConsumeError;
use crate::broker::vhost::REPLY_TO;
use crate::channel::gates::Gate;
use crate::identity::operation::Operation;
use crate::protocol::field::TableRef;
use crate::protocol::method::basic;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::ConsumerSpec;
use crate::session::channel::Then;
use crate::session::open::Open;
use crate::session::wire::Wire;

/// What server-made consumer tags begin with, before the letters.
const GENERATED: &str = "amq.ctag-";

impl Open {
    pub(super) fn on_consume(
        &mut self,
        wire: &mut Wire,
        number: u16,
        consume: basic::Consume<'_>,
    ) -> Result<(), AmqpError> {
        let limit = wire.limits.consumers_per_channel as usize;
        let channel = self.channel(number)?;
        let generated;
        let tag = if consume.consumer_tag.is_empty() {
            generated = wire.broker.names.generate(GENERATED);
            &generated
        } else {
            consume.consumer_tag
        };
        if channel.tags.contains_key(tag) {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        if limit > 0 && channel.tags.len() >= limit {
            let text = format!("reached maximum ({limit}) of consumers per channel");
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        if consume.queue == REPLY_TO {
            return self.consume_replies(wire, number, tag, consume);
        }
        let prefetch = channel.prefetch;
        let name = channel.queue_name(consume.queue)?.to_owned();
        self.check(Operation::TakeFrom(&name))?;
        let cell = self.vhost.find_queue(&name, wire.id)?;
        let timeout = timeout(consume.arguments, &name, &self.vhost.name)?;
        let spec = ConsumerSpec {
            prefetch,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority: priority(consume.arguments, &name, &self.vhost.name)?,
            tag: tag.into(),
            arguments: consume.arguments.to_table(),
            timeout,
        };
        let link = self.next_link(wire, number, consume.no_ack);
        let id = cell.consume(spec, link).map_err(|error| match error {
            ConsumeError::Exclusive => {
                let text = format!("queue '{name}' in vhost '{}' in exclusive use", self.vhost.name);
                AmqpError::new(ReplyCode::AccessRefused, text)
            }
            ConsumeError::Gone => self.vhost.no_queue(&name),
        })?;
        let key = self.consumers.add(number, tag, cell, Some(id), consume.no_ack);
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.timeout = timeout;
        }
        self.timeouts.consumers_changed = true;
        self.announce_consumer(wire, number, tag, &name, consume);
        self.start_consumer(wire, number, key, tag, consume.no_wait)
    }

    /// The consumer of direct replies, one for each channel. It needs no queue: it gets one of its own.
    fn consume_replies(
        &mut self,
        wire: &mut Wire,
        number: u16,
        tag: &str,
        consume: basic::Consume<'_>,
    ) -> Result<(), AmqpError> {
        let refused = |text| Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
        if !consume.no_ack {
            return refused("reply consumer cannot acknowledge");
        }
        if self.channel(number)?.replies.is_some() {
            return refused("reply consumer already set");
        }
        let link = self.next_link(wire, number, true);
        let (cell, id) = self
            .vhost
            .open_replies(&wire.broker.names, tag, link)
            .map_err(|_| AmqpError::new(ReplyCode::InternalError, "no reply queue"))?;
        let key = self.consumers.add(number, tag, cell, Some(id), true);
        self.channel(number)?.replies = Some(key);
        self.start_consumer(wire, number, key, tag, consume.no_wait)
    }

    /// The queue's way to the consumer that is added next.
    fn next_link(&self, wire: &Wire, number: u16, no_ack: bool) -> OutletLink {
        OutletLink {
            outlet: wire.outlet.clone(),
            connection: wire.id,
            consumer: self.consumers.next_key(),
            channel: number,
            no_ack,
        }
    }

    /// Answers basic.consume, and lets the messages come.
    fn start_consumer(
        &mut self,
        wire: &mut Wire,
        number: u16,
        key: u32,
        tag: &str,
        no_wait: bool,
    ) -> Result<(), AmqpError> {
        self.count_by_queue(key);
        let channel = self.channel(number)?;
        channel.tags.insert(tag.into(), key);
        channel.count_consumers();
        let flow = channel.flow;
        // It gets messages only after its consume-ok.
        let reply = basic::ConsumeOk { consumer_tag: tag };
        let left = no_wait || self.reply(wire, number, Gate::OPEN, &reply, Then::Activate(key));
        if left && flow {
            self.consumers.set_active(key, true);
        }
        Ok(())
    }

    pub(super) fn on_cancel(&mut self, wire: &mut Wire, number: u16, cancel: basic::Cancel<'_>) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let mut gate = Gate::OPEN;
        if let Some(key) = channel.tags.remove(cancel.consumer_tag) {
            channel.replies = channel.replies.filter(|replies| *replies != key);
            channel.count_consumers();
            // What the queue gave it so far and is not sent goes back, before cancel-ok.
            gate = self.leave_queue(wire, key);
            self.sweep_outlet(wire);
            self.flush_settlements(wire);
            self.hand_over();
            self.consumers.retire(key);
        }
        let reply = basic::CancelOk { consumer_tag: cancel.consumer_tag };
        self.reply_unless(cancel.no_wait, wire, number, gate, &reply);
    }

    /// Takes a consumer out of its queue, which may be the end of that. Its deliveries stay as they are.
    pub(super) fn leave_queue(&mut self, wire: &Wire, key: u32) -> Gate {
        let Some(consumer) = self.consumers.get_mut(key) else { return Gate::OPEN };
        let Some(id) = consumer.id.take() else { return Gate::OPEN };
        let abandoned = consumer.cell.cancel(id);
        wire.outlet.forget(key);
        if consumer.cell.traits().single_active {
            self.left.push(consumer.cell.clone());
        }
        let cell = consumer.cell.clone();
        self.announce_consumer_end(wire, key);
        if abandoned {
            self.owned.remove(&cell.id);
            return self.vhost.delete_abandoned(&cell);
        }
        Gate::OPEN
    }

    /// Lets queues deliver to who takes over from consumers that have left, after what those had is back in its place.
    pub(super) fn hand_over(&mut self) {
        for cell in std::mem::take(&mut self.left) {
            cell.go_on();
        }
    }

    /// Takes all consumers of a channel out of their queues.
    pub(super) fn cancel_all(&mut self, wire: &Wire, number: u16) -> Vec<u32> {
        let Some(channel) = self.channels.get_mut(&number) else { return Vec::new() };
        channel.replies = None;
        let mut keys: Vec<u32> = channel.tags.drain().map(|(_, key)| key).collect();
        channel.count_consumers();
        // In the order of their making, so that a run repeats.
        keys.sort_unstable();
        for &key in &keys {
            self.leave_queue(wire, key);
        }
        keys
    }

    /// Ends what a channel does: its consumers leave, what is unsent and unacked goes back, a transaction is dropped.
    pub(super) fn abandon_channel(&mut self, wire: &mut Wire, number: u16) {
        self.flush(wire);
        let mut keys = self.cancel_all(wire, number);
        if !keys.is_empty() {
            self.sweep_outlet(wire);
        }
        self.give_back_unacked(number);
        self.flush_settlements(wire);
        self.hand_over();
        let Some(channel) = self.channels.get_mut(&number) else { return };
        keys.append(&mut channel.getters);
        if std::mem::take(&mut channel.has_window) {
            wire.outlet.set_window(number, 0, 0, &mut Vec::new());
        }
        for key in keys {
            self.consumers.retire(key);
        }
        self.announce_channel_end(wire, number);
    }
}

/// The argument `x-priority`: any integer.
fn priority(arguments: TableRef<'_>, queue: &str, vhost: &str) -> Result<i32, AmqpError> {
    if arguments.get("x-stream-offset").is_some() {
        let text = format!(
            "invalid arg 'x-stream-offset' for queue '{queue}' in vhost '{vhost}' of queue type rabbit_classic_queue"
        );
        return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
    }
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    let Some(priority) = value.as_int() else {
        return Err(unacceptable(
            "x-priority",
            &format!("unacceptable_type,{}", value.type_name()),
            queue,
            vhost,
        ));
    };
    Ok(i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX }))
}

/// The argument `x-consumer-timeout`: milliseconds, of which none is for ever.
fn timeout(arguments: TableRef<'_>, queue: &str, vhost: &str) -> Result<Option<u64>, AmqpError> {
    const NAME: &str = "x-consumer-timeout";
    let Some(value) = arguments.get(NAME) else { return Ok(None) };
    let Some(milliseconds) = value.as_int() else {
        return Err(unacceptable(NAME, &format!("unacceptable_type,{}", value.type_name()), queue, vhost));
    };
    match u64::try_from(milliseconds) {
        Ok(milliseconds) => Ok(Some(milliseconds)),
        Err(_) => Err(unacceptable(NAME, &format!("value_negative,{milliseconds}"), queue, vhost)),
    }
}

fn unacceptable(name: &str, why: &str, queue: &str, vhost: &str) -> AmqpError {
    let text = format!("invalid arg '{name}' for queue '{queue}' in vhost '{vhost}': {{{why}}}");
    AmqpError::new(ReplyCode::PreconditionFailed, text)
}
