//! The node. There is one.

use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::broker::statistics::activity::Booked;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array, single};
use crate::management::past::{Of, past_of};
use crate::management::resources::overview::{churn, contexts, exchange_types};
use crate::management::routes::{Resource, delete, get};
use crate::management::statistics::{Family, Numbers, Ranges};
use crate::management::visitor::Level;
use crate::storage::meters::Metered;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let monitoring = Level::Monitoring;
    vec![
        Resource::new("/nodes", [get(monitoring, all)]),
        Resource::new("/nodes/{node}", [get(monitoring, one)]),
        Resource::new("/nodes/{node}/memory", [get(monitoring, memory)]),
        Resource::new("/nodes/{node}/memory/relative", [get(monitoring, relative_memory)]),
        Resource::new("/nodes/{node}/memory/ets", [get(monitoring, tables)]),
        Resource::new("/nodes/{node}/memory/ets/{filter}", [get(monitoring, tables)]),
        Resource::new("/nodes/{node}/memory/ets/{filter}/relative", [get(monitoring, tables)]),
        Resource::new("/reset", [delete(Level::Administrator, reset)]),
        Resource::new("/reset/{node}", [delete(Level::Administrator, reset_named)]),
    ]
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    let node = described(call)?;
    Ok(array(call, Rows::new(vec![node], |_| "", Value::clone)))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    let mut node = described(call)?;
    if call.query.is_true("memory") {
        node["memory"] = used(call.broker()).value();
    }
    Ok(single(call, node))
}

fn described(call: &Call) -> Result<Value, ApiError> {
    let (broker, ranges) = (call.broker(), Ranges::of(&call.query)?);
    let (node, process) = (&broker.node, broker.node.process());
    let now = (call.api.clock)().unix_ms;
    let mut told = Map::new();
    let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
    put("name", node.name.clone().into());
    put("type", "disc".into());
    put("running", true.into());
    put("being_drained", false.into());
    put("os_pid", process.pid.to_string().into());
    put("uptime", now.saturating_sub(node.started_at).into());
    put("processors", process.processors.into());
    put("rates_mode", "basic".into());
    put("mem_limit", broker.thresholds.memory().into());
    put("mem_alarm", broker.alarms.is_memory_on().into());
    put("mem_calculation_strategy", "rss".into());
    put("disk_free_limit", node.disk().limit.into());
    put("disk_free_alarm", broker.alarms.is_disk_on().into());
    // Without a limit of files there is none of sockets either.
    let files = process.open_files_limit;
    put("fd_total", files.into());
    put("sockets_total", files.into());
    put("db_dir", process.data_dir.map(|path| path.display().to_string()).unwrap_or_default().into());
    let paths = |path: Option<std::path::PathBuf>| -> Vec<String> {
        path.iter().map(|path| path.display().to_string()).collect()
    };
    put("config_files", paths(process.config_file).into());
    put("log_files", paths(process.log_file).into());
    put("auth_mechanisms", mechanisms(call));
    put("exchange_types", exchange_types());
    put("contexts", contexts(call, false));
    put("enabled_plugins", json!(["rabbitmq_management"]));
    put("applications", json!([{ "name": "leveret", "description": "Leveret", "version": process.version }]));
    for key in ["partitions", "cluster_links"] {
        put(key, json!([]));
    }
    put_figures(broker, &ranges, &mut told);
    put_of_erlang(&mut told);
    Ok(told.into())
}

/// How clients may log in.
fn mechanisms(call: &Call) -> Value {
    let told = |name: &&str| json!({ "name": name, "description": format!("SASL {name} authentication mechanism"), "enabled": true });
    call.api.live.current().mechanisms.iter().map(told).collect()
}

/// Adds what changes all the time.
fn put_figures(broker: &Broker, ranges: &Ranges, told: &mut Map<String, Value>) {
    let node = &broker.node;
    let past = past_of(broker, Of::Node);
    let numbers = Numbers { past: &past, ranges };
    let figures = [
        ("mem_used", node.memory().used),
        ("disk_free", node.disk().free),
        ("fd_used", node.open_files()),
        ("sockets_used", (broker.registry.len() + broker.registry.handshakes()) as u64),
    ];
    for (key, number) in figures {
        numbers.put(told, Family::Node, key, number);
    }
    told.extend(churn(&numbers, Family::Node, &broker.churn()));
    let meters = broker.journal.meters();
    let (writes, syncs, reads) = (meters.writes.metered(), meters.syncs.metered(), meters.reads.metered());
    let vhosts = broker.vhost_names().into_iter().filter_map(|name| broker.vhost(&name));
    let sums: Vec<Booked> = vhosts.map(|vhost| vhost.queue_sums()).collect();
    let counts = [
        ("io_write_count", writes.count),
        ("io_write_bytes", writes.bytes),
        ("io_sync_count", syncs.count),
        ("io_read_count", reads.count),
        ("io_read_bytes", reads.bytes),
        ("msg_store_read_count", sums.iter().map(|sums| sums.disk_reads).sum()),
        ("msg_store_write_count", sums.iter().map(|sums| sums.disk_writes).sum()),
    ];
    for (key, number) in counts {
        numbers.put(told, Family::Node, key, number);
    }
    let times = [("io_write_avg_time", writes), ("io_sync_avg_time", syncs), ("io_read_avg_time", reads)];
    for (key, Metered { count, time, .. }) in times {
        let milliseconds = if count == 0 { 0.0 } else { time.as_secs_f64() * 1000.0 / count as f64 };
        told.insert(key.to_owned(), milliseconds.into());
        // It is an average since the start, which nobody follows.
        told.insert(format!("{key}_details"), json!({ "rate": 0.0 }));
    }
}

/// Adds what RabbitMQ tells of Erlang's virtual machine and of its own ways to store, with the zero that clients expect
/// where there is no such thing.
fn put_of_erlang(told: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
    for key in ["proc_total", "run_queue", "net_ticktime"] {
        put(key, 0.into());
    }
    for key in ["metrics_gc_queue_length", "ra_open_file_metrics"] {
        put(key, json!({}));
    }
    let counts = [
        "proc_used",
        "gc_num",
        "gc_bytes_reclaimed",
        "context_switches",
        "mnesia_ram_tx_count",
        "mnesia_disk_tx_count",
        "queue_index_read_count",
        "queue_index_write_count",
    ];
    for key in counts {
        put(key, 0.into());
        put(&format!("{key}_details"), json!({ "rate": 0.0 }));
    }
}

/// Where memory goes in Erlang. RabbitMQ's own tool reads no answer that lacks one of these.
const OF_ERLANG: [&str; 23] = [
    "atom",
    "code",
    "connection_channels",
    "connection_other",
    "connection_readers",
    "connection_writers",
    "metadata_store",
    "metadata_store_ets",
    "metrics",
    "mgmt_db",
    "mnesia",
    "msg_index",
    "other_ets",
    "other_proc",
    "plugins",
    "queue_procs",
    "quorum_ets",
    "quorum_queue_dlx_procs",
    "quorum_queue_procs",
    "reserved_unallocated",
    "stream_queue_coordinator_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
];

/// What takes memory, in bytes.
struct Used {
    /// Messages in queues and on their way, with their tables.
    messages: u64,
    /// Everything else that is in use.
    other: u64,
    /// What the allocator keeps.
    unused: u64,
    /// All of it that is resident.
    resident: u64,
}

fn used(broker: &Broker) -> Used {
    let memory = broker.node.memory();
    let messages = broker.message_memory().min(memory.used);
    Used {
        messages,
        other: memory.used - messages,
        unused: memory.resident.saturating_sub(memory.used),
        resident: memory.resident,
    }
}

impl Used {
    /// By RabbitMQ's names where they fit. The others are Erlang's; nothing is in them.
    fn value(&self) -> Value {
        let mut told: Map<String, Value> =
            OF_ERLANG.map(|key| (key.to_owned(), 0.into())).into_iter().collect();
        let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
        put("strategy", "rss".into());
        put("binary", self.messages.into());
        put("other_system", self.other.into());
        put("allocated_unused", self.unused.into());
        let total = json!({
            "rss": self.resident,
            "allocated": self.resident,
            "erlang": self.messages + self.other,
        });
        put("total", total);
        told.into()
    }

    /// In hundredths of what is resident.
    fn relative(&self) -> Value {
        let percent = |bytes: u64| (bytes * 100).checked_div(self.resident).unwrap_or_default();
        json!({
            "binary": percent(self.messages),
            "other_system": percent(self.other),
            "allocated_unused": percent(self.unused),
            "total": 100,
        })
    }
}

fn memory(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    Ok(Answer::Json(json!({ "memory": used(call.broker()).value() })))
}

/// What Erlang keeps tables in.
fn tables(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    Err(ApiError::Missing("there are no tables of Erlang's here; /memory tells what takes memory".to_owned()))
}

fn relative_memory(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    Ok(Answer::Json(json!({ "memory": used(call.broker()).relative() })))
}

/// Forgets all samples, so that rates and charts begin anew. What is counted goes on.
fn reset(call: &Call) -> Result<Answer, ApiError> {
    call.broker().statistics.reset(call.broker());
    Ok(Answer::NoContent)
}

fn reset_named(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    reset(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_memory_are_told_in_bytes_and_in_hundredths() {
        let used = Used { messages: 50, other: 100, unused: 50, resident: 200 };
        let (value, relative) = (used.value(), used.relative());
        assert_eq!((&value["total"]["rss"], &value["total"]["erlang"]), (&json!(200), &json!(150)));
        assert_eq!((&relative["binary"], &relative["other_system"]), (&json!(25), &json!(50)));
        let unknown = Used { messages: 0, other: 0, unused: 0, resident: 0 };
        assert_eq!(unknown.relative()["binary"], json!(0));
    }
}
