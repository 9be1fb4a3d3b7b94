//! How fast queues are made, bound, used and deleted, one after another.

use serde::Serialize;

use super::clock::Clock;
use super::compare::{self, Measurement};
use super::crew::{self, Floor, Tally};
use super::error::PerfError;
use super::fields;
use super::frames::{Batch, MessageForm};
use super::input::Filled;
use super::percentiles::{Percentiles, Times};
use super::process::{Process, Usage};
use super::publisher::settlement;
use super::run::Control;
use super::topology::{CHANNEL, QueueForm, declare_exchange, delete_exchange, delete_queue, run_name};
use super::window::Window;
use super::wire::{Connection, Notice, PATIENCE, Server, Target, has_id, notice};
use crate::protocol::field::TableRef;
use crate::protocol::frame::{FrameKind, HEARTBEAT};
use crate::protocol::method::{Args as _, confirm, queue, write_method};
use crate::protocol::reply::MethodId;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Queues.
    pub count: usize,
    /// Whether queues, exchange and messages are forgotten in a restart.
    pub transient: bool,
    /// Requests that are under way at the same time.
    pub depth: usize,
    /// Arguments of the queues.
    pub queue_args: Vec<(String, String)>,
    /// Bytes of a message's body.
    pub size: usize,
    /// The broker's process, to measure what it uses.
    pub pid: Option<u32>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the broker says about itself.
    pub broker: Server,
    /// Declaring a queue.
    pub declare: Stage,
    /// Binding it to a direct exchange.
    pub bind: Stage,
    /// Publishing a message to it, until the confirm.
    pub publish: Stage,
    /// Deleting it.
    pub delete: Stage,
    /// Memory of the broker before the first queue, in bytes, if its pid is known.
    pub rss_before_bytes: Option<u64>,
    /// Memory of the broker when each queue had its message.
    pub rss_with_queues_bytes: Option<u64>,
    /// What the broker used in all stages, if its pid is known.
    pub broker_process: Option<Usage>,
    /// What the client used in them.
    pub client_process: Usage,
}

/// The same for all queues.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stage {
    /// Seconds for all.
    pub seconds: f64,
    /// How many a second.
    pub per_second: f64,
    /// From a request until its answer.
    pub times: Percentiles,
}

impl Measurement for Plan {
    type Report = Report;
    type Progress = Tally;

    fn with_pid(&self, pid: Option<u32>) -> Self {
        Self { pid, ..self.clone() }
    }

    fn measure(&self, target: &Target, control: &mut Control<'_, Tally>) -> Result<Report, PerfError> {
        if self.count == 0 || self.depth == 0 {
            return Err(PerfError::Plan("--count and --depth should be 1 at least".to_owned()));
        }
        let run = run_name();
        let measured = self.through(&run, target, control);
        if measured.is_err() {
            // What there is of the queues is not known: those that are not there are deleted without complaint.
            let _ = self.clear(&run, target);
        }
        measured
    }
}

impl Plan {
    fn through(
        &self,
        run: &str,
        target: &Target,
        control: &mut Control<'_, Tally>,
    ) -> Result<Report, PerfError> {
        let mut connection = Connection::open(target)?;
        let server = connection.server().clone();
        connection.open_channel(CHANNEL)?;
        connection.call(CHANNEL, &confirm::Select { no_wait: false }, confirm::SelectOk::ID)?;
        declare_exchange(&mut connection, run, "direct", !self.transient)?;
        let broker = self.pid.map(Process::of);
        let figures = || broker.map(Process::figures).transpose();
        let (before, client) = (figures()?, Process::own().figures()?);
        let mut line = Line { connection, depth: self.depth, count: self.count, control };
        let name = |number: usize| format!("{run}.{number}");

        let arguments = fields::table(&self.queue_args);
        let form = QueueForm {
            is_durable: !self.transient,
            is_exclusive: false,
            is_passive: false,
            arguments: arguments.as_ref(),
        };
        let declare = line.requests("declared", queue::DeclareOk::ID, |number, out| {
            write_method(out, CHANNEL, &form.method(&name(number)));
        })?;
        let bind = line.requests("bound", queue::BindOk::ID, |number, out| {
            let name = name(number);
            let bind = queue::Bind {
                ticket: 0,
                queue: &name,
                exchange: run,
                routing_key: &name,
                no_wait: false,
                arguments: TableRef::EMPTY,
            };
            write_method(out, CHANNEL, &bind);
        })?;
        let properties = fields::properties(&[], !self.transient, &[]).map_err(PerfError::Plan)?;
        let frame_max = line.connection.frame_max();
        let publish = line.publishes(|number, out| {
            let form = MessageForm {
                channel: CHANNEL,
                exchange: run,
                routing_key: &name(number),
                properties: &properties,
                sizes: &[self.size],
                frame_max,
            };
            out.extend_from_slice(Batch::one(&form).bytes());
        })?;
        let with_queues = figures()?;
        let delete = line.requests("deleted", queue::DeleteOk::ID, |number, out| {
            let queue = &name(number);
            write_method(
                out,
                CHANNEL,
                &queue::Delete { ticket: 0, queue, if_unused: false, if_empty: false, no_wait: false },
            );
        })?;
        let after = figures()?;
        let client_process = Process::own().figures()?.used_since(&client);
        delete_exchange(&mut line.connection, run)?;
        line.connection.close()?;
        Ok(Report {
            broker: server,
            declare,
            bind,
            publish,
            delete,
            rss_before_bytes: before.map(|figures| figures.rss_bytes),
            rss_with_queues_bytes: with_queues.map(|figures| figures.rss_bytes),
            broker_process: after.zip(before).map(|(after, before)| after.used_since(&before)),
            client_process,
        })
    }

    /// Deletes all that a run which failed may have left.
    fn clear(&self, run: &str, target: &Target) -> Result<(), PerfError> {
        let mut connection = Connection::open(target)?;
        connection.open_channel(CHANNEL)?;
        for number in 0..self.count {
            delete_queue(&mut connection, &format!("{run}.{number}"))?;
        }
        delete_exchange(&mut connection, run)?;
        connection.close()
    }
}

impl compare::Report for Report {
    fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![
            ("declare_per_second", Some(self.declare.per_second)),
            ("bind_per_second", Some(self.bind.per_second)),
            ("publish_per_second", Some(self.publish.per_second)),
            ("delete_per_second", Some(self.delete.per_second)),
            ("cpu_seconds", self.broker_process.map(|usage| usage.cpu_seconds)),
        ]
    }
}

/// A connection on which requests stand in line.
struct Line<'a, 'c> {
    connection: Connection,
    depth: usize,
    count: usize,
    control: &'a mut Control<'c, Tally>,
}

impl Line<'_, '_> {
    /// Requests that are answered in their order.
    fn requests(
        &mut self,
        what: &'static str,
        answer: MethodId,
        write: impl Fn(usize, &mut Vec<u8>) + Sync,
    ) -> Result<Stage, PerfError> {
        self.stage(what, |connection, floor, count, depth| {
            let mut sent = Sent::new(floor.clock, count)?;
            let mut answered = 0;
            while answered < count {
                sent.send(connection, (answered + depth).min(count), &write)?;
                read(connection, floor, |frame| {
                    let is_answer = has_id(frame, answer);
                    if is_answer {
                        sent.settled(answered);
                        answered += 1;
                        floor.add(1);
                    }
                    is_answer
                })?;
            }
            Ok(sent.times)
        })
    }

    /// Messages, which are confirmed in any order.
    fn publishes(&mut self, write: impl Fn(usize, &mut Vec<u8>) + Sync) -> Result<Stage, PerfError> {
        self.stage("published", |connection, floor, count, depth| {
            let mut sent = Sent::new(floor.clock, count)?;
            let mut window = Window::new(depth);
            while (window.confirmed() as usize) < count {
                let room = window.room().min(count - sent.at.len());
                window.send(room);
                let until = sent.at.len() + room;
                sent.send(connection, until, &write)?;
                read(connection, floor, |frame| {
                    let Some((tag, multiple, is_ack)) = settlement(frame) else { return false };
                    window.settle(tag, multiple, is_ack, |tag| {
                        sent.settled(tag as usize - 1);
                        floor.add(1);
                    });
                    true
                })?;
                if window.nacked() > 0 {
                    return Err(PerfError::Protocol("a message was refused".to_owned()));
                }
            }
            Ok(sent.times)
        })
    }

    fn stage(
        &mut self,
        what: &'static str,
        run: impl Fn(&mut Connection, &Floor, usize, usize) -> Result<Times, PerfError> + Sync,
    ) -> Result<Stage, PerfError> {
        let connection = parking_lot::Mutex::new(&mut self.connection);
        let (count, depth) = (self.count, self.depth);
        let done = crew::work(1, what, self.control, |floor, _| {
            let begin = floor.clock.now();
            let times = run(&mut connection.lock(), floor, count, depth)?;
            Ok((times.percentiles(), (floor.clock.now() - begin).as_secs_f64()))
        })?;
        let (times, seconds) = done.first().copied().unwrap_or_default();
        let per_second = if seconds > 0.0 { times.count as f64 / seconds } else { 0.0 };
        Ok(Stage { seconds, per_second, times })
    }
}

/// When requests were sent.
struct Sent {
    clock: Clock,
    at: Vec<u64>,
    out: Vec<u8>,
    times: Times,
}

impl Sent {
    fn new(clock: Clock, count: usize) -> Result<Self, PerfError> {
        Ok(Self { clock, at: Vec::with_capacity(count), out: Vec::new(), times: Times::new()? })
    }

    /// Sends those that are not sent yet, up to this number.
    fn send(
        &mut self,
        connection: &mut Connection,
        until: usize,
        write: impl Fn(usize, &mut Vec<u8>),
    ) -> Result<(), PerfError> {
        if self.at.len() >= until {
            return Ok(());
        }
        self.out.clear();
        (self.at.len()..until).for_each(|number| write(number, &mut self.out));
        self.at.resize(until, self.clock.nanos());
        connection.write(&self.out)
    }

    fn settled(&mut self, number: usize) {
        if let Some(at) = self.at.get(number) {
            self.times.record(self.clock.nanos().saturating_sub(*at));
        }
    }
}

/// Reads what is there, waiting for some if nothing is. `take` says whether a method frame was what it waits for.
fn read(
    connection: &mut Connection,
    floor: &Floor,
    mut take: impl FnMut(&crate::protocol::frame::Frame<'_>) -> bool,
) -> Result<(), PerfError> {
    if floor.is_stopped() {
        return Err(PerfError::Interrupted);
    }
    match connection.input.fill(&mut connection.stream)? {
        Filled::Bytes(..) => {}
        Filled::Nothing => return Err(PerfError::Silent { method: "a request", patience: PATIENCE }),
        Filled::End => return Err(PerfError::HungUp("an answer was due")),
    }
    let mut is_alive_asked = false;
    while let Some(frame) = connection.input.frame()? {
        if frame.kind == FrameKind::Method && frame.channel == CHANNEL && take(&frame) {
            continue;
        }
        is_alive_asked |= notice(&frame)? == Notice::Heartbeat;
    }
    if is_alive_asked {
        connection.write(&HEARTBEAT)?;
    }
    Ok(())
}
