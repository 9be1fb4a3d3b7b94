//! How long a message takes from its publisher to its consumer, at a fixed rate.
//!
//! A message carries the time at which it was due, and its latency counts from then, whether it could be sent in time or not:
//! so a broker that stalls is seen by all messages that were due meanwhile (see [`super::pace`]). A publisher sleeps until
//! shortly before a message is due and then looks at the clock, so that sleeping does not add to what is measured; a
//! consumer waits in a read.

use serde::Serialize;

use super::compare::{self, Measurement};
use super::error::PerfError;
use super::load::{Load, Timing, check_rate};
use super::percentiles::Percentiles;
use super::process::{Process, Usage};
use super::run::{Control, Job, Progress, carry_out};
use super::throughput::Total;
use super::topology::Names;
use super::wire::{Server, Target};

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Connections, queues and messages.
    #[serde(flatten)]
    pub load: Load,
    /// How long.
    #[serde(flatten)]
    pub timing: Timing,
    /// Messages a second of all publishers together.
    pub rate: f64,
    /// The broker's process, to measure what it uses.
    pub pid: Option<u32>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the broker says about itself.
    pub broker: Server,
    /// What the run's exchange and queues are called, or were.
    pub names: Names,
    /// Seconds that were measured.
    pub seconds: f64,
    /// From when a message was due until it had come, of those due after the warm-up.
    pub latency: Percentiles,
    /// From when a message was due until it was confirmed, with confirms.
    pub confirm_latency: Option<Percentiles>,
    /// The whole run, with warm-up and end.
    pub total: Total,
    /// Why the broker has blocked a publisher, if it did.
    pub blocked: Option<String>,
    /// What the broker used in the measured time, if its pid is known.
    pub broker_process: Option<Usage>,
    /// What the client used in it.
    pub client_process: Usage,
}

impl Measurement for Plan {
    type Report = Report;
    type Progress = Progress;

    fn with_pid(&self, pid: Option<u32>) -> Self {
        Self { pid, ..self.clone() }
    }

    fn measure(&self, target: &Target, control: &mut Control<'_>) -> Result<Report, PerfError> {
        check_rate(self.rate)?;
        self.load.check_stamps()?;
        if self.load.publishers == 0 || self.load.consumers == 0 {
            return Err(PerfError::Plan("latency needs a publisher and a consumer".to_owned()));
        }
        if self.load.queue.is_some() {
            return Err(PerfError::Plan(
                "latency needs a queue without older messages, of its own".to_owned(),
            ));
        }
        let Self { load, timing, rate, pid } = self;
        let broker = pid.map(Process::of);
        let job = Job { load, timing, rate: Some(*rate), is_timed: true, backlog: 0, broker };
        let outcome = carry_out(&job, target, control)?;
        Ok(Report {
            seconds: outcome.seconds,
            latency: outcome.delivery_times.percentiles(),
            confirm_latency: (load.confirm > 0).then(|| outcome.confirm_times.percentiles()),
            total: Total::of(&outcome, load.confirm > 0),
            broker: outcome.server,
            names: outcome.names,
            blocked: outcome.blocked,
            broker_process: outcome.broker,
            client_process: outcome.client,
        })
    }
}

impl compare::Report for Report {
    fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        let confirm = |of: fn(&Percentiles) -> f64| self.confirm_latency.as_ref().map(of);
        vec![
            ("p50_us", Some(self.latency.p50_us)),
            ("p90_us", Some(self.latency.p90_us)),
            ("p99_us", Some(self.latency.p99_us)),
            ("p99_9_us", Some(self.latency.p99_9_us)),
            ("confirm_p50_us", confirm(|times| times.p50_us)),
            ("confirm_p99_us", confirm(|times| times.p99_us)),
            ("cpu_seconds", self.broker_process.map(|usage| usage.cpu_seconds)),
        ]
    }

    fn faults(&self) -> Vec<String> {
        self.total.faults(self.blocked.as_deref())
    }
}
