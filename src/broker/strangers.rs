//! Clients that have not logged in: how much the log says of them, and how many were turned away.

use crate::broker::churn::Tick;
use crate::throttle::{SharedThrottle, Throttle};

/// Log lines that clients can cause without logging in. Each kind has its own measure, so that a flood of one does not
/// hide another. Beside them, what is only counted.
#[derive(Debug, Default)]
pub struct Strangers {
    /// Clients that do not speak AMQP.
    pub protocols: Throttle,
    /// Logins that failed, by where they came from.
    pub logins: SharedThrottle,
    /// Handshakes that ended otherwise, by where they came from.
    pub handshakes: SharedThrottle,
    /// Connections that were closed at once, since too many from their address were in their handshake.
    pub turned_away: Tick,
}
