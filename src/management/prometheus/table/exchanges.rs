//! Each exchange and vhost.

use crate::broker::totals::Event;
use crate::broker::vhost::VHost;
use crate::broker::views::ExchangeView;
use crate::management::prometheus::exposition::Samples;
use crate::management::prometheus::metric::{NodeMetric, ObjectMetric};
use crate::management::prometheus::scrape::Scrape;

type Metric = ObjectMetric<ExchangeView>;

/// Exchanges that are looked at together.
pub(in crate::management::prometheus) const AT_ONCE: usize = 256;

pub(super) const ALL: &[Metric] = &[
    Metric::counter(
        "exchange_messages_published_total",
        "Messages that were published to exchanges",
        |exchange| exchange.publish_in as f64,
        |scrape| scrape.event(Event::Received),
    ),
    Metric::counter(
        "leveret_exchange_messages_routed_total",
        "Messages that exchanges put into queues, once for each queue",
        |exchange| exchange.publish_out as f64,
        |scrape| scrape.event(Event::Routed),
    ),
];

pub(super) const VHOST_STATUS: &[NodeMetric] =
    &[NodeMetric::gauge("vhost_status", "1 for each vhost that there is", |scrape, out| {
        scrape.vhosts().for_each(|vhost| out.with(&[("vhost", &vhost.name)], 1.0));
    })
    .labels(&["vhost"])];

pub(super) const BINDINGS: &[NodeMetric] = &[NodeMetric::gauge(
    "exchange_bindings",
    "Bindings by which an exchange leads elsewhere",
    |scrape, out| {
        each(scrape, out, |vhost, exchange| vhost.bindings_from(exchange).len() as f64);
    },
)
.labels(&["vhost", "exchange", "type"])];

pub(super) const NAMES: &[NodeMetric] =
    &[NodeMetric::gauge("exchange_name", "1 for each exchange that there is", |scrape, out| {
        each(scrape, out, |_, _| 1.0);
    })
    .labels(&["vhost", "exchange", "type"])];

fn each(scrape: &Scrape, out: &mut Samples<'_, '_>, value: impl Fn(&VHost, &str) -> f64) {
    for vhost in scrape.vhosts() {
        for names in vhost.exchange_names().chunks(AT_ONCE) {
            for exchange in vhost.exchange_views(names) {
                let labels =
                    [("vhost", &*vhost.name), ("exchange", &exchange.name), ("type", exchange.kind.name())];
                out.with(&labels, value(&vhost, &exchange.name));
            }
        }
    }
}
