//! The records of the journal: every change of durable state is one of these.
//!
//! On disk a record is a tag octet and its fields, see `docs/storage.md`. The message of an [`Record::Enqueued`] is
//! not in the record but in the body block behind all records of its group; the record has its lengths and checksum.

use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::protocol::field::{Table, TableRef};
use crate::routing::{BindingSpec, Destination, ExchangeKind, ExchangeSpec};
use crate::storage::codec::{Reader, put_bytes, put_int};

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
    /// A persistent message entered a durable queue.
    Enqueued {
        /// The queue.
        queue: QueueId,
        /// Its place there.
        position: Position,
        /// The message.
        message: &'a Message,
    },
    /// A persistent message left a durable queue: acknowledged, rejected or purged.
    Removed {
        /// The queue.
        queue: QueueId,
        /// Its place there.
        position: Position,
    },
    /// Messages below this position may have been delivered.
    DeliveredThrough {
        /// The queue.
        queue: QueueId,
        /// The first position that was not.
        position: Position,
    },
}

/// Where the message of an enqueue record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In the body block of this group, after those of the records before.
    Here {
        /// Bytes of the contiguous part.
        contiguous: usize,
        /// Bytes of the body that is apart; `None` if there is none.
        large: Option<usize>,
        /// Of both.
        checksum: u32,
    },
    /// With the enqueue record at this journal position.
    At(u64),
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
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
    /// See [`Record::Enqueued`].
    Enqueued(QueueId, Position, Stored),
    /// See [`Record::Removed`].
    Removed(QueueId, Position),
    /// See [`Record::DeliveredThrough`].
    DeliveredThrough(QueueId, Position),
}

const EXCHANGE_DECLARED: u8 = 1;
const EXCHANGE_DELETED: u8 = 2;
const QUEUE_DECLARED: u8 = 3;
const QUEUE_DELETED: u8 = 4;
const BOUND: u8 = 5;
const UNBOUND: u8 = 6;
const ENQUEUED: u8 = 7;
const ENQUEUED_REFERENCE: u8 = 8;
const REMOVED: u8 = 9;
const DELIVERED_THROUGH: u8 = 10;

impl Record<'_> {
    /// Appends the record; that of an enqueue as one whose message is stored with it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
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
            Self::Enqueued { queue, position, message } => put_enqueued(out, queue, position, message, None),
            Self::Removed { queue, position } => put_place(out, REMOVED, queue, position),
            Self::DeliveredThrough { queue, position } => {
                put_place(out, DELIVERED_THROUGH, queue, position);
            }
        }
    }
}

fn put_place(out: &mut Vec<u8>, tag: u8, queue: QueueId, position: Position) {
    out.push(tag);
    put_int(out, queue.0);
    put_int(out, position.0);
}

/// Appends the record of an enqueue, whose message is stored with it or at the position `reference`.
pub(super) fn put_enqueued(
    out: &mut Vec<u8>,
    queue: QueueId,
    position: Position,
    message: &Message,
    reference: Option<u64>,
) {
    if let Some(stored_at) = reference {
        put_place(out, ENQUEUED_REFERENCE, queue, position);
        put_int(out, stored_at);
        return;
    }
    put_place(out, ENQUEUED, queue, position);
    let (contiguous, large) = message.stored();
    put_int(out, contiguous.len() as u64);
    // One more than the length, so that zero is none.
    put_int(out, large.map_or(0, |large| large.len() as u64 + 1));
    out.extend_from_slice(&message.checksum().to_le_bytes());
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
        EXCHANGE_DECLARED => Entry::ExchangeDeclared(owned(reader)?, exchange(reader)?),
        EXCHANGE_DELETED => Entry::ExchangeDeleted(owned(reader)?, owned(reader)?),
        QUEUE_DECLARED => Entry::QueueDeclared(
            owned(reader)?,
            QueueId(reader.int()?),
            owned(reader)?,
            reader.flag()?,
            table(reader)?,
        ),
        QUEUE_DELETED => Entry::QueueDeleted(QueueId(reader.int()?)),
        BOUND => Entry::Bound(owned(reader)?, binding(reader)?),
        UNBOUND => Entry::Unbound(owned(reader)?, binding(reader)?),
        ENQUEUED => {
            let (queue, position) = place(reader)?;
            let contiguous = usize::try_from(reader.int()?).ok()?;
            let large = match reader.int()? {
                0 => None,
                more => Some(usize::try_from(more - 1).ok()?),
            };
            Entry::Enqueued(queue, position, Stored::Here { contiguous, large, checksum: reader.u32()? })
        }
        ENQUEUED_REFERENCE => {
            let (queue, position) = place(reader)?;
            Entry::Enqueued(queue, position, Stored::At(reader.int()?))
        }
        REMOVED => {
            let (queue, position) = place(reader)?;
            Entry::Removed(queue, position)
        }
        DELIVERED_THROUGH => {
            let (queue, position) = place(reader)?;
            Entry::DeliveredThrough(queue, position)
        }
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
