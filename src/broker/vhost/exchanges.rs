//! Exchanges and bindings: declare, delete, bind, unbind.

use super::replies::is_reply_name;
use super::{REPLY_TO, RESERVED_PREFIX, Topology, VHost, clean_name, reserved};
use crate::broker::events::{Actor, Event};
use crate::channel::gates::Gate;
use crate::ids::QueueId;
use crate::protocol::field::{TableRef, Value};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::arguments::inequivalent;
use crate::routing::{BindError, BindingSpec, Destination, ExchangeKind, ExchangeSpec};
use crate::storage::record::Record;

/// The argument that names an alternate exchange.
pub const ALTERNATE: &str = "alternate-exchange";

/// An exchange.declare that is not passive.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeDeclare<'a> {
    /// Name as the client sent it.
    pub name: &'a str,
    /// Type as the client sent it.
    pub kind: &'a str,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with its last binding as a source.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: TableRef<'a>,
    /// What is answered if it does not exist: whoever asks may not make it like this.
    pub objection: Option<&'a AmqpError>,
    /// The name of who asks.
    pub by: &'a str,
}

/// What a binding leads to, by name.
#[derive(Clone, Copy, Debug)]
pub enum BindTarget<'a> {
    /// A queue.
    Queue(&'a str),
    /// An exchange.
    Exchange(&'a str),
}

/// A bind or unbind, of a queue or an exchange.
#[derive(Clone, Copy, Debug)]
pub struct BindRequest<'a> {
    /// The exchange that messages come from.
    pub source: &'a str,
    /// Where they go.
    pub target: BindTarget<'a>,
    /// The binding key.
    pub key: &'a str,
    /// The arguments, part of the binding's identity.
    pub arguments: TableRef<'a>,
}

/// The exchange type of this name.
///
/// # Errors
/// 406 if there is none.
pub fn exchange_kind(name: &str) -> Result<ExchangeKind, AmqpError> {
    ExchangeKind::parse(name).ok_or_else(|| {
        let text = format!("unknown exchange type '{name}'");
        AmqpError::new(ReplyCode::PreconditionFailed, text)
    })
}

/// Checks that an exchange is not the default one, with which little can be done.
///
/// # Errors
/// 403 if it is.
pub fn check_not_default(name: &str) -> Result<(), AmqpError> {
    if name.is_empty() {
        let text = "operation not permitted on the default exchange";
        return Err(AmqpError::new(ReplyCode::AccessRefused, text));
    }
    Ok(())
}

impl VHost {
    /// Declares an exchange, or checks that the existing one is equivalent.
    ///
    /// # Errors
    /// 406 for an unknown type, an inequivalent exchange, a bad alternate-exchange or one exchange too many; 403 for the default exchange
    /// and new names with the reserved prefix; the objection if it does not exist.
    pub fn declare_exchange(&self, request: ExchangeDeclare<'_>) -> Result<Gate, AmqpError> {
        let kind = exchange_kind(request.kind)?;
        let name = clean_name(request.name);
        check_not_default(&name)?;
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        if let Some(current) = topology.router.exchange(&name) {
            self.check_equivalent(current, kind, request)?;
            return Ok(self.unchanged(current.durable));
        }
        if name.starts_with(RESERVED_PREFIX) {
            return Err(reserved("exchange", &name));
        }
        let alternate = self.alternate(&name, request.arguments)?;
        if let Some(objection) = request.objection {
            return Err(objection.clone());
        }
        self.check_exists()?;
        let exchange = ExchangeSpec {
            alternate,
            name,
            kind,
            durable: request.durable,
            auto_delete: request.auto_delete,
            internal: request.internal,
            arguments: request.arguments.to_table(),
        };
        if let Err(limit) = self.shared.node.exchanges.take() {
            let text =
                format!("cannot declare exchange '{}': exchange limit ({limit}) is reached", exchange.name);
            return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
        }
        let gate = if exchange.durable {
            let record = Record::ExchangeDeclared { vhost: &self.name, exchange: &exchange };
            Gate::durable(self.redefine(|batch| batch.record(&record)))
        } else {
            Gate::OPEN
        };
        self.shared.events.note(|| Event::exchange_created(&self.name, &exchange, request.by));
        let (name, fallback) = (exchange.name.clone(), topology.parameters.alternate_of(&exchange.name));
        topology.router.declare(exchange);
        topology.router.set_fallback(&name, fallback);
        self.changed(&topology);
        Ok(gate)
    }

    pub(super) fn alternate(&self, name: &str, arguments: TableRef<'_>) -> Result<Option<String>, AmqpError> {
        match arguments.get(ALTERNATE) {
            None => Ok(None),
            Some(value) => match value.as_str() {
                Some(alternate) => Ok(Some(alternate.to_owned())),
                None => {
                    let text = format!(
                        "invalid type '{}' for arg '{ALTERNATE}' in exchange '{name}' in vhost '{}'",
                        value.type_name(),
                        self.name
                    );
                    Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
                }
            },
        }
    }

    pub(super) fn check_equivalent(
        &self,
        current: &ExchangeSpec,
        kind: ExchangeKind,
        request: ExchangeDeclare<'_>,
    ) -> Result<(), AmqpError> {
        let checks = [
            ("type", kind.name(), current.kind.name()),
            ("durable", yes_no(request.durable), yes_no(current.durable)),
            ("auto_delete", yes_no(request.auto_delete), yes_no(current.auto_delete)),
            ("internal", yes_no(request.internal), yes_no(current.internal)),
        ];
        for (arg, received, is) in checks {
            if received != is {
                let text = format!(
                    "inequivalent arg '{arg}' for exchange '{}' in vhost '{}': received '{received}' but current is '{is}'",
                    current.name, self.name
                );
                return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
            }
        }
        let (received, is) = (request.arguments.get(ALTERNATE), current.arguments.as_ref().get(ALTERNATE));
        let same = match (received, is) {
            (Some(a), Some(b)) => Value::equivalent(a, b),
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(inequivalent(ALTERNATE, "exchange", &current.name, &self.name, received, is))
    }

    /// Answers a passive exchange.declare.
    ///
    /// # Errors
    /// 404 if there is none, 403 for the default exchange.
    pub fn find_exchange(&self, name: &str) -> Result<Gate, AmqpError> {
        let name = clean_name(name);
        check_not_default(&name)?;
        let topology = self.topology.read();
        let exchange = topology.router.exchange(&name).ok_or_else(|| self.no_exchange(&name))?;
        Ok(self.unchanged(exchange.durable))
    }

    /// Checks that an exchange is one that may be deleted at all.
    ///
    /// # Errors
    /// 403 for the default and the predeclared exchanges.
    pub fn check_deletable(&self, name: &str) -> Result<(), AmqpError> {
        check_not_default(name)?;
        if name.starts_with(RESERVED_PREFIX) {
            let text = format!("deletion of system exchange '{name}' in vhost '{}' not allowed", self.name);
            return Err(AmqpError::new(ReplyCode::AccessRefused, text));
        }
        Ok(())
    }

    /// Deletes an exchange and its bindings in both directions. One that does not exist is fine.
    ///
    /// # Errors
    /// 403 for the default and the predeclared exchanges; 406 with `if_unused` if it is the source of a binding.
    pub fn delete_exchange(&self, name: &str, if_unused: bool, by: &str) -> Result<Gate, AmqpError> {
        let name = clean_name(name);
        self.check_deletable(&name)?;
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        if if_unused && topology.router.is_source(&name) {
            return Err(self.in_use("exchange", &name));
        }
        let Some(removed) = topology.router.delete(&name) else { return Ok(self.unchanged(true)) };
        self.shared.node.exchanges.give_back(removed.exchanges.len() as u64);
        self.note_removed(&topology, &removed, by);
        let durable = removed.exchanges.iter().any(|exchange| exchange.durable);
        let lsn = self.redefine(|batch| self.record_removed(batch, &topology, &removed));
        self.changed(&topology);
        Ok(if durable { Gate::durable(lsn) } else { Gate::OPEN })
    }

    /// Makes a binding; one that exists already is fine.
    ///
    /// # Errors
    /// 403 for the default exchange at either end and for a reply queue, 404 for a missing end, 405 for another connection's exclusive
    /// queue, 406 for arguments that the exchange type refuses, and for a queue with as many as may be.
    pub fn bind<'a>(&self, request: BindRequest<'_>, who: impl Into<Actor<'a>>) -> Result<Gate, AmqpError> {
        check_ends(request)?;
        let who = who.into();
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        if topology.router.exchange(request.source).is_none() {
            return Err(self.no_exchange(request.source));
        }
        let destination = match request.target {
            BindTarget::Queue(name) if name == REPLY_TO || is_reply_name(name) => {
                let text = format!("cannot bind reply queue '{name}' in vhost '{}'", self.name);
                return Err(AmqpError::new(ReplyCode::AccessRefused, text));
            }
            BindTarget::Queue(name) => {
                let cell = topology.queues.get(name).ok_or_else(|| self.no_queue(name))?;
                self.check_access(cell, who.connection)?;
                Destination::Queue(cell.id)
            }
            BindTarget::Exchange(name) => {
                topology.router.exchange(name).ok_or_else(|| self.no_exchange(name))?;
                Destination::Exchange(name.to_owned())
            }
        };
        let binding = self.binding(request, destination);
        self.check_binding_room(&topology, &binding)?;
        let durable = self.is_durable(&topology, &binding);
        let arguments = &binding.arguments;
        let added = topology.router.bind(&binding.source, &binding.destination, &binding.key, arguments);
        match added {
            Ok(true) => {}
            Ok(false) => return Ok(self.unchanged(durable)),
            Err(BindError::NoSource) => return Err(self.no_exchange(request.source)),
            Err(BindError::NoDestination) => return Err(self.no_exchange(target_name(request.target))),
            Err(BindError::InvalidArguments(text)) => {
                return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
            }
        }
        self.changed(&topology);
        self.note_bound(&topology, &binding, who.user);
        if !durable {
            return Ok(Gate::OPEN);
        }
        let record = Record::Bound { vhost: &self.name, binding: &binding };
        Ok(Gate::durable(self.redefine(|batch| batch.record(&record))))
    }

    /// Whether there is this binding, or its queue may have one more.
    fn check_binding_room(
        &self,
        topology: &Topology,
        binding: &BindingSpec<QueueId>,
    ) -> Result<(), AmqpError> {
        let BindingSpec { source, destination, key, arguments } = binding;
        let &Destination::Queue(id) = destination else { return Ok(()) };
        let count = topology.router.count_to_queue(id);
        let Some(limit) = self.shared.node.bindings_per_queue.exceeded_by(count + 1) else { return Ok(()) };
        if topology.router.is_bound(source, destination, key, arguments) {
            return Ok(());
        }
        let queue = topology.by_id.get(&id).map_or("", |cell| &cell.spec.name);
        let vhost = &self.name;
        let text =
            format!("cannot bind queue '{queue}' in vhost '{vhost}': its binding limit ({limit}) is reached");
        Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
    }

    /// Removes a binding. A binding or an end that does not exist is fine.
    ///
    /// # Errors
    /// 403 for the default exchange at either end, 405 for a binding of another connection's exclusive queue.
    pub fn unbind<'a>(&self, request: BindRequest<'_>, who: impl Into<Actor<'a>>) -> Result<Gate, AmqpError> {
        check_ends(request)?;
        let who = who.into();
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        let (destination, access) = match request.target {
            BindTarget::Queue(name) => {
                let Some(cell) = topology.queues.get(name) else { return Ok(self.unchanged(true)) };
                (Destination::Queue(cell.id), self.check_access(cell, who.connection))
            }
            BindTarget::Exchange(name) => (Destination::Exchange(name.to_owned()), Ok(())),
        };
        let binding = self.binding(request, destination);
        if access.is_err() && !topology.router.bindings_from(request.source).any(|known| known == binding) {
            return Ok(self.unchanged(true));
        }
        access?;
        let durable = self.is_durable(&topology, &binding);
        let arguments = &binding.arguments;
        let removed = topology.router.unbind(&binding.source, &binding.destination, &binding.key, arguments);
        if removed.bindings.is_empty() {
            return Ok(self.unchanged(true));
        }
        self.changed(&topology);
        self.note_removed(&topology, &removed, who.user);
        self.shared.node.exchanges.give_back(removed.exchanges.len() as u64);
        let durable = durable || removed.exchanges.iter().any(|exchange| exchange.durable);
        let lsn = self.redefine(|batch| self.record_removed(batch, &topology, &removed));
        Ok(if durable { Gate::durable(lsn) } else { Gate::OPEN })
    }

    fn binding(&self, request: BindRequest<'_>, destination: Destination<QueueId>) -> BindingSpec<QueueId> {
        BindingSpec {
            source: request.source.to_owned(),
            destination,
            key: request.key.to_owned(),
            arguments: request.arguments.to_table(),
        }
    }

    /// A binding is durable if both its ends are.
    pub(super) fn is_durable(&self, topology: &Topology, binding: &BindingSpec<QueueId>) -> bool {
        let source = topology.router.exchange(&binding.source);
        source.is_some_and(|source| source.durable) && topology.is_durable(&binding.destination)
    }
}

fn check_ends(request: BindRequest<'_>) -> Result<(), AmqpError> {
    if let BindTarget::Exchange(name) = request.target {
        check_not_default(name)?;
    }
    check_not_default(request.source)
}

fn target_name(target: BindTarget<'_>) -> &str {
    match target {
        BindTarget::Queue(name) | BindTarget::Exchange(name) => name,
    }
}

fn yes_no(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
