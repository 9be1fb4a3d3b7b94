//! Metrics of objects: added up, or of each. What is kept of an object until all its metrics are written are its labels
//! and numbers, so that all are of one moment and of no object there are two.

use std::collections::HashSet;

use crate::broker::connections::{DeliveredFrom, OpenChannel, OpenConnection, PublishedTo};
use crate::broker::views::{ExchangeView, QueueView};
use crate::management::prometheus::exposition::{Exposition, Prefix, labels_of};
use crate::management::prometheus::metric::{All, ObjectMetric};
use crate::management::prometheus::scrape::{Endpoint, Scrape};
use crate::management::prometheus::table::{Content, FAMILIES};

/// Objects that are looked at together.
const AT_ONCE: usize = 256;

/// Metrics of objects of one kind, gathered.
struct Gathered<T: 'static> {
    metrics: Vec<&'static ObjectMetric<T>>,
    /// Labels of each object; none when they are added up.
    labels: Vec<Box<str>>,
    /// Numbers of each object in the order of the metrics; or one row with the sums.
    numbers: Vec<f64>,
    adds_up: bool,
}

impl<T> Gathered<T> {
    /// For the metrics that are asked for and that `choose` finds in a family.
    fn new(scrape: &Scrape, choose: impl Fn(&Content) -> Option<&'static [ObjectMetric<T>]>) -> Self {
        let wish = &scrape.wish;
        let mut known = HashSet::new();
        let wanted =
            FAMILIES.iter().filter(|family| wish.wants(family.name) && family.content.is_at(wish.endpoint));
        let all = wanted.filter_map(|family| choose(&family.content)).flatten();
        // Two families may have the same.
        let metrics: Vec<_> = all.filter(|metric| known.insert(metric.about.name)).collect();
        let adds_up = wish.endpoint == Endpoint::Aggregated;
        let numbers = if adds_up { vec![0.0; metrics.len()] } else { Vec::new() };
        Self { metrics, labels: Vec::new(), numbers, adds_up }
    }

    /// Whether objects have to be looked at.
    fn needs_objects(&self) -> bool {
        let adds = |metric: &&&ObjectMetric<T>| matches!(metric.all, All::Sum);
        if self.adds_up { self.metrics.iter().any(|metric| adds(&metric)) } else { !self.metrics.is_empty() }
    }

    /// Takes an object.
    fn take(&mut self, object: &T, labels: impl FnOnce() -> String) {
        let values = self.metrics.iter().map(|metric| (metric.value)(object));
        if self.adds_up {
            self.numbers.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        } else {
            self.numbers.extend(values);
            self.labels.push(labels().into());
        }
    }

    /// Writes what was gathered.
    fn write(self, scrape: &Scrape, prefix: &Prefix, to: &mut Exposition<'_>) {
        for (at, metric) in self.metrics.iter().enumerate() {
            if !to.is_open() {
                return;
            }
            let sum = match metric.all {
                _ if !self.adds_up => None,
                All::Nothing => continue,
                All::Sum => Some(self.numbers[at]),
                All::Total(total) => Some(total(scrape) as f64),
            };
            let mut samples = to.begin(prefix.name(metric.about.name), metric.about);
            match sum {
                Some(sum) => samples.one(sum),
                None => {
                    for (labels, numbers) in self.labels.iter().zip(self.numbers.chunks(self.metrics.len())) {
                        samples.written(labels, numbers[at]);
                    }
                }
            }
        }
    }
}

/// Writes the metrics of all objects.
pub(super) fn write(scrape: &Scrape, prefix: &Prefix, to: &mut Exposition<'_>) {
    queues(scrape).write(scrape, prefix, to);
    exchanges(scrape).write(scrape, prefix, to);
    let Connected { connections, channels, by_exchange, by_queue } = Connected::of(scrape);
    connections.write(scrape, prefix, to);
    channels.write(scrape, prefix, to);
    by_exchange.write(scrape, prefix, to);
    by_queue.write(scrape, prefix, to);
}

fn queues(scrape: &Scrape) -> Gathered<QueueView> {
    let mut gathered = Gathered::new(scrape, |content| match content {
        Content::Queues(metrics) => Some(metrics),
        _ => None,
    });
    if !gathered.needs_objects() {
        return gathered;
    }
    for vhost in scrape.vhosts() {
        let mut names = vhost.queue_names();
        names.retain(|name| scrape.wish.has_queue(name));
        for names in names.chunks(AT_ONCE) {
            for queue in scrape.broker().queue_views(&vhost, names) {
                gathered.take(&queue, || labels_of(&[("vhost", &queue.vhost), ("queue", &queue.name)]));
            }
        }
    }
    gathered
}

fn exchanges(scrape: &Scrape) -> Gathered<ExchangeView> {
    let mut gathered = Gathered::new(scrape, |content| match content {
        Content::Exchanges(metrics) => Some(metrics),
        _ => None,
    });
    if !gathered.needs_objects() {
        return gathered;
    }
    for vhost in scrape.vhosts() {
        for names in vhost.exchange_names().chunks(AT_ONCE) {
            for exchange in vhost.exchange_views(names) {
                let labels = || labels_of(&[("vhost", &exchange.vhost), ("exchange", &exchange.name)]);
                gathered.take(&exchange, labels);
            }
        }
    }
    gathered
}

/// What connections have.
struct Connected {
    connections: Gathered<OpenConnection>,
    channels: Gathered<OpenChannel>,
    by_exchange: Gathered<PublishedTo>,
    by_queue: Gathered<DeliveredFrom>,
}

impl Connected {
    fn of(scrape: &Scrape) -> Self {
        let mut all = Self {
            connections: Gathered::new(scrape, |content| match content {
                Content::Connections(metrics) => Some(metrics),
                _ => None,
            }),
            channels: Gathered::new(scrape, |content| match content {
                Content::Channels(metrics) => Some(metrics),
                _ => None,
            }),
            by_exchange: Gathered::new(scrape, |content| match content {
                Content::ChannelExchanges(metrics) => Some(metrics),
                _ => None,
            }),
            by_queue: Gathered::new(scrape, |content| match content {
                Content::ChannelQueues(metrics) => Some(metrics),
                _ => None,
            }),
        };
        let of_channels =
            [all.channels.needs_objects(), all.by_exchange.needs_objects(), all.by_queue.needs_objects()];
        if !all.connections.needs_objects() && of_channels == [false; 3] {
            return all;
        }
        for connection in scrape.broker().registry.connections() {
            let vhost = &connection.facts.vhost.name;
            if !scrape.wish.has_vhost(vhost) {
                continue;
            }
            all.connections.take(&connection, || labels_of(&[("connection", &named(&connection))]));
            if of_channels == [false; 3] {
                continue;
            }
            for channel in connection.channels() {
                all.take_channel(scrape, vhost, &named(&connection), &channel);
            }
        }
        all
    }

    fn take_channel(&mut self, scrape: &Scrape, vhost: &str, connection: &str, channel: &OpenChannel) {
        let name = format!("{connection}.{}", channel.number);
        self.channels.take(channel, || labels_of(&[("channel", &name)]));
        if self.by_exchange.needs_objects() {
            for to in channel.published() {
                let labels = [("channel", &*name), ("vhost", vhost), ("exchange", &to.exchange)];
                self.by_exchange.take(&to, || labels_of(&labels));
            }
        }
        if self.by_queue.needs_objects() {
            // A queue that was deleted and made again is another one of the same name: the latest counts.
            let mut known = HashSet::new();
            for of in channel.delivered().iter().rev().filter(|of| scrape.wish.has_queue(&of.queue)) {
                if known.insert(of.queue.clone()) {
                    let labels = [("channel", &*name), ("vhost", vhost), ("queue", &of.queue)];
                    self.by_queue.take(of, || labels_of(&labels));
                }
            }
        }
    }
}

/// A name that no other connection has: several of one proxy, or on a Unix socket, look the same.
fn named(connection: &OpenConnection) -> String {
    format!("{} #{}", connection.facts.name, connection.id.0)
}
