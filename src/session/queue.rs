//! Class queue.

use crate::broker::vhost::{BindRequest, BindTarget, Declared, QueueDeclare, REPLY_TO, clean_name};
use crate::channel::gates::Gate;
use crate::identity::operation::{Operation, Resource};
use crate::protocol::method::queue;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::arguments::{self, DEAD_LETTER_EXCHANGE};
use crate::session::open::Open;
use crate::session::wire::Wire;

/// What server-named queues are called, before the letters.
const GENERATED: &str = "amq.gen-";

impl Open {
    pub(super) fn on_queue(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: queue::Method<'_>,
    ) -> Result<(), AmqpError> {
        use queue::Method as M;
        match method {
            M::Declare(declare) => self.on_queue_declare(wire, number, declare),
            M::Bind(bind) => self.on_queue_bind(wire, number, bind),
            M::Unbind(unbind) => {
                let queue::Unbind { queue, exchange: source, routing_key, arguments, .. } = unbind;
                let channel = self.channels.get(&number);
                let Some(channel) = channel else { return Ok(()) };
                let name = channel.queue_name(queue)?.to_owned();
                let key = binding_key(queue, routing_key, &name);
                self.check_binding(source, Resource::Queue(&name), key)?;
                let target = BindTarget::Queue(&name);
                let gate =
                    self.vhost.unbind(BindRequest { source, target, key, arguments }, self.actor(wire))?;
                self.reply_unless(false, wire, number, gate, &queue::UnbindOk {});
                Ok(())
            }
            M::Purge(purge) => {
                let name = self.channel(number)?.queue_name(purge.queue)?.to_owned();
                self.check(Operation::TakeFrom(&name))?;
                let (message_count, lsn) = self.vhost.find_queue(&name, wire.id)?.purge();
                let reply = queue::PurgeOk { message_count: count(message_count) };
                self.reply_unless(purge.no_wait, wire, number, Gate::durable(lsn), &reply);
                Ok(())
            }
            M::Delete(delete) => {
                let queue::Delete { queue, if_unused, if_empty, no_wait, .. } = delete;
                let name = clean_name(self.channel(number)?.queue_name(queue)?);
                self.check(Operation::Delete(Resource::Queue(&name)))?;
                let cell = self.vhost.find_queue(&name, wire.id).ok();
                let (ready, gate) = self.vhost.delete_queue(&name, if_unused, if_empty, self.actor(wire))?;
                if let Some(cell) = cell {
                    self.owned.remove(&cell.id);
                }
                let reply = queue::DeleteOk { message_count: count(ready) };
                self.reply_unless(no_wait, wire, number, gate, &reply);
                Ok(())
            }
            M::DeclareOk(_) | M::BindOk(_) | M::UnbindOk(_) | M::PurgeOk(_) | M::DeleteOk(_) => {
                Err(AmqpError::new(ReplyCode::CommandInvalid, "unexpected method from a client"))
            }
        }
    }

    fn on_queue_declare(
        &mut self,
        wire: &mut Wire,
        number: u16,
        declare: queue::Declare<'_>,
    ) -> Result<(), AmqpError> {
        if declare.queue.starts_with(REPLY_TO) {
            return self.on_declare_replies(wire, number, declare);
        }
        let Declared { cell, created, gate } = if declare.passive {
            let name = clean_name(declare.queue);
            self.check(Operation::LookAt(Resource::Queue(&name)))?;
            self.vhost.find_declared(&name, wire.id)?
        } else {
            self.declare_queue(wire, declare)?
        };
        if created {
            for name in arguments::without_effect(declare.arguments) {
                let queue = &cell.spec.name;
                tracing::warn!(?queue, "the argument {name} is kept, but has no effect in this version");
            }
            if cell.spec.owner.is_some() {
                self.owned.insert(cell.id, cell.clone());
            }
        }
        self.channel(number)?.last_queue = Some(cell.spec.name.clone());
        if declare.no_wait {
            return Ok(());
        }
        let (depth, consumer_count) = cell.counts();
        let reply =
            queue::DeclareOk { queue: &cell.spec.name, message_count: count(depth.ready), consumer_count };
        self.reply_unless(false, wire, number, gate, &reply);
        Ok(())
    }

    /// queue.declare of a reply queue asks whether it is there, passive or not: the requester has made it.
    fn on_declare_replies(
        &mut self,
        wire: &mut Wire,
        number: u16,
        declare: queue::Declare<'_>,
    ) -> Result<(), AmqpError> {
        let name = declare.queue.trim_end_matches(['\r', '\n']);
        // The name that all requesters use is always there.
        if name != REPLY_TO && !self.vhost.has_replies(name) {
            return Err(self.vhost.no_queue(name));
        }
        self.channel(number)?.last_queue = Some(name.to_owned());
        let reply = queue::DeclareOk { queue: name, message_count: 0, consumer_count: 1 };
        self.reply_unless(declare.no_wait, wire, number, Gate::OPEN, &reply);
        Ok(())
    }

    fn declare_queue(&mut self, wire: &Wire, declare: queue::Declare<'_>) -> Result<Declared, AmqpError> {
        let server_named = declare.queue.chars().all(|c| matches!(c, '\r' | '\n'));
        let name =
            if server_named { wire.broker.names.generate(GENERATED) } else { clean_name(declare.queue) };
        let it = Resource::Queue(&name);
        self.check(Operation::Declare(it))?;
        let letters = declare.arguments.get(DEAD_LETTER_EXCHANGE).and_then(|value| value.as_str());
        let objection = letters.and_then(|exchange| self.objection(Operation::CreateWith(it, exchange)));
        let request = QueueDeclare {
            name: &name,
            server_named,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments: declare.arguments,
            objection: objection.as_ref(),
        };
        self.vhost.declare_queue(request, self.actor(wire))
    }

    fn on_queue_bind(
        &mut self,
        wire: &mut Wire,
        number: u16,
        bind: queue::Bind<'_>,
    ) -> Result<(), AmqpError> {
        let queue::Bind { queue, exchange: source, routing_key, arguments, no_wait, .. } = bind;
        let Some(channel) = self.channels.get(&number) else { return Ok(()) };
        let name = channel.queue_name(queue)?.to_owned();
        let key = binding_key(queue, routing_key, &name);
        self.check_binding(source, Resource::Queue(&name), key)?;
        let target = BindTarget::Queue(&name);
        let gate = self.vhost.bind(BindRequest { source, target, key, arguments }, self.actor(wire))?;
        self.reply_unless(no_wait, wire, number, gate, &queue::BindOk {});
        Ok(())
    }
}

/// With neither queue nor key given, the key is the name of the channel's last queue.
fn binding_key<'a>(queue: &str, key: &'a str, name: &'a str) -> &'a str {
    if queue.is_empty() && key.is_empty() { name } else { key }
}

/// A count as the wire has it.
fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
