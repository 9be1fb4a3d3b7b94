//! Class exchange.

use crate::broker::vhost::{
    ALTERNATE, BindRequest, BindTarget, ExchangeDeclare, check_not_default, clean_name, exchange_kind,
};
use crate::channel::gates::Gate;
use crate::identity::operation::{Operation, Resource};
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
                let gate = self.delete_exchange(delete)?;
                self.reply_unless(delete.no_wait, wire, number, gate, &exchange::DeleteOk {});
            }
            M::Bind(bind) => {
                let exchange::Bind { destination, source, routing_key: key, arguments, no_wait, .. } = bind;
                self.check_binding(source, Resource::Exchange(destination), key)?;
                let target = BindTarget::Exchange(destination);
                let gate =
                    self.vhost.bind(BindRequest { source, target, key, arguments }, self.actor(wire))?;
                self.reply_unless(no_wait, wire, number, gate, &exchange::BindOk {});
            }
            M::Unbind(unbind) => {
                let exchange::Unbind { destination, source, routing_key: key, arguments, no_wait, .. } =
                    unbind;
                self.check_binding(source, Resource::Exchange(destination), key)?;
                let target = BindTarget::Exchange(destination);
                let gate =
                    self.vhost.unbind(BindRequest { source, target, key, arguments }, self.actor(wire))?;
                self.reply_unless(no_wait, wire, number, gate, &exchange::UnbindOk {});
            }
            M::DeclareOk(_) | M::DeleteOk(_) | M::BindOk(_) | M::UnbindOk(_) => {
                return Err(AmqpError::new(ReplyCode::CommandInvalid, "unexpected method from a client"));
            }
        }
        Ok(())
    }

    fn declare_exchange(&mut self, declare: exchange::Declare<'_>) -> Result<Gate, AmqpError> {
        let name = clean_name(declare.exchange);
        let it = Resource::Exchange(&name);
        if declare.passive {
            check_not_default(&name)?;
            self.check(Operation::LookAt(it))?;
            return self.vhost.find_exchange(&name);
        }
        exchange_kind(declare.kind)?;
        check_not_default(&name)?;
        self.check(Operation::Declare(it))?;
        let alternate = declare.arguments.get(ALTERNATE).and_then(|value| value.as_str());
        let objection = alternate.and_then(|alternate| self.objection(Operation::CreateWith(it, alternate)));
        self.vhost.declare_exchange(ExchangeDeclare {
            name: &name,
            kind: declare.kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
            objection: objection.as_ref(),
            by: &self.user.name,
        })
    }

    fn delete_exchange(&mut self, delete: exchange::Delete<'_>) -> Result<Gate, AmqpError> {
        let name = clean_name(delete.exchange);
        self.vhost.check_deletable(&name)?;
        self.check(Operation::Delete(Resource::Exchange(&name)))?;
        self.vhost.delete_exchange(&name, delete.if_unused, &self.user.name)
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
