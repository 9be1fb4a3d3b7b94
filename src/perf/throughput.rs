//! How many messages a broker moves, and what that costs it.

use serde::Serialize;

use super::compare::{self, Measurement};
use super::counters::Counts;
use super::error::PerfError;
use super::load::{Load, Timing, check_rate};
use super::process::{Process, Usage};
use super::run::{Control, Job, Outcome, Progress, carry_out};
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
    /// Messages a second of all publishers together; None for as many as they can.
    pub rate: Option<f64>,
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
    /// What was done in them.
    #[serde(flatten)]
    pub counted: Counts,
    /// Published per second.
    pub published_per_second: f64,
    /// Confirmed per second.
    pub confirmed_per_second: f64,
    /// Consumed per second.
    pub consumed_per_second: f64,
    /// The whole run, with warm-up and end.
    pub total: Total,
    /// Why the broker has blocked a publisher, if it did.
    pub blocked: Option<String>,
    /// What the broker used in the measured time, if its pid is known.
    pub broker_process: Option<Usage>,
    /// What the client used in it.
    pub client_process: Usage,
}

/// What a whole run has done.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Total {
    /// What was done.
    #[serde(flatten)]
    pub counts: Counts,
    /// Messages that should have come to consumers, one for each queue with a consumer that a message reaches.
    pub expected: u64,
    /// Messages of these that did not come in time.
    pub missing: u64,
    /// Messages that were sent in confirm mode and neither confirmed nor refused.
    pub unconfirmed: u64,
    /// Messages that were to be timed, and were due and could not be sent in time. No percentile knows of them.
    pub unsent: u64,
}

impl Total {
    /// Of a run, with or without confirms.
    #[must_use]
    pub fn of(outcome: &Outcome, has_confirms: bool) -> Self {
        let counts = outcome.total;
        let settled = counts.confirmed + counts.nacked;
        Self {
            counts,
            expected: outcome.expected,
            missing: outcome.expected.saturating_sub(counts.consumed),
            unconfirmed: if has_confirms { counts.published.saturating_sub(settled) } else { 0 },
            unsent: outcome.unsent,
        }
    }

    /// What did not go as it should, a sentence each. `blocked` is the broker's reason, if it blocked a publisher.
    #[must_use]
    pub fn faults(&self, blocked: Option<&str>) -> Vec<String> {
        let Self { unsent, missing, unconfirmed, counts: Counts { nacked, .. }, .. } = *self;
        let counts = [
            (
                unsent,
                format!("{unsent} messages were due and could not be sent, and no percentile knows of them"),
            ),
            (missing, format!("{missing} messages did not come to their consumers in time")),
            (unconfirmed, format!("{unconfirmed} messages were not confirmed in time")),
            (nacked, format!("the broker refused {nacked} messages")),
        ];
        let told = counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text);
        told.chain(blocked.map(|reason| format!("the broker blocked publishers: {reason}"))).collect()
    }
}

impl Measurement for Plan {
    type Report = Report;
    type Progress = Progress;

    fn with_pid(&self, pid: Option<u32>) -> Self {
        Self { pid, ..self.clone() }
    }

    fn measure(&self, target: &Target, control: &mut Control<'_>) -> Result<Report, PerfError> {
        self.rate.map_or(Ok(()), check_rate)?;
        let Self { load, timing, rate, pid } = self;
        let broker = pid.map(Process::of);
        let job = Job { load, timing, rate: *rate, is_timed: false, backlog: 0, broker };
        let outcome = carry_out(&job, target, control)?;
        let Outcome { seconds, counted, .. } = outcome;
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Ok(Report {
            seconds,
            counted,
            published_per_second: per_second(counted.published),
            confirmed_per_second: per_second(counted.confirmed),
            consumed_per_second: per_second(counted.consumed),
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
        let per_cpu = self.broker_process.and_then(|usage| usage.messages_per_cpu_second);
        let rss = self.broker_process.map(|usage| usage.rss_bytes as f64);
        vec![
            ("published_per_second", Some(self.published_per_second)),
            ("confirmed_per_second", Some(self.confirmed_per_second)),
            ("consumed_per_second", Some(self.consumed_per_second)),
            ("messages_per_cpu_second", per_cpu),
            ("rss_bytes", rss),
        ]
    }

    fn faults(&self) -> Vec<String> {
        self.total.faults(self.blocked.as_deref())
    }
}
