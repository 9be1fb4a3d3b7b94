//! Options that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::perf::error::PerfError;
use crate::perf::load::{ExchangeKind, Load, Timing};
use crate::perf::tls::{self, Trust};
use crate::perf::url::Url;
use crate::perf::wire::Target;

/// How long a run is if neither time nor messages are given.
const DURATION: Duration = Duration::from_secs(10);

/// The longest time that can be asked for, in seconds: a week.
const LONGEST: f64 = 604_800.0;

/// Which broker, and how to trust it.
#[derive(Debug, Args)]
pub(super) struct BrokerOptions {
    /// The broker
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/", value_parser = Url::parse)]
    pub(super) url: Url,
    /// For amqps: authorities to believe, in PEM, in place of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// For amqps: believe any certificate
    #[arg(long)]
    insecure: bool,
    /// Pid of the broker on this machine, to measure its CPU, memory and disk writes
    #[arg(long)]
    pub(super) pid: Option<u32>,
}

impl BrokerOptions {
    pub(super) fn target(&self) -> Result<Target, PerfError> {
        if !self.url.is_tls && (self.ca.is_some() || self.insecure) {
            return Err(PerfError::Plan("--ca and --insecure are for amqps:// only".to_owned()));
        }
        self.target_of(&self.url)
    }

    /// The way to another broker, whose certificate is trusted like that of the first.
    pub(super) fn target_of(&self, url: &Url) -> Result<Target, PerfError> {
        let trust = match (&self.ca, self.insecure) {
            (Some(path), _) => Trust::File(path),
            (None, true) => Trust::Anybody,
            (None, false) => Trust::System,
        };
        let tls = url.is_tls.then(|| tls::client(trust)).transpose()?;
        Ok(Target { url: url.clone(), tls })
    }
}

/// The exchange's type, as it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExchangeType {
    Default,
    Direct,
    Fanout,
    Topic,
    Headers,
}

/// Connections, queues and messages.
#[derive(Debug, Args)]
pub(super) struct LoadOptions {
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    publishers: u16,
    /// Connections that consume
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    consumers: u16,
    /// Queues; publisher and consumer number i use queue i modulo N
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    queues: u16,
    /// Use this queue, which has to be there, and leave it there
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Exchange to publish to
    #[arg(long, value_name = "TYPE", value_enum, default_value = "default")]
    exchange_type: ExchangeType,
    /// Routing key of all publishers, by which all queues are bound
    #[arg(long, value_name = "KEY")]
    routing_key: Option<String>,
    /// Bindings of each queue besides, which match no message
    #[arg(long, value_name = "N", default_value_t = 0)]
    bindings: u32,
    #[command(flatten)]
    messages: MessageOptions,
}

/// What queues and messages are like.
#[derive(Debug, Args)]
pub(super) struct MessageOptions {
    /// Durable queues and exchange
    #[arg(long)]
    durable: bool,
    /// Argument of the queues, such as x-queue-type=quorum; can be repeated
    #[arg(long = "queue-args", value_name = "KEY=VALUE", value_parser = pair)]
    queue_args: Vec<(String, String)>,
    /// Bytes of a message's body; several with commas between are taken in turn
    #[arg(long, value_name = "BYTES", default_value = "16", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(0..=134_217_728))]
    size: Vec<u32>,
    /// Persistent messages
    #[arg(long)]
    persistent: bool,
    /// Property of messages, such as content_type=text/plain or headers.colour=red; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    properties: Vec<(String, String)>,
    /// Messages that each publisher has in flight unconfirmed; 0 for no confirms
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    confirm: u32,
    /// Consumers acknowledge every N messages; 0 for consumers without acknowledgements
    #[arg(long, value_name = "N", default_value_t = 0)]
    ack: u32,
    /// Messages that a consumer may have unacknowledged; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    prefetch: u16,
    /// Do not remove queues and exchange afterwards
    #[arg(long)]
    keep: bool,
}

impl LoadOptions {
    pub(super) fn load(&self) -> Load {
        Load {
            publishers: self.publishers.into(),
            consumers: self.consumers.into(),
            queues: self.queues.into(),
            queue: self.queue.clone(),
            exchange_type: match self.exchange_type {
                ExchangeType::Default => ExchangeKind::Default,
                ExchangeType::Direct => ExchangeKind::Direct,
                ExchangeType::Fanout => ExchangeKind::Fanout,
                ExchangeType::Topic => ExchangeKind::Topic,
                ExchangeType::Headers => ExchangeKind::Headers,
            },
            routing_key: self.routing_key.clone(),
            bindings: self.bindings as usize,
            ..self.messages.load()
        }
    }
}

impl MessageOptions {
    /// A load of such messages, with one publisher, one consumer and one queue.
    pub(super) fn load(&self) -> Load {
        Load {
            durable: self.durable,
            queue_args: self.queue_args.clone(),
            sizes: self.size.iter().map(|size| *size as usize).collect(),
            persistent: self.persistent,
            properties: self.properties.clone(),
            confirm: self.confirm as usize,
            ack: self.ack,
            prefetch: self.prefetch,
            keep: self.keep,
            ..Load::default()
        }
    }
}

/// How long.
#[derive(Debug, Args)]
pub(super) struct TimingOptions {
    /// Seconds to measure [default: 10, unless --messages is given]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Messages that each publisher sends
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Seconds before that are not counted
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warmup: Duration,
    /// Seconds that consumers may take at the end for what was sent
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    drain: Duration,
}

impl TimingOptions {
    pub(super) fn timing(&self) -> Timing {
        let default = if self.messages.is_none() { Some(DURATION) } else { None };
        Timing {
            warmup: self.warmup,
            duration: self.duration.or(default),
            messages: self.messages,
            drain: self.drain,
        }
    }
}

/// Where the result goes.
#[derive(Debug, Args)]
pub(super) struct JsonOption {
    /// Write the result as JSON, to standard output in place of the table if FILE is -
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

/// A number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "should be a number of seconds, a week at most".to_owned();
    let number: f64 = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| wrong())?;
    if !(0.0..=LONGEST).contains(&number) {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(number).map_err(|_| wrong())
}

/// `key=value` into its two sides.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && key.len() <= usize::from(u8::MAX) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("should be KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("10s"), Ok(Duration::from_secs(10)));
        for wrong in ["", "-1", "x", "nan", "inf", "1e9", "10m"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_have_a_key() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("=x").is_err() && pair("x").is_err());
    }
}
