//! Class access: of protocol 0-8, answered for clients that still ask.

use crate::channel::gates::Gate;
use crate::protocol::method::access;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::channel::Then;
use crate::session::open::Open;
use crate::session::wire::Wire;

impl Open {
    pub(super) fn on_access(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: access::Method<'_>,
    ) -> Result<(), AmqpError> {
        match method {
            access::Method::Request(_) => {
                self.reply(wire, number, Gate::OPEN, &access::RequestOk { ticket: 1 }, Then::Nothing);
                Ok(())
            }
            access::Method::RequestOk(_) => {
                Err(AmqpError::new(ReplyCode::CommandInvalid, "unexpected method from a client"))
            }
        }
    }
}
