//! What the broker says of itself.

use clap::Subcommand;
use serde_json::{Value, json};

use super::broker::{About, Broker};
use super::lists;
use super::options::Format;
use super::output::Column;
use crate::cli::failure::Failure;
use crate::cli::print;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Show how the broker is: memory, disk, alarms, listeners, how much there is of what
    Status,
    /// Show the broker as the one node that a cluster of it has
    ClusterStatus,
    /// List what listens where
    Listeners,
    /// Print the configuration that the broker runs with, secrets masked
    Environment,
    /// Print the version of the broker
    ServerVersion,
    /// Say what the cluster is called
    SetClusterName {
        /// The name
        name: String,
    },
    /// List how often clients have tried to log in since the start, by protocol
    ListNodeAuthAttemptStats,
    /// Begin these counts anew
    ResetNodeAuthAttemptMetrics,
    /// Show status, connections, channels, and all vhosts with their queues, exchanges and bindings
    Report,
}

const LISTENERS: &[Column] =
    &[Column::same("protocol"), Column::of("interface", "ip_address"), Column::same("port")];

const ATTEMPTS: &[Column] = &[
    Column::same("protocol"),
    Column::same("auth_attempts"),
    Column::same("auth_attempts_failed"),
    Column::same("auth_attempts_succeeded"),
];

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::Status => status(broker),
        Command::ClusterStatus => cluster_status(broker),
        Command::Listeners => broker.show(&overview(broker)?["listeners"], LISTENERS),
        Command::Environment => match broker.get(&["config", "effective"], About::default())? {
            Value::String(text) => print(&text),
            other => print(&format!("{other:#}\n")),
        },
        Command::ServerVersion => {
            let overview = overview(broker)?;
            print(&format!("{}\n", overview["product_version"].as_str().unwrap_or_default()))
        }
        Command::SetClusterName { name } => {
            broker.put(&["cluster-name"], &json!({ "name": name }), About::default()).map(|_| ())
        }
        Command::ListNodeAuthAttemptStats => {
            broker.show(&broker.get(&attempts(&node(broker)?), About::default())?, ATTEMPTS)
        }
        Command::ResetNodeAuthAttemptMetrics => broker.delete(&attempts(&node(broker)?), About::default()),
        Command::Report => {
            status(broker)?;
            let vhosts = broker.get(&["vhosts"], About::default())?;
            let names = vhosts.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str());
            let names: Vec<String> = names.map(str::to_owned).collect();
            lists::for_report(broker, &names)
        }
    }
}

fn attempts(node: &Value) -> [&str; 3] {
    ["auth", "attempts", node["name"].as_str().unwrap_or_default()]
}

fn overview(broker: &Broker<'_>) -> Result<Value, Failure> {
    broker.get(&["overview"], About::default())
}

/// The broker is the one node there is.
pub(super) fn node(broker: &Broker<'_>) -> Result<Value, Failure> {
    let nodes = broker.get(&["nodes"], About::default())?;
    Ok(nodes.get(0).cloned().unwrap_or_default())
}

/// The alarms that are on.
pub(super) fn alarms(node: &Value) -> Vec<&'static str> {
    let all = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")];
    all.into_iter().filter(|(key, _)| node[*key] == true).map(|(_, name)| name).collect()
}

fn status(broker: &Broker<'_>) -> Result<(), Failure> {
    let (overview, node) = (overview(broker)?, node(broker)?);
    let alarms = alarms(&node);
    if broker.options.format() == Format::Json {
        let status = json!({
            "node": node["name"],
            "product_name": overview["product_name"],
            "product_version": overview["product_version"],
            "rabbitmq_version": overview["rabbitmq_version"],
            "pid": node["os_pid"],
            "uptime": node["uptime"],
            "data_directory": node["db_dir"],
            "config_files": node["config_files"],
            "log_files": node["log_files"],
            "alarms": alarms,
            "memory": { "used": node["mem_used"], "limit": node["mem_limit"] },
            "disk": { "free": node["disk_free"], "limit": node["disk_free_limit"] },
            "file_descriptors": { "used": node["fd_used"], "limit": node["fd_total"] },
            "totals": overview["object_totals"],
            "queue_totals": overview["queue_totals"],
            "listeners": overview["listeners"],
        });
        return print(&format!("{status:#}\n"));
    }
    print(&described(&overview, &node, &alarms))
}

fn described(overview: &Value, node: &Value, alarms: &[&str]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<18}{value}\n"));
    let product = format!("{} {}", words(&overview["product_name"]), words(&overview["product_version"]));
    line("Node", words(&node["name"]));
    line("Version", product);
    // Tools that look for it know by these words which of their ways to take.
    line("RabbitMQ version:", words(&overview["rabbitmq_version"]));
    line("Process", format!("{}, for {}", words(&node["os_pid"]), duration(node["uptime"].as_u64())));
    line("Data", words(&node["db_dir"]));
    line("Configuration", words(&node["config_files"]));
    line("Log", words(&node["log_files"]));
    line("Alarms", if alarms.is_empty() { "none".to_owned() } else { alarms.join(", ") });
    line("Memory", share(&node["mem_used"], &node["mem_limit"], "blocks publishers above"));
    line("Disk, free", share(&node["disk_free"], &node["disk_free_limit"], "blocks publishers below"));
    line("Open files", format!("{} of {}", words(&node["fd_used"]), words(&node["fd_total"])));
    for kind in ["connections", "channels", "queues", "exchanges", "consumers"] {
        let name = format!("{}{}", kind[..1].to_uppercase(), &kind[1..]);
        line(&name, words(&overview["object_totals"][kind]));
    }
    line("Messages", words(&overview["queue_totals"]["messages"]));
    for listener in overview["listeners"].as_array().into_iter().flatten() {
        let at = format!("{}:{}", words(&listener["ip_address"]), words(&listener["port"]));
        line("Listener", format!("{} at {at}", words(&listener["protocol"])));
    }
    text
}

/// A value in words.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(parts) if parts.is_empty() => "-".to_owned(),
        Value::Array(parts) => parts.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn share(value: &Value, limit: &Value, what: &str) -> String {
    let size = value.as_u64().map_or_else(|| words(value), mebibytes);
    match limit.as_u64() {
        None | Some(0) => size,
        Some(limit) => format!("{size}; {what} {}", mebibytes(limit)),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn duration(milliseconds: Option<u64>) -> String {
    let Some(seconds) = milliseconds.map(|milliseconds| milliseconds / 1000) else { return "-".to_owned() };
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn cluster_status(broker: &Broker<'_>) -> Result<(), Failure> {
    let (overview, node) = (overview(broker)?, node(broker)?);
    let (name, alarms) = (words(&node["name"]), alarms(&node));
    if broker.options.format() == Format::Json {
        let status = json!({
            "cluster_name": overview["cluster_name"],
            "disk_nodes": [name],
            "running_nodes": [name],
            "partitions": {},
            "alarms": alarms,
            "versions": { name: overview["product_version"] },
        });
        return print(&format!("{status:#}\n"));
    }
    let alarms = if alarms.is_empty() { "none".to_owned() } else { alarms.join(", ") };
    print(&format!(
        "{:<18}{}\n{:<18}{name}\n{:<18}{alarms}\n",
        "Cluster",
        words(&overview["cluster_name"]),
        "Running nodes",
        "Alarms"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_lines_of_words() {
        let overview = json!({
            "product_name": "Leveret", "product_version": "1", "rabbitmq_version": "4.1.0",
            "object_totals": { "queues": 3 },
            "listeners": [{ "protocol": "amqp", "ip_address": "::", "port": 5672 }],
        });
        let node = json!({
            "name": "leveret@host", "os_pid": "7", "uptime": 90_061_000_u64, "config_files": [],
            "mem_used": 5_u64 << 20, "mem_limit": 9_u64 << 20, "mem_alarm": true, "disk_free": "x",
        });
        let text = described(&overview, &node, &alarms(&node));
        for line in [
            "Node              leveret@host\n",
            "Version           Leveret 1\n",
            "RabbitMQ version: 4.1.0\n",
            "Process           7, for 1 d 1 h\n",
            "Configuration     -\n",
            "Alarms            memory\n",
            "Memory            5 MiB; blocks publishers above 9 MiB\n",
            "Disk, free        x\n",
            "Queues            3\n",
            "Channels          -\n",
            "Listener          amqp at :::5672\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert_eq!(
            ["5000", "65000", "3700000"].map(|ms| duration(ms.parse().ok())),
            ["5 s", "1 min 5 s", "1 h 1 min"]
        );
    }
}
