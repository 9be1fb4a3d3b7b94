//! One publishing connection: writes from a batch as much as rate, window and socket let it, and reads what the broker says.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::{Clock, SPIN, sharpen_timers};
use super::counters::Counters;
use super::error::PerfError;
use super::frames::Batch;
use super::input::Filled;
use super::pace::Pace;
use super::percentiles::Times;
use super::topology::CHANNEL;
use super::window::Window;
use super::wire::{Connection, Notice, Waiting, has_id, notice};
use crate::protocol::frame::{Frame, FrameKind, HEARTBEAT};
use crate::protocol::method::{Args as _, basic, confirm};

/// How long a broker may block a publisher before the run ends with the broker's reason.
pub const BLOCKED_PATIENCE: Duration = Duration::from_secs(10);

/// How long, once told to stop, to wait for what is half written, for confirms that are due, and for room for messages that
/// are to be timed and were due before.
pub const FINISH: Duration = Duration::from_secs(10);

/// The longest sleep: how soon a publisher sees that it has to stop.
const NAP: Duration = Duration::from_millis(50);

/// The shortest sleep between messages at a fixed rate that need not leave at their very time: those that are due together are
/// written together.
const BURST: Duration = Duration::from_millis(1);

/// How many batches go out whole before a look at what the broker says.
const BATCHES_PER_LOOK: u32 = 16;

/// What a publisher is to do.
#[derive(Debug)]
pub struct Orders<'a> {
    /// The messages.
    pub batch: Batch,
    /// Messages in flight unconfirmed; 0 for no confirms.
    pub confirm: usize,
    /// Messages to send in all; None for no end.
    pub messages: Option<u64>,
    /// When each message is due; None for as soon as possible.
    pub pace: Option<Pace>,
    /// Whether messages carry the time at which they were due, and leave at it to some microseconds. Needs a pace.
    pub is_timed: bool,
    /// The clock of the run.
    pub clock: Clock,
    /// Confirms of messages that were due before are not timed.
    pub timed_from: Duration,
    /// How long the broker may take at the end to read what was sent.
    pub patience: Duration,
    /// How long it may take, from the order to stop on, for what was due before: [`FINISH`].
    pub finish: Duration,
    /// Where it tells what it has done.
    pub counters: &'a Counters,
    /// Set to end it.
    pub stop: &'a AtomicBool,
}

/// A publisher.
#[derive(Debug)]
pub struct Publisher<'a> {
    connection: Connection,
    orders: Orders<'a>,
    window: Option<Window>,
    /// What of the batch is still to be written.
    pending: Range<usize>,
    /// The message of the batch that comes next.
    next: usize,
    /// Messages taken from the batch so far.
    taken: u64,
    /// What of a heartbeat is still to be written.
    heartbeat: Range<usize>,
    is_flush_due: bool,
    blocked_since: Option<Duration>,
    stopping_since: Option<Duration>,
    confirm_times: Times,
}

impl<'a> Publisher<'a> {
    /// Opens its channel, in confirm mode if there are to be confirms.
    ///
    /// # Errors
    ///
    /// If the broker refuses.
    pub fn new(mut connection: Connection, orders: Orders<'a>) -> Result<Self, PerfError> {
        connection.open_channel(CHANNEL)?;
        if orders.confirm > 0 {
            connection.call(CHANNEL, &confirm::Select { no_wait: false }, confirm::SelectOk::ID)?;
        }
        let window = (orders.confirm > 0).then(|| Window::new(orders.confirm));
        Ok(Self {
            connection,
            orders,
            window,
            pending: 0..0,
            next: 0,
            taken: 0,
            heartbeat: 0..0,
            is_flush_due: false,
            blocked_since: None,
            stopping_since: None,
            confirm_times: Times::new()?,
        })
    }

    /// Sets when its messages are due.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        self.orders.pace = pace;
    }

    /// Sets from when on confirms are timed.
    pub fn time_from(&mut self, from: Duration) {
        self.orders.timed_from = from;
    }

    /// Publishes until it is told to stop, or everything is sent; then waits for confirms and says goodbye. What is timed and
    /// was due before the order to stop is sent still: a broker that stalls at the end would be measured by what came before
    /// otherwise. Returns how long after they were due messages were confirmed.
    ///
    /// # Errors
    ///
    /// If the broker closes channel or connection, blocks it for long, or the connection fails.
    pub fn run(mut self) -> Result<Times, PerfError> {
        self.connection.stream.wait(Waiting::Never)?;
        if self.orders.is_timed {
            sharpen_timers();
        }
        match self.publish() {
            Ok(()) => self.finish(),
            // A broker that closes the connection has said why before.
            Err(PerfError::Io(error)) => Err(self.read().err().unwrap_or(PerfError::Io(error))),
            Err(error) => Err(error),
        }
    }

    fn publish(&mut self) -> Result<(), PerfError> {
        let mut batches = 0;
        loop {
            let is_stopping = self.is_stopping();
            if self.pending.is_empty() && self.heartbeat.is_empty() && (!is_stopping || self.overdue() > 0) {
                self.take();
            }
            let is_written = self.write()?;
            if self.is_done(is_written) {
                self.orders.counters.set_unsent(self.overdue());
                return Ok(());
            }
            let wait = if is_written { self.until_more() } else { NAP };
            if wait.is_zero() && self.window.is_none() {
                batches += 1;
                if batches % BATCHES_PER_LOOK != 0 {
                    continue;
                }
            }
            if self.orders.is_timed && wait <= SPIN && is_written {
                self.spin()?;
            } else if self.connection.stream.ready(!is_written, wait)?.read {
                self.read()?;
            }
            self.check_blocked()?;
        }
    }

    fn is_stopping(&mut self) -> bool {
        if self.stopping_since.is_none() && self.orders.stop.load(Ordering::Relaxed) {
            self.stopping_since = Some(self.orders.clock.now());
        }
        self.stopping_since.is_some()
    }

    /// Messages to be timed that were due before the order to stop and were not taken yet; none before that order.
    fn overdue(&self) -> u64 {
        match (self.orders.pace, self.stopping_since) {
            (Some(pace), Some(since)) if self.orders.is_timed => {
                let due = pace.due_until(super::clock::nanos(since));
                due.min(self.orders.messages.unwrap_or(u64::MAX)).saturating_sub(self.taken)
            }
            _ => 0,
        }
    }

    /// Takes from the batch what may be sent now.
    fn take(&mut self) {
        if self.next == self.orders.batch.len() {
            self.next = 0;
        }
        let mut count = self.allowed(self.orders.batch.len() - self.next);
        if let (Some(window), true) = (&mut self.window, count > 0) {
            count = count.min(window.room());
            window.send(count);
        }
        if count == 0 {
            return;
        }
        if let (true, Some(pace)) = (self.orders.is_timed, self.orders.pace) {
            for message in 0..count {
                let due = pace.due(self.taken + message as u64);
                self.orders.batch.stamp(self.next + message, due);
            }
        }
        self.pending = self.orders.batch.range(self.next, count);
        self.next += count;
        self.taken += count as u64;
    }

    /// How many messages, up to `most`, rate and total allow now.
    fn allowed(&self, most: usize) -> usize {
        let mut most = most as u64;
        if let Some(messages) = self.orders.messages {
            most = most.min(messages - self.taken);
        }
        if let (Some(pace), true) = (&self.orders.pace, most > 0) {
            most = most.min(pace.due_until(self.orders.clock.nanos()).saturating_sub(self.taken));
        }
        if self.stopping_since.is_some() {
            most = most.min(self.overdue());
        }
        most as usize
    }

    /// Whether all that was taken has gone to the socket.
    fn write(&mut self) -> Result<bool, PerfError> {
        let stream = &mut self.connection.stream;
        if !self.pending.is_empty() {
            let count = stream.write_some(&self.orders.batch.bytes()[self.pending.clone()])?;
            self.pending.start += count;
            self.is_flush_due = stream.is_tls();
            // Messages of this batch that are not written whole are the last of those that were taken.
            let whole = self.orders.batch.whole_until(self.pending.start);
            self.orders.counters.set_published(self.taken - (self.next - whole.min(self.next)) as u64);
        }
        if self.pending.is_empty() && !self.heartbeat.is_empty() {
            self.heartbeat.start += stream.write_some(&HEARTBEAT[self.heartbeat.clone()])?;
            self.is_flush_due = stream.is_tls();
        }
        if self.is_flush_due {
            self.is_flush_due = !stream.flush_some()?;
        }
        Ok(self.pending.is_empty() && self.heartbeat.is_empty() && !self.is_flush_due)
    }

    fn is_done(&self, is_written: bool) -> bool {
        let is_settled = is_written && self.window.as_ref().is_none_or(|window| window.in_flight() == 0);
        let is_stopping = self.stopping_since.is_some() && self.overdue() == 0;
        if is_settled && (is_stopping || self.orders.messages == Some(self.taken)) {
            return true;
        }
        self.stopping_since.is_some_and(|since| self.orders.clock.now() >= since + self.orders.finish)
    }

    /// How long to wait, at most, until there may be more to send.
    fn until_more(&self) -> Duration {
        let is_full = self.window.as_ref().is_some_and(|window| window.room() == 0);
        let is_stopping = self.stopping_since.is_some() && self.overdue() == 0;
        if is_full || is_stopping || self.orders.messages == Some(self.taken) {
            return NAP;
        }
        let Some(pace) = &self.orders.pace else { return Duration::ZERO };
        let now = self.orders.clock.nanos();
        let left = Duration::from_nanos(pace.due(self.taken).saturating_sub(now));
        let wait = match self.orders.is_timed {
            true if left > SPIN => left - SPIN,
            false if !left.is_zero() => left.max(BURST),
            _ => left,
        };
        wait.min(NAP)
    }

    /// Looks at the clock until the next message is due, and at the socket meanwhile if confirms are due: to be woken would
    /// take too long.
    fn spin(&mut self) -> Result<(), PerfError> {
        let Some(pace) = self.orders.pace else { return Ok(()) };
        let due = pace.due(self.taken);
        while self.orders.clock.nanos() < due && !self.orders.stop.load(Ordering::Relaxed) {
            if self.window.as_ref().is_some_and(|window| window.in_flight() > 0) {
                self.read()?;
            } else {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }

    /// Reads what is there.
    fn read(&mut self) -> Result<(), PerfError> {
        loop {
            let may_be_more = match self.connection.input.fill(&mut self.connection.stream)? {
                Filled::Bytes(_, is_full) => is_full || self.connection.stream.is_tls(),
                Filled::Nothing => return Ok(()),
                Filled::End => return Err(PerfError::HungUp("messages were published")),
            };
            let now = self.orders.clock.nanos();
            while let Some(frame) = self.connection.input.frame()? {
                let Some((tag, multiple, is_ack)) = settlement(&frame) else {
                    match notice(&frame)? {
                        Notice::Other => {}
                        // One that is half written is as good an answer as another.
                        Notice::Heartbeat if self.heartbeat.is_empty() => {
                            self.heartbeat = 0..HEARTBEAT.len();
                        }
                        Notice::Heartbeat => {}
                        Notice::Blocked(reason) => {
                            self.orders.counters.set_blocked(&reason);
                            self.blocked_since.get_or_insert(Duration::from_nanos(now));
                        }
                        Notice::Unblocked => self.blocked_since = None,
                    }
                    continue;
                };
                let Some(window) = &mut self.window else { continue };
                match self.orders.pace.filter(|_| self.orders.is_timed) {
                    Some(pace) => {
                        let from = super::clock::nanos(self.orders.timed_from);
                        window.settle(tag, multiple, is_ack, |tag| {
                            let due = pace.due(tag - 1);
                            if due >= from {
                                self.confirm_times.record(now.saturating_sub(due));
                            }
                        });
                    }
                    None => window.settle(tag, multiple, is_ack, |_| {}),
                }
            }
            if let Some(window) = &self.window {
                self.orders.counters.set_settled(window.confirmed(), window.nacked());
            }
            if !may_be_more {
                return Ok(());
            }
        }
    }

    fn check_blocked(&self) -> Result<(), PerfError> {
        let is_over = |since: Duration| self.orders.clock.now() >= since + BLOCKED_PATIENCE;
        if self.blocked_since.is_some_and(is_over) {
            let reason = self.orders.counters.blocked().unwrap_or_default().to_owned();
            return Err(PerfError::Blocked { reason, patience: BLOCKED_PATIENCE });
        }
        Ok(())
    }

    /// Says goodbye. Who is held back in the middle of a message cannot.
    fn finish(self) -> Result<Times, PerfError> {
        let is_between_messages = self.pending.is_empty() && self.heartbeat.is_empty();
        if is_between_messages && self.blocked_since.is_none() {
            match self.connection.close_within(self.orders.patience) {
                // It may have been blocked just now.
                Ok(()) | Err(PerfError::Silent { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.confirm_times)
    }
}

/// The broker's word for messages: their tag, whether it is for all before too, and whether they were taken.
#[inline]
pub(super) fn settlement(frame: &Frame<'_>) -> Option<(u64, bool, bool)> {
    if frame.kind != FrameKind::Method {
        return None;
    }
    let is_ack = has_id(frame, basic::Ack::ID);
    if !is_ack && !has_id(frame, basic::Nack::ID) {
        return None;
    }
    let (tag, flags) = frame.payload.get(4..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*tag), flags.first()? & 1 == 1, is_ack))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::fake;
    use crate::perf::frames::MessageForm;
    use crate::perf::wire::Target;
    use crate::protocol::frame::{Next, next_frame};
    use crate::protocol::method::{Method, channel, connection, write_method};

    fn read(bytes: &[u8]) -> Option<(u64, bool, bool)> {
        let Ok(Next::Frame(frame)) = next_frame(bytes, 4096) else { panic!("a frame") };
        settlement(&frame)
    }

    #[test]
    fn acks_and_nacks_are_read_without_decoding() {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &basic::Ack { delivery_tag: 7, multiple: true });
        assert_eq!(read(&bytes), Some((7, true, true)));
        bytes.clear();
        write_method(&mut bytes, 1, &basic::Nack { delivery_tag: 1 << 40, multiple: false, requeue: true });
        assert_eq!(read(&bytes), Some((1 << 40, false, false)));
        assert_eq!(read(&HEARTBEAT), None);
    }

    fn form() -> MessageForm<'static> {
        MessageForm {
            channel: CHANNEL,
            exchange: "",
            routing_key: "q",
            properties: &[0, 0],
            sizes: &[16],
            frame_max: 0,
        }
    }

    /// What a publisher of 16 bytes a message, if need be confirmed, ends with.
    fn publish(
        target: &Target,
        confirm: usize,
        messages: Option<u64>,
    ) -> (Result<Times, PerfError>, Counters) {
        let counters = Counters::default();
        let stop = AtomicBool::new(false);
        let connection = Connection::open(target).expect("a connection");
        let orders = Orders {
            batch: Batch::new(&form(), 4000),
            confirm,
            messages,
            pace: None,
            is_timed: false,
            clock: Clock::start(),
            timed_from: Duration::ZERO,
            patience: Duration::from_secs(5),
            finish: FINISH,
            counters: &counters,
            stop: &stop,
        };
        let ended = Publisher::new(connection, orders).and_then(Publisher::run);
        (ended, counters)
    }

    #[test]
    fn a_publisher_ends_with_the_words_of_the_broker() {
        let (target, broker) = fake::broker(|peer| {
            peer.hear_method("basic.publish");
            let text = "NOT_FOUND - no exchange 'x'";
            peer.say(1, &channel::Close { reply_code: 404, reply_text: text, class_id: 60, method_id: 40 });
            // Until the client has gone.
            peer.hear(|_, _| None::<()>);
        });
        let error = publish(&target, 0, None).0.expect_err("the channel is closed").to_string();
        assert_eq!(error, "the broker closed the channel: NOT_FOUND - no exchange 'x' (404)");
        broker.join().expect("the broker is content");

        let (target, broker) = fake::broker(|peer| {
            peer.hear_method("basic.publish");
            let text = "CONNECTION_FORCED - shutdown";
            peer.say(0, &connection::Close { reply_code: 320, reply_text: text, class_id: 0, method_id: 0 });
            peer.hear(|_, _| None::<()>);
        });
        let error = publish(&target, 0, None).0.expect_err("the connection is closed").to_string();
        assert_eq!(error, "the broker closed the connection: CONNECTION_FORCED - shutdown (320)");
        broker.join().expect("the broker is content");
    }

    #[test]
    fn the_window_is_kept_and_heartbeats_are_answered_between_messages() {
        let (target, broker) = fake::broker(|peer| {
            peer.hear_method("confirm.select");
            peer.say(1, &confirm::SelectOk {});
            peer.say(0, &connection::Blocked { reason: "low on memory" });
            peer.say(0, &connection::Unblocked {});
            let (mut sent, mut answered) = (0, 0);
            let mut bodies = 0;
            // Three at a time: the third of each is confirmed together with those before it.
            while bodies < 12 {
                peer.hear(|kind, _| {
                    sent += usize::from(kind == FrameKind::Method);
                    answered += usize::from(kind == FrameKind::Heartbeat);
                    (kind == FrameKind::Body).then_some(())
                });
                bodies += 1;
                assert!(sent <= bodies, "frames of a message come together");
                if bodies % 3 == 0 {
                    peer.send(&HEARTBEAT);
                    peer.say(1, &basic::Ack { delivery_tag: bodies as u64, multiple: true });
                }
            }
            let more = peer.hear(|kind, _| match kind {
                FrameKind::Heartbeat => {
                    answered += 1;
                    None
                }
                kind => Some(kind),
            });
            assert_eq!(more, Some(FrameKind::Method), "nothing but a goodbye is left to say");
            peer.say(0, &connection::CloseOk {});
            answered
        });
        let (ended, counters) = publish(&target, 3, Some(12));
        ended.expect("it goes well");
        let counts = counters.counts();
        assert_eq!((counts.published, counts.confirmed, counts.nacked), (12, 12, 0));
        assert_eq!(counters.blocked(), Some("low on memory"));
        // The last may be asked for when there is nobody left to answer.
        assert!(broker.join().expect("the broker is content") >= 1);
    }

    /// A publisher of 1,000 messages a second with three in flight, told to stop after 100 ms, and a broker that confirms
    /// nothing before that and, if it `recovers`, everything after it.
    fn publish_to_one_that_stalls(recovers: bool) -> (Times, Counters, u64) {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (target, broker) = fake::broker(move |peer| {
            peer.hear_method("confirm.select");
            peer.say(1, &confirm::SelectOk {});
            std::thread::sleep(Duration::from_millis(100));
            stopped.store(true, Ordering::Relaxed);
            let mut bodies = 0;
            while recovers
                && peer.hear(|kind, payload| match kind {
                    FrameKind::Body => Some(true),
                    FrameKind::Method
                        if Method::decode(payload).expect("a method").name() != "basic.publish" =>
                    {
                        Some(false)
                    }
                    _ => None,
                }) == Some(true)
            {
                bodies += 1;
                peer.say(1, &basic::Ack { delivery_tag: bodies, multiple: false });
            }
            if !recovers {
                peer.hear_method("connection.close");
            }
            peer.say(0, &connection::CloseOk {});
            bodies
        });
        let counters = Counters::default();
        let connection = Connection::open(&target).expect("a connection");
        let clock = Clock::start();
        let orders = Orders {
            batch: Batch::new(&form(), 4000),
            confirm: 3,
            messages: None,
            pace: Some(Pace::new(clock.now(), 1000.0)),
            is_timed: true,
            clock,
            timed_from: Duration::ZERO,
            patience: Duration::from_secs(5),
            finish: Duration::from_secs(if recovers { 10 } else { 0 }),
            counters: &counters,
            stop: &stop,
        };
        let times = Publisher::new(connection, orders).and_then(Publisher::run).expect("it goes well");
        (times, counters, broker.join().expect("the broker is content"))
    }

    #[test]
    fn what_was_due_before_the_end_is_sent_and_timed_however_late() {
        let (times, counters, bodies) = publish_to_one_that_stalls(true);
        let told = times.percentiles();
        assert_eq!((counters.counts().confirmed, told.count, counters.unsent()), (bodies, bodies, 0));
        // The publisher began before the stall did, and half of what was due in it waited for half of it.
        assert!(bodies >= 90 && told.p50_us >= 40_000.0, "{bodies}, {told:?}");
    }

    #[test]
    fn what_was_due_and_could_not_be_sent_is_counted() {
        let (_, counters, _) = publish_to_one_that_stalls(false);
        assert_eq!(counters.counts().published, 3);
        assert!(counters.unsent() >= 90, "{}", counters.unsent());
    }

    #[test]
    fn only_messages_that_went_out_whole_are_counted() {
        let (target, broker) = fake::broker(|peer| {
            let mut bodies = 0u64;
            peer.hear(|kind, payload| {
                bodies += u64::from(kind == FrameKind::Body);
                let is_close = kind == FrameKind::Method
                    && matches!(
                        Method::decode(payload),
                        Ok(Method::Connection(connection::Method::Close(_)))
                    );
                is_close.then_some(())
            });
            peer.say(0, &connection::CloseOk {});
            bodies
        });
        let (ended, counters) = publish(&target, 0, Some(100_003));
        ended.expect("it goes well");
        assert_eq!(counters.counts().published, 100_003);
        assert_eq!(broker.join().expect("the broker is content"), 100_003);
    }
}
