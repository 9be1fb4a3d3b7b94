//! One connection's protocol, without a socket: bytes, wakes and time go in, bytes come out.
//!
//! The driver feeds [`Session::handle_input`] what it read, calls [`Session::handle_wake`] when the outlet woke it,
//! writes [`Session::output`] and reports by [`Session::handle_written`], and comes back by
//! [`Session::handle_timeout`] at [`Session::poll_timeout`]. When [`Session::is_over`], the socket is to be closed.

mod access;
mod announce;
mod basic;
mod batch;
mod channel;
mod close;
mod confirm;
mod connection;
mod consume;
mod consumers;
mod counting;
mod deliver;
mod exchange;
mod external;
mod handshake;
pub mod limits;
mod login;
mod open;
pub mod peer;
mod prefetch;
mod publish;
mod queue;
mod rights;
mod routes;
mod secret;
mod settle;
mod shown;
mod strangers;
#[cfg(test)]
mod tests;
mod timeouts;
mod trace;
mod tx;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use peer::Peer;

use crate::broker::Broker;
use crate::broker::outlet::Outlet;
use crate::output::Output;
use crate::protocol::PROTOCOL_HEADER;
use crate::protocol::frame::{Frame, HEARTBEAT, Next, next_frame};
use crate::protocol::method::connection as methods;
use crate::protocol::reply::{AmqpError, MethodId, ReplyCode};
use crate::session::close::Farewell;
use crate::session::handshake::{Handshake, Outcome};
use crate::session::limits::SessionLimits;
use crate::session::open::Open;
use crate::session::wire::{Pulse, Silence, Watch, Wire};
use crate::time::{Moment, Now};

/// Unsent bytes from which on no more input is taken. Deliveries alone are bounded by the outlet below that.
const OUTPUT_LIMIT: usize = 8 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Session {
    wire: Wire,
    state: State,
    /// The stream holds bytes that the socket has not taken yet.
    flushing: bool,
}

#[derive(Debug)]
enum State {
    Handshake(Handshake),
    Open(Box<Open>),
    /// The connection is ending; only its last bytes matter.
    Farewell(Farewell),
}

impl Session {
    /// A session for a connection that was just accepted. It has its place among the handshakes from now on, and its
    /// deadline runs; what else the client has to pass before AMQP begins comes out of the same time.
    #[must_use]
    pub fn new(
        broker: Arc<Broker>,
        limits: Arc<SessionLimits>,
        peer: Peer,
        write_timeout: Duration,
        now: Now,
    ) -> Self {
        let handshake = Handshake::new(now.moment.after(limits.handshake_timeout));
        let outlet = Outlet::new();
        let wire = Wire {
            id: broker.registry.accept(outlet.clone()),
            outlet,
            out: Output::new(),
            capabilities: Default::default(),
            name: None,
            client_properties: Default::default(),
            mechanism: "",
            frame_max: limits.initial_frame_max,
            channel_max: 0,
            pulse: Pulse::new(now.moment, write_timeout),
            broker,
            limits,
            peer,
        };
        Self { wire, state: State::Handshake(handshake), flushing: false }
    }

    /// Who the peer is, for those who learn it between the accept and the first byte of AMQP.
    pub fn peer_mut(&mut self) -> &mut Peer {
        &mut self.wire.peer
    }

    /// Counts the connection among the handshakes from this address, until it is open or ends.
    pub fn count_among_handshakes_of(&mut self, address: IpAddr) {
        let source = address.into();
        self.wire.peer.source = Some(source);
        self.wire.broker.registry.note_source(self.wire.id, source);
    }

    /// The limits it was accepted with.
    #[must_use]
    pub fn limits(&self) -> &SessionLimits {
        &self.wire.limits
    }

    /// When a client must have opened its vhost; for those who stand between the accept and the first byte of AMQP.
    #[must_use]
    pub fn handshake_deadline(&self) -> Moment {
        match &self.state {
            State::Handshake(handshake) => handshake.deadline(),
            State::Open(_) | State::Farewell(_) => Moment(u64::MAX),
        }
    }

    /// Where queues and others leave word for this connection. Its waker is to be the driver's.
    #[must_use]
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.wire.outlet
    }

    /// The bytes to write.
    pub fn output(&mut self) -> &mut Output {
        &mut self.wire.out
    }

    /// Whether bytes from the peer are wanted now. If not, leaving them in the socket slows the peer down.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.wire.out.len() < OUTPUT_LIMIT
            && match &self.state {
                State::Handshake(handshake) => handshake.wants_input(),
                State::Open(open) => open.wants_input(),
                State::Farewell(_) => true,
            }
    }

    /// Takes bytes from the peer: all complete frames in `input`. Returns how many bytes were used; the rest is to
    /// be handed in again, followed by what comes next.
    pub fn handle_input(&mut self, input: &[u8], now: Now) -> usize {
        self.wire.pulse.last_read = now.moment;
        self.look_around(now);
        let mut used = 0;
        while self.wants_input() && used < input.len() {
            let rest = &input[used..];
            let step = match &mut self.state {
                State::Handshake(handshake) if !handshake.has_header() => self.on_header(rest, now),
                State::Farewell(farewell) => farewell.discard(rest),
                State::Handshake(_) | State::Open(_) => self.on_bytes(rest, now),
            };
            if step == 0 {
                break;
            }
            used += step;
        }
        if let State::Open(open) = &mut self.state {
            open.flush(&mut self.wire);
            open.watch_unacked(&self.wire, now.moment);
            open.count_input(used);
            open.report(&self.wire);
        }
        used
    }

    /// Before a turn's work: what may have changed since the last one and is not looked at for each message.
    fn look_around(&mut self, now: Now) {
        if let State::Open(open) = &mut self.state {
            open.look_around(&self.wire, now);
        }
    }

    /// How many bytes the frame at the start of `rest` needs in all, so that room for it can be made.
    #[must_use]
    pub fn bytes_needed(&self, rest: &[u8]) -> usize {
        match next_frame(rest, self.wire.max_payload()) {
            Ok(Next::Incomplete { needed }) => needed,
            _ => 0,
        }
    }

    fn on_header(&mut self, rest: &[u8], now: Now) -> usize {
        let State::Handshake(handshake) = &mut self.state else { return 0 };
        match handshake.on_header(&mut self.wire, rest, now) {
            None => 0,
            Some(true) => PROTOCOL_HEADER.len(),
            Some(false) => {
                self.state = State::Farewell(Farewell::after_flush(now));
                rest.len()
            }
        }
    }

    fn on_bytes(&mut self, rest: &[u8], now: Now) -> usize {
        match next_frame(rest, self.wire.max_payload()) {
            Ok(Next::Incomplete { .. }) => 0,
            Ok(Next::Frame(frame)) => self.on_frame(frame, rest, now),
            Err(error) => {
                self.fail(error, now);
                rest.len()
            }
        }
    }

    /// Handles the frame at the start of `rest` and returns how many bytes that used: more than the frame if a whole
    /// message followed.
    fn on_frame(&mut self, frame: Frame<'_>, rest: &[u8], now: Now) -> usize {
        let len = frame.wire_len();
        match &mut self.state {
            State::Open(open) => match open.on_frame(&mut self.wire, frame, rest) {
                Ok(more) => len + more,
                Err(open::Stop::Error(error)) => {
                    self.fail(error, now);
                    len
                }
                Err(open::Stop::ClientClosed) => {
                    self.client_closed(now);
                    len
                }
            },
            State::Handshake(handshake) => {
                let outcome = handshake.on_frame(&mut self.wire, frame, now);
                self.on_handshake(outcome, now);
                len
            }
            State::Farewell(_) => len,
        }
    }

    fn on_handshake(&mut self, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::GoOn => {}
            Outcome::Open(mut open) => {
                open.look_around(&self.wire, now);
                self.state = State::Open(open);
            }
            Outcome::Fail(error) => self.fail(error, now),
            Outcome::Silent(why) => self.end_silently(&why, now),
            Outcome::ClientClosed => self.client_closed(now),
        }
    }

    /// Looks into the outlet: deliveries, notices, a request to close; and at what the journal opened. Returns how many
    /// deliveries there were.
    pub fn handle_wake(&mut self, now: Now) -> usize {
        if !self.wants_input() {
            // While we do not read, the peer's silence is ours.
            self.wire.pulse.last_read = now.moment;
        }
        self.look_around(now);
        let (deliveries, close) = match &mut self.state {
            State::Open(open) => {
                let (deliveries, close) = open.on_wake(&mut self.wire);
                open.watch_unacked(&self.wire, now.moment);
                open.report(&self.wire);
                (deliveries, close.or_else(|| open.look_for_secret(&mut self.wire).err()))
            }
            State::Handshake(handshake) => {
                handshake.look_for_answer(&mut self.wire, now);
                (0, self.wire.outlet.close_requested())
            }
            State::Farewell(_) => (0, None),
        };
        if let Some(reason) = close {
            self.fail(reason, now);
        }
        deliveries
    }

    /// The socket took `n` bytes of the output.
    pub fn handle_written(&mut self, n: usize, now: Now) {
        self.wire.out.advance(n);
        self.wire.pulse.last_write = now.moment;
        self.wire.pulse.last_progress = now.moment;
        if let State::Open(open) = &mut self.state {
            open.count_output(&self.wire, n);
            open.on_written(&mut self.wire);
            open.report(&self.wire);
        }
    }

    /// Whether the stream holds back bytes that were handed to it. While it does the peer counts as one that does not
    /// take what waits for it.
    pub fn handle_flushing(&mut self, is_flushing: bool, now: Now) {
        if self.flushing != is_flushing {
            self.wire.pulse.last_progress = now.moment;
        }
        self.flushing = is_flushing;
    }

    /// The socket took bytes that the stream had held back, though maybe not all of them.
    pub fn handle_progress(&mut self, now: Now) {
        self.wire.pulse.last_progress = now.moment;
    }

    /// The peer has closed its side, or the socket failed; `why` is for the log.
    pub fn handle_closed_by_peer(&mut self, why: &str, now: Now) {
        match &mut self.state {
            State::Open(open) => open.log_end(&self.wire, why),
            State::Handshake(handshake) if handshake.has_header() => {
                strangers::log_departure(&self.wire, why, now.moment);
            }
            State::Handshake(_) | State::Farewell(_) => {}
        }
        self.end(false);
        // Nobody reads what is not written yet.
        self.wire.out.clear();
        self.state = State::Farewell(Farewell::over());
    }

    /// Does what time asks for.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.is_flushed() {
            self.wire.pulse.last_progress = now.moment;
        }
        if let State::Handshake(handshake) = &mut self.state {
            let outcome = handshake.on_timeout(&mut self.wire, now);
            self.on_handshake(outcome, now);
        }
        if let State::Open(open) = &mut self.state {
            open.look_for_overdue(&mut self.wire, now.moment);
            if open.ends.is_some_and(|ends| ends <= now.moment) {
                self.fail(AmqpError::new(ReplyCode::ConnectionForced, "credential expired"), now);
            }
        }
        match self.wire.pulse.due(now.moment, self.watch()) {
            None => {}
            Some(Silence::SendHeartbeat) => {
                self.wire.out.append(|out| out.extend_from_slice(&HEARTBEAT));
                self.wire.pulse.last_write = now.moment;
                self.wire.pulse.last_progress = now.moment;
            }
            Some(Silence::PeerGone) => {
                let interval = self.wire.pulse.interval.as_secs();
                self.abort(&format!("missed heartbeats from client, timeout: {interval}s"), now);
            }
            Some(Silence::WriteStalled) => {
                let timeout = self.wire.pulse.write_timeout.as_secs();
                self.abort(&format!("the client took nothing for {timeout}s"), now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let own = match &self.state {
            State::Handshake(handshake) => handshake.next_timeout(),
            State::Farewell(farewell) => farewell.next_timeout(self.is_flushed()),
            State::Open(open) => open.timeouts.next().into_iter().chain(open.ends).min(),
        };
        let pulse = self.wire.pulse.next(self.watch());
        own.into_iter().chain(pulse).min()
    }

    /// Whether the socket has taken all there was.
    fn is_flushed(&self) -> bool {
        self.wire.out.is_empty() && !self.flushing
    }

    fn watch(&self) -> Watch {
        let open = matches!(self.state, State::Open(_));
        Watch { output_waits: !self.is_flushed(), reading: open && self.wants_input(), talking: open }
    }

    /// Whether our side of the socket is to be shut down now: all is said and, after a silent end, the delay over.
    #[must_use]
    pub fn is_fin_due(&self, now: Now) -> bool {
        matches!(&self.state, State::Farewell(farewell) if farewell.is_fin_due(now, self.is_flushed()))
    }

    /// Whether the peer is to answer our connection.close.
    #[must_use]
    pub fn awaits_close_ok(&self) -> bool {
        matches!(&self.state, State::Farewell(farewell) if farewell.awaits_close_ok())
    }

    /// Our side of the socket was shut down, or could not be.
    pub fn handle_fin_sent(&mut self) {
        if let State::Farewell(farewell) = &mut self.state {
            farewell.fin_sent();
        }
    }

    /// Whether the connection is over and its socket to be closed.
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        matches!(&self.state, State::Farewell(farewell) if farewell.is_over(now, self.is_flushed()))
    }

    /// Whether a connection that is over is to be reset: its peer did not take what it was sent, and what the
    /// operating system still holds for it would wait for ever.
    #[must_use]
    pub fn ends_abruptly(&self, now: Now) -> bool {
        matches!(&self.state, State::Farewell(farewell) if farewell.is_abrupt(now))
    }

    /// Closes the connection with an error, as far as the peer can be told.
    fn fail(&mut self, error: AmqpError, now: Now) {
        match &mut self.state {
            State::Handshake(handshake) if !handshake.tells_errors() => {
                let why = error.reply_text();
                self.end_silently(&why, now);
                return;
            }
            State::Handshake(handshake) => {
                let (is_refused, text) = (handshake.is_refused(), error.reply_text());
                strangers::log_refusal(&self.wire, is_refused, &text, now.moment);
            }
            State::Open(open) => {
                // What came before the error counts.
                open.flush(&mut self.wire);
                open.log_end(&self.wire, &error.reply_text());
            }
            State::Farewell(_) => return,
        }
        let text = error.reply_text();
        let MethodId { class: class_id, method: method_id } = error.method;
        let close = methods::Close { reply_code: error.code.code(), reply_text: &text, class_id, method_id };
        self.end(true);
        self.wire.send(0, &close);
        self.state = State::Farewell(Farewell::await_close_ok(now));
    }

    fn client_closed(&mut self, now: Now) {
        if let State::Open(open) = &mut self.state {
            open.flush(&mut self.wire);
            open.log_end(&self.wire, "closed by the client");
        }
        self.end(true);
        self.wire.send(0, &methods::CloseOk {});
        self.state = State::Farewell(Farewell::after_flush(now));
    }

    fn end_silently(&mut self, why: &str, now: Now) {
        let is_refused = matches!(&self.state, State::Handshake(handshake) if handshake.is_refused());
        strangers::log_refusal(&self.wire, is_refused, why, now.moment);
        self.end(true);
        self.state = State::Farewell(Farewell::silent(now));
    }

    fn abort(&mut self, why: &str, now: Now) {
        self.handle_closed_by_peer(why, now);
        self.state = State::Farewell(Farewell::abrupt());
    }

    /// Gives back everything the connection holds in the broker. What it wrote stays to be sent. Who was refused keeps
    /// their place among the handshakes for as long as they have a socket.
    fn end(&mut self, is_flushed: bool) {
        if let State::Open(open) = &mut self.state {
            open.end(&mut self.wire, is_flushed);
            self.wire.broker.registry.close(self.wire.id);
        } else {
            self.wire.broker.registry.refuse(self.wire.id);
        }
        if !matches!(self.state, State::Farewell(_)) {
            announce::end(&self.wire);
        }
    }

    /// The connection's task panicked: says so to the peer, if its output is whole.
    pub fn handle_panic(&mut self, now: Now) {
        self.fail(AmqpError::new(ReplyCode::InternalError, "internal error"), now);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end(false);
        self.wire.broker.registry.close(self.wire.id);
    }
}
