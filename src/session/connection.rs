//! Class connection on an open connection: close, blocked and unblocked.

use crate::protocol::method::{Method, connection};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::open::{Open, Stop};
use crate::session::wire::Wire;

impl Open {
    /// A method on channel 0.
    pub(super) fn on_connection(&mut self, wire: &mut Wire, method: Method<'_>) -> Result<(), Stop> {
        use connection::Method as M;
        let error = match method {
            Method::Connection(M::Close(_)) => return Err(Stop::ClientClosed),
            Method::Connection(M::CloseOk(_)) => {
                AmqpError::new(ReplyCode::ChannelError, "unexpected method in connection state running")
            }
            Method::Connection(M::UpdateSecret(update)) => {
                return self.on_update_secret(wire, update).map_err(Stop::from);
            }
            Method::Connection(_) => {
                AmqpError::new(ReplyCode::ChannelError, "unexpected method in connection state running")
            }
            _ => AmqpError::new(ReplyCode::ChannelError, "unexpected method on channel 0"),
        };
        Err(error.at(method.id()).into())
    }

    /// A publish came in: if an alarm is on, the connection is not read any more until it is off.
    pub(super) fn block_if_alarmed(&mut self, wire: &mut Wire) {
        let Some(reason) = wire.broker.alarms.reason() else { return };
        if std::mem::replace(&mut self.blocked, true) {
            return;
        }
        if wire.capabilities.connection_blocked {
            wire.send(0, &connection::Blocked { reason });
        }
        tracing::info!(peer = %wire.peer.address, reason, "publisher blocked");
    }

    pub(super) fn check_alarm(&mut self, wire: &mut Wire) {
        if !self.blocked || wire.broker.alarms.reason().is_some() {
            return;
        }
        self.blocked = false;
        if wire.capabilities.connection_blocked {
            wire.send(0, &connection::Unblocked {});
        }
        tracing::info!(peer = %wire.peer.address, "publisher unblocked");
    }
}
