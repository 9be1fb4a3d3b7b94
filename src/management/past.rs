//! Where the past of an object's numbers is found.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::connections::{DeliveredFrom, OpenChannel, OpenConnection, PublishedTo};
use crate::broker::statistics::{Measure, Range, Rates, Trend};
use crate::broker::vhost::VHost;
use crate::broker::views::{QueueState, QueueView};
use crate::management::statistics::Past;

/// An object whose numbers are followed.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    /// The node itself, and messages of all vhosts together.
    Node,
    /// A vhost.
    VHost(&'a VHost),
    /// Messages of these vhosts together.
    VHosts(&'a [Arc<VHost>]),
    /// A queue of a vhost.
    Queue(&'a VHost, &'a QueueView),
    /// An exchange of a vhost.
    Exchange(&'a VHost, &'a str),
    /// A connection.
    Connection(&'a OpenConnection),
    /// A channel.
    Channel(&'a OpenChannel),
    /// What a channel publishes to an exchange. Only rates are known.
    Published(&'a PublishedTo),
    /// What a channel is given of a queue. Only rates are known.
    Delivered(&'a DeliveredFrom),
}

/// The past of an object.
pub(crate) fn past_of<'a>(broker: &'a Broker, of: Of<'a>) -> Followed<'a> {
    let rates = match of {
        Of::Node => vec![broker.rates()],
        Of::VHost(vhost) => vec![broker.vhost_rates(vhost)],
        Of::VHosts(vhosts) => vhosts.iter().map(|vhost| broker.vhost_rates(vhost)).collect(),
        Of::Queue(_, view) => vec![view.rates],
        Of::Exchange(vhost, name) => broker.exchange_rates(vhost, &[name.to_owned()]),
        Of::Connection(connection) => vec![broker.connection_rates(connection)],
        Of::Channel(channel) => vec![broker.channel_rates(channel)],
        Of::Published(counts) => vec![broker.published_rates(counts)],
        Of::Delivered(counts) => vec![broker.delivered_rates(counts)],
    };
    Followed { broker, of, rates }
}

/// See [`past_of`].
pub(crate) struct Followed<'a> {
    broker: &'a Broker,
    of: Of<'a>,
    /// Those of its parts.
    rates: Vec<Rates>,
}

impl Followed<'_> {
    fn trend(&self, measure: Measure, range: Range) -> Option<Trend> {
        let broker = self.broker;
        match self.of {
            Of::Node => broker.trend(measure, range),
            Of::VHost(vhost) => broker.vhost_trend(vhost, measure, range),
            Of::VHosts(vhosts) => {
                let trends = vhosts.iter().filter_map(|vhost| broker.vhost_trend(vhost, measure, range));
                trends.reduce(|sum, trend| sum.plus(&trend))
            }
            Of::Queue(vhost, view) => broker.queue_trend(vhost, &view.name, measure, range),
            Of::Exchange(vhost, name) => broker.exchange_trend(vhost, name, measure, range),
            Of::Connection(connection) => broker.connection_trend(connection, measure, range),
            Of::Channel(channel) => broker.channel_trend(channel, measure, range),
            Of::Published(_) | Of::Delivered(_) => None,
        }
    }

    /// How fast a number changes that goes up and down: by its last two samples.
    fn slope(&self, measure: Measure) -> f64 {
        if matches!(self.of, Of::Queue(_, view) if view.state == QueueState::Idle) {
            return 0.0;
        }
        let interval = self.broker.statistics.options().interval;
        let step = interval.as_millis().div_ceil(1000).max(1);
        let step = u64::try_from(step).unwrap_or(u64::MAX);
        self.trend(measure, Range { age: step, step }).map_or(0.0, |trend| trend.average_rate())
    }
}

impl Past for Followed<'_> {
    fn rate(&self, key: &str) -> f64 {
        let rate = |measure: &Measure| {
            if goes_both_ways(*measure) {
                self.slope(*measure)
            } else {
                self.rates.iter().map(|rates| rates.of(*measure)).sum()
            }
        };
        measures(key).iter().map(rate).sum()
    }

    fn trend(&self, key: &str, range: Range) -> Trend {
        let trends = measures(key).iter().filter_map(|measure| Self::trend(self, *measure, range));
        trends.reduce(|sum, trend| sum.plus(&trend)).unwrap_or_default()
    }
}

/// Whether it is a number of what there is now.
const fn goes_both_ways(measure: Measure) -> bool {
    matches!(
        measure,
        Measure::Ready
            | Measure::Unacked
            | Measure::MemoryUsed
            | Measure::DiskFree
            | Measure::OpenFiles
            | Measure::Sockets
    )
}

/// What is added up for a number of RabbitMQ's; nothing for one that is not followed.
fn measures(key: &str) -> &'static [Measure] {
    match key {
        "publish" => &[Measure::Publish],
        "confirm" => &[Measure::Confirm],
        "return_unroutable" => &[Measure::ReturnUnroutable],
        "drop_unroutable" => &[Measure::DropUnroutable],
        "deliver" => &[Measure::Deliver],
        "deliver_no_ack" => &[Measure::DeliverNoAck],
        "get" => &[Measure::Get],
        "get_no_ack" => &[Measure::GetNoAck],
        "get_empty" => &[Measure::GetEmpty],
        "deliver_get" => &[Measure::Deliver, Measure::DeliverNoAck, Measure::Get, Measure::GetNoAck],
        "redeliver" => &[Measure::Redeliver],
        "ack" => &[Measure::Ack],
        "publish_in" => &[Measure::PublishIn],
        "publish_out" => &[Measure::PublishOut],
        "disk_reads" | "msg_store_read_count" => &[Measure::DiskReads],
        "disk_writes" | "msg_store_write_count" => &[Measure::DiskWrites],
        "recv_oct" => &[Measure::ReceivedBytes],
        "send_oct" => &[Measure::SentBytes],
        "messages" => &[Measure::Ready, Measure::Unacked],
        "messages_ready" => &[Measure::Ready],
        "messages_unacknowledged" => &[Measure::Unacked],
        "connection_created" => &[Measure::ConnectionsOpened],
        "connection_closed" => &[Measure::ConnectionsClosed],
        "channel_created" => &[Measure::ChannelsOpened],
        "channel_closed" => &[Measure::ChannelsClosed],
        "queue_declared" => &[Measure::QueuesDeclared],
        "queue_created" => &[Measure::QueuesCreated],
        "queue_deleted" => &[Measure::QueuesDeleted],
        "io_write_count" => &[Measure::JournalWrites],
        "io_write_bytes" => &[Measure::JournalBytes],
        "io_sync_count" => &[Measure::JournalSyncs],
        "io_read_count" => &[Measure::StoreReads],
        "mem_used" => &[Measure::MemoryUsed],
        "disk_free" => &[Measure::DiskFree],
        "fd_used" => &[Measure::OpenFiles],
        "sockets_used" => &[Measure::Sockets],
        _ => &[],
    }
}
