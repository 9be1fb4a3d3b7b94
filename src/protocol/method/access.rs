//! Class 30: realms of protocol 0-8. Clients of that time still ask; tickets mean nothing since.

class! {
    Method<'a> = 30 "access";

    /// Client: asks for a ticket.
    Request<'a> = 10 "request" {
        /// Name of the realm.
        realm: shortstr,
        /// Alone in it.
        exclusive: bit,
        /// To look.
        passive: bit,
        /// To use.
        active: bit,
        /// To write.
        write: bit,
        /// To read.
        read: bit,
    }

    /// Server: the ticket.
    RequestOk = 11 "request-ok" {
        /// Any number.
        ticket: short,
    }
}
