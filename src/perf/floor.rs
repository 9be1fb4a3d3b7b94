//! A broker's cost and latency as a multiple of those of a relay that only copies the same bytes.

use serde::Serialize;

use super::{latency, relay, throughput};

/// What a run through the relay says about a run through a broker.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// The relay's run.
    #[serde(flatten)]
    pub report: relay::Report,
    /// How much more CPU the broker takes for a message; None without its pid, and for runs that measure latency.
    pub cpu_multiple: Option<f64>,
    /// How much longer half of the messages take at most.
    pub p50_multiple: Option<f64>,
    /// How much longer 99 of 100 messages take at most.
    pub p99_multiple: Option<f64>,
}

/// A run with the relay's beside it.
#[derive(Clone, Debug, Serialize)]
pub struct WithFloor<R> {
    /// The broker's.
    #[serde(flatten)]
    pub report: R,
    /// The relay's, if it was asked for.
    pub relay: Option<Floor>,
}

impl Floor {
    /// Of a throughput run.
    #[must_use]
    pub fn of_throughput(report: relay::Report, broker: &throughput::Report) -> Self {
        let broker = broker.broker_process.and_then(|usage| usage.messages_per_cpu_second);
        let relay = report.relay_process.messages_per_cpu_second;
        let cpu_multiple = relay.zip(broker).and_then(|(relay, broker)| multiple(relay, broker));
        Self { report, cpu_multiple, p50_multiple: None, p99_multiple: None }
    }

    /// Of a latency run.
    #[must_use]
    pub fn of_latency(report: relay::Report, broker: &latency::Report) -> Self {
        let relay = report.latency.unwrap_or_default();
        let p50_multiple = multiple(broker.latency.p50_us, relay.p50_us);
        let p99_multiple = multiple(broker.latency.p99_us, relay.p99_us);
        Self { report, cpu_multiple: None, p50_multiple, p99_multiple }
    }
}

fn multiple(of: f64, what: f64) -> Option<f64> {
    (what > 0.0).then(|| of / what)
}
