//! Class confirm: publisher confirms.

use crate::broker::totals::Event;
use crate::channel::confirms::Confirms;
use crate::channel::gates::Gate;
use crate::ids::Lsn;
use crate::protocol::method::{basic, confirm};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::channel::{Mode, Then};
use crate::session::open::Open;
use crate::session::wire::Wire;

impl Open {
    pub(super) fn on_confirm(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: confirm::Method,
    ) -> Result<(), AmqpError> {
        let confirm::Method::Select(confirm::Select { no_wait }) = method else {
            return Err(AmqpError::new(ReplyCode::CommandInvalid, "unexpected method from a client"));
        };
        let channel = self.channel(number)?;
        match channel.mode {
            Mode::Plain => {
                channel.mode = Mode::Confirm(Confirms::default());
                channel.shown.set_mode(true, false);
            }
            Mode::Confirm(_) => {}
            Mode::Tx(_) => {
                let text = "cannot switch from tx to confirm mode";
                return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
            }
        }
        if !no_wait {
            self.reply(wire, number, Gate::OPEN, &confirm::SelectOk {}, Then::Nothing);
        }
        Ok(())
    }

    /// Sends the confirms that are due when the journal is durable up to `durable`.
    pub(super) fn send_confirms(&mut self, wire: &mut Wire, number: u16, durable: Lsn) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let Mode::Confirm(confirms) = &mut channel.mode else { return };
        let waiting = confirms.outstanding();
        while let Some(confirm) = confirms.next_due(durable) {
            let (delivery_tag, multiple) = (confirm.tag, confirm.multiple);
            if confirm.ack {
                wire.send(number, &basic::Ack { delivery_tag, multiple });
            } else {
                wire.send(number, &basic::Nack { delivery_tag, multiple, requeue: false });
            }
        }
        let left = confirms.outstanding();
        channel.shown.counters.unconfirmed.set(left);
        channel.shown.counters.confirm.add(waiting - left);
        self.tally.count(Event::Confirmed, waiting - left);
    }
}
