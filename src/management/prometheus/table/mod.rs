//! The one table of metrics. Output and documentation are made of it.

mod channels;
mod connections;
mod exchanges;
mod messages;
mod node;
mod queues;
mod storage;

use crate::broker::connections::{DeliveredFrom, OpenChannel, OpenConnection, PublishedTo};
use crate::broker::views::{ExchangeView, QueueView};
#[cfg(test)]
use crate::management::prometheus::metric::About;
use crate::management::prometheus::metric::{NodeMetric, ObjectMetric};
use crate::management::prometheus::scrape::Endpoint;

/// Metrics that are asked for together.
pub(super) struct Family {
    /// RabbitMQ's name. A family may have several rows.
    pub(super) name: &'static str,
    pub(super) content: Content,
}

/// The metrics of a family, by what they are about.
pub(super) enum Content {
    /// Which node this is, told at every endpoint.
    Identity(&'static [NodeMetric]),
    /// The node and all that is on it.
    Node(&'static [NodeMetric]),
    /// As before, but not at the detailed endpoint.
    Everything(&'static [NodeMetric]),
    /// What a cluster has, told at the detailed endpoint only.
    Cluster(&'static [NodeMetric]),
    /// What takes memory, told where it is asked for only.
    Memory(&'static [NodeMetric]),
    /// Each queue.
    Queues(&'static [ObjectMetric<QueueView>]),
    /// Each exchange.
    Exchanges(&'static [ObjectMetric<ExchangeView>]),
    /// Each connection.
    Connections(&'static [ObjectMetric<OpenConnection>]),
    /// Each channel.
    Channels(&'static [ObjectMetric<OpenChannel>]),
    /// Each channel, by the exchanges it published to.
    ChannelExchanges(&'static [ObjectMetric<PublishedTo>]),
    /// Each channel, by the queues it was given messages of.
    ChannelQueues(&'static [ObjectMetric<DeliveredFrom>]),
}

impl Content {
    /// Whether an endpoint has it, if its family is asked for.
    pub(super) fn is_at(&self, endpoint: Endpoint) -> bool {
        match self {
            Self::Identity(_) => true,
            Self::Everything(_) => matches!(endpoint, Endpoint::Aggregated | Endpoint::PerObject),
            Self::Cluster(_) => endpoint == Endpoint::Detailed,
            Self::Memory(_) => matches!(endpoint, Endpoint::MemoryBreakdown | Endpoint::Detailed),
            _ => endpoint != Endpoint::MemoryBreakdown,
        }
    }

    /// All its metrics, with the labels of each.
    #[cfg(test)]
    pub(super) fn about(&self) -> Vec<(About, &'static [&'static str])> {
        fn objects<T>(
            metrics: &'static [ObjectMetric<T>],
            labels: &'static [&'static str],
        ) -> Vec<(About, &'static [&'static str])> {
            metrics.iter().map(|metric| (metric.about, labels)).collect()
        }
        match self {
            Self::Identity(metrics)
            | Self::Node(metrics)
            | Self::Everything(metrics)
            | Self::Cluster(metrics)
            | Self::Memory(metrics) => metrics.iter().map(|metric| (metric.about, metric.labels)).collect(),
            Self::Queues(metrics) => objects(metrics, &["vhost", "queue"]),
            Self::Exchanges(metrics) => objects(metrics, &["vhost", "exchange"]),
            Self::Connections(metrics) => objects(metrics, &["connection"]),
            Self::Channels(metrics) => objects(metrics, &["channel"]),
            Self::ChannelExchanges(metrics) => objects(metrics, &["channel", "vhost", "exchange"]),
            Self::ChannelQueues(metrics) => objects(metrics, &["channel", "vhost", "queue"]),
        }
    }
}

const fn family(name: &'static str, content: Content) -> Family {
    Family { name, content }
}

/// All of them, in the order in which they are written.
pub(super) static FAMILIES: &[Family] = &[
    family("identity", Content::Identity(node::IDENTITY)),
    family("totals", Content::Everything(node::TOTALS)),
    family("global", Content::Everything(messages::GLOBAL)),
    family("alarms", Content::Everything(node::ALARMS)),
    family("leveret", Content::Everything(node::OWN)),
    family("leveret_storage", Content::Everything(storage::OWN)),
    family("connection_churn_metrics", Content::Node(node::CHURN)),
    family("node_coarse_metrics", Content::Node(node::COARSE)),
    family("node_metrics", Content::Node(node::LIMITS)),
    family("node_persister_metrics", Content::Node(storage::PERSISTER)),
    family("auth_attempt_metrics", Content::Node(node::LOGINS)),
    family("queue_coarse_metrics", Content::Queues(queues::COARSE)),
    family("queue_consumer_count", Content::Queues(queues::CONSUMER_COUNT)),
    family("queue_metrics", Content::Queues(queues::CONSUMER_COUNT)),
    family("queue_metrics", Content::Queues(queues::ALL)),
    family("queue_delivery_metrics", Content::Queues(queues::DELIVERIES)),
    family("channel_queue_exchange_metrics", Content::Queues(queues::PUBLISHED)),
    family("exchange_metrics", Content::Exchanges(exchanges::ALL)),
    family("connection_coarse_metrics", Content::Connections(connections::COARSE)),
    family("connection_metrics", Content::Connections(connections::ALL)),
    family("channel_metrics", Content::Channels(channels::ALL)),
    family("channel_exchange_metrics", Content::Channels(channels::PUBLISHES)),
    family("channel_exchange_metrics", Content::ChannelExchanges(channels::BY_EXCHANGE)),
    family("channel_queue_metrics", Content::ChannelQueues(channels::BY_QUEUE)),
    family("vhost_status", Content::Cluster(exchanges::VHOST_STATUS)),
    family("exchange_bindings", Content::Cluster(exchanges::BINDINGS)),
    family("exchange_names", Content::Cluster(exchanges::NAMES)),
    family("memory_breakdown_metrics", Content::Memory(node::MEMORY)),
];

/// Families of RabbitMQ that are about what Leveret does not have. Who asks for them is told nothing.
const EMPTY: [&str; 6] = [
    "auth_attempt_detailed_metrics",
    "channel_process_metrics",
    "queue_exchange_metrics",
    "ra_metrics",
    "raft_metrics",
    "stream_consumer_metrics",
];

/// Whether the detailed endpoint knows a family of this name.
pub(super) fn is_family(name: &str) -> bool {
    let is_it = |family: &Family| family.name == name && family.content.is_at(Endpoint::Detailed);
    FAMILIES.iter().any(is_it) || EMPTY.contains(&name)
}
