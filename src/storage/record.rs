//! The records of the journal: every change of durable state is one of these.
//!
//! On disk a record is a tag octet and its fields, see `docs/storage.md`. The message of an [`Record::Enqueued`] is
//! not in the record but an item in the body block behind all records of its group; the record has its lengths.

use crate::deaths::Reason;
use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::protocol::field::{Table, TableRef};
use crate::routing::{BindingSpec, Destination, ExchangeKind, ExchangeSpec};
use crate::storage::codec::{Reader, put_bytes, put_int};
use crate::storage::item;

/// One durable change. Borrowed, because appending copies it.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A durable exchange was declared.
    ExchangeDeclared {
        /// The vhost.
        vhost: &'a str,
        /// The exchange.
        exchange: &'a ExchangeSpec,
    },
    /// A durable exchange is gone, deleted or by auto-delete, and with it its bindings.
    ExchangeDeleted {
        /// The vhost.
        vhost: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A durable queue was declared.
    QueueDeclared {
        /// The vhost.
        vhost: &'a str,
        /// Names the queue in all other records.
        id: QueueId,
        /// Its name.
        name: &'a str,
        /// Whether it goes with its last consumer.
        auto_delete: bool,
        /// Its arguments as declared.
        arguments: &'a Table,
    },
    /// A durable queue is gone, with all in it and its bindings.
    QueueDeleted {
        /// The queue.
        id: QueueId,
    },
    /// A binding between durable ends was made.
    Bound {
        /// The vhost.
        vhost: &'a str,
        /// The binding.
        binding: &'a BindingSpec<QueueId>,
    },
    /// A binding between durable ends is gone.
    Unbound {
        /// The vhost.
        vhost: &'a str,
        /// The binding.
        binding: &'a BindingSpec<QueueId>,
    },
    /// A parameter of a vhost was set: a policy, for example.
    ParameterSet {
        /// The vhost.
        vhost: &'a str,
        /// The parameter. It replaces one of the same component and name.
        parameter: &'a Parameter,
    },
    /// A parameter of a vhost is gone.
    ParameterCleared {
        /// The vhost.
        vhost: &'a str,
        /// Whose parameter it was.
        component: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A persistent message entered a durable queue.
    Enqueued {
        /// The queue.
        queue: QueueId,
        /// Its place there.
        position: Position,
        /// The message.
        message: &'a Message,
    },
    /// Persistent messages left a durable queue: acknowledged, rejected or purged.
    Removed {
        /// The queue.
        queue: QueueId,
        /// The place of the first.
        position: Position,
        /// How many places from there on. Not all of them need to hold a message.
        count: u64,
    },
    /// Messages of the same lane below this position may have been delivered.
    DeliveredThrough {
        /// The queue.
        queue: QueueId,
        /// The first position that was not.
        position: Position,
    },
    /// A message is on its way to the dead-letter exchange.
    Dead {
        /// The queue.
        queue: QueueId,
        /// Its place there.
        position: Position,
        /// Why.
        reason: Reason,
    },
    /// A message came back, where that is counted.
    Returned {
        /// The queue.
        queue: QueueId,
        /// Its place there.
        position: Position,
        /// How often by now.
        count: u32,
    },
}

/// What a component was told at run time about a vhost, RabbitMQ's runtime parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Whom it is for: `policy`, `operator_policy` or `vhost-limits`.
    pub component: String,
    /// Its name, unique within the component.
    pub name: String,
    /// The value as JSON.
    pub value: String,
}

/// A record as it was read. Those that come for every message own nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// Of an exchange, a queue or a binding.
    Definition(Box<Definition>),
    /// See [`Record::Enqueued`].
    Enqueued(Enqueued),
    /// See [`Record::Removed`]: the queue, the first place, and how many.
    Removed(QueueId, Position, u64),
    /// See [`Record::DeliveredThrough`].
    DeliveredThrough(QueueId, Position),
    /// See [`Record::Dead`].
    Dead(QueueId, Position, Reason),
    /// See [`Record::Returned`].
    Returned(QueueId, Position, u32),
}

impl Entry {
    /// Bytes of the items that it has in the body block of its group; `None` if it has none there.
    pub(super) fn stored_here(&self) -> Option<u64> {
        match self {
            Self::Enqueued(enqueued) => Some(enqueued.stored_here()).filter(|_| enqueued.address.is_none()),
            _ => None,
        }
    }
}

/// An enqueue as it was read, or several of one queue that are alike: each has the next position and the next item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enqueued {
    pub(super) queue: QueueId,
    pub(super) position: Position,
    /// Where the message is stored; `None` if it is the next item of this group's body block.
    pub(super) address: Option<u64>,
    /// Bytes of the message's item.
    pub(super) stored_len: u32,
    /// Bytes of its body.
    pub(super) body_len: u32,
    /// It has a lifetime of its own.
    pub(super) has_lifetime: bool,
    /// How many there are: one if it is stored elsewhere.
    pub(super) count: u64,
}

impl Enqueued {
    /// Bytes of the messages' items in the body block of the group.
    pub(super) fn stored_here(&self) -> u64 {
        if self.address.is_none() { u64::from(self.stored_len).saturating_mul(self.count) } else { 0 }
    }

    /// Each of them by itself.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        let Self { position, count, .. } = self;
        (position.0..position.0.saturating_add(count)).map(move |position| Self {
            position: Position(position),
            count: 1,
            ..self
        })
    }
}

/// A record about something that has a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Definition {
    /// See [`Record::ExchangeDeclared`].
    ExchangeDeclared(String, ExchangeSpec),
    /// See [`Record::ExchangeDeleted`].
    ExchangeDeleted(String, String),
    /// See [`Record::QueueDeclared`]: vhost, number, name, auto-delete, arguments.
    QueueDeclared(String, QueueId, String, bool, Table),
    /// See [`Record::QueueDeleted`].
    QueueDeleted(QueueId),
    /// See [`Record::Bound`].
    Bound(String, BindingSpec<QueueId>),
    /// See [`Record::Unbound`].
    Unbound(String, BindingSpec<QueueId>),
    /// See [`Record::ParameterSet`].
    ParameterSet(String, Parameter),
    /// See [`Record::ParameterCleared`]: vhost, component, name.
    ParameterCleared(String, String, String),
}

const EXCHANGE_DECLARED: u8 = 1;
const EXCHANGE_DELETED: u8 = 2;
const QUEUE_DECLARED: u8 = 3;
const QUEUE_DELETED: u8 = 4;
const BOUND: u8 = 5;
const UNBOUND: u8 = 6;
pub(super) const ENQUEUED: u8 = 7;
const ENQUEUED_REFERENCE: u8 = 8;
const REMOVED: u8 = 9;
const DELIVERED_THROUGH: u8 = 10;
const PARAMETER_SET: u8 = 11;
const PARAMETER_CLEARED: u8 = 12;
/// As [`ENQUEUED`], of several that are alike.
const ENQUEUED_ALIKE: u8 = 13;
/// As [`ENQUEUED`] and [`ENQUEUED_REFERENCE`], of a message with a lifetime of its own.
const ENQUEUED_LIFETIME: u8 = 20;
const ENQUEUED_LIFETIME_REFERENCE: u8 = 21;
const DEAD: u8 = 22;
const RETURNED: u8 = 23;

impl Record<'_> {
    /// Appends the record as it lies on disk; that of an enqueue as one whose message is stored with it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::ExchangeDeclared { vhost, exchange } => {
                out.push(EXCHANGE_DECLARED);
                put_bytes(out, vhost.as_bytes());
                put_exchange(out, exchange);
            }
            Self::ExchangeDeleted { vhost, name } => {
                out.push(EXCHANGE_DELETED);
                put_bytes(out, vhost.as_bytes());
                put_bytes(out, name.as_bytes());
            }
            Self::QueueDeclared { vhost, id, name, auto_delete, arguments } => {
                out.push(QUEUE_DECLARED);
                put_bytes(out, vhost.as_bytes());
                put_int(out, id.0);
                put_bytes(out, name.as_bytes());
                out.push(u8::from(auto_delete));
                put_bytes(out, arguments.as_ref().as_bytes());
            }
            Self::QueueDeleted { id } => {
                out.push(QUEUE_DELETED);
                put_int(out, id.0);
            }
            Self::Bound { vhost, binding } => put_binding(out, BOUND, vhost, binding),
            Self::Unbound { vhost, binding } => put_binding(out, UNBOUND, vhost, binding),
            Self::ParameterSet { vhost, parameter } => {
                out.push(PARAMETER_SET);
                let Parameter { component, name, value } = parameter;
                [vhost, component, name, value].iter().for_each(|text| put_bytes(out, text.as_bytes()));
            }
            Self::ParameterCleared { vhost, component, name } => {
                out.push(PARAMETER_CLEARED);
                [vhost, component, name].iter().for_each(|text| put_bytes(out, text.as_bytes()));
            }
            Self::Enqueued { queue, position, message } => put_enqueued(out, queue, position, message, None),
            Self::Removed { queue, position, count } => {
                put_place(out, REMOVED, queue, position);
                put_int(out, count);
            }
            Self::DeliveredThrough { queue, position } => {
                put_place(out, DELIVERED_THROUGH, queue, position);
            }
            Self::Dead { queue, position, reason } => {
                put_place(out, DEAD, queue, position);
                out.push(reason.code());
            }
            Self::Returned { queue, position, count } => {
                put_place(out, RETURNED, queue, position);
                put_int(out, u64::from(count));
            }
        }
    }
}

fn put_place(out: &mut Vec<u8>, tag: u8, queue: QueueId, position: Position) {
    out.push(tag);
    put_int(out, queue.0);
    put_int(out, position.0);
}

/// Appends the record of an enqueue, whose message is stored with it or at the body address `reference`.
pub(super) fn put_enqueued(
    out: &mut Vec<u8>,
    queue: QueueId,
    position: Position,
    message: &Message,
    reference: Option<u64>,
) {
    let tag = match (message.has_lifetime(), reference.is_some()) {
        (false, false) => ENQUEUED,
        (false, true) => ENQUEUED_REFERENCE,
        (true, false) => ENQUEUED_LIFETIME,
        (true, true) => ENQUEUED_LIFETIME_REFERENCE,
    };
    put_place(out, tag, queue, position);
    if let Some(address) = reference {
        put_int(out, address);
    }
    put_int(out, item::stored_len(message));
    put_int(out, message.body_len());
}

/// Messages that came to a queue one after the other, and are stored with their record one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alike {
    pub(super) queue: QueueId,
    /// The place of the first.
    pub(super) position: Position,
    pub(super) count: u64,
    /// Bytes of each where it is stored.
    pub(super) stored_len: u64,
    /// Bytes of each body.
    pub(super) body_len: u64,
}

impl Alike {
    /// Whether `other` goes on where this ends.
    #[inline]
    pub(super) fn goes_on_with(&self, other: &Self) -> bool {
        other.position.0 == self.position.0 + self.count
            && *self == Self { count: self.count, position: self.position, ..*other }
    }

    /// Appends their record.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Self { queue, position, count, stored_len, body_len } = *self;
        if count == 1 {
            put_place(out, ENQUEUED, queue, position);
        } else {
            put_place(out, ENQUEUED_ALIKE, queue, position);
            put_int(out, count);
        }
        put_int(out, stored_len);
        put_int(out, body_len);
    }
}

fn put_exchange(out: &mut Vec<u8>, exchange: &ExchangeSpec) {
    put_bytes(out, exchange.name.as_bytes());
    put_bytes(out, exchange.kind.name().as_bytes());
    out.push(u8::from(exchange.auto_delete));
    out.push(u8::from(exchange.internal));
    put_bytes(out, exchange.arguments.as_ref().as_bytes());
    out.push(u8::from(exchange.alternate.is_some()));
    put_bytes(out, exchange.alternate.as_deref().unwrap_or_default().as_bytes());
}

fn put_binding(out: &mut Vec<u8>, tag: u8, vhost: &str, binding: &BindingSpec<QueueId>) {
    out.push(tag);
    put_bytes(out, vhost.as_bytes());
    put_bytes(out, binding.source.as_bytes());
    match &binding.destination {
        Destination::Queue(id) => {
            out.push(0);
            put_int(out, id.0);
        }
        Destination::Exchange(name) => {
            out.push(1);
            put_bytes(out, name.as_bytes());
        }
    }
    put_bytes(out, binding.key.as_bytes());
    put_bytes(out, binding.arguments.as_ref().as_bytes());
}

/// Reads the next record; `None` if the bytes are none.
pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Entry> {
    Some(match reader.octet()? {
        tag @ (ENQUEUED | ENQUEUED_REFERENCE | ENQUEUED_LIFETIME | ENQUEUED_LIFETIME_REFERENCE) => {
            let queue = QueueId(reader.int()?);
            Entry::Enqueued(enqueued(reader, tag, queue)?)
        }
        ENQUEUED_ALIKE => {
            let (queue, position) = place(reader)?;
            let count = reader.int()?;
            // They are of one lane, and there is a position after them.
            let last = Position(position.0.checked_add(count)?.checked_sub(1)?);
            if last.lane() != position.lane() {
                return None;
            }
            let lens = (u32::try_from(reader.int()?).ok()?, u32::try_from(reader.int()?).ok()?);
            let (stored_len, body_len) = lens;
            // There is one at least, and none takes no room.
            u64::from(stored_len).checked_mul(count).filter(|bytes| *bytes >= count.max(1))?;
            let (address, has_lifetime) = (None, false);
            Entry::Enqueued(Enqueued { queue, position, address, stored_len, body_len, has_lifetime, count })
        }
        REMOVED => {
            let (queue, position) = place(reader)?;
            let count = reader.int()?;
            position.0.checked_add(count)?;
            Entry::Removed(queue, position, count)
        }
        DELIVERED_THROUGH => {
            let (queue, position) = place(reader)?;
            Entry::DeliveredThrough(queue, position)
        }
        DEAD => {
            let (queue, position) = place(reader)?;
            Entry::Dead(queue, position, Reason::from_code(reader.octet()?)?)
        }
        RETURNED => {
            let (queue, position) = place(reader)?;
            Entry::Returned(queue, position, u32::try_from(reader.int()?).ok()?)
        }
        tag => Entry::Definition(Box::new(definition(tag, reader)?)),
    })
}

/// Reads on in an enqueue behind its tag and queue.
#[inline]
pub(super) fn enqueued(reader: &mut Reader<'_>, tag: u8, queue: QueueId) -> Option<Enqueued> {
    let position = Position(reader.int()?);
    let is_reference = matches!(tag, ENQUEUED_REFERENCE | ENQUEUED_LIFETIME_REFERENCE);
    let address = if is_reference { Some(reader.int()?) } else { None };
    let has_lifetime = matches!(tag, ENQUEUED_LIFETIME | ENQUEUED_LIFETIME_REFERENCE);
    // There is a position after it.
    position.0.checked_add(1)?;
    let stored_len = u32::try_from(reader.int()?).ok()?;
    let body_len = u32::try_from(reader.int()?).ok()?;
    Some(Enqueued { queue, position, address, stored_len, body_len, has_lifetime, count: 1 })
}

fn definition(tag: u8, reader: &mut Reader<'_>) -> Option<Definition> {
    Some(match tag {
        EXCHANGE_DECLARED => Definition::ExchangeDeclared(owned(reader)?, exchange(reader)?),
        EXCHANGE_DELETED => Definition::ExchangeDeleted(owned(reader)?, owned(reader)?),
        QUEUE_DECLARED => Definition::QueueDeclared(
            owned(reader)?,
            QueueId(reader.int()?),
            owned(reader)?,
            reader.flag()?,
            table(reader)?,
        ),
        QUEUE_DELETED => Definition::QueueDeleted(QueueId(reader.int()?)),
        BOUND => Definition::Bound(owned(reader)?, binding(reader)?),
        UNBOUND => Definition::Unbound(owned(reader)?, binding(reader)?),
        PARAMETER_SET => {
            let vhost = owned(reader)?;
            let (component, name, value) = (owned(reader)?, owned(reader)?, owned(reader)?);
            Definition::ParameterSet(vhost, Parameter { component, name, value })
        }
        PARAMETER_CLEARED => Definition::ParameterCleared(owned(reader)?, owned(reader)?, owned(reader)?),
        _ => return None,
    })
}

fn owned(reader: &mut Reader<'_>) -> Option<String> {
    reader.text().map(str::to_owned)
}

fn place(reader: &mut Reader<'_>) -> Option<(QueueId, Position)> {
    Some((QueueId(reader.int()?), Position(reader.int()?)))
}

fn table(reader: &mut Reader<'_>) -> Option<Table> {
    Some(TableRef::parse(reader.bytes()?).ok()?.to_table())
}

fn exchange(reader: &mut Reader<'_>) -> Option<ExchangeSpec> {
    let name = owned(reader)?;
    let kind = ExchangeKind::parse(reader.text()?)?;
    let (auto_delete, internal) = (reader.flag()?, reader.flag()?);
    let arguments = table(reader)?;
    let has_alternate = reader.flag()?;
    let alternate = owned(reader)?;
    let alternate = has_alternate.then_some(alternate);
    Some(ExchangeSpec { name, kind, durable: true, auto_delete, internal, arguments, alternate })
}

fn binding(reader: &mut Reader<'_>) -> Option<BindingSpec<QueueId>> {
    let source = owned(reader)?;
    let destination = if reader.flag()? {
        Destination::Exchange(owned(reader)?)
    } else {
        Destination::Queue(QueueId(reader.int()?))
    };
    Some(BindingSpec { source, destination, key: owned(reader)?, arguments: table(reader)? })
}
