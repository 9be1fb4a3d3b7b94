//! The node: who it is, how many things there are on it, and what it takes.

use crate::broker::churn::LoginProtocol;
use crate::broker::connections::ConnectionState;
use crate::broker::totals::Event;
use crate::management::prometheus::exposition::Samples;
use crate::management::prometheus::metric::NodeMetric;
use crate::management::prometheus::scrape::{Endpoint, Scrape};

pub(super) const IDENTITY: &[NodeMetric] = &[
    NodeMetric::gauge("build_info", "Versions. Tools read the first as RabbitMQ's", |scrape, out| {
        let (process, options) = (scrape.broker().node.process(), scrape.api.live.current());
        let labels = [
            ("rabbitmq_version", options.rabbitmq_version.as_str()),
            ("prometheus_plugin_version", &process.version),
            ("prometheus_client_version", &process.version),
            ("erlang_version", &process.compiler),
            ("product_name", &options.product_name),
            ("product_version", &options.product_version),
        ];
        out.with(&labels, 1.0);
    })
    .labels(&[
        "rabbitmq_version",
        "prometheus_plugin_version",
        "prometheus_client_version",
        "erlang_version",
        "product_name",
        "product_version",
    ]),
    NodeMetric::gauge("identity_info", "Names of the node and of its cluster", |scrape, out| {
        let broker = scrape.broker();
        let labels = [
            ("rabbitmq_node", broker.node.name.as_str()),
            ("rabbitmq_cluster", &broker.cluster_name()),
            ("rabbitmq_cluster_permanent_id", broker.cluster_id()),
            ("rabbitmq_endpoint", scrape.wish.endpoint.name()),
        ];
        out.with(&labels, 1.0);
    })
    .labels(&[
        "rabbitmq_node",
        "rabbitmq_cluster",
        "rabbitmq_cluster_permanent_id",
        "rabbitmq_endpoint",
    ]),
];

pub(super) const TOTALS: &[NodeMetric] = &[
    NodeMetric::gauge("connections", "Open connections", |scrape, out| out.count(scrape.objects.connections)),
    NodeMetric::gauge("channels", "Open channels", |scrape, out| out.count(scrape.objects.channels)),
    NodeMetric::gauge("consumers", "Consumers", |scrape, out| out.count(scrape.objects.consumers)),
    NodeMetric::gauge("queues", "Queues", |scrape, out| out.count(scrape.objects.queues)),
];

pub(super) const ALARMS: &[NodeMetric] = &[
    NodeMetric::gauge(
        "alarms_memory_used_watermark",
        "1 while publishers are blocked since memory is short",
        |scrape, out| out.count(u64::from(scrape.broker().alarms.is_memory_on())),
    ),
    NodeMetric::gauge(
        "alarms_free_disk_space_watermark",
        "1 while publishers are blocked since the disk is full",
        |scrape, out| out.count(u64::from(scrape.broker().alarms.is_disk_on())),
    ),
    NodeMetric::gauge(
        "alarms_file_descriptor_limit",
        "1 while files are short; there is no such alarm",
        |_, out| out.count(0),
    ),
    NodeMetric::gauge(
        "unreachable_cluster_peers_count",
        "Nodes of the cluster that cannot be reached: there are no others",
        |_, out| out.count(0),
    ),
];

pub(super) const OWN: &[NodeMetric] = &[
    NodeMetric::gauge("leveret_source_info", "What the program was built from", |scrape, out| {
        let process = scrape.broker().node.process();
        let labels =
            [("version", &*process.version), ("commit", &*process.commit), ("compiler", &*process.compiler)];
        out.with(&labels, 1.0);
    })
    .labels(&["version", "commit", "compiler"]),
    NodeMetric::gauge("leveret_connections_by_state", "Open connections by what they do", |scrape, out| {
        for state in [ConnectionState::Running, ConnectionState::Blocked, ConnectionState::Flow] {
            out.with(&[("state", state.name())], scrape.connections(state) as f64);
        }
    })
    .labels(&["state"]),
    NodeMetric::gauge("leveret_handshakes", "Connections in their handshake", |scrape, out| {
        out.count(scrape.broker().registry.handshakes() as u64);
    }),
    NodeMetric::counter(
        "leveret_handshakes_refused_total",
        "Connections that were closed at once, since too many from their address were in their handshake",
        |scrape, out| out.count(scrape.broker().strangers.turned_away.get()),
    ),
    NodeMetric::gauge("leveret_vhosts", "Vhosts", |scrape, out| {
        out.count(scrape.broker().vhost_names().len() as u64);
    }),
    NodeMetric::gauge("leveret_exchanges", "Exchanges, with those that every vhost has", |scrape, out| {
        out.count(scrape.objects.exchanges);
    }),
    NodeMetric::counter(
        "leveret_route_cache_misses_total",
        "Publishes whose route was looked up. Of others their connection remembered it",
        |scrape, out| out.count(scrape.event(Event::RouteLookups)),
    ),
    NodeMetric::counter(
        "leveret_consumers_parked_total",
        "Times that a consumer was passed over since its connection had no room",
        |scrape, out| out.count(scrape.sums.parked),
    ),
    NodeMetric::gauge(
        "leveret_memory_used_bytes",
        "Memory in use: resident without what the allocator keeps",
        |scrape, out| out.count(scrape.broker().node.memory().used),
    ),
    NodeMetric::gauge("leveret_disk_size_bytes", "All bytes of the disk with the data", |scrape, out| {
        out.count(scrape.broker().node.disk().total);
    }),
    NodeMetric::gauge("leveret_processors", "Processors that the process may use", |scrape, out| {
        out.count(scrape.broker().node.process().processors as u64);
    }),
];

pub(super) const CHURN: &[NodeMetric] = &[
    NodeMetric::counter("connections_opened_total", "Connections that were opened", |scrape, out| {
        out.count(scrape.churn.connections_opened);
    }),
    NodeMetric::counter("connections_closed_total", "Open connections that have ended", |scrape, out| {
        out.count(scrape.churn.connections_closed);
    }),
    NodeMetric::counter("channels_opened_total", "Channels that were opened", |scrape, out| {
        out.count(scrape.churn.channels_opened);
    }),
    NodeMetric::counter("channels_closed_total", "Channels that have ended", |scrape, out| {
        out.count(scrape.churn.channels_closed);
    }),
    NodeMetric::counter(
        "queues_declared_total",
        "Declarations of queues, of queues that existed too",
        |scrape, out| out.count(scrape.churn.queues_declared),
    ),
    NodeMetric::counter("queues_created_total", "Queues that were made", |scrape, out| {
        out.count(scrape.churn.queues_created);
    }),
    NodeMetric::counter("queues_deleted_total", "Queues that were deleted", |scrape, out| {
        out.count(scrape.churn.queues_deleted);
    }),
];

pub(super) const COARSE: &[NodeMetric] = &[
    NodeMetric::gauge("process_open_fds", "Open files, sockets among them", |scrape, out| {
        out.count(scrape.broker().node.open_files());
    }),
    NodeMetric::gauge("process_open_tcp_sockets", "Connections, in their handshake too", |scrape, out| {
        out.count(scrape.broker().registry.sockets());
    }),
    NodeMetric::gauge("process_resident_memory_bytes", "Resident memory", |scrape, out| {
        out.count(scrape.broker().node.memory().resident);
    }),
    NodeMetric::gauge("disk_space_available_bytes", "Free bytes of the disk with the data", |scrape, out| {
        out.count(scrape.broker().node.disk().free);
    }),
];

pub(super) const LIMITS: &[NodeMetric] = &[
    NodeMetric::gauge("process_max_fds", "Most files that may be open; +Inf if any number", |scrape, out| {
        let limit = scrape.broker().node.process().open_files_limit;
        out.one(limit.map_or(f64::INFINITY, |limit| limit as f64));
    }),
    NodeMetric::gauge(
        "process_max_tcp_sockets",
        "Most sockets that may be open: as for files",
        |scrape, out| {
            let limit = scrape.broker().node.process().open_files_limit;
            out.one(limit.map_or(f64::INFINITY, |limit| limit as f64));
        },
    ),
    NodeMetric::gauge(
        "resident_memory_limit_bytes",
        "Memory in use from which on publishers are blocked; 0 is never",
        |scrape, out| out.count(scrape.broker().node.process().memory_limit),
    ),
    NodeMetric::gauge(
        "disk_space_available_limit_bytes",
        "Free bytes below which publishers are blocked",
        |scrape, out| out.count(scrape.broker().node.disk().limit),
    ),
    NodeMetric::gauge("erlang_uptime_seconds", "Seconds since the start", |scrape, out| {
        out.one(scrape.uptime);
    }),
];

pub(super) const LOGINS: &[NodeMetric] = &[
    NodeMetric::counter("auth_attempts_total", "Attempts to log in", |scrape, out| {
        attempts(scrape, out, |succeeded, failed| succeeded + failed);
    })
    .labels(BY_PROTOCOL),
    NodeMetric::counter("auth_attempts_succeeded_total", "Successful attempts to log in", |scrape, out| {
        attempts(scrape, out, |succeeded, _| succeeded);
    })
    .labels(BY_PROTOCOL),
    NodeMetric::counter("auth_attempts_failed_total", "Failed attempts to log in", |scrape, out| {
        attempts(scrape, out, |_, failed| failed);
    })
    .labels(BY_PROTOCOL),
];

/// The aggregated endpoint has one sample without it.
const BY_PROTOCOL: &[&str] = &["protocol"];

fn attempts(scrape: &Scrape, out: &mut Samples<'_, '_>, number: fn(u64, u64) -> u64) {
    let of = |protocol| {
        let (succeeded, failed) = scrape.broker().login_attempts.of(protocol);
        number(succeeded, failed)
    };
    if scrape.wish.endpoint == Endpoint::Aggregated {
        return out.count(LoginProtocol::ALL.into_iter().map(of).sum());
    }
    for protocol in LoginProtocol::ALL {
        out.with(&[("protocol", protocol.name())], of(protocol) as f64);
    }
}

pub(super) const MEMORY: &[NodeMetric] = &[
    NodeMetric::gauge("memory_queue_messages_bytes", "Memory of messages and their tables", |scrape, out| {
        out.count(Used::of(scrape).messages);
    }),
    NodeMetric::gauge("memory_other_bytes", "Memory of everything else that is in use", |scrape, out| {
        out.count(Used::of(scrape).other);
    }),
    NodeMetric::gauge("memory_allocated_unused_bytes", "Memory that the allocator keeps", |scrape, out| {
        out.count(Used::of(scrape).unused);
    }),
];

/// What takes memory, in bytes.
struct Used {
    messages: u64,
    other: u64,
    unused: u64,
}

impl Used {
    fn of(scrape: &Scrape) -> Self {
        let memory = scrape.broker().node.memory();
        let messages = scrape.broker().message_memory().min(memory.used);
        Self { messages, other: memory.used - messages, unused: memory.resident.saturating_sub(memory.used) }
    }
}
