//! One channel of a connection, and the methods of class channel.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::connections::OpenChannel;
use crate::broker::limits::ChannelSeat;
use crate::channel::ages::Ages;
use crate::channel::confirms::Confirms;
use crate::channel::gates::{Gate, GateLine};
use crate::channel::unacked::UnackedList;
use crate::ids::Lsn;
use crate::protocol::content::Assembler;
use crate::protocol::method::{Args, channel, write_method};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::counting::PublishCounts;
use crate::session::open::{Open, Stop};
use crate::session::publish::Published;
use crate::session::tx::Transaction;
use crate::session::wire::Wire;
use crate::time::Moment;

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: u16,
    /// What tells it from all channels that the connection had.
    pub(super) serial: u64,
    /// We closed it and wait for close-ok; everything else is thrown away.
    pub(super) closing: bool,
    pub(super) assembler: Assembler<Published>,
    /// Prefetch of consumers started from now on.
    pub(super) prefetch: u16,
    /// A channel-wide prefetch limit is set in the outlet.
    pub(super) has_window: bool,
    pub(super) unacked: UnackedList,
    /// How long these have been out.
    pub(super) ages: Ages,
    /// Consumers by tag.
    pub(super) tags: HashMap<Box<str>, u32>,
    /// The consumer of direct replies.
    pub(super) replies: Option<u32>,
    /// Keys under which messages taken by basic.get are kept, one for each queue.
    pub(super) getters: Vec<u32>,
    pub(super) mode: Mode,
    /// The queue that "" means: the last one declared here.
    pub(super) last_queue: Option<String>,
    pub(super) gates: GateLine<Waiting>,
    /// Bytes of the replies that wait.
    pub(super) gated_bytes: usize,
    /// The journal position after the last acks: replies wait until they are written.
    pub(super) acked_at: Lsn,
    /// channel.flow: deliveries are wanted.
    pub(super) flow: bool,
    /// What others see of it.
    pub(super) shown: Arc<OpenChannel>,
    /// What it has published to which exchange.
    pub(super) published: PublishCounts,
    /// Its place among all channels.
    _seat: ChannelSeat,
}

/// What a channel does with publishes.
#[derive(Debug)]
pub(super) enum Mode {
    Plain,
    Confirm(Confirms),
    Tx(Box<Transaction>),
}

/// A reply behind its gate.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frames: Vec<u8>,
    pub(super) then: Then,
}

/// What follows when a reply has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The consumer may get messages: its consume-ok is out.
    Activate(u32),
    /// The channel is gone: its close-ok is out.
    Remove,
}

/// A channel number whose close-ok is on its way to the client.
#[derive(Debug)]
pub(super) struct Closed {
    number: u16,
    /// The output's mark behind close-ok.
    until: u64,
    /// The client closed while our own close was on its way: its close-ok is still to come.
    crossed: bool,
}

impl Channel {
    pub(super) fn new(
        number: u16,
        serial: u64,
        prefetch: u16,
        shown: Arc<OpenChannel>,
        seat: ChannelSeat,
    ) -> Self {
        shown.counters.prefetch.set(u64::from(prefetch));
        Self {
            number,
            serial,
            closing: false,
            assembler: Assembler::new(),
            prefetch,
            has_window: false,
            unacked: UnackedList::default(),
            ages: Ages::default(),
            tags: HashMap::new(),
            replies: None,
            getters: Vec::new(),
            mode: Mode::Plain,
            last_queue: None,
            gates: GateLine::default(),
            gated_bytes: 0,
            acked_at: Lsn::ZERO,
            flow: true,
            shown,
            published: PublishCounts::default(),
            _seat: seat,
        }
    }

    /// Sends a reply, or queues it behind its gate. Returns whether it left: if not, [`Open::waits`] is to be told.
    #[must_use]
    pub(super) fn reply<M: Args>(&mut self, wire: &mut Wire, gate: Gate, method: &M, then: Then) -> bool {
        let number = self.number;
        self.reply_with(wire, gate, then, |out| write_method(out, number, method))
    }

    /// As [`reply`](Self::reply), with frames that `encode` appends.
    #[must_use]
    pub(super) fn reply_with(
        &mut self,
        wire: &mut Wire,
        gate: Gate,
        then: Then,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let gate = gate.and(Gate::written(self.acked_at));
        if self.gates.is_empty() && wire.is_open(gate) {
            wire.out.append(encode);
            return true;
        }
        let mut frames = Vec::new();
        encode(&mut frames);
        self.gated_bytes += frames.len();
        self.gates.push(gate, Waiting { frames, then });
        false
    }

    /// Says how many deliveries await their acknowledgement.
    #[inline]
    pub(super) fn count_unacked(&self) {
        self.shown.counters.unacked.set(self.unacked.len() as u64);
    }

    /// Says what waits for a commit.
    pub(super) fn count_uncommitted(&self) {
        let (published, settled) = match &self.mode {
            Mode::Tx(transaction) => (transaction.published(), transaction.settled()),
            _ => (0, 0),
        };
        self.shown.counters.uncommitted.set(published as u64);
        self.shown.counters.acks_uncommitted.set(settled as u64);
    }

    /// Says how many consumers it has.
    pub(super) fn count_consumers(&self) {
        self.shown.counters.consumers.set(self.tags.len() as u64);
    }

    /// Notes how far tags are given, so that their age is known later.
    pub(super) fn mark_ages(&mut self, now: Moment) {
        self.ages.mark(now, self.unacked.next_tag(), self.unacked.oldest());
    }

    /// The queue a method names; "" is the last one declared on this channel.
    pub(super) fn queue_name<'a>(&'a self, name: &'a str) -> Result<&'a str, AmqpError> {
        if !name.is_empty() {
            return Ok(name);
        }
        self.last_queue
            .as_deref()
            .ok_or_else(|| AmqpError::new(ReplyCode::NotFound, "no previously declared queue"))
    }
}

impl Open {
    /// channel.open, the one method that is for a channel which does not exist.
    pub(super) fn open_channel(&mut self, wire: &mut Wire, number: u16) -> Result<(), AmqpError> {
        let limit = usize::from(wire.channel_max);
        if limit > 0 && self.channels.len() >= limit {
            let text = format!(
                "number of channels opened ({}) has reached the negotiated channel_max ({limit})",
                self.channels.len()
            );
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        let seat = ChannelSeat::take(&wire.broker.limits, &self.user)?;
        let written = wire.out.written();
        self.closed.retain(|closed| closed.number != number && (closed.until > written || closed.crossed));
        self.channels_opened += 1;
        let (serial, prefetch) = (self.channels_opened, wire.limits.default_prefetch);
        let channel = Channel::new(number, serial, prefetch, self.shown.add_channel(number), seat);
        self.channels.insert(number, Box::new(channel));
        wire.send(number, &channel::OpenOk { channel_id: b"" });
        self.announce_channel(wire, number);
        Ok(())
    }

    pub(super) fn on_channel(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: channel::Method<'_>,
    ) -> Result<(), Stop> {
        use channel::Method as M;
        match method {
            M::Open(_) => Err(AmqpError::new(ReplyCode::ChannelError, "second 'channel.open' seen").into()),
            M::Flow(flow) => {
                self.set_flow(wire, number, flow.active);
                self.reply(wire, number, Gate::OPEN, &channel::FlowOk { active: flow.active }, Then::Nothing);
                Ok(())
            }
            M::Close(_) => {
                self.client_closed_channel(wire, number);
                Ok(())
            }
            M::OpenOk(_) | M::FlowOk(_) | M::CloseOk(_) => {
                Err(AmqpError::new(ReplyCode::CommandInvalid, "unexpected method from a client").into())
            }
        }
    }

    fn set_flow(&mut self, wire: &mut Wire, number: u16, active: bool) {
        let Ok(channel) = self.channel(number) else { return };
        channel.flow = active;
        // A consumer whose consume-ok has not left starts with that.
        let starts = |key| channel.gates.any(|waiting| waiting.then == Then::Activate(key));
        let keys: Vec<u32> = channel.tags.values().copied().filter(|&key| !starts(key)).collect();
        for key in keys {
            self.consumers.set_active(key, active);
        }
        if !active {
            // What is under way is sent before flow-ok, nothing after it.
            self.sweep_outlet(wire);
        }
    }

    /// The client closes a channel: what it did counts, its confirms leave before close-ok.
    fn client_closed_channel(&mut self, wire: &mut Wire, number: u16) {
        self.abandon_channel(wire, number);
        let Ok(channel) = self.channel(number) else { return };
        let gate = match &channel.mode {
            Mode::Confirm(confirms) => Gate::durable(confirms.settled_at()),
            _ => Gate::OPEN,
        };
        if self.reply(wire, number, gate, &channel::CloseOk {}, Then::Remove) {
            self.remove_channel(wire, number);
        } else if let Some(channel) = self.channels.get_mut(&number) {
            // Nothing but its last replies is left of it.
            channel.closing = true;
        }
    }

    /// Forgets a channel whose close-ok was sent. What the client sent before it can have seen that is thrown away.
    pub(super) fn remove_channel(&mut self, wire: &Wire, number: u16) {
        self.drop_channel(number);
        self.closed.push(Closed { number, until: wire.out.queued(), crossed: false });
    }

    pub(super) fn drop_channel(&mut self, number: u16) {
        self.channels.remove(&number);
        self.shown.remove_channel(number);
    }

    /// Whether a method or frame on a channel that does not exist is a left-over of one that was closed.
    pub(super) fn is_left_over(&mut self, wire: &Wire, number: u16, is_close_ok: bool) -> bool {
        let written = wire.out.written();
        let left_over = self.closed.iter().any(|closed| {
            closed.number == number && (closed.until > written || (closed.crossed && is_close_ok))
        });
        self.closed.retain(|closed| closed.until > written || (closed.crossed && closed.number != number));
        left_over
    }

    /// We close a channel with an error. Its number is taken until close-ok.
    pub(super) fn fail_channel(&mut self, wire: &mut Wire, number: u16, error: &AmqpError) {
        let text = error.reply_text();
        self.log_channel_error(wire, number, &text);
        self.abandon_channel(wire, number);
        let close = channel::Close {
            reply_code: error.code.code(),
            reply_text: &text,
            class_id: error.method.class,
            method_id: error.method.method,
        };
        let Ok(channel) = self.channel(number) else { return };
        // Replies that wait for the journal are not owed any more: the client learns that the channel is gone.
        channel.gates = GateLine::default();
        channel.gated_bytes = 0;
        channel.mode = Mode::Plain;
        channel.assembler.abandon();
        channel.closing = true;
        wire.send(number, &close);
    }

    /// A method or frame for a channel that we closed.
    pub(super) fn on_closing_channel(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: channel::Method<'_>,
    ) -> Result<(), Stop> {
        use channel::Method as M;
        match method {
            M::CloseOk(_) => {
                self.drop_channel(number);
                Ok(())
            }
            M::Close(_) => {
                // Both sides closed at once: the client's answer to ours may still come.
                self.drop_channel(number);
                wire.send(number, &channel::CloseOk {});
                self.closed.retain(|closed| closed.number != number);
                self.closed.push(Closed { number, until: wire.out.queued(), crossed: true });
                Ok(())
            }
            M::Open(_) => {
                let error = AmqpError::new(ReplyCode::ChannelError, "second 'channel.open' seen");
                Err(error.at(<channel::Open<'_> as Args>::ID).into())
            }
            _ => Ok(()),
        }
    }
}
