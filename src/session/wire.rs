//! What every part of a session shares: what was negotiated, whom it is with, and the bytes on their way out.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::broker::outlet::Outlet;
use crate::channel::gates::Gate;
use crate::ids::ConnectionId;
use crate::output::Output;
use crate::protocol::field::{Table, TableRef};
use crate::protocol::method::{Args, write_method};
use crate::session::limits::SessionLimits;
use crate::session::peer::Peer;
use crate::time::Moment;

/// What the client said it understands, of what the server would send on its own account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capabilities {
    pub(super) consumer_cancel_notify: bool,
    pub(super) connection_blocked: bool,
    pub(super) authentication_failure_close: bool,
}

impl Capabilities {
    pub(super) fn of(client_properties: TableRef<'_>) -> Self {
        use crate::protocol::field::Value;
        let Some(Value::Table(table)) = client_properties.get("capabilities") else {
            return Self::default();
        };
        let has = |name| table.get(name).and_then(Value::as_bool).unwrap_or(false);
        Self {
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
            authentication_failure_close: has("authentication_failure_close"),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) broker: Arc<Broker>,
    pub(super) limits: Arc<SessionLimits>,
    pub(super) id: ConnectionId,
    pub(super) peer: Peer,
    pub(super) outlet: Arc<Outlet>,
    pub(super) out: Output,
    pub(super) capabilities: Capabilities,
    /// The client's name for the connection.
    pub(super) name: Option<String>,
    /// What the client says of itself.
    pub(super) client_properties: Arc<Table>,
    /// How the client logs in.
    pub(super) mechanism: &'static str,
    /// Negotiated: largest frame in bytes; 0 is no limit.
    pub(super) frame_max: u32,
    /// Negotiated: most open channels; 0 is no limit.
    pub(super) channel_max: u16,
    pub(super) pulse: Pulse,
}

impl Wire {
    /// Appends a method frame that waits for nothing.
    #[inline]
    pub(super) fn send<M: Args>(&mut self, channel: u16, method: &M) {
        self.out.append(|out| write_method(out, channel, method));
    }

    /// The largest frame payload the peer may send now.
    pub(super) fn max_payload(&self) -> u32 {
        // RabbitMQ lets a payload be as large as the whole frame may be; clients depend on it.
        if self.frame_max == 0 { u32::MAX } else { self.frame_max }
    }

    /// Whether what `gate` asks for has happened.
    pub(super) fn is_open(&self, gate: Gate) -> bool {
        gate == Gate::OPEN || gate.is_open(self.broker.journal.progress())
    }
}

/// When bytes last went each way, and what follows from silence.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Negotiated heartbeat; zero is none.
    pub(super) interval: Duration,
    pub(super) last_read: Moment,
    pub(super) last_write: Moment,
    /// When the socket last took something or had nothing to take.
    pub(super) last_progress: Moment,
    /// How long the socket may take nothing while bytes wait.
    pub(super) write_timeout: Duration,
}

/// What silence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// We have been silent: a heartbeat is due.
    SendHeartbeat,
    /// The peer has been silent for more than two intervals.
    PeerGone,
    /// The peer does not take what waits for it.
    WriteStalled,
}

impl Pulse {
    pub(super) fn new(now: Moment, write_timeout: Duration) -> Self {
        Self { interval: Duration::ZERO, last_read: now, last_write: now, last_progress: now, write_timeout }
    }

    fn deadlines(&self, watch: Watch) -> [Option<(Moment, Silence)>; 3] {
        let Watch { output_waits, reading, talking } = watch;
        let beats = !self.interval.is_zero() && talking;
        let beat = (beats && !output_waits)
            .then(|| (self.last_write.after(self.interval / 2), Silence::SendHeartbeat));
        // Between two and three intervals, as RabbitMQ's check every interval comes to.
        let gone =
            (beats && reading).then(|| (self.last_read.after(self.interval * 5 / 2), Silence::PeerGone));
        let stalled =
            output_waits.then(|| (self.last_progress.after(self.write_timeout), Silence::WriteStalled));
        [stalled, gone, beat]
    }

    /// What is due at `now`, the worst first.
    pub(super) fn due(&self, now: Moment, watch: Watch) -> Option<Silence> {
        let due = self.deadlines(watch).into_iter().flatten().find(|(at, _)| *at <= now);
        due.map(|(_, silence)| silence)
    }

    /// When to look again.
    pub(super) fn next(&self, watch: Watch) -> Option<Moment> {
        self.deadlines(watch).into_iter().flatten().map(|(at, _)| at).min()
    }
}

/// Which silences count now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// Bytes wait for the socket.
    pub(super) output_waits: bool,
    /// We read, so the peer's silence is its own.
    pub(super) reading: bool,
    /// The connection is not ending.
    pub(super) talking: bool,
}
