//! Class exchange.

use crate::broker::vhost::{BindRequest, BindTarget, ExchangeDeclare};
use crate::channel::gates::Gate;
use crate::protocol::method::{Args, exchange};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::channel::Then;
use crate::session::open::Open;
use crate::session::wire::Wire;

impl Open {
    pub(super) fn on_exchange(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: exchange::Method<'_>,
    ) -> Result<(), AmqpError> {
        use exchange::Method as M;
        match method {
            M::Declare(declare) => {
                let gate = self.declare_exchange(declare)?;
                self.reply_unless(declare.no_wait, wire, number, gate, &exchange::DeclareOk {});
            }
            M::Delete(delete) => {
                let gate = self.vhost.delete_exchange(delete.exchange, delete.if_unused)?;
                self.reply_unless(delete.no_wait, wire, number, gate, &exchange::DeleteOk {});
            }
            M::Bind(bind) => {
                let exchange::Bind { destination, source, routing_key: key, arguments, no_wait, .. } = bind;
                let target = BindTarget::Exchange(destination);
                let gate = self.vhost.bind(BindRequest { source, target, key, arguments }, wire.id)?;
                self.reply_unless(no_wait, wire, number, gate, &exchange::BindOk {});
            }
            M::Unbind(unbind) => {
                let exchange::Unbind { destination, source, routing_key: key, arguments, no_wait, .. } =
                    unbind;
                let target = BindTarget::Exchange(destination);
                let gate = self.vhost.unbind(BindRequest { source, target, key, arguments }, wire.id)?;
                self.reply_unless(no_wait, wire, number, gate, &exchange::UnbindOk {});
            }
            M::DeclareOk(_) | M::DeleteOk(_) | M::BindOk(_) | M::UnbindOk(_) => {
                return Err(AmqpError::new(ReplyCode::CommandInvalid, "unexpected method from a client"));
            }
        }
        Ok(())
    }

    fn declare_exchange(&self, declare: exchange::Declare<'_>) -> Result<Gate, AmqpError> {
        if declare.passive {
            return self.vhost.find_exchange(declare.exchange);
        }
        self.vhost.declare_exchange(ExchangeDeclare {
            name: declare.exchange,
            kind: declare.kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
        })
    }

    /// Sends a reply or queues it behind its gate.
    pub(super) fn reply<M: Args>(
        &mut self,
        wire: &mut Wire,
        number: u16,
        gate: Gate,
        method: &M,
        then: Then,
    ) -> bool {
        let Some(channel) = self.channels.get_mut(&number) else { return false };
        let left = channel.reply(wire, gate, method, then);
        if !left {
            self.waits(number);
        }
        left
    }

    /// Replies unless the client said that it does not wait.
    pub(super) fn reply_unless<M: Args>(
        &mut self,
        no_wait: bool,
        wire: &mut Wire,
        number: u16,
        gate: Gate,
        method: &M,
    ) {
        if !no_wait {
            self.reply(wire, number, gate, method, Then::Nothing);
        }
    }
}
