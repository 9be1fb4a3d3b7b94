//! A consumer of a soak run: looks at every message whole. It comes back when its connection ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ledger::Receipt;
use super::payload::{self, Label};
use super::{Shared, Tell};
use crate::perf::consumer::body_size;
use crate::perf::error::PerfError;
use crate::perf::input::Filled;
use crate::perf::topology::CHANNEL;
use crate::perf::wire::{Connection, Notice, Waiting, notice};
use crate::protocol::field::TableRef;
use crate::protocol::frame::{Frame, FrameKind, HEARTBEAT};
use crate::protocol::method::{Args as _, Method, basic, write_method};

/// The longest wait for messages.
const NAP: Duration = Duration::from_millis(50);

/// Consumes until the run ends.
pub(super) fn run(shared: &Shared<'_>, number: usize, tell: &Tell) -> Result<(), PerfError> {
    // The last message of each publisher that came to this consumer for the first time.
    let mut last = vec![None; shared.plan.publishers];
    shared.again_and_again("consumer", number, tell, &shared.stop_consumers, |opened| {
        let mut is_open = false;
        let done = session(shared, number, &mut last, tell, &mut || {
            shared.consuming.fetch_add(1, Ordering::Relaxed);
            is_open = true;
            opened();
        });
        if is_open {
            shared.consuming.fetch_sub(1, Ordering::Relaxed);
        }
        done
    })
}

fn session(
    shared: &Shared<'_>,
    number: usize,
    last: &mut [Option<u64>],
    tell: &Tell,
    opened: &mut dyn FnMut(),
) -> Result<(), PerfError> {
    let plan = shared.plan;
    let mut connection = Connection::open(shared.target)?;
    connection.open_channel(CHANNEL)?;
    let qos = basic::Qos { prefetch_size: 0, prefetch_count: plan.prefetch, global: false };
    connection.call(CHANNEL, &qos, basic::QosOk::ID)?;
    let consume = basic::Consume {
        ticket: 0,
        queue: &shared.queues[number % shared.queues.len()],
        consumer_tag: "c",
        no_local: false,
        no_ack: false,
        exclusive: false,
        no_wait: false,
        arguments: TableRef::EMPTY,
    };
    connection.call(CHANNEL, &consume, basic::ConsumeOk::ID)?;
    connection.stream.wait(Waiting::AtMost(NAP))?;
    // Acknowledgements are waited for when the broker is slow to read them.
    connection.stream.socket().set_write_timeout(Some(crate::perf::wire::PATIENCE))?;
    opened();
    let mut session =
        Session { shared, last, tell, coming: Coming::default(), unacked: 0, tag: 0, out: Vec::new() };
    loop {
        // At first those that came with the answer to basic.consume; perhaps as many as the prefetch allows.
        while let Some(frame) = connection.input.frame()? {
            session.take(&frame)?;
        }
        session.flush(&mut connection)?;
        if shared.is_stopped(&shared.stop_consumers) {
            break;
        }
        match connection.input.fill(&mut connection.stream)? {
            Filled::Bytes(..) => {}
            Filled::Nothing => session.acknowledge(1),
            Filled::End => return Err(PerfError::HungUp("messages were consumed")),
        }
    }
    session.acknowledge(1);
    session.flush(&mut connection)?;
    connection.close()
}

/// The message that is coming.
#[derive(Debug, Default)]
struct Coming {
    tag: u64,
    is_redelivered: bool,
    remaining: u64,
    body: Vec<u8>,
}

/// A consumer with its connection.
struct Session<'a, 'l> {
    shared: &'a Shared<'a>,
    last: &'l mut [Option<u64>],
    tell: &'l Tell,
    coming: Coming,
    unacked: u32,
    tag: u64,
    out: Vec<u8>,
}

impl Session<'_, '_> {
    fn take(&mut self, frame: &Frame<'_>) -> Result<(), PerfError> {
        match frame.kind {
            FrameKind::Method => {
                let Method::Basic(basic::Method::Deliver(deliver)) = Method::decode(frame.payload)? else {
                    return notice(frame).map(drop);
                };
                self.coming.tag = deliver.delivery_tag;
                self.coming.is_redelivered = deliver.redelivered;
                self.coming.body.clear();
            }
            FrameKind::Header => {
                self.coming.remaining = body_size(frame)?;
                if self.coming.remaining == 0 {
                    self.received();
                }
            }
            FrameKind::Body => {
                self.coming.body.extend_from_slice(frame.payload);
                let left = self.coming.remaining.checked_sub(frame.payload.len() as u64);
                let long = || PerfError::Protocol("a body that is longer than announced".to_owned());
                self.coming.remaining = left.ok_or_else(long)?;
                if self.coming.remaining == 0 {
                    self.received();
                }
            }
            FrameKind::Heartbeat => {
                if notice(frame)? == Notice::Heartbeat {
                    self.out.extend_from_slice(&HEARTBEAT);
                }
            }
        }
        Ok(())
    }

    /// A message has come whole.
    fn received(&mut self) {
        let Coming { tag, is_redelivered, .. } = self.coming;
        let plan = self.shared.plan;
        if plan.requeue > 0 && !is_redelivered && tag % plan.requeue == 0 {
            // What came before is acknowledged first, so that this one is the only one meant.
            self.acknowledge(1);
            let nack = basic::Nack { delivery_tag: tag, multiple: false, requeue: true };
            write_method(&mut self.out, CHANNEL, &nack);
            self.shared.count(|counts| counts.requeued += 1);
            return;
        }
        match payload::read(&self.coming.body) {
            None => self.violation(
                |counts| counts.corrupt += 1,
                || format!("a message of {} bytes has a wrong checksum", self.coming.body.len()),
            ),
            Some(label) if label.run != self.shared.run || label.publisher as usize >= self.last.len() => {
                self.violation(|counts| counts.unknown += 1, || "a message is of another run".to_owned());
            }
            Some(label) => self.account(label),
        }
        self.tag = tag;
        self.unacked += 1;
        self.acknowledge(plan.ack);
    }

    fn account(&mut self, label: Label) {
        let Label { publisher, sequence, .. } = label;
        let is_redelivered = self.coming.is_redelivered;
        let at = publisher as usize;
        let now = self.shared.clock.now();
        let receipt = self.shared.ledgers[at].lock().receive(sequence, is_redelivered, now);
        self.shared.count(|counts| {
            counts.received += 1;
            counts.redelivered += u64::from(is_redelivered);
        });
        let named = |what: &str| format!("message {sequence} of publisher {publisher} {what}");
        match receipt {
            Receipt::First => {}
            Receipt::Again => return,
            Receipt::Duplicate => {
                let text = || named("came twice, and is not marked as redelivered");
                return self.violation(|counts| counts.duplicates += 1, text);
            }
            Receipt::Unknown => {
                return self.violation(|counts| counts.unknown += 1, || named("was never sent"));
            }
            Receipt::Late => self.shared.count(|counts| {
                counts.lost = counts.lost.saturating_sub(1);
                counts.late += 1;
            }),
        }
        // What is delivered again comes when it can.
        if is_redelivered {
            return;
        }
        match self.last[at] {
            Some(last) if sequence < last => {
                let text = || named(&format!("came after message {last}"));
                self.violation(|counts| counts.reordered += 1, text);
            }
            _ => self.last[at] = Some(sequence),
        }
    }

    fn violation(&self, count: impl FnOnce(&mut super::Counts), text: impl FnOnce() -> String) {
        self.shared.count(count);
        self.tell.violation(text);
    }

    /// Acknowledges if at least so many messages are not.
    fn acknowledge(&mut self, least: u32) {
        if self.unacked < least.max(1) {
            return;
        }
        write_method(&mut self.out, CHANNEL, &basic::Ack { delivery_tag: self.tag, multiple: true });
        self.unacked = 0;
    }

    fn flush(&mut self, connection: &mut Connection) -> Result<(), PerfError> {
        if !self.out.is_empty() {
            connection.write(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}
