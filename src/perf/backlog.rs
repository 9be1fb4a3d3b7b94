//! A queue with many messages: filled, if need be carried over a kill of the broker, and drained.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::clock::Clock;
use super::error::PerfError;
use super::fields;
use super::load::{Load, Timing, seconds};
use super::process::{Process, Usage};
use super::run::{Control, Job, Outcome, carry_out};
use super::topology::{CHANNEL, QueueForm, delete_queue, run_name};
use super::wire::{Connection, Server, Target};
use crate::protocol::field::TableRef;
use crate::protocol::method::{Args as _, Method, basic};

/// Between two attempts to reach a broker that starts.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(30);

/// How long to wait until the process that started it has taken note of its end.
const REAPED: Duration = Duration::from_secs(1);

/// How long draining may take; it also ends when nothing comes any more.
const DRAIN: Duration = Duration::from_secs(24 * 3600);

/// What to do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Messages that are put into the queue.
    pub messages: u64,
    /// Bytes of a message's body.
    pub size: usize,
    /// Connections that fill the queue, each with its share.
    pub publishers: usize,
    /// Messages each of them has in flight unconfirmed.
    pub confirm: usize,
    /// Connections that drain the queue.
    pub consumers: usize,
    /// They acknowledge every so many messages; 0 if they need no acknowledgement.
    pub ack: u32,
    /// Messages each of them may have unacknowledged; 0 for no limit.
    pub prefetch: u16,
    /// Arguments of the queue.
    pub queue_args: Vec<(String, String)>,
    /// Whether the broker is killed between filling and draining.
    pub kill: bool,
    /// What starts it again, by `sh -c`; None if somebody else does so.
    pub restart: Option<String>,
    /// How long it may take until messages can be consumed again.
    #[serde(rename = "patience_seconds", serialize_with = "seconds")]
    pub patience: Duration,
    /// The broker's process.
    pub pid: Option<u32>,
    /// A file with the pid of the broker's process, also after a restart.
    pub pid_file: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the broker says about itself.
    pub broker: Server,
    /// What the queue was called.
    pub queue: String,
    /// Filling.
    pub fill: Step,
    /// Killing the broker and waiting for it.
    pub restart: Option<Restart>,
    /// Draining. None if the run was ended before.
    pub drain: Option<Step>,
    /// Confirmed messages that did not come.
    pub missing: u64,
}

/// Filling or draining.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Messages that were confirmed, or consumed.
    pub messages: u64,
    /// Seconds that took.
    pub seconds: f64,
    /// Messages a second.
    pub per_second: f64,
    /// What the broker used, if its pid is known.
    pub broker_process: Option<Usage>,
    /// What the client used.
    pub client_process: Usage,
}

/// A restart. Times count from when the command that starts the broker was started; without one, from the kill.
#[derive(Clone, Debug, Serialize)]
pub struct Restart {
    /// Seconds until the broker took a connection.
    pub connected_seconds: f64,
    /// Seconds until the first message came.
    pub first_message_seconds: f64,
    /// Memory of the new process then, in bytes, if its pid is known.
    pub rss_bytes: Option<u64>,
}

/// Which part is over.
#[derive(Clone, Copy, Debug)]
pub enum Done<'a> {
    /// The queue is full.
    Fill(&'a Step),
    /// The broker is there again.
    Restart(&'a Restart),
}

/// Fills, restarts and drains. `done` is called at the end of each part but the last.
///
/// # Errors
///
/// If what is asked for cannot be done, the broker refuses or does not come back, or a connection fails.
pub fn run(
    plan: &Plan,
    target: &Target,
    control: &mut Control<'_>,
    done: &mut dyn FnMut(Done<'_>),
) -> Result<Report, PerfError> {
    plan.check()?;
    let queue = run_name();
    let mut connection = Connection::open(target)?;
    let server = connection.server().clone();
    connection.open_channel(CHANNEL)?;
    let arguments = fields::table(&plan.queue_args);
    QueueForm { is_durable: true, arguments: arguments.as_ref(), ..QueueForm::default() }
        .declare(&mut connection, &queue)?;
    connection.close()?;
    let found = plan.through(queue.clone(), server, target, control, done);
    let removed = remove(target, &queue);
    let found = found?;
    removed.map(|()| found)
}

fn remove(target: &Target, queue: &str) -> Result<(), PerfError> {
    let mut connection = Connection::open(target)?;
    connection.open_channel(CHANNEL)?;
    delete_queue(&mut connection, queue)?;
    connection.close()
}

impl Plan {
    fn check(&self) -> Result<(), PerfError> {
        let refused = if self.messages == 0 || self.publishers == 0 || self.consumers == 0 {
            "there have to be messages, publishers and consumers"
        } else if self.confirm == 0 {
            "--confirm should be 1 at least: without confirms nobody knows when the queue is full"
        } else if (self.kill || self.restart.is_some()) && self.pid.is_none() && self.pid_file.is_none() {
            "to kill the broker its --pid or --pid-file is needed"
        } else {
            return self.drain_load("").check();
        };
        Err(PerfError::Plan(refused.to_owned()))
    }

    fn through(
        &self,
        queue: String,
        server: Server,
        target: &Target,
        control: &mut Control<'_>,
        done: &mut dyn FnMut(Done<'_>),
    ) -> Result<Report, PerfError> {
        let broker = self.broker()?;
        let fill = self.fill(&queue, broker, target, control)?;
        done(Done::Fill(&fill));
        let mut report = Report { broker: server, queue, fill, restart: None, drain: None, missing: 0 };
        if control.stop.load(Ordering::Relaxed) {
            return Ok(report);
        }
        let mut broker = broker;
        if let (true, Some(process)) = (self.kill || self.restart.is_some(), broker) {
            let (restart, now) = self.restart(process, &report.queue, target, control)?;
            done(Done::Restart(&restart));
            report.restart = Some(restart);
            broker = now;
        }
        let load = self.drain_load(&report.queue);
        let timing = timing(None);
        let backlog = report.fill.messages;
        let job = Job { load: &load, timing: &timing, rate: None, is_timed: false, backlog, broker };
        let outcome = carry_out(&job, target, control)?;
        let drained = outcome.total.consumed;
        report.missing = report.fill.messages.saturating_sub(drained);
        report.drain = Some(Step::of(outcome, drained));
        Ok(report)
    }

    fn fill(
        &self,
        queue: &str,
        broker: Option<Process>,
        target: &Target,
        control: &mut Control<'_>,
    ) -> Result<Step, PerfError> {
        let load = Load {
            publishers: self.publishers,
            consumers: 0,
            queue: Some(queue.to_owned()),
            sizes: vec![self.size],
            persistent: true,
            confirm: self.confirm,
            ..Load::default()
        };
        let timing = timing(Some(self.messages.div_ceil(self.publishers as u64)));
        let job = Job { load: &load, timing: &timing, rate: None, is_timed: false, backlog: 0, broker };
        let outcome = carry_out(&job, target, control)?;
        let confirmed = outcome.total.confirmed;
        Ok(Step::of(outcome, confirmed))
    }

    fn drain_load(&self, queue: &str) -> Load {
        Load {
            publishers: 0,
            consumers: self.consumers,
            queue: Some(queue.to_owned()),
            ack: self.ack,
            prefetch: self.prefetch,
            ..Load::default()
        }
    }

    /// The broker's process as it is known now.
    fn broker(&self) -> Result<Option<Process>, PerfError> {
        let Some(path) = &self.pid_file else { return Ok(self.pid.map(Process::of)) };
        Process::of_file(path).map(Some)
    }

    /// Kills the broker, has it started again and waits for the first message. Returns its new process, if that is known.
    fn restart(
        &self,
        broker: Process,
        queue: &str,
        target: &Target,
        control: &Control<'_>,
    ) -> Result<(Restart, Option<Process>), PerfError> {
        let clock = Clock::start();
        broker.kill()?;
        if self.restart.is_some() {
            // Who starts it may look whether it is gone, and takes one for alive that nobody has waited for yet.
            while broker.is_running() || (broker.is_known() && clock.now() < REAPED) {
                if clock.now() >= DEATH {
                    return Err(PerfError::Restart("the broker does not end when it is killed".to_owned()));
                }
                std::thread::sleep(PAUSE);
            }
        }
        let start = if self.restart.is_some() { clock.now() } else { Duration::ZERO };
        let mut starting = self.restart.as_deref().map(spawn).transpose()?;
        let mut connected = None;
        loop {
            let mut note = || _ = connected.get_or_insert(clock.now());
            let error = match first_message(target, queue, &mut note) {
                Ok(()) => break,
                Err(error) => error,
            };
            if let Some(Ok(Some(status))) = starting.as_mut().map(Child::try_wait)
                && !status.success()
            {
                return Err(PerfError::Restart(format!("the command that starts it ended with {status}")));
            }
            if clock.now() >= start + self.patience {
                let patience = self.patience.as_secs_f64();
                return Err(PerfError::Restart(format!("no message came within {patience} s: {error}")));
            }
            if control.stop.load(Ordering::Relaxed) {
                return Err(PerfError::Interrupted);
            }
            std::thread::sleep(PAUSE);
        }
        let first = clock.now();
        // A command that still runs is the broker.
        let child = starting.as_mut().and_then(|child| match child.try_wait() {
            Ok(None) => Some(child.id()),
            _ => None,
        });
        let process = if self.pid_file.is_some() { self.broker()? } else { child.map(Process::of) };
        let seconds = |moment: Duration| moment.saturating_sub(start).as_secs_f64();
        let restart = Restart {
            connected_seconds: seconds(connected.unwrap_or(first)),
            first_message_seconds: seconds(first),
            rss_bytes: process.map(Process::figures).transpose()?.map(|figures| figures.rss_bytes),
        };
        Ok((restart, process))
    }
}

impl Step {
    fn of(outcome: Outcome, messages: u64) -> Self {
        let seconds = outcome.seconds;
        Self {
            messages,
            seconds,
            per_second: if seconds > 0.0 { messages as f64 / seconds } else { 0.0 },
            broker_process: outcome.broker,
            client_process: outcome.client,
        }
    }
}

fn timing(messages: Option<u64>) -> Timing {
    Timing { warmup: Duration::ZERO, duration: None, messages, drain: DRAIN }
}

/// Starts a command whose process outlives the run, as the broker does. It has nothing to do with the terminal.
fn spawn(command: &str) -> Result<Child, PerfError> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).process_group(0);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().map_err(|error| PerfError::Restart(format!("sh cannot be started: {error}")))
}

/// Has one message delivered and gives it back.
fn first_message(target: &Target, queue: &str, connected: &mut dyn FnMut()) -> Result<(), PerfError> {
    let mut connection = Connection::open(target)?;
    connected();
    connection.open_channel(CHANNEL)?;
    let qos = basic::Qos { prefetch_size: 0, prefetch_count: 1, global: false };
    connection.call(CHANNEL, &qos, basic::QosOk::ID)?;
    let consume = basic::Consume {
        ticket: 0,
        queue,
        consumer_tag: "c",
        no_local: false,
        no_ack: false,
        exclusive: false,
        no_wait: false,
        arguments: TableRef::EMPTY,
    };
    connection.call(CHANNEL, &consume, basic::ConsumeOk::ID)?;
    let deliver = connection.wait_for(CHANNEL, "basic.consume", basic::Deliver::ID)?;
    if let Method::Basic(basic::Method::Deliver(deliver)) = Method::decode(&deliver)? {
        let delivery_tag = deliver.delivery_tag;
        connection.send(CHANNEL, &basic::Nack { delivery_tag, multiple: false, requeue: true })?;
    }
    connection.close()
}
