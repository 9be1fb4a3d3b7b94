//! A connection that is open: its channels, consumers and what is collected from one read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::connections::OpenConnection;
use crate::broker::events::Actor;
use crate::broker::limits::ConnectionSeat;
use crate::broker::login::Ticket;
use crate::broker::outlet::Taken;
use crate::broker::queue_cell::QueueCell;
use crate::broker::totals::Tally;
use crate::broker::users::User;
use crate::broker::vhost::{RouteScratch, VHost};
use crate::channel::gates::Gate;
use crate::ids::{Lsn, Position, Progress, QueueId};
use crate::message::MessageBuilder;
use crate::protocol::frame::{Frame, FrameKind};
use crate::protocol::method::basic::PublishParts;
use crate::protocol::method::{Method, channel};
use crate::protocol::reply::{AmqpError, MethodId, ReplyCode};
use crate::queue::Settle;
use crate::session::basic::{PendingGet, is_settlement};
use crate::session::batch::PublishBatch;
use crate::session::channel::{Channel, Closed, Mode, Then};
use crate::session::consumers::Consumers;
use crate::session::deliver::Sent;
use crate::session::rights::Rights;
use crate::session::routes::RouteCache;
use crate::session::strangers::{TEXT, printable};
use crate::session::timeouts::Timeouts;
use crate::session::wire::Wire;
use crate::time::{Moment, Now};

/// Unconfirmed publishes on one channel from which on the connection is not read.
const UNCONFIRMED_LIMIT: u64 = 65_536;

/// Bytes of replies waiting on one channel from which on the connection is not read.
const GATED_LIMIT: usize = 1024 * 1024;

/// Why a connection stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// With an error.
    Error(AmqpError),
    /// The client sent connection.close.
    ClientClosed,
}

impl From<AmqpError> for Stop {
    fn from(error: AmqpError) -> Self {
        Self::Error(error)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) user: Arc<User>,
    pub(super) vhost: Arc<VHost>,
    pub(super) rights: Rights,
    /// What others see of it.
    pub(super) shown: Arc<OpenConnection>,
    /// The place among the connections of user and vhost, while it is open.
    seat: Option<ConnectionSeat>,
    pub(super) channels: BTreeMap<u16, Box<Channel>>,
    /// How many there have been.
    pub(super) channels_opened: u64,
    /// Channels that were closed lately.
    pub(super) closed: Vec<Closed>,
    pub(super) consumers: Consumers,
    pub(super) publishes: PublishBatch,
    /// Settlements of this read, not yet told to the queues.
    pub(super) settlements: Vec<(u32, Position, Settle)>,
    pub(super) routes: RouteCache,
    pub(super) scratch: RouteScratch,
    pub(super) builder: MessageBuilder,
    /// What was counted and not handed over.
    pub(super) tally: Tally,
    /// Queues that go with the connection.
    pub(super) owned: BTreeMap<QueueId, Arc<QueueCell>>,
    pub(super) taken: Taken,
    pub(super) sent: Sent,
    pub(super) timeouts: Timeouts,
    /// The time at the beginning of this turn.
    pub(super) now: Now,
    /// Milliseconds since 1970 then.
    pub(super) unix_ms: u64,
    /// When the access token that the user came with is not good any more.
    pub(super) ends: Option<Moment>,
    /// A new one that is being checked.
    pub(super) renewal: Option<Ticket>,
    /// The vhost is traced.
    pub(super) traced: bool,
    /// Something is done with every message that is published here.
    pub(super) intercepts: bool,
    /// Queues with a single active consumer that one has left, so that another may take over.
    pub(super) left: Vec<Arc<QueueCell>>,
    /// An alarm is on and this connection has published.
    pub(super) blocked: bool,
    /// Channels with replies or confirms that wait for the journal.
    pub(super) waiting: Vec<u16>,
    /// The positions that the journal was asked to wake us at; zero if at none.
    wake_asked: Progress,
    /// A channel has too many unconfirmed publishes.
    held_back: bool,
    /// The journal has too much to write: this connection is not read until it has caught up.
    outruns_journal: bool,
    /// It has published since the journal was last looked at.
    pub(super) has_published: bool,
    pub(super) pending_get: Option<PendingGet>,
    ended: bool,
}

impl Open {
    pub(super) fn new(
        wire: &Wire,
        user: Arc<User>,
        vhost: Arc<VHost>,
        seat: ConnectionSeat,
        shown: Arc<OpenConnection>,
    ) -> Self {
        let name = printable(wire.name.as_deref().unwrap_or_default(), TEXT);
        let ends = user.token().and_then(|vouched| vouched.ends);
        let tls = wire.peer.tls.as_deref();
        let (tls, cipher) = (tls.map(|tls| tls.version), tls.map(|tls| tls.cipher));
        let peer = &wire.peer.address;
        tracing::info!(%peer, user = ?user.name, vhost = ?vhost.name, name, tls, cipher, "connection opened");
        Self {
            rights: Rights::of(&user, &vhost),
            user,
            vhost,
            shown,
            seat: Some(seat),
            channels: BTreeMap::new(),
            channels_opened: 0,
            closed: Vec::new(),
            consumers: Consumers::default(),
            publishes: PublishBatch::default(),
            settlements: Vec::new(),
            routes: RouteCache::default(),
            scratch: RouteScratch::default(),
            builder: MessageBuilder::default(),
            tally: Tally::default(),
            owned: BTreeMap::new(),
            taken: Taken::default(),
            sent: Sent::default(),
            timeouts: Timeouts::default(),
            now: Now { moment: Moment(0), unix_ms: 0 },
            unix_ms: 0,
            ends,
            renewal: None,
            traced: false,
            intercepts: false,
            left: Vec::new(),
            blocked: false,
            waiting: Vec::new(),
            wake_asked: Progress::default(),
            held_back: false,
            outruns_journal: false,
            has_published: false,
            pending_get: None,
            ended: false,
        }
    }

    /// Notes the time and what is to be done with all messages, so that none of them asks.
    pub(super) fn look_around(&mut self, wire: &Wire, now: Now) {
        self.now = now;
        self.unix_ms = now.unix_ms;
        self.builder.set_time(now.unix_ms);
        self.traced = self.vhost.is_traced();
        self.intercepts = self.traced || wire.limits.stamps().are_any();
    }

    /// Whether it is not read until the journal has caught up with it.
    #[inline]
    pub(super) fn is_held_up(&self) -> bool {
        self.held_back || self.outruns_journal
    }

    pub(super) fn wants_input(&self) -> bool {
        let is_held_up = self.pending_get.is_some() || self.renewal.is_some();
        !self.blocked && !self.held_back && !self.outruns_journal && !is_held_up
    }

    /// The channel a method is for, which dispatch has found before.
    #[inline]
    pub(super) fn channel(&mut self, number: u16) -> Result<&mut Channel, AmqpError> {
        let missing = || AmqpError::new(ReplyCode::ChannelError, "expected 'channel.open'");
        self.channels.get_mut(&number).map(|channel| &mut **channel).ok_or_else(missing)
    }

    /// Who does what this connection asks for.
    pub(super) fn actor(&self, wire: &Wire) -> Actor<'_> {
        Actor { connection: wire.id, user: &self.user.name }
    }

    /// Handles the frame at the start of `input`. Returns how many bytes behind it were used as well.
    #[inline]
    pub(super) fn on_frame(
        &mut self,
        wire: &mut Wire,
        frame: Frame<'_>,
        input: &[u8],
    ) -> Result<usize, Stop> {
        if frame.kind == FrameKind::Heartbeat {
            return Ok(0);
        }
        if frame.channel == 0 {
            return self.on_connection(wire, Method::decode(frame.payload)?).map(|()| 0);
        }
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            return self.on_unknown_channel(wire, frame).map(|()| 0);
        };
        if channel.closing {
            return self.on_closing_frame(wire, frame).map(|()| 0);
        }
        match frame.kind {
            FrameKind::Method if !channel.assembler.expects_method() => {
                Err(channel.assembler.unexpected_method().into())
            }
            FrameKind::Method => {
                if let Some(parts) = PublishParts::find(frame.payload) {
                    return self.on_publish(wire, frame, &parts, input);
                }
                let method = Method::decode(frame.payload)?;
                let result = self.on_method(wire, frame.channel, method);
                self.after_method(wire, frame.channel, method.id(), result).map(|()| 0)
            }
            FrameKind::Header => {
                self.block_if_alarmed(wire);
                let Some(channel) = self.channels.get_mut(&frame.channel) else { return Ok(0) };
                let result = channel.assembler.header(frame.payload, wire.limits.max_message_size);
                self.on_content(wire, frame.channel, result).map(|()| 0)
            }
            FrameKind::Body => {
                self.block_if_alarmed(wire);
                let Some(channel) = self.channels.get_mut(&frame.channel) else { return Ok(0) };
                let result = channel.assembler.body(frame.payload);
                self.on_content(wire, frame.channel, result).map(|()| 0)
            }
            FrameKind::Heartbeat => Ok(0),
        }
    }

    fn on_unknown_channel(&mut self, wire: &mut Wire, frame: Frame<'_>) -> Result<(), Stop> {
        if frame.kind != FrameKind::Method {
            if self.is_left_over(wire, frame.channel, false) {
                return Ok(());
            }
            return Err(AmqpError::new(ReplyCode::UnexpectedFrame, "expected 'channel.open'").into());
        }
        let method = Method::decode(frame.payload)?;
        let opens = matches!(method, Method::Channel(channel::Method::Open(_)));
        let is_close_ok = matches!(method, Method::Channel(channel::Method::CloseOk(_)));
        if !opens && self.is_left_over(wire, frame.channel, is_close_ok) {
            return Ok(());
        }
        match method {
            Method::Channel(channel::Method::Open(_)) => {
                self.open_channel(wire, frame.channel).map_err(|error| error.at(method.id()).into())
            }
            Method::Connection(_) => Err(not_on_a_channel().at(method.id()).into()),
            _ => {
                Err(AmqpError::new(ReplyCode::ChannelError, "expected 'channel.open'").at(method.id()).into())
            }
        }
    }

    /// Only the end of the closing is of interest; the rest was sent before the client knew, and may be anything.
    fn on_closing_frame(&mut self, wire: &mut Wire, frame: Frame<'_>) -> Result<(), Stop> {
        match (frame.kind, Method::decode(frame.payload)) {
            (FrameKind::Method, Ok(Method::Channel(method))) => {
                self.on_closing_channel(wire, frame.channel, method)
            }
            _ => Ok(()),
        }
    }

    fn on_method(&mut self, wire: &mut Wire, number: u16, method: Method<'_>) -> Result<(), Stop> {
        // Acknowledgements are collected; everything else sees what came before it done.
        if !matches!(&method, Method::Basic(basic) if is_settlement(basic)) {
            self.flush(wire);
        }
        match method {
            Method::Basic(method) => self.on_basic(wire, number, method),
            Method::Channel(method) => self.on_channel(wire, number, method),
            Method::Queue(method) => Ok(self.on_queue(wire, number, method)?),
            Method::Exchange(method) => Ok(self.on_exchange(wire, number, method)?),
            Method::Confirm(method) => Ok(self.on_confirm(wire, number, method)?),
            Method::Tx(method) => Ok(self.on_tx(wire, number, method)?),
            Method::Access(method) => Ok(self.on_access(wire, number, method)?),
            Method::Connection(_) => Err(not_on_a_channel().into()),
        }
    }

    /// Turns a soft error into the end of its channel.
    pub(super) fn after_method(
        &mut self,
        wire: &mut Wire,
        number: u16,
        method: MethodId,
        result: Result<(), Stop>,
    ) -> Result<(), Stop> {
        match result {
            Err(Stop::Error(error)) if error.closes_connection() => Err(error.at(method).into()),
            Err(Stop::Error(error)) => {
                self.flush(wire);
                self.fail_channel(wire, number, &error.at(method));
                Ok(())
            }
            other => other,
        }
    }

    /// Hands what was collected to the queues, and lets confirms and replies out whose time has come.
    pub(super) fn flush(&mut self, wire: &mut Wire) {
        if !self.publishes.is_empty() {
            self.flush_publishes();
        }
        if std::mem::take(&mut self.has_published) {
            self.check_journal(wire);
        }
        if !self.settlements.is_empty() {
            self.flush_settlements(wire);
        }
        self.move_letters();
        if !self.waiting.is_empty() {
            self.release_waiting(wire);
        }
    }

    /// Moves what died because of what this session did.
    #[inline]
    pub(super) fn move_letters(&self) {
        if self.vhost.has_letters() {
            self.vhost.move_letters();
        }
    }

    /// Hands what was published to the queues.
    pub(super) fn flush_publishes(&mut self) {
        self.has_published = true;
        self.count_publishes();
        let Self { publishes, vhost, scratch, channels, waiting, .. } = self;
        publishes.flush(vhost, scratch, |number, count, taken| {
            if let Some(channel) = channels.get_mut(&number)
                && let Channel { mode: Mode::Confirm(confirms), shown, .. } = &mut **channel
            {
                if taken.refused == 0 {
                    confirms.taken(count, taken.safe);
                } else {
                    confirms.refused(count);
                }
                shown.counters.unconfirmed.set(confirms.outstanding());
                if !waiting.contains(&number) {
                    waiting.push(number);
                }
            }
        });
    }

    /// Stops reading while the journal is behind, or too large; it wakes the connection when it has written what there
    /// is now, or has become smaller.
    fn check_journal(&mut self, wire: &Wire) {
        let journal = &wire.broker.journal;
        let (behind, oversized) = (journal.is_behind(), journal.is_oversized());
        self.outruns_journal = behind || oversized;
        if !self.outruns_journal {
            return;
        }
        let Some(waker) = wire.outlet.waker() else { return };
        if behind {
            journal.wake_at(Progress { written: journal.end(), ..Progress::default() }, &waker);
        } else {
            journal.wake_when_retired(&waker);
        }
    }

    /// Notes that `number` has a reply that waits for the journal.
    pub(super) fn waits(&mut self, number: u16) {
        if !self.waiting.contains(&number) {
            self.waiting.push(number);
        }
    }

    /// Lets confirms and replies out whose gates are open, and asks to be woken for the rest.
    pub(super) fn release_waiting(&mut self, wire: &mut Wire) {
        let progress = wire.broker.journal.progress();
        let mut still = Vec::new();
        let mut needed = Progress::default();
        self.held_back = false;
        for number in std::mem::take(&mut self.waiting) {
            self.send_confirms(wire, number, progress.durable);
            self.send_replies(wire, number, progress);
            let Some(channel) = self.channels.get(&number) else { continue };
            let gate = channel.gates.waits_for();
            let confirm = match &channel.mode {
                Mode::Confirm(confirms) => {
                    self.held_back |= confirms.outstanding() > UNCONFIRMED_LIMIT;
                    confirms.waits_for()
                }
                _ => None,
            };
            self.held_back |= channel.gated_bytes > GATED_LIMIT;
            if gate.is_none() && confirm.is_none() {
                continue;
            }
            still.push(number);
            let gate = gate.unwrap_or(Gate::OPEN);
            needed.written = nearest(needed.written, gate.written, progress.written);
            needed.durable = nearest(needed.durable, gate.durable, progress.durable);
            needed.durable = nearest(needed.durable, confirm.unwrap_or(Lsn::ZERO), progress.durable);
        }
        self.waiting = still;
        self.ask_for(wire, needed);
    }

    /// Asks the journal to wake us at each of two positions, unless it was asked already.
    fn ask_for(&mut self, wire: &Wire, needed: Progress) {
        let Progress { written, durable } = needed;
        let Some(waker) = wire.outlet.waker() else { return };
        if written != self.wake_asked.written && written != Lsn::ZERO {
            wire.broker.journal.wake_at(Progress { written, durable: Lsn::ZERO }, &waker);
        }
        if durable != self.wake_asked.durable && durable != Lsn::ZERO {
            wire.broker.journal.wake_at(Progress { written: Lsn::ZERO, durable }, &waker);
        }
        self.wake_asked = needed;
    }

    fn send_replies(&mut self, wire: &mut Wire, number: u16, progress: Progress) {
        while let Some(channel) = self.channels.get_mut(&number)
            && let Some(reply) = channel.gates.pop(progress)
        {
            wire.out.append(|out| out.extend_from_slice(&reply.frames));
            channel.gated_bytes -= reply.frames.len();
            match reply.then {
                Then::Nothing => {}
                Then::Activate(key) => {
                    // Unless it was cancelled meanwhile and the key is another's.
                    if channel.flow && channel.tags.values().any(|&known| known == key) {
                        self.consumers.set_active(key, true);
                    }
                }
                Then::Remove => self.remove_channel(wire, number),
            }
        }
    }

    /// Does what the outlet and the alarms ask for. Returns how many deliveries there were, and the reason if the
    /// connection is to close.
    pub(super) fn on_wake(&mut self, wire: &mut Wire) -> (usize, Option<AmqpError>) {
        // First what may let consumers start, then what they were given.
        if !self.waiting.is_empty() {
            self.release_waiting(wire);
        }
        if self.outruns_journal {
            self.check_journal(wire);
        }
        self.end_forbidden_consumers(wire);
        debug_assert!(
            self.taken.deliveries.is_empty() && self.taken.gone.is_empty(),
            "taken and not handled"
        );
        wire.outlet.take(&mut self.taken);
        let deliveries = self.taken.deliveries.len();
        self.send_deliveries(wire);
        for key in std::mem::take(&mut self.taken.gone) {
            self.on_queue_gone(wire, key);
        }
        self.check_alarm(wire);
        if let Err(Stop::Error(error)) = self.retry_get(wire) {
            self.taken.close.get_or_insert(error);
        }
        self.move_letters();
        (deliveries, self.taken.close.take())
    }

    pub(super) fn log_end(&self, wire: &Wire, reason: &str) {
        let (user, vhost) = (&self.user.name, &self.vhost.name);
        tracing::info!(peer = %wire.peer.address, ?user, ?vhost, reason = %printable(reason, TEXT), "connection closed");
    }

    pub(super) fn log_channel_error(&self, wire: &Wire, channel: u16, error: &str) {
        let (user, vhost) = (&self.user.name, &self.vhost.name);
        tracing::warn!(peer = %wire.peer.address, ?user, ?vhost, channel, error = %printable(error, TEXT), "channel closed");
    }

    /// Gives everything back: unacked and undelivered messages, consumers, owned queues.
    ///
    /// `is_flushed` says that what is in the output is still sent.
    pub(super) fn end(&mut self, wire: &mut Wire, is_flushed: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.flush(wire);
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for &number in &numbers {
            self.cancel_all(wire, number);
        }
        wire.outlet.close(&mut self.taken);
        self.return_taken();
        self.return_unwritten(wire, is_flushed);
        for &number in &numbers {
            self.give_back_unacked(number);
        }
        // All at once: each queue has everything back in order before it delivers again.
        self.flush_settlements(wire);
        self.hand_over();
        for &number in numbers.iter().filter(|number| self.channels.get(number).is_some_and(|it| !it.closing))
        {
            self.announce_channel_end(wire, number);
        }
        for cell in std::mem::take(&mut self.owned).into_values() {
            self.vhost.delete_owned(&cell);
        }
        self.move_letters();
        for number in numbers {
            self.drop_channel(number);
        }
        self.report(wire);
        self.seat = None;
    }
}

/// The nearer of two positions that are still ahead of `reached`; zero if neither is.
fn nearest(a: Lsn, b: Lsn, reached: Lsn) -> Lsn {
    if b <= reached || (a != Lsn::ZERO && a <= b) { a } else { b }
}

fn not_on_a_channel() -> AmqpError {
    AmqpError::new(ReplyCode::CommandInvalid, "unimplemented method")
}
