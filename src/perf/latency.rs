//! How long a message takes from its publisher to its consumer, at a fixed rate.
//!
//! A message carries the time at which it was due, and its latency counts from then, whether it could be sent in time or not:
//! so a broker that stalls is seen by all messages that were due meanwhile (see [`super::pace`]). A publisher sleeps until
//! shortly before a message is due and then looks at the clock, so that sleeping does not add to what is measured; a
//! consumer waits in a read.

use serde::Serialize;

use super::error::PerfError;
use super::load::{Load, Timing, check_rate};
use super::percentiles::Percentiles;
use super::process::{Process, Usage};
use super::run::{Control, Job, carry_out};
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

/// Measures.
///
/// # Errors
///
/// See [`carry_out`].
pub fn run(plan: &Plan, target: &Target, control: &mut Control<'_>) -> Result<Report, PerfError> {
    check_rate(plan.rate)?;
    plan.load.check_stamps()?;
    if plan.load.publishers == 0 || plan.load.consumers == 0 {
        return Err(PerfError::Plan("latency needs a publisher and a consumer".to_owned()));
    }
    if plan.load.queue.is_some() {
        return Err(PerfError::Plan("latency needs a queue without older messages, of its own".to_owned()));
    }
    let Plan { load, timing, rate, pid } = plan;
    let broker = pid.map(Process::of);
    let job = Job { load, timing, rate: Some(*rate), is_timed: true, broker };
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
