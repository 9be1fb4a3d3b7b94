//! The records of the journal: every change of durable state is one of these.

use crate::ids::{Position, QueueId};
use crate::message::Message;
use crate::protocol::field::Table;
use crate::routing::{BindingSpec, ExchangeSpec};

/// One durable change. Borrowed, because appending copies it.
#[derive(Debug)]
pub enum Record<'a> {
    /// A durable exchange was declared.
    ExchangeDeclared {
        /// The vhost.
        vhost: &'a str,
        /// The exchange.
        exchange: &'a ExchangeSpec,
    },
    /// A durable exchange is gone, deleted or by auto-delete.
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
    /// A durable queue and all in it is gone.
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
}
