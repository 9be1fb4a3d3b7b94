//! What an exchange counts. Many connections publish to one, so that each adds once for a batch of messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::broker::churn::Tick;
use crate::broker::statistics::history::Step;
use crate::broker::statistics::{EXCHANGE, ExchangeHistory, Measure, Moments, Range, Rates, Trend};

/// See the module.
#[derive(Debug)]
pub struct ExchangeCounts {
    /// The exchange's name; "" is the default exchange.
    pub name: String,
    publish_in: Tick,
    publish_out: Tick,
    /// It has counted something since the last sample.
    active: AtomicBool,
    history: ExchangeHistory,
}

impl ExchangeCounts {
    /// Those of a new exchange.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            publish_in: Tick::default(),
            publish_out: Tick::default(),
            active: AtomicBool::new(false),
            history: ExchangeHistory::default(),
        })
    }

    /// Messages were published to it, and put into queues so many times.
    #[inline]
    pub fn add(&self, publish_in: u64, publish_out: u64) {
        self.publish_in.add(publish_in);
        self.publish_out.add(publish_out);
        self.active.store(true, Ordering::Relaxed);
    }

    /// How many messages were published to it, and how often one was put into a queue.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        (self.publish_in.get(), self.publish_out.get())
    }

    /// Whether it has counted something since the last call.
    pub(super) fn take_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) && self.active.swap(false, Ordering::Relaxed)
    }

    pub(super) fn sample(&self, at: Moments, steps: &[Step]) {
        let (publish_in, publish_out) = self.counted();
        let mut history = self.history.lock();
        let begin = || Box::new(EXCHANGE.history(at.tick - 1, steps));
        history.get_or_insert_with(begin).tell(at.tick, [publish_in, publish_out]);
    }

    pub(super) fn rates(&self, at: Moments) -> Rates {
        EXCHANGE.rates(self.history.lock().as_deref(), at)
    }

    pub(super) fn trend(&self, at: Moments, measure: Measure, range: Range) -> Option<Trend> {
        EXCHANGE.trend(self.history.lock().as_deref(), at, measure, range)
    }

    pub(super) fn forget_history(&self, tick: u64) {
        self.history.lock().iter_mut().for_each(|history| history.forget(tick));
    }
}
