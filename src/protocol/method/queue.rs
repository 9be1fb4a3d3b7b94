//! Class 50: queues and their bindings.

class! {
    Method<'a> = 50 "queue";

    /// Client: makes a queue, or checks that it is there.
    Declare<'a> = 10 "declare" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the queue; empty for one the server makes up.
        queue: shortstr,
        /// Only check that it is there.
        passive: bit,
        /// Survives a restart of the broker.
        durable: bit,
        /// For this connection alone, and gone with it.
        exclusive: bit,
        /// Goes with its last consumer.
        auto_delete: bit,
        /// No answer is wanted.
        no_wait: bit,
        /// Further arguments.
        arguments: table,
    }

    /// Server: it is there.
    DeclareOk<'a> = 11 "declare-ok" {
        /// Name of the queue.
        queue: shortstr,
        /// Messages ready in the queue.
        message_count: long,
        /// Consumers of the queue.
        consumer_count: long,
    }

    /// Client: lets messages go from an exchange to a queue.
    Bind<'a> = 20 "bind" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the queue.
        queue: shortstr,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Binding key.
        routing_key: shortstr,
        /// No answer is wanted.
        no_wait: bit,
        /// Further arguments.
        arguments: table,
    }

    /// Server: bound.
    BindOk = 21 "bind-ok" {}

    /// Client: drops the messages that are ready.
    Purge<'a> = 30 "purge" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the queue.
        queue: shortstr,
        /// No answer is wanted.
        no_wait: bit,
    }

    /// Server: dropped.
    PurgeOk = 31 "purge-ok" {
        /// Messages dropped.
        message_count: long,
    }

    /// Client: removes a queue.
    Delete<'a> = 40 "delete" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the queue.
        queue: shortstr,
        /// Only if nothing uses it.
        if_unused: bit,
        /// Only if it has no messages.
        if_empty: bit,
        /// No answer is wanted.
        no_wait: bit,
    }

    /// Server: it is gone.
    DeleteOk = 41 "delete-ok" {
        /// Messages dropped with it.
        message_count: long,
    }

    /// Client: undoes [`Bind`].
    Unbind<'a> = 50 "unbind" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the queue.
        queue: shortstr,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Binding key.
        routing_key: shortstr,
        /// Further arguments.
        arguments: table,
    }

    /// Server: unbound.
    UnbindOk = 51 "unbind-ok" {}
}
