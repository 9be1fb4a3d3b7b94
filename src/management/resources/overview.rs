//! The whole broker at a glance.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::broker::churn::Churn;
use crate::broker::node::{Listener, ListenerAddress};
use crate::broker::totals::Counted;
use crate::broker::vhost::VHost;
use crate::broker::views::MessageTotals;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::single;
use crate::management::past::{Of, past_of};
use crate::management::resources::connections;
use crate::management::routes::{Resource, get};
use crate::management::statistics::{Family, Numbers, Ranges, of_vhost};
use crate::management::visitor::Level;
use crate::routing::ExchangeKind;

/// Where clients look for the version of Erlang, which there is none of.
const NO_ERLANG: &str = "";

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    vec![Resource::new("/overview", [get(Level::Management, overview)])]
}

fn overview(call: &Call) -> Result<Answer, ApiError> {
    let (broker, options) = (call.broker(), call.api.live.current());
    let process = broker.node.process();
    let ranges = Ranges::of(&call.query)?;
    let mut told = Map::new();
    let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
    put("management_version", options.rabbitmq_version.clone().into());
    put("rabbitmq_version", options.rabbitmq_version.clone().into());
    put("product_name", options.product_name.clone().into());
    put("product_version", options.product_version.clone().into());
    put("leveret_version", process.version.into());
    put("cluster_name", (*broker.cluster_name()).into());
    put("cluster_tags", json!({}));
    put("node_tags", json!({}));
    put("erlang_version", NO_ERLANG.into());
    put("erlang_full_version", NO_ERLANG.into());
    put("rates_mode", "basic".into());
    put("sample_retention_policies", retention());
    put("exchange_types", exchange_types());
    put("default_queue_type", "classic".into());
    put("disable_stats", false.into());
    put("enable_queue_totals", false.into());
    put("is_op_policy_updating_enabled", true.into());
    // Events that wait to be counted: here they are counted where they happen.
    put("statistics_db_event_queue", 0.into());
    put_totals(call, &ranges, &mut told);
    let past = past_of(broker, Of::Node);
    let churn = churn(&Numbers { past: &past, ranges: &ranges }, Family::Messages, &broker.churn());
    told.insert("churn_rates".to_owned(), churn.into());
    if call.visitor.is(Level::Monitoring) {
        let node = &broker.node.name;
        told.insert("node".to_owned(), node.clone().into());
        told.insert("listeners".to_owned(), listeners(call));
        told.insert("contexts".to_owned(), contexts(call, true));
    }
    Ok(single(call, told.into()))
}

/// Adds how much there is, and what happened: in the whole broker for whoever monitors it, else in the visitor's vhosts.
fn put_totals(call: &Call, ranges: &Ranges, told: &mut Map<String, Value>) {
    let broker = call.broker();
    let monitors = call.visitor.is(Level::Monitoring);
    let vhosts: Vec<Arc<VHost>> = if monitors {
        broker.vhost_names().iter().filter_map(|name| broker.vhost(name)).collect()
    } else {
        call.vhosts()
    };
    let mut messages = MessageTotals::default();
    let mut counted = Counted::default();
    let (mut disk_reads, mut disk_writes) = (0, 0);
    for vhost in &vhosts {
        let of_vhost = vhost.message_totals();
        messages.ready += of_vhost.ready;
        messages.unacked += of_vhost.unacked;
        counted += vhost.totals.counted();
        let sums = vhost.queue_sums();
        disk_reads += sums.disk_reads;
        disk_writes += sums.disk_writes;
    }
    if monitors {
        // With what was counted in vhosts that are gone.
        counted = broker.totals.counted();
    }
    let connections = connections::shown(call);
    let channels: usize = connections.iter().map(|connection| connection.channel_count()).sum();
    let channels_of = connections.iter().flat_map(|connection| connection.channels());
    let consumers: u64 = channels_of.map(|channel| channel.counters.consumers.get()).sum();
    let object_totals = json!({
        "channels": channels,
        "connections": connections.len(),
        "consumers": consumers,
        "exchanges": vhosts.iter().map(|vhost| vhost.exchange_count()).sum::<usize>(),
        "queues": vhosts.iter().map(|vhost| vhost.queue_count()).sum::<usize>(),
    });
    told.insert("object_totals".to_owned(), object_totals);
    let past = if monitors { past_of(broker, Of::Node) } else { past_of(broker, Of::VHosts(&vhosts)) };
    let numbers = Numbers { past: &past, ranges };
    let mut queue_totals = Map::new();
    numbers.lengths(&mut queue_totals, messages.ready, messages.unacked);
    told.insert("queue_totals".to_owned(), queue_totals.into());
    let disk = [("disk_reads", disk_reads), ("disk_writes", disk_writes)];
    let counts: Vec<(&str, u64)> = of_vhost(&counted).into_iter().chain(disk).collect();
    let events = numbers.events(&counts).unwrap_or_default();
    told.insert("message_stats".to_owned(), events.into());
}

/// How often things came and went.
pub(super) fn churn(numbers: &Numbers<'_>, family: Family, churn: &Churn) -> Map<String, Value> {
    let counts = [
        ("connection_created", churn.connections_opened),
        ("connection_closed", churn.connections_closed),
        ("channel_created", churn.channels_opened),
        ("channel_closed", churn.channels_closed),
        ("queue_declared", churn.queues_declared),
        ("queue_created", churn.queues_created),
        ("queue_deleted", churn.queues_deleted),
    ];
    let mut told = Map::new();
    for (key, number) in counts {
        numbers.put(&mut told, family, key, number);
    }
    told
}

/// How far back, in seconds, numbers of each kind are kept.
fn retention() -> Value {
    json!({ "global": [600, 3600, 28_800, 86_400], "basic": [600, 3600], "detailed": [600] })
}

/// The types of exchanges.
pub(super) fn exchange_types() -> Value {
    let kinds = [
        (ExchangeKind::Direct, "AMQP direct exchange, as per the AMQP specification"),
        (ExchangeKind::Fanout, "AMQP fanout exchange, as per the AMQP specification"),
        (ExchangeKind::Headers, "AMQP headers exchange, as per the AMQP specification"),
        (ExchangeKind::Topic, "AMQP topic exchange, as per the AMQP specification"),
    ];
    let told = |(kind, description): (ExchangeKind, &str)| json!({ "name": kind.name(), "description": description, "enabled": true });
    kinds.map(told).to_vec().into()
}

/// All that listens, but for Unix sockets, which have no port.
fn listeners(call: &Call) -> Value {
    let node = &call.broker().node;
    let told = |listener: &Listener| {
        let ListenerAddress::Tcp(address) = &listener.at else { return None };
        Some(json!({
            "node": node.name,
            "protocol": listener.protocol,
            "ip_address": address.ip().to_string(),
            "port": address.port(),
            // What RabbitMQ writes where there are none.
            "socket_opts": if listener.protocol.starts_with("http") { json!([]) } else { json!({}) },
        }))
    };
    node.listeners().iter().filter_map(told).collect()
}

/// Where the API itself is. The port is a text, as in RabbitMQ.
pub(super) fn contexts(call: &Call, with_node: bool) -> Value {
    let node = &call.broker().node;
    let told = |listener: &Listener| {
        let ListenerAddress::Tcp(address) = &listener.at else { return None };
        if !matches!(listener.protocol, "http" | "https") {
            return None;
        }
        let mut told = json!({
            "description": "Leveret Management",
            "path": format!("{}/", call.api.options.path_prefix),
            "ip": address.ip().to_string(),
            "port": address.port().to_string(),
        });
        if with_node {
            told["node"] = node.name.clone().into();
        }
        Some(told)
    };
    node.listeners().iter().filter_map(told).collect()
}
