//! What a run sends through which queues, and for how long.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::error::PerfError;
use super::frames::STAMP_SIZE;

/// Bytes of the longest name in AMQP.
const NAME_MAX: usize = 255;

/// The type of a run's exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// The exchange without a name: each queue is reached by its own name.
    #[default]
    Default,
    /// A direct exchange of the run's own.
    Direct,
    /// A fanout exchange of the run's own: each message goes to all queues.
    Fanout,
    /// A topic exchange of the run's own.
    Topic,
    /// A headers exchange of the run's own.
    Headers,
}

impl ExchangeKind {
    /// Its name in AMQP; None for the default exchange, which is always there.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::Direct => Some("direct"),
            Self::Fanout => Some("fanout"),
            Self::Topic => Some("topic"),
            Self::Headers => Some("headers"),
        }
    }
}

/// Connections, queues and messages of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Connections that publish.
    pub publishers: usize,
    /// Connections that consume; consumer `i` from queue `i` modulo their number.
    pub consumers: usize,
    /// Queues; publisher `i` sends to queue `i` modulo their number.
    pub queues: usize,
    /// A queue that is there already, in place of queues of the run's own.
    pub queue: Option<String>,
    /// The exchange.
    pub exchange_type: ExchangeKind,
    /// A routing key for all publishers, by which all queues are bound.
    pub routing_key: Option<String>,
    /// Bindings of each queue besides the one that messages take; none of them matches.
    pub bindings: usize,
    /// Whether queues and exchange survive a restart.
    pub durable: bool,
    /// Arguments of the queues.
    pub queue_args: Vec<(String, String)>,
    /// Sizes of bodies in bytes; messages take them in turn.
    pub sizes: Vec<usize>,
    /// Whether messages survive a restart in durable queues.
    pub persistent: bool,
    /// Properties of messages, see [`super::fields::properties`].
    pub properties: Vec<(String, String)>,
    /// Messages each publisher has in flight unconfirmed; 0 for no confirms.
    pub confirm: usize,
    /// Consumers acknowledge every so many messages with `multiple`; 0 if they need no acknowledgement.
    pub ack: u32,
    /// Messages a consumer may have unacknowledged; 0 for no limit.
    pub prefetch: u16,
    /// Whether queues and exchange stay there afterwards.
    pub keep: bool,
}

/// How long a run is.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// Time at the beginning that is not counted.
    #[serde(rename = "warmup_seconds", serialize_with = "seconds")]
    pub warmup: Duration,
    /// Time that is counted. None: until all messages are there.
    #[serde(rename = "duration_seconds", serialize_with = "maybe_seconds")]
    pub duration: Option<Duration>,
    /// How many messages each publisher sends. None: until the time is over.
    pub messages: Option<u64>,
    /// How long consumers may take, at the end, for what was sent.
    #[serde(rename = "drain_seconds", serialize_with = "seconds")]
    pub drain: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            publishers: 1,
            consumers: 1,
            queues: 1,
            queue: None,
            exchange_type: ExchangeKind::Default,
            routing_key: None,
            bindings: 0,
            durable: false,
            queue_args: Vec::new(),
            sizes: vec![16],
            persistent: false,
            properties: Vec::new(),
            confirm: 0,
            ack: 0,
            prefetch: 0,
            keep: false,
        }
    }
}

impl Load {
    /// Whether all of it can be done together.
    ///
    /// # Errors
    ///
    /// What cannot.
    pub fn check(&self) -> Result<(), PerfError> {
        let has_own_exchange = self.exchange_type != ExchangeKind::Default;
        let refused = if self.publishers == 0 && self.consumers == 0 {
            Some("there is nothing to do without publishers and consumers")
        } else if self.queues == 0 {
            Some("there has to be a queue")
        } else if self.sizes.is_empty() {
            Some("messages need a size")
        } else if [&self.queue, &self.routing_key].into_iter().flatten().any(|name| name.len() > NAME_MAX) {
            Some("names and keys have 255 bytes at most")
        } else if self.queue.is_some() && self.queues != 1 {
            Some("--queue names one queue, so that --queues cannot be more")
        } else if self.queue.is_some() && (self.durable || !self.queue_args.is_empty()) {
            Some(
                "the queue of --queue is there already, and --durable and --queue-args change nothing about it",
            )
        } else if self.routing_key.is_some()
            && matches!(self.exchange_type, ExchangeKind::Default | ExchangeKind::Headers)
        {
            Some("--routing-key needs --exchange-type direct, topic or fanout")
        } else if self.bindings > 0 && (!has_own_exchange || self.exchange_type == ExchangeKind::Fanout) {
            Some("--bindings needs --exchange-type topic, direct or headers: elsewhere every binding matches")
        } else if self.prefetch > 0 && u32::from(self.prefetch) < self.ack {
            Some("--prefetch below --ack would wait forever")
        } else if self.prefetch > 0 && self.ack == 0 {
            Some("--prefetch has no meaning without --ack")
        } else {
            None
        };
        refused.map_or(Ok(()), |text| Err(PerfError::Plan(text.to_owned())))
    }

    /// Whether every message can carry a time.
    ///
    /// # Errors
    ///
    /// If there is a size that is too small.
    pub fn check_stamps(&self) -> Result<(), PerfError> {
        if self.sizes.iter().any(|size| *size < STAMP_SIZE) {
            let text = format!("messages carry the time of sending: they need {STAMP_SIZE} bytes at least");
            return Err(PerfError::Plan(text));
        }
        Ok(())
    }
}

/// A rate has to be one.
///
/// # Errors
///
/// If it is not over 0, or no number.
pub fn check_rate(rate: f64) -> Result<(), PerfError> {
    // Over a message in each nanosecond no two are due at different times.
    if rate.is_finite() && (0.001..=1e9).contains(&rate) {
        return Ok(());
    }
    Err(PerfError::Plan(format!("the rate should be from 0.001 to 1000000000 messages a second, not {rate}")))
}

/// As a number of seconds.
pub(super) fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert!(Load::default().check().is_ok());
        let topic = Load { exchange_type: ExchangeKind::Topic, bindings: 5, ..Load::default() };
        assert!(topic.check().is_ok());
        let named = Load { queue: Some("q".to_owned()), ..Load::default() };
        let key = Some("k".to_owned());
        let refused = [
            Load { publishers: 0, consumers: 0, ..Load::default() },
            Load { queues: 0, ..Load::default() },
            Load { sizes: Vec::new(), ..Load::default() },
            Load { queues: 2, ..named.clone() },
            Load { queue: Some("q".repeat(256)), ..Load::default() },
            Load { durable: true, ..named },
            Load { routing_key: key.clone(), ..Load::default() },
            Load { routing_key: key, exchange_type: ExchangeKind::Headers, ..Load::default() },
            Load { bindings: 1, ..Load::default() },
            Load { bindings: 1, exchange_type: ExchangeKind::Fanout, ..Load::default() },
            Load { prefetch: 9, ack: 10, ..Load::default() },
            Load { prefetch: 9, ..Load::default() },
        ];
        for load in refused {
            assert!(matches!(load.check(), Err(PerfError::Plan(_))), "{load:?}");
        }
        assert!(Load { sizes: vec![16, 7], ..Load::default() }.check_stamps().is_err());
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e10] {
            assert!(check_rate(rate).is_err(), "{rate}");
        }
        assert!(check_rate(0.5).is_ok());
    }
}
