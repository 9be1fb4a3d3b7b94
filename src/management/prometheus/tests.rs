//! The table as a whole: what it writes from a broker, and what the documentation says of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::*;
use crate::broker::Broker;
use crate::broker::options::BrokerOptions;
use crate::management::Api;
use crate::management::options::{ManagementOptions, SharedOptions};
use crate::management::prometheus::metric::{About, Kind, OWN};
use crate::management::query::Query;
use crate::management::sessions::Sessions;
use crate::time::{Moment, Now};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

fn clock() -> Now {
    Now { moment: Moment(0), unix_ms: 5000 }
}

fn api() -> Arc<Api> {
    let broker = Broker::ephemeral(BrokerOptions::default()).unwrap();
    let options = ManagementOptions::of_nobody();
    let sessions = Arc::new(Sessions::new(options.session_timeout));
    Api::new(&broker, &SharedOptions::new(options), &sessions, clock)
}

fn scraped(endpoint: Endpoint, query: &str) -> String {
    let mut text = String::new();
    let mut send = |part: &str| {
        text.push_str(part);
        true
    };
    let scrape = Scrape::begin(api(), Wish::of(endpoint, &Query::from(query)).unwrap());
    write(&scrape, Exposition::new(Format::Text, &mut send));
    text
}

/// All metrics, with their labels and the families that have them.
fn all() -> BTreeMap<&'static str, (About, &'static [&'static str], Vec<&'static str>)> {
    let mut all = BTreeMap::new();
    for family in FAMILIES {
        for (about, labels) in family.content.about() {
            let known = all.entry(about.name).or_insert((about, labels, Vec::new()));
            assert_eq!((known.0.help, known.1), (about.help, labels), "{}", about.name);
            known.2.push(family.name);
        }
    }
    all
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for (name, (about, _, _)) in all() {
        assert_eq!(about.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(!about.help.is_empty() && !about.help.ends_with('.'), "{name}");
        let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(is_plain, "{name}");
    }
}

#[test]
fn no_word_in_front_makes_two_names_one() {
    let all = all();
    for name in all.keys().filter_map(|name| name.strip_prefix(OWN)) {
        // LavinMQ's users ask for ?prefix=leveret here.
        assert!(!all.contains_key(name), "{name}");
    }
    for endpoint in [Endpoint::Aggregated, Endpoint::PerObject] {
        let text = scraped(endpoint, "prefix=leveret");
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let different: HashSet<_> = heads.iter().map(|head| head.split(' ').nth(2)).collect();
        assert_eq!(different.len(), heads.len());
    }
}

#[test]
fn samples_have_the_labels_that_the_table_says() {
    for endpoint in [Endpoint::Aggregated, Endpoint::MemoryBreakdown] {
        let text = scraped(endpoint, "");
        for (name, (about, labels, _)) in all() {
            let full = Prefix { word: "rabbitmq".to_owned(), detailed: false }.name(name);
            let is_it = |line: &&str| {
                let rest = line.strip_prefix(&*full).unwrap_or_default();
                rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{")
            };
            for line in text.lines().filter(is_it) {
                let inside = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
                let found: Vec<&str> = inside.map_or(Vec::new(), |(inside, _)| {
                    inside
                        .split("\",")
                        .filter_map(|pair| pair.split_once('=').map(|(name, _)| name))
                        .collect()
                });
                let found: Vec<&str> = found.into_iter().filter(|name| *name != "le").collect();
                // Added up, objects and logins have none.
                let adds_up = endpoint == Endpoint::Aggregated && found.is_empty();
                assert!(found == labels || adds_up, "{line} instead of {labels:?}");
                let value = line.rsplit(' ').next().unwrap_or_default();
                assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line} of {about:?}");
            }
        }
    }
}

#[test]
fn endpoints_have_what_is_asked_for() {
    let all = scraped(Endpoint::Aggregated, "");
    for name in ["rabbitmq_queues 0", "rabbitmq_queue_messages_ready 0", "rabbitmq_auth_attempts_total 0"] {
        assert!(all.lines().any(|line| line == name), "{name}");
    }
    assert!(!all.contains("rabbitmq_queue_consumer_capacity") && !all.contains("memory_other_bytes"));
    let some = scraped(Endpoint::Detailed, "family=exchange_names&family=ra_metrics&family=vhost_status");
    assert!(some.contains("rabbitmq_cluster_vhost_status{vhost=\"/\"} 1\n"), "{some}");
    assert!(
        some.contains(
            "rabbitmq_cluster_exchange_name{vhost=\"/\",exchange=\"amq.topic\",type=\"topic\"} 1\n"
        )
    );
    assert!(
        some.contains("rabbitmq_endpoint=\"detailed\"") && !some.contains("rabbitmq_detailed_"),
        "{some}"
    );
    let none = scraped(Endpoint::Detailed, "family=vhost_status&vhost=x");
    assert!(!none.contains("_vhost_status{"));
    let exchanges = scraped(Endpoint::Detailed, "family=exchange_metrics");
    let sample =
        "rabbitmq_detailed_exchange_messages_published_total{vhost=\"/\",exchange=\"amq.fanout\"} 0\n";
    assert!(exchanges.contains(sample), "{exchanges}");
    assert!(exchanges.contains("leveret_detailed_exchange_messages_routed_total{"));
    let memory = scraped(Endpoint::MemoryBreakdown, "");
    assert!(memory.contains("rabbitmq_memory_other_bytes 0\n") && !memory.contains("rabbitmq_queues"));
}

#[test]
fn every_metric_has_its_row_in_the_documentation() {
    let row = |(name, (about, labels, families)): (&str, (About, &[&str], Vec<&str>))| {
        let shown = if name.starts_with(OWN) { name.to_owned() } else { format!("rabbitmq_{name}") };
        let ticked =
            |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let cells = [
            format!("`{shown}`"),
            about.kind.name().to_owned(),
            ticked(labels),
            ticked(&families),
            about.help.to_owned(),
        ];
        format!("| {} |", cells.join(" | "))
    };
    let expected: Vec<String> = all().into_iter().map(row).collect();
    let is_row = |line: &&str| line.starts_with("| `rabbitmq_") || line.starts_with("| `leveret_");
    let documented: Vec<&str> = DOCUMENT.lines().filter(is_row).collect();
    assert!(documented == expected, "docs/metrics.md should have these rows:\n{}", expected.join("\n"));
}
