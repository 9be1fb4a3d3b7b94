//! Rates and the recent past: samples of what is counted, taken by whoever has a clock every few seconds.
//!
//! Each object has its own history, under its own lock, so that it goes with the object. Queues, exchanges and
//! vhosts have one from when something first happens to them; queues and vhosts not after all that it says is that nothing
//! does any more. Queues and exchanges to which nothing happens are not looked at.

pub mod activity;
pub mod history;
mod measure;
mod sampling;
mod sparse;
#[cfg(test)]
mod tests;

use std::time::Duration;

use parking_lot::Mutex;

pub use measure::{Measure, Range, Rates, Sample, Trend};

use crate::broker::Broker;
use crate::broker::connections::{DeliveredFrom, OpenChannel, OpenConnection, PublishedTo};
use crate::broker::vhost::VHost;
use crate::time::Now;
use history::{History, Step};
pub(super) use measure::Moments;
pub(super) use measure::{CHANNEL, CONNECTION, EXCHANGE, QUEUE, VHOST};
use measure::{DELIVERED, NODE, PUBLISHED};
use sparse::SparseHistory;

/// How samples are taken and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsOptions {
    /// From one sample to the next.
    pub interval: Duration,
    /// Of vhosts and the node: how far back, in seconds, and in which steps; finest first.
    pub global: Vec<(u64, u64)>,
    /// Of queues, exchanges, connections and channels.
    pub objects: Vec<(u64, u64)>,
}

impl Default for StatisticsOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            // As in RabbitMQ: for charts of ten minutes, an hour, eight hours and a day.
            global: vec![(605, 5), (3660, 60), (29_400, 600), (86_400, 1800)],
            // For the page's charts, which ask for just these. There may be many thousands of objects: one to which
            // something happens has under five kilobytes.
            objects: vec![(60, 5), (600, 10), (3600, 120)],
        }
    }
}

impl StatisticsOptions {
    fn interval_ms(&self) -> u64 {
        u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn steps(&self, retention: &[(u64, u64)]) -> Vec<Step> {
        let ticks = |seconds: u64| (seconds.saturating_mul(1000) / self.interval_ms()).max(1);
        let step = |&(age, step): &(u64, u64)| {
            let every = ticks(step);
            let rows = ticks(age).div_ceil(every).clamp(1, MOST_ROWS) + 1;
            Step {
                every: u32::try_from(every).unwrap_or(u32::MAX),
                rows: u32::try_from(rows).unwrap_or(u32::MAX),
            }
        };
        retention.iter().map(step).collect()
    }
}

/// Rows of one step, at most.
const MOST_ROWS: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub struct Statistics {
    options: StatisticsOptions,
    global: Vec<Step>,
    objects: Vec<Step>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    at: Moments,
    /// Of all vhosts together.
    messages: Option<History<u64, 17>>,
    /// What was counted in vhosts, also in those that are gone.
    counted: [u64; 17],
    node: Option<History<u64, 15>>,
}

/// The history of a vhost.
pub(super) type VHostHistory = Mutex<SparseHistory<u64, 17>>;

/// The history of a queue. It is part of what the queue's lock guards.
pub(super) type QueueHistory = SparseHistory<u32, 10>;

/// The history of a channel.
pub(super) type ChannelHistory = Mutex<Option<Box<History<u32, 11>>>>;

/// How fast a channel publishes to an exchange. There is nothing of the past in it.
pub(super) type PublishedHistory = Mutex<Option<Box<History<u32, 1>>>>;

/// How fast a channel is given messages of a queue. There is nothing of the past in it.
pub(super) type DeliveredHistory = Mutex<Option<Box<History<u32, 7>>>>;

/// The history of a connection.
pub(super) type ConnectionHistory = Mutex<Option<Box<History<u64, 2>>>>;

/// The history of an exchange.
pub(super) type ExchangeHistory = Mutex<Option<Box<History<u32, 2>>>>;

impl Statistics {
    pub(super) fn new(options: StatisticsOptions) -> Self {
        let (global, objects) = (options.steps(&options.global), options.steps(&options.objects));
        Self { options, global, objects, state: Mutex::default() }
    }

    /// How samples are taken.
    #[must_use]
    pub fn options(&self) -> &StatisticsOptions {
        &self.options
    }

    /// Takes a sample. Call it once in [`StatisticsOptions::interval`].
    pub fn sample(&self, broker: &Broker, now: Now) {
        let at = {
            let state = self.state.lock();
            let interval_ms = self.options.interval_ms();
            let elapsed_ms = if state.at.tick == 0 {
                interval_ms
            } else {
                now.unix_ms.saturating_sub(state.at.unix_ms).max(1)
            };
            Moments { tick: state.at.tick + 1, unix_ms: now.unix_ms, elapsed_ms, interval_ms }
        };
        sampling::queues(self, broker, at);
        if self.objects.last().is_some_and(|step| at.tick.is_multiple_of(step.reach())) {
            sampling::drop_flat(broker, at);
        }
        sampling::connections(self, broker, at);
        sampling::exchanges(self, broker, at);
        let grown = sampling::vhosts(self, broker, at);
        let node = sampling::node_numbers(broker);
        let mut state = self.state.lock();
        let State { messages, counted, node: of_node, at: known } = &mut *state;
        sampling::add(counted, grown);
        let messages = messages.get_or_insert_with(|| VHOST.history(at.tick - 1, &self.global));
        messages.tell(at.tick, *counted);
        of_node.get_or_insert_with(|| NODE.history(at.tick - 1, &self.global)).tell(at.tick, node);
        *known = at;
    }

    /// When the last sample was taken.
    pub(super) fn moments(&self) -> Moments {
        self.state.lock().at
    }

    /// Forgets all samples. What is counted goes on.
    pub fn reset(&self, broker: &Broker) {
        let tick = {
            let mut state = self.state.lock();
            let tick = state.at.tick;
            state.messages.iter_mut().for_each(|history| history.forget(tick));
            state.node.iter_mut().for_each(|history| history.forget(tick));
            tick
        };
        sampling::forget(broker, tick);
    }
}

impl Broker {
    /// How fast things happen in all vhosts together, and on the node.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let state = self.statistics.state.lock();
        VHOST.rates(state.messages.as_ref(), state.at).and(&NODE.rates(state.node.as_ref(), state.at))
    }

    /// What was recorded of all vhosts together, or of the node. `None` if a measure is of other objects, or before the
    /// first sample.
    #[must_use]
    pub fn trend(&self, measure: Measure, range: Range) -> Option<Trend> {
        let state = self.statistics.state.lock();
        let of_vhosts = VHOST.trend(state.messages.as_ref(), state.at, measure, range);
        of_vhosts.or_else(|| NODE.trend(state.node.as_ref(), state.at, measure, range))
    }

    /// How fast things happen in a vhost.
    #[must_use]
    pub fn vhost_rates(&self, vhost: &VHost) -> Rates {
        vhost.history.lock().rates(&VHOST, self.statistics.moments())
    }

    /// What was recorded of a vhost.
    #[must_use]
    pub fn vhost_trend(&self, vhost: &VHost, measure: Measure, range: Range) -> Option<Trend> {
        let Statistics { global, .. } = &self.statistics;
        vhost.history.lock().trend(&VHOST, self.statistics.moments(), (measure, range), global)
    }

    /// What was recorded of a queue. `None` if there is no queue of this name, or before its first sample.
    #[must_use]
    pub fn queue_trend(&self, vhost: &VHost, name: &str, measure: Measure, range: Range) -> Option<Trend> {
        vhost.queue(name)?.trend(self.statistics.moments(), (measure, range), &self.statistics.objects)
    }

    /// What was recorded of an exchange.
    #[must_use]
    pub fn exchange_trend(&self, vhost: &VHost, name: &str, measure: Measure, range: Range) -> Option<Trend> {
        vhost.exchange_counts(name)?.trend(self.statistics.moments(), measure, range)
    }

    /// How fast messages come to exchanges of these names and leave them, in this order. Zero where there is none.
    #[must_use]
    pub fn exchange_rates(&self, vhost: &VHost, names: &[String]) -> Vec<Rates> {
        let at = self.statistics.moments();
        let rates =
            |name: &String| vhost.exchange_counts(name).map(|counts| counts.rates(at)).unwrap_or_default();
        names.iter().map(rates).collect()
    }

    /// How many bytes a connection receives and sends in a second.
    #[must_use]
    pub fn connection_rates(&self, connection: &OpenConnection) -> Rates {
        CONNECTION.rates(connection.history.lock().as_deref(), self.statistics.moments())
    }

    /// What was recorded of a connection.
    #[must_use]
    pub fn connection_trend(
        &self,
        connection: &OpenConnection,
        measure: Measure,
        range: Range,
    ) -> Option<Trend> {
        CONNECTION.trend(connection.history.lock().as_deref(), self.statistics.moments(), measure, range)
    }

    /// How fast things happen on a channel.
    #[must_use]
    pub fn channel_rates(&self, channel: &OpenChannel) -> Rates {
        CHANNEL.rates(channel.history.lock().as_deref(), self.statistics.moments())
    }

    /// How fast a channel publishes to an exchange.
    #[must_use]
    pub fn published_rates(&self, counts: &PublishedTo) -> Rates {
        PUBLISHED.rates(counts.history.lock().as_deref(), self.statistics.moments())
    }

    /// How fast a channel is given messages of a queue.
    #[must_use]
    pub fn delivered_rates(&self, counts: &DeliveredFrom) -> Rates {
        DELIVERED.rates(counts.history.lock().as_deref(), self.statistics.moments())
    }

    /// What was recorded of a channel.
    #[must_use]
    pub fn channel_trend(&self, channel: &OpenChannel, measure: Measure, range: Range) -> Option<Trend> {
        CHANNEL.trend(channel.history.lock().as_deref(), self.statistics.moments(), measure, range)
    }
}
