//! Class 85, of RabbitMQ: publisher confirms.

class! {
    Method = 85 "confirm";

    /// Client: confirms from now on.
    Select = 10 "select" {
        /// No answer is wanted.
        no_wait: bit,
    }

    /// Server: confirms are on.
    SelectOk = 11 "select-ok" {}
}
