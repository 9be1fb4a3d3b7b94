//! Class 40: exchanges, and RabbitMQ's bindings between exchanges.

class! {
    Method<'a> = 40 "exchange";

    /// Client: makes an exchange, or checks that it is there.
    Declare<'a> = 10 "declare" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Name of the exchange type.
        kind: shortstr,
        /// Only check that it is there.
        passive: bit,
        /// Survives a restart of the broker.
        durable: bit,
        /// Goes with its last binding.
        auto_delete: bit,
        /// Takes no messages from clients.
        internal: bit,
        /// No answer is wanted.
        no_wait: bit,
        /// Further arguments.
        arguments: table,
    }

    /// Server: it is there.
    DeclareOk = 11 "declare-ok" {}

    /// Client: removes an exchange.
    Delete<'a> = 20 "delete" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Only if nothing uses it.
        if_unused: bit,
        /// No answer is wanted.
        no_wait: bit,
    }

    /// Server: it is gone.
    DeleteOk = 21 "delete-ok" {}

    /// RabbitMQ's, client: lets messages go from one exchange to another.
    Bind<'a> = 30 "bind" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// The exchange messages go to.
        destination: shortstr,
        /// The exchange messages come from.
        source: shortstr,
        /// Binding key.
        routing_key: shortstr,
        /// No answer is wanted.
        no_wait: bit,
        /// Further arguments.
        arguments: table,
    }

    /// RabbitMQ's, server: bound.
    BindOk = 31 "bind-ok" {}

    /// RabbitMQ's, client: undoes [`Bind`].
    Unbind<'a> = 40 "unbind" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// The exchange messages go to.
        destination: shortstr,
        /// The exchange messages come from.
        source: shortstr,
        /// Binding key.
        routing_key: shortstr,
        /// No answer is wanted.
        no_wait: bit,
        /// Further arguments.
        arguments: table,
    }

    /// RabbitMQ's, server: unbound. Its id is 51, not 41.
    UnbindOk = 51 "unbind-ok" {}
}
