//! How much the log says of clients that have not logged in.

use crate::throttle::{SharedThrottle, Throttle};

/// Log lines that clients can cause without logging in. Each kind has its own measure, so that a flood of one does not
/// hide another.
#[derive(Debug, Default)]
pub struct Strangers {
    /// Clients that do not speak AMQP.
    pub protocols: Throttle,
    /// Logins that failed, by where they came from.
    pub logins: SharedThrottle,
    /// Handshakes that ended otherwise, by where they came from.
    pub handshakes: SharedThrottle,
}
