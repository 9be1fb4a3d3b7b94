//! What an exchange counts. Many connections publish to one, so that each adds once for a batch of messages.

use std::sync::Arc;

use crate::broker::churn::Tick;

/// See the module.
#[derive(Debug)]
pub struct ExchangeCounts {
    /// The exchange's name; "" is the default exchange.
    pub name: String,
    publish_in: Tick,
    publish_out: Tick,
}

impl ExchangeCounts {
    /// Those of a new exchange.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), publish_in: Tick::default(), publish_out: Tick::default() })
    }

    /// Messages were published to it, and put into queues so many times.
    #[inline]
    pub fn add(&self, publish_in: u64, publish_out: u64) {
        self.publish_in.add(publish_in);
        self.publish_out.add(publish_out);
    }

    /// How many messages were published to it, and how often one was put into a queue.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        (self.publish_in.get(), self.publish_out.get())
    }
}
