//! How much may be unacknowledged: basic.qos, and a bound for channels that set none.
//!
//! Every unacknowledged delivery takes memory. A channel that was never told how many it may have gets a window in its
//! outlet, as one with a channel-wide prefetch has, but only when it has many: others spend nothing on it.

use crate::channel::gates::Gate;
use crate::protocol::method::basic;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::channel::{Channel, Mode, Then};
use crate::session::open::Open;
use crate::session::wire::Wire;

impl Channel {
    /// How many of its deliveries are unacknowledged as its client sees it: those that its transaction settles are until
    /// it commits.
    fn unsettled(&self) -> usize {
        let settled = match &self.mode {
            Mode::Tx(transaction) => transaction.settled(),
            _ => 0,
        };
        self.unacked.len() + settled
    }
}

impl Open {
    /// basic.qos as RabbitMQ has it: without `global` for consumers started later, with it for the whole channel.
    pub(super) fn on_qos(&mut self, wire: &mut Wire, number: u16, qos: basic::Qos) -> Result<(), AmqpError> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(AmqpError::new(ReplyCode::NotImplemented, text));
        }
        let channel = self.channel(number)?;
        let limit = if qos.global { u32::from(qos.prefetch_count) } else { 0 };
        if !qos.global {
            channel.prefetch = qos.prefetch_count;
            channel.shown.counters.prefetch.set(u64::from(qos.prefetch_count));
        }
        if limit > 0 || channel.has_window {
            channel.shown.counters.global_prefetch.set(u64::from(limit));
            // What is in the outlet counts as well: it is sent now.
            self.sweep_outlet(wire);
            self.set_window(wire, number, limit);
        }
        self.reply(wire, number, Gate::OPEN, &basic::QosOk {}, Then::Nothing);
        Ok(())
    }

    /// Looks whether a channel has so much unacknowledged that it is to be counted in the outlet too.
    #[inline]
    pub(super) fn bound_unacked(&mut self, wire: &Wire, number: u16) {
        let most = wire.limits.unacked_per_channel;
        let Some(channel) = self.channels.get(&number) else { return };
        if most > 0 && !channel.has_window && channel.unacked.len() >= (most / 2) as usize {
            self.set_window(wire, number, 0);
        }
    }

    /// Bounds what a channel may have unacknowledged by its channel-wide prefetch, if it has any, and by what no channel
    /// may exceed once it has half of that. What the outlet holds at the moment is not counted.
    fn set_window(&mut self, wire: &Wire, number: u16, prefetch: u32) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let most = wire.limits.unacked_per_channel;
        let unacked = u32::try_from(channel.unsettled()).unwrap_or(u32::MAX);
        let limit = match (prefetch, most) {
            (0, most) if unacked < most / 2 => 0,
            (0, only) | (only, 0) => only,
            (prefetch, most) => prefetch.min(most),
        };
        channel.has_window = limit > 0;
        let mut resume = Vec::new();
        wire.outlet.set_window(number, limit, unacked, &mut resume);
        self.consumers.resume(&resume);
    }

    /// Whether basic.get may add to what is unacknowledged.
    ///
    /// # Errors
    /// 406 if there is too much of it.
    pub(super) fn check_unacked(&mut self, wire: &Wire, number: u16, no_ack: bool) -> Result<(), AmqpError> {
        let most = wire.limits.unacked_per_channel;
        if no_ack || most == 0 || self.channel(number)?.unsettled() < most as usize {
            return Ok(());
        }
        let text = format!("reached maximum ({most}) of unacknowledged deliveries per channel");
        Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
    }
}
