//! Queues: declare, find, delete.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{RESERVED_PREFIX, Topology, VHost, clean_name, reserved};
use crate::broker::events::{Actor, Event, INTERNAL};
use crate::broker::outlet::OutletLink;
use crate::broker::queue_cell::{QueueCell, QueueSpec, wake};
use crate::broker::vhosts::QueueType;
use crate::channel::gates::Gate;
use crate::ids::{ConnectionId, QueueId};
use crate::protocol::field::{Table, TableBuilder, TableRef};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::Queue;
use crate::queue::arguments::{self, Flags, Place};
use crate::storage::record::Record;

/// The argument that says what a queue is.
const QUEUE_TYPE: &str = "x-queue-type";

/// A queue.declare that is not passive.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueDeclare<'a> {
    /// Name as the client sent it, or the generated one.
    pub name: &'a str,
    /// The name is a generated one.
    pub server_named: bool,
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to the connection and goes with it.
    pub exclusive: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: TableRef<'a>,
    /// What is answered if it does not exist: whoever asks may not make it like this.
    pub objection: Option<&'a AmqpError>,
}

/// A declared queue.
#[derive(Debug)]
pub struct Declared {
    /// The queue.
    pub cell: Arc<QueueCell>,
    /// It did not exist before.
    pub created: bool,
    /// When declare-ok may leave.
    pub gate: Gate,
}

impl VHost {
    /// Declares a queue, or checks that the existing one is equivalent.
    ///
    /// # Errors
    /// 405 if exclusivity differs or it is another connection's, 406 if it is inequivalent, an argument or the name is bad or
    /// there are as many queues as may be, 403 for a new name with the reserved prefix; the objection if it does not exist.
    pub fn declare_queue<'a>(
        &self,
        request: QueueDeclare<'_>,
        who: impl Into<Actor<'a>>,
    ) -> Result<Declared, AmqpError> {
        let Actor { connection: who, user } = who.into();
        let name = clean_name(request.name);
        if name.is_empty() {
            return Err(AmqpError::new(ReplyCode::PreconditionFailed, "a queue has to have a name"));
        }
        let typed = self.with_default_type(request);
        let request =
            QueueDeclare { arguments: typed.as_ref().map_or(request.arguments, Table::as_ref), ..request };
        let durable = request.durable && !request.exclusive;
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        if let Some(cell) = topology.queues.get(&name) {
            self.check_same(cell, request, durable, who)?;
            cell.touch();
            self.shared.node.queues_declared.count();
            return Ok(Declared { cell: cell.clone(), created: false, gate: self.unchanged(durable) });
        }
        if name.starts_with(RESERVED_PREFIX) && !request.server_named {
            return Err(reserved("queue", &name));
        }
        if let Some(objection) = request.objection {
            return Err(objection.clone());
        }
        self.check_exists()?;
        self.check_room(&topology, &name)?;
        let flags = Flags {
            durable: request.durable,
            exclusive: request.exclusive,
            auto_delete: request.auto_delete,
            server_named: request.server_named,
        };
        arguments::check(request.arguments, flags, Place { queue: &name, vhost: &self.name })?;
        let spec = QueueSpec {
            name,
            durable,
            auto_delete: request.auto_delete,
            owner: request.exclusive.then_some(who),
            arguments: request.arguments.to_table(),
        };
        if let Err(limit) = self.shared.node.queues.take() {
            let text = format!("cannot declare queue '{}': queue limit ({limit}) is reached", spec.name);
            return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
        }
        self.shared.node.queues_declared.count();
        Ok(self.create_queue(&mut topology, spec, user))
    }

    /// What queues are that do not say it themselves.
    pub(in crate::broker) fn set_default_queue_type(&self, kind: QueueType) {
        self.prefers_quorum.store(kind == QueueType::Quorum, Ordering::Relaxed);
    }

    /// The arguments with the vhost's default type, if that is to be added: as in RabbitMQ only to queues that can be of
    /// every type.
    pub(super) fn with_default_type(&self, request: QueueDeclare<'_>) -> Option<Table> {
        let can_be = request.durable && !request.exclusive && !request.auto_delete;
        let applies = self.prefers_quorum.load(Ordering::Relaxed) && can_be;
        if !applies || request.arguments.get(QUEUE_TYPE).is_some() {
            return None;
        }
        let mut table = TableBuilder::new();
        request.arguments.iter().for_each(|(key, value)| {
            table.value(key, value);
        });
        table.long_str(QUEUE_TYPE, QueueType::Quorum.name());
        Some(table.finish())
    }

    /// Whether the vhost may have one more queue.
    fn check_room(&self, topology: &Topology, name: &str) -> Result<(), AmqpError> {
        match topology.parameters.limits().1 {
            Some(limit) if topology.queues.len() as u64 >= u64::from(limit) => {
                let vhost = &self.name;
                let text = format!(
                    "cannot declare queue '{name}': queue limit in vhost '{vhost}' ({limit}) is reached"
                );
                Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
            }
            _ => Ok(()),
        }
    }

    fn create_queue(&self, topology: &mut Topology, spec: QueueSpec, by: &str) -> Declared {
        let id = QueueId(self.shared.last_queue.fetch_add(1, Ordering::Relaxed) + 1);
        let gate = if spec.durable {
            let record = Record::QueueDeclared {
                vhost: &self.name,
                id,
                name: &spec.name,
                auto_delete: spec.auto_delete,
                arguments: &spec.arguments,
            };
            Gate::durable(self.redefine(|batch| batch.record(&record)))
        } else {
            Gate::OPEN
        };
        let cell = QueueCell::new(id, spec, self.shared.bodies.clone(), self.agenda.clone());
        cell.set_rules(topology.parameters.rules_of(&cell));
        topology.add(cell.clone());
        self.changed(topology);
        self.note_queue(&cell.spec, by);
        Declared { cell, created: true, gate }
    }

    pub(super) fn check_same(
        &self,
        cell: &QueueCell,
        request: QueueDeclare<'_>,
        durable: bool,
        who: ConnectionId,
    ) -> Result<(), AmqpError> {
        if cell.spec.owner != request.exclusive.then_some(who) {
            return Err(self.locked(&cell.spec.name));
        }
        let flags = [
            ("durable", durable, cell.spec.durable),
            ("auto_delete", request.auto_delete, cell.spec.auto_delete),
        ];
        for (arg, received, current) in flags {
            if received != current {
                let text = format!(
                    "inequivalent arg '{arg}' for queue '{}' in vhost '{}': received '{received}' but current is '{current}'",
                    cell.spec.name, self.name
                );
                return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
            }
        }
        let place = Place { queue: &cell.spec.name, vhost: &self.name };
        arguments::check_equivalent(cell.spec.arguments.as_ref(), request.arguments, place)
    }

    /// The queue called `name`, for a connection that wants to do something with it.
    ///
    /// # Errors
    /// 404 if there is none, 405 if it is another connection's exclusive queue.
    pub fn find_queue(&self, name: &str, who: ConnectionId) -> Result<Arc<QueueCell>, AmqpError> {
        let topology = self.topology.read();
        let cell = topology.queues.get(name).ok_or_else(|| self.no_queue(name))?;
        self.check_access(cell, who)?;
        Ok(cell.clone())
    }

    /// All queues, in no order, reply queues included.
    #[must_use]
    pub fn queues(&self) -> Vec<Arc<QueueCell>> {
        let mut cells = self.replies.cells();
        cells.extend(self.topology.read().queues.values().cloned());
        cells
    }

    /// Answers a passive queue.declare.
    ///
    /// # Errors
    /// As [`find_queue`](Self::find_queue).
    pub fn find_declared(&self, name: &str, who: ConnectionId) -> Result<Declared, AmqpError> {
        let cell = self.find_queue(&clean_name(name), who)?;
        cell.touch();
        let gate = self.unchanged(cell.spec.durable);
        Ok(Declared { cell, created: false, gate })
    }

    pub(super) fn check_access(&self, cell: &QueueCell, who: ConnectionId) -> Result<(), AmqpError> {
        match cell.spec.owner {
            Some(owner) if owner != who => Err(self.locked(&cell.spec.name)),
            _ => Ok(()),
        }
    }

    fn locked(&self, name: &str) -> AmqpError {
        let text = format!(
            "cannot obtain exclusive access to locked queue '{name}' in vhost '{}'. It could be originally declared on \
             another connection or the exclusive property value does not match that of the original declaration.",
            self.name
        );
        AmqpError::new(ReplyCode::ResourceLocked, text)
    }

    /// Deletes a queue. Returns how many ready messages it had, 0 if it does not exist.
    ///
    /// # Errors
    /// 405 for another connection's exclusive queue; 406 with `if_empty` or `if_unused` if it is not.
    pub fn delete_queue<'a>(
        &self,
        name: &str,
        if_unused: bool,
        if_empty: bool,
        who: impl Into<Actor<'a>>,
    ) -> Result<(u64, Gate), AmqpError> {
        let Actor { connection: who, user } = who.into();
        let name = &clean_name(name);
        let _events = self.shared.events.after();
        let mut wakes = Vec::new();
        let (closed, gate) = {
            let mut topology = self.topology.write();
            let Some(cell) = topology.queues.get(name).cloned() else { return Ok((0, self.unchanged(true))) };
            self.check_access(&cell, who)?;
            let keep = |queue: &Queue<OutletLink>| {
                if if_empty && queue.depth().ready > 0 {
                    let text = format!("queue '{name}' in vhost '{}' not empty", self.name);
                    return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
                }
                if if_unused && queue.consumer_count() > 0 {
                    return Err(self.in_use("queue", name));
                }
                Ok(())
            };
            let closed = cell.close(keep, &mut wakes)?;
            (closed, self.forget_queue(&mut topology, &cell, user))
        };
        wake(wakes);
        Ok((closed.ready, gate))
    }

    /// Deletes a queue without conditions, unless it is gone already: an exclusive queue whose connection ended.
    pub fn delete_owned(&self, cell: &QueueCell) {
        self.delete_if(cell, |_| true);
    }

    /// Deletes an auto-delete queue whose last consumer has left, unless there is a new one.
    /// Returns when a reply that says so may leave.
    pub fn delete_abandoned(&self, cell: &QueueCell) -> Gate {
        if self.close_replies(cell) {
            return Gate::OPEN;
        }
        self.delete_if(cell, Queue::was_abandoned)
    }

    /// Deletes a queue that was not used for as long as its rules say, unless it is used now.
    pub(super) fn delete_expired(&self, cell: &QueueCell, now: u64) {
        self.delete_if(cell, |queue| queue.is_expired(now));
    }

    fn delete_if(&self, cell: &QueueCell, due: impl FnOnce(&Queue<OutletLink>) -> bool) -> Gate {
        let _events = self.shared.events.after();
        let mut wakes = Vec::new();
        // Dropped after the lock, like the messages it holds.
        let (_closed, gate) = {
            let mut topology = self.topology.write();
            if !topology.by_id.contains_key(&cell.id) {
                return Gate::OPEN;
            }
            let keep = |queue: &Queue<OutletLink>| if due(queue) { Ok(()) } else { Err(()) };
            let Ok(closed) = cell.close(keep, &mut wakes) else { return Gate::OPEN };
            (closed, self.forget_queue(&mut topology, cell, INTERNAL))
        };
        wake(wakes);
        gate
    }

    /// Takes a closed queue out of the topology, with its bindings and the exchanges that go with them.
    fn forget_queue(&self, topology: &mut Topology, cell: &QueueCell, by: &str) -> Gate {
        let id: QueueId = cell.id;
        let removed = topology.router.remove_queue(id);
        self.shared.node.queues.give_back(1);
        self.shared.node.exchanges.give_back(removed.exchanges.len() as u64);
        self.note_removed(topology, &removed, INTERNAL);
        self.shared.events.note(|| Event::queue_deleted(&self.name, &cell.spec.name, by));
        topology.queues.remove(&cell.spec.name);
        topology.by_id.remove(&id);
        self.changed(topology);
        let durable = cell.spec.durable || removed.exchanges.iter().any(|exchange| exchange.durable);
        if !durable {
            return Gate::OPEN;
        }
        let lsn = self.redefine(|batch| {
            if cell.spec.durable {
                batch.record(&Record::QueueDeleted { id });
            }
            self.record_removed(batch, topology, &removed);
        });
        Gate::durable(lsn)
    }
}
