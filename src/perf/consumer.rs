//! One consuming connection: reads much at once, counts messages by the headers of their frames, and acknowledges.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::Clock;
use super::counters::Counters;
use super::error::PerfError;
use super::frames::STAMP_SIZE;
use super::input::{Filled, Input};
use super::percentiles::Times;
use super::topology::CHANNEL;
use super::wire::{Connection, Notice, Waiting, has_id, notice};
use crate::protocol::field::TableRef;
use crate::protocol::frame::{Frame, FrameKind, HEARTBEAT};
use crate::protocol::method::{Args as _, basic, write_method};

/// The longest wait for messages: how soon a consumer sees that it has to stop, and acknowledges what is left over.
const NAP: Duration = Duration::from_millis(50);

/// What a consumer is to do.
#[derive(Debug)]
pub struct Orders<'a> {
    /// Its queue.
    pub queue: &'a str,
    /// It acknowledges every so many messages; 0 for none.
    pub ack: u32,
    /// Messages it may have unacknowledged; 0 for no limit.
    pub prefetch: u16,
    /// Whether messages carry the time at which they were due.
    pub is_timed: bool,
    /// The clock of the run.
    pub clock: Clock,
    /// Messages that were due before are not timed.
    pub timed_from: Duration,
    /// Where it tells what it has done.
    pub counters: &'a Counters,
    /// Set to end it.
    pub stop: &'a AtomicBool,
}

/// A message that has come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delivery {
    tag: u64,
    /// The first eight bytes of its body as a number, if it has as many in its first frame.
    stamp: Option<u64>,
}

/// What has come of the message that is coming.
#[derive(Debug, Default)]
struct Deliveries {
    tag: u64,
    stamp: Option<u64>,
    /// Bytes of the body that are still to come.
    remaining: u64,
    is_first: bool,
}

/// A consumer.
#[derive(Debug)]
pub struct Consumer<'a> {
    connection: Connection,
    orders: Orders<'a>,
    deliveries: Deliveries,
    /// Answers that are written together after each read.
    out: Vec<u8>,
    consumed: u64,
    /// The last tag that has come, and the last that was acknowledged.
    last: u64,
    acked: u64,
    times: Times,
}

impl<'a> Consumer<'a> {
    /// Opens its channel and consumes: from now on the broker sends it messages.
    ///
    /// # Errors
    ///
    /// If the broker refuses.
    pub fn new(mut connection: Connection, orders: Orders<'a>) -> Result<Self, PerfError> {
        connection.open_channel(CHANNEL)?;
        if orders.prefetch > 0 {
            let qos = basic::Qos { prefetch_size: 0, prefetch_count: orders.prefetch, global: false };
            connection.call(CHANNEL, &qos, basic::QosOk::ID)?;
        }
        let consume = basic::Consume {
            ticket: 0,
            queue: orders.queue,
            consumer_tag: "c",
            no_local: false,
            no_ack: orders.ack == 0,
            exclusive: false,
            no_wait: false,
            arguments: TableRef::EMPTY,
        };
        connection.call(CHANNEL, &consume, basic::ConsumeOk::ID)?;
        connection.stream.wait(Waiting::AtMost(NAP))?;
        Ok(Self {
            connection,
            orders,
            deliveries: Deliveries::default(),
            out: Vec::new(),
            consumed: 0,
            last: 0,
            acked: 0,
            times: Times::new()?,
        })
    }

    /// Sets from when on messages are timed, by when they were due.
    pub fn time_from(&mut self, from: Duration) {
        self.orders.timed_from = from;
    }

    /// Consumes until it is told to stop; then says goodbye. Returns how long after they were due messages came.
    ///
    /// # Errors
    ///
    /// If the broker closes channel or connection, cancels the consumer, or the connection fails.
    pub fn run(mut self) -> Result<Times, PerfError> {
        // What came with the answer to basic.consume; perhaps as much as the prefetch allows.
        self.take()?;
        self.answer()?;
        while !self.orders.stop.load(Ordering::Relaxed) {
            // The reads do the waiting: one system call for as many messages as are there.
            let filled = self.connection.input.fill(&mut self.connection.stream)?;
            match filled {
                Filled::Bytes(..) => self.take()?,
                Filled::Nothing => self.acknowledge(1),
                Filled::End => return Err(PerfError::HungUp("messages were consumed")),
            }
            self.answer()?;
        }
        self.acknowledge(1);
        self.write()?;
        match self.connection.close() {
            Ok(()) | Err(PerfError::Silent { .. }) => Ok(self.times),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self) -> Result<(), PerfError> {
        let now = if self.orders.is_timed { self.orders.clock.nanos() } else { 0 };
        let from = super::clock::nanos(self.orders.timed_from);
        let mut is_alive_asked = false;
        loop {
            match self.deliveries.next(&mut self.connection.input)? {
                Came::Message(delivery) => {
                    self.consumed += 1;
                    self.last = delivery.tag;
                    if let (true, Some(due)) = (self.orders.is_timed, delivery.stamp)
                        && due >= from
                    {
                        self.times.record(now.saturating_sub(due));
                    }
                    self.acknowledge(self.orders.ack);
                }
                Came::Heartbeat => is_alive_asked = true,
                Came::Nothing => break,
            }
        }
        if is_alive_asked {
            self.out.extend_from_slice(&HEARTBEAT);
        }
        self.orders.counters.set_consumed(self.consumed);
        Ok(())
    }

    /// Acknowledges if at least so many messages are not.
    #[inline]
    fn acknowledge(&mut self, least: u32) {
        if self.orders.ack == 0 || self.last.saturating_sub(self.acked) < u64::from(least) {
            return;
        }
        write_method(&mut self.out, CHANNEL, &basic::Ack { delivery_tag: self.last, multiple: true });
        self.acked = self.last;
    }

    /// Writes the answers, if there are any.
    fn answer(&mut self) -> Result<(), PerfError> {
        if !self.out.is_empty()
            && let Err(error) = self.write()
        {
            // A broker that closes the connection has said why before.
            self.connection.input.fill(&mut self.connection.stream)?;
            self.take()?;
            return Err(error);
        }
        Ok(())
    }

    /// Writes the answers. A broker that is slow to read them is waited for.
    fn write(&mut self) -> Result<(), PerfError> {
        let mut written = 0;
        while written < self.out.len() {
            let count = self.connection.stream.write_some(&self.out[written..])?;
            if count == 0 && self.orders.stop.load(Ordering::Relaxed) {
                break;
            }
            written += count;
        }
        self.out.clear();
        self.connection.stream.flush()?;
        Ok(())
    }
}

/// What comes next of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Message(Delivery),
    /// The broker asks for a heartbeat.
    Heartbeat,
    /// No more.
    Nothing,
}

impl Deliveries {
    /// The next message that is there whole.
    #[inline]
    fn next(&mut self, input: &mut Input) -> Result<Came, PerfError> {
        while let Some(frame) = input.frame()? {
            match frame.kind {
                FrameKind::Method => {
                    if let Some(tag) = delivery_tag(&frame) {
                        (self.tag, self.stamp) = (tag, None);
                    } else {
                        notice(&frame)?;
                    }
                }
                FrameKind::Header => {
                    self.remaining = body_size(&frame)?;
                    self.is_first = true;
                    if self.remaining == 0 {
                        return Ok(Came::Message(self.done()));
                    }
                }
                FrameKind::Body => {
                    if std::mem::take(&mut self.is_first) {
                        let stamp = frame.payload.first_chunk::<STAMP_SIZE>();
                        self.stamp = stamp.map(|bytes| u64::from_be_bytes(*bytes));
                    }
                    let left = self.remaining.checked_sub(frame.payload.len() as u64);
                    self.remaining = left.ok_or_else(|| {
                        PerfError::Protocol("a body that is longer than announced".to_owned())
                    })?;
                    if self.remaining == 0 {
                        return Ok(Came::Message(self.done()));
                    }
                }
                FrameKind::Heartbeat => {
                    if notice(&frame)? == Notice::Heartbeat {
                        return Ok(Came::Heartbeat);
                    }
                }
            }
        }
        Ok(Came::Nothing)
    }

    fn done(&self) -> Delivery {
        Delivery { tag: self.tag, stamp: self.stamp }
    }
}

/// The tag of a basic.deliver: behind the ids and the consumer's tag.
#[inline]
fn delivery_tag(frame: &Frame<'_>) -> Option<u64> {
    if !has_id(frame, basic::Deliver::ID) {
        return None;
    }
    let (&len, rest) = frame.payload.get(4..)?.split_first()?;
    let tag = rest.get(usize::from(len)..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*tag))
}

/// The size of the body, in a content header behind class and weight.
#[inline]
pub(super) fn body_size(frame: &Frame<'_>) -> Result<u64, PerfError> {
    let size = frame.payload.get(4..).and_then(|rest| rest.first_chunk::<8>());
    let short = || PerfError::Protocol("a content header that is too short".to_owned());
    size.map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(short)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::perf::fake;
    use crate::protocol::content::{write_body, write_header};
    use crate::protocol::method::{channel, connection};

    fn deliver(out: &mut Vec<u8>, tag: u64, body: &[u8], frame_max: u32) {
        let deliver = basic::Deliver {
            consumer_tag: "some tag",
            delivery_tag: tag,
            redelivered: false,
            exchange: "e",
            routing_key: "k",
        };
        write_method(out, 1, &deliver);
        write_header(out, 1, body.len() as u64, &[0, 0]);
        write_body(out, 1, body, frame_max);
    }

    fn came(bytes: &[u8]) -> Result<Vec<Came>, PerfError> {
        let mut input = Input::default();
        input.fill(&mut &*bytes)?;
        let mut deliveries = Deliveries::default();
        let mut all = Vec::new();
        loop {
            match deliveries.next(&mut input)? {
                Came::Nothing => return Ok(all),
                other => all.push(other),
            }
        }
    }

    #[test]
    fn messages_are_found_by_the_headers_of_their_frames() {
        let mut bytes = Vec::new();
        let mut stamped = 77u64.to_be_bytes().to_vec();
        stamped.resize(9000, 0);
        deliver(&mut bytes, 1, &stamped, 4096);
        deliver(&mut bytes, 2, b"", 0);
        bytes.extend_from_slice(&HEARTBEAT);
        deliver(&mut bytes, 3, b"short", 0);
        let message = |tag, stamp| Came::Message(Delivery { tag, stamp });
        let expected = [message(1, Some(77)), message(2, None), Came::Heartbeat, message(3, None)];
        assert_eq!(came(&bytes).expect("messages"), expected);
    }

    #[test]
    fn a_message_that_comes_with_the_first_answer_is_taken() {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (target, broker) = fake::broker(move |peer| {
            peer.hear_method("basic.consume");
            let mut bytes = Vec::new();
            write_method(&mut bytes, 1, &basic::ConsumeOk { consumer_tag: "c" });
            deliver(&mut bytes, 1, b"alone", 0);
            peer.send(&bytes);
            peer.hear_method("basic.ack");
            stopped.store(true, Ordering::Relaxed);
            peer.hear_method("connection.close");
            peer.say(0, &connection::CloseOk {});
        });
        let counters = Counters::default();
        let orders = Orders {
            queue: "q",
            ack: 1,
            prefetch: 0,
            is_timed: false,
            clock: Clock::start(),
            timed_from: Duration::ZERO,
            counters: &counters,
            stop: &stop,
        };
        let connection = Connection::open(&target).expect("a connection");
        Consumer::new(connection, orders).expect("a consumer").run().expect("an end");
        broker.join().expect("the broker is content");
    }

    #[test]
    fn the_broker_is_heard_between_messages() {
        let mut bytes = Vec::new();
        deliver(&mut bytes, 1, b"x", 0);
        let close = channel::Close {
            reply_code: 406,
            reply_text: "PRECONDITION_FAILED - why",
            class_id: 0,
            method_id: 0,
        };
        write_method(&mut bytes, 1, &close);
        let error = came(&bytes).expect_err("a close").to_string();
        assert!(error.contains("PRECONDITION_FAILED - why (406)"), "{error}");

        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &basic::Cancel { consumer_tag: "c", no_wait: true });
        assert!(matches!(came(&bytes), Err(PerfError::Cancelled(_))));
    }

    #[test]
    fn a_body_that_is_too_long_is_an_error() {
        let mut bytes = Vec::new();
        write_header(&mut bytes, 1, 3, &[0, 0]);
        write_body(&mut bytes, 1, b"four", 0);
        assert!(matches!(came(&bytes), Err(PerfError::Protocol(_))));
    }
}
