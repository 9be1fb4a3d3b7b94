//! Metrics for Prometheus, by RabbitMQ's names and Leveret's own.
//!
//! `table` is the one table of them. A `scrape` reads the numbers of the node at its moment; `objects` walks over queues,
//! connections and the like; `exposition` knows how all of it is written. The answer is sent as it is written.

mod exposition;
mod metric;
mod objects;
mod scrape;
mod table;

use crate::management::answer::{Answer, Sink};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::prometheus::exposition::{Exposition, Format, Prefix};
use crate::management::prometheus::metric::NodeMetric;
use crate::management::prometheus::scrape::{Endpoint, Scrape, Wish};
use crate::management::prometheus::table::{Content, FAMILIES};
use crate::management::routes::{Resource, get};
use crate::management::visitor::Level;

/// Metrics, below a path of their own, for visitors of this level.
pub(super) fn routes(level: Level) -> Vec<Resource> {
    vec![
        Resource::new("", [get(level, usual)]),
        Resource::new("/per-object", [get(level, |call| answer(call, Endpoint::PerObject))]),
        Resource::new("/detailed", [get(level, |call| answer(call, Endpoint::Detailed))]),
        Resource::new("/memory-breakdown", [get(level, |call| answer(call, Endpoint::MemoryBreakdown))]),
    ]
}

fn usual(call: &Call) -> Result<Answer, ApiError> {
    let per_object = call.api.options.prometheus.per_object;
    answer(call, if per_object { Endpoint::PerObject } else { Endpoint::Aggregated })
}

fn answer(call: &Call, endpoint: Endpoint) -> Result<Answer, ApiError> {
    let (api, format) = (call.api.clone(), Format::of(&call.headers));
    let wish = Wish::of(endpoint, &call.query)?;
    let write = move |sink: &mut Sink| {
        let mut send = |text: &str| {
            sink.text(text);
            sink.is_open()
        };
        let scrape = Scrape::begin(api, wish);
        write(&scrape, Exposition::new(format, &mut send));
    };
    Ok(Answer::Stream(format.content_type(), Box::new(write)))
}

/// Writes all that is asked for.
fn write(scrape: &Scrape, mut to: Exposition<'_>) {
    let wish = &scrape.wish;
    let prefix = Prefix { word: wish.word.clone(), detailed: wish.endpoint == Endpoint::Detailed };
    for family in FAMILIES.iter().filter(|family| family.content.is_at(wish.endpoint)) {
        let wants = wish.wants(family.name);
        match &family.content {
            Content::Identity(metrics) => write_node(scrape, metrics, |name| prefix.plain(name), &mut to),
            Content::Node(metrics) | Content::Everything(metrics) | Content::Memory(metrics) if wants => {
                write_node(scrape, metrics, |name| prefix.name(name), &mut to);
            }
            Content::Cluster(metrics) if wants => {
                write_node(scrape, metrics, |name| prefix.cluster(name), &mut to);
            }
            // Objects come afterwards, all metrics of one kind together.
            _ => {}
        }
    }
    objects::write(scrape, &prefix, &mut to);
    to.end();
}

fn write_node(
    scrape: &Scrape,
    metrics: &'static [NodeMetric],
    name: impl Fn(&str) -> String,
    to: &mut Exposition<'_>,
) {
    for metric in metrics {
        if !to.is_open() {
            return;
        }
        (metric.write)(scrape, &mut to.begin(name(metric.about.name), metric.about));
    }
}

#[cfg(test)]
mod tests;
