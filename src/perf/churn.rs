//! How fast clients come and go: connect, open a channel, declare a queue, publish if that is wanted, and close.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::compare::{self, Measurement};
use super::crew::{self, Tally};
use super::error::PerfError;
use super::frames::{Batch, MessageForm};
use super::input::Input;
use super::load::seconds;
use super::percentiles::{Percentiles, Times};
use super::process::{Process, Usage};
use super::run::Control;
use super::topology::{CHANNEL, QueueForm, run_name};
use super::wire::{Connection, Server, Target};

/// What a connection that asks for little needs to read.
const INPUT: usize = 8 * 1024;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Clients that do so at the same time.
    pub clients: usize,
    /// How long.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// Cycles of all clients together; None for as many as there is time for.
    pub cycles: Option<u64>,
    /// Messages that are published in each cycle to the queue.
    pub publish: usize,
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
    /// Seconds that were measured.
    pub seconds: f64,
    /// Cycles from connect to the broker's answer to the close.
    pub cycles: u64,
    /// The same per second.
    pub cycles_per_second: f64,
    /// A whole cycle.
    pub cycle: Percentiles,
    /// From the beginning of a cycle until the connection is open.
    pub connect: Percentiles,
    /// What the broker used, if its pid is known.
    pub broker_process: Option<Usage>,
    /// What the client used.
    pub client_process: Usage,
}

impl Measurement for Plan {
    type Report = Report;
    type Progress = Tally;

    fn with_pid(&self, pid: Option<u32>) -> Self {
        Self { pid, ..self.clone() }
    }

    fn measure(&self, target: &Target, control: &mut Control<'_, Tally>) -> Result<Report, PerfError> {
        if self.clients == 0 {
            return Err(PerfError::Plan("--clients should be 1 at least".to_owned()));
        }
        let probe = Connection::open(target)?;
        let server = probe.server().clone();
        probe.close()?;
        let broker = self.pid.map(Process::of);
        let figures =
            || Ok::<_, PerfError>((broker.map(Process::figures).transpose()?, Process::own().figures()?));
        let (run, started) = (run_name(), AtomicU64::new(0));
        let before = figures()?;
        let clients = crew::work(self.clients, "cycles", control, |floor, _| {
            let (mut cycles, mut connects) = (Times::new()?, Times::new()?);
            while !floor.is_stopped() && floor.clock.now() < self.duration {
                let number = started.fetch_add(1, Ordering::Relaxed);
                if self.cycles.is_some_and(|most| number >= most) {
                    break;
                }
                let begin = floor.clock.nanos();
                let connection = Connection::open_with(target, Input::new(INPUT))?;
                connects.record(floor.clock.nanos() - begin);
                self.finish_cycle(connection, &format!("{run}.{number}"))?;
                cycles.record(floor.clock.nanos() - begin);
                floor.add(1);
            }
            Ok((cycles, connects, floor.clock.now()))
        })?;
        let after = figures()?;
        let (mut cycles, mut connects, mut seconds) = (Times::new()?, Times::new()?, 0.0_f64);
        for client in &clients {
            cycles.add(&client.0)?;
            connects.add(&client.1)?;
            seconds = seconds.max(client.2.as_secs_f64());
        }
        let cycle = cycles.percentiles();
        Ok(Report {
            broker: server,
            seconds,
            cycles: cycle.count,
            cycles_per_second: if seconds > 0.0 { cycle.count as f64 / seconds } else { 0.0 },
            cycle,
            connect: connects.percentiles(),
            broker_process: after.0.zip(before.0).map(|(after, before)| after.used_since(&before)),
            client_process: after.1.used_since(&before.1),
        })
    }
}

impl Plan {
    /// What comes after a connection is open. Its queue is exclusive, so that it goes with the connection.
    fn finish_cycle(&self, mut connection: Connection, queue: &str) -> Result<(), PerfError> {
        connection.open_channel(CHANNEL)?;
        QueueForm { is_exclusive: true, ..QueueForm::default() }.declare(&mut connection, queue)?;
        if self.publish > 0 {
            let form = MessageForm {
                channel: CHANNEL,
                exchange: "",
                routing_key: queue,
                properties: &[0, 0],
                sizes: &vec![self.size; self.publish],
                frame_max: connection.frame_max(),
            };
            connection.write(Batch::new(&form, 0).bytes())?;
        }
        connection.close()
    }
}

impl compare::Report for Report {
    fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![
            ("cycles_per_second", Some(self.cycles_per_second)),
            ("cycle_p50_us", Some(self.cycle.p50_us)),
            ("cycle_p99_us", Some(self.cycle.p99_us)),
            ("cpu_seconds", self.broker_process.map(|usage| usage.cpu_seconds)),
        ]
    }
}
