//! A publisher of a soak run: every message is another, and every one is confirmed. It comes back when its connection ends.

use std::time::Duration;

use super::payload::{self, Label};
use super::{Shared, Tell};
use crate::perf::error::PerfError;
use crate::perf::fields;
use crate::perf::input::Filled;
use crate::perf::pace::Pace;
use crate::perf::publisher::settlement;
use crate::perf::topology::CHANNEL;
use crate::perf::window::Window;
use crate::perf::wire::{Connection, Notice, PATIENCE, Waiting, notice};
use crate::protocol::content::{write_body, write_header};
use crate::protocol::frame::HEARTBEAT;
use crate::protocol::method::{Args as _, basic, confirm, write_method};

/// How long a read waits: how late a message may leave, at most.
const NAP: Duration = Duration::from_millis(5);

/// Bytes that are written at once, but for a larger message.
const WRITE: usize = 64 * 1024;

/// How long to wait at the end for confirms that are due.
const FINISH: Duration = Duration::from_secs(10);

/// Publishes until the run ends.
pub(super) fn run(shared: &Shared<'_>, number: usize, tell: &Tell) -> Result<(), PerfError> {
    let done = shared.again_and_again("publisher", number, tell, &shared.stop_publishers, |opened| {
        let done = session(shared, number, opened);
        let doubtful = shared.ledgers[number].lock().doubt_unconfirmed();
        shared.count(|counts| counts.doubtful += doubtful);
        done
    });
    // Who ends says no more, and leaves nothing open.
    shared.ledgers[number].lock().doubt_unconfirmed();
    done
}

fn session(shared: &Shared<'_>, number: usize, opened: &mut dyn FnMut()) -> Result<(), PerfError> {
    let mut connection = Connection::open(shared.target)?;
    connection.open_channel(CHANNEL)?;
    connection.call(CHANNEL, &confirm::Select { no_wait: false }, confirm::SelectOk::ID)?;
    connection.stream.wait(Waiting::AtMost(NAP))?;
    connection.stream.socket().set_write_timeout(Some(PATIENCE))?;
    opened();
    let plan = shared.plan;
    let share = plan.rate / plan.publishers as f64;
    let mut publisher = Session {
        shared,
        number,
        window: Window::new(plan.confirm),
        pace: Pace::new(shared.clock.now(), share),
        first: shared.ledgers[number].lock().next(),
        taken: 0,
        properties: fields::properties(&[], true, &[]).map_err(PerfError::Plan)?,
        out: Vec::new(),
        connection,
    };
    let mut stopping_since = None;
    loop {
        let now = shared.clock.now();
        if shared.is_stopped(&shared.stop_publishers) {
            let since = *stopping_since.get_or_insert(now);
            if publisher.window.in_flight() == 0 || now >= since + FINISH {
                return publisher.connection.close();
            }
        } else {
            publisher.publish()?;
        }
        publisher.read()?;
    }
}

/// A publisher with its connection.
struct Session<'a> {
    shared: &'a Shared<'a>,
    number: usize,
    window: Window,
    pace: Pace,
    /// The number of the first message of this connection.
    first: u64,
    /// Messages of this connection so far.
    taken: u64,
    properties: Vec<u8>,
    out: Vec<u8>,
    connection: Connection,
}

impl Session<'_> {
    /// Sends what is due and may be sent.
    fn publish(&mut self) -> Result<(), PerfError> {
        loop {
            let due = self.pace.due_until(self.shared.clock.nanos()).saturating_sub(self.taken);
            let may = self.window.room().min(self.shared.ledgers[self.number].lock().room()) as u64;
            let most = due.min(may);
            let (mut count, plan) = (0, self.shared.plan);
            self.out.clear();
            while count < most && self.out.len() < WRITE {
                let sequence = self.first + self.taken + count;
                let size = plan.sizes[(sequence % plan.sizes.len() as u64) as usize];
                self.write(sequence, size);
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            // Before they are sent: the consumer may have them before the call returns.
            self.shared.ledgers[self.number].lock().send(count as usize);
            self.window.send(count as usize);
            self.taken += count;
            self.connection.write(&self.out)?;
            self.shared.count(|counts| counts.published += count);
        }
    }

    fn write(&mut self, sequence: u64, size: usize) {
        let label = Label { run: self.shared.run, publisher: self.number as u32, sequence };
        let body = payload::write(label, size);
        let queues = &self.shared.queues;
        let publish = basic::Publish {
            ticket: 0,
            exchange: "",
            routing_key: &queues[self.number % queues.len()],
            mandatory: false,
            immediate: false,
        };
        write_method(&mut self.out, CHANNEL, &publish);
        write_header(&mut self.out, CHANNEL, body.len() as u64, &self.properties);
        write_body(&mut self.out, CHANNEL, &body, self.connection.frame_max());
    }

    /// Waits a little for what the broker says.
    fn read(&mut self) -> Result<(), PerfError> {
        match self.connection.input.fill(&mut self.connection.stream)? {
            Filled::Bytes(..) => {}
            Filled::Nothing => return Ok(()),
            Filled::End => return Err(PerfError::HungUp("messages were published")),
        }
        let mut is_alive_asked = false;
        let before = (self.window.confirmed(), self.window.nacked());
        while let Some(frame) = self.connection.input.frame()? {
            let Some((tag, multiple, is_ack)) = settlement(&frame) else {
                is_alive_asked |= notice(&frame)? == Notice::Heartbeat;
                continue;
            };
            let mut ledger = self.shared.ledgers[self.number].lock();
            let first = self.first;
            self.window.settle(tag, multiple, is_ack, |tag| {
                let sequence = first + tag - 1;
                if is_ack { ledger.confirm(sequence) } else { ledger.refuse(sequence) }
            });
        }
        self.shared.count(|counts| {
            counts.confirmed += self.window.confirmed() - before.0;
            counts.refused += self.window.nacked() - before.1;
        });
        if is_alive_asked {
            self.connection.write(&HEARTBEAT)?;
        }
        Ok(())
    }
}
