//! Lists of what there is, in columns that can be chosen.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::InVHost;
use super::broker::{About, Broker};
use super::output::{Column, chosen};
use crate::cli::client::path;
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the queues of a vhost
    #[command(name = "list_queues")]
    Queues(InState),
    /// List the queues of a vhost that do not answer, of which there are none
    #[command(name = "list_unresponsive_queues")]
    Unresponsive(In),
    /// List the exchanges of a vhost
    #[command(name = "list_exchanges")]
    Exchanges(In),
    /// List the bindings of a vhost
    #[command(name = "list_bindings")]
    Bindings(In),
    /// List the consumers of a vhost
    #[command(name = "list_consumers")]
    Consumers(In),
    /// List the connections of clients
    #[command(name = "list_connections")]
    Connections(Of),
    /// List the channels of all connections
    #[command(name = "list_channels")]
    Channels(Of),
}

#[derive(Debug, Args)]
pub(super) struct In {
    #[command(flatten)]
    at: InVHost,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
pub(super) struct InState {
    #[command(flatten)]
    list: In,
    /// Those whose node runs: all
    #[arg(long)]
    online: bool,
    /// Those whose node does not run: none
    #[arg(long)]
    offline: bool,
    /// Those of the node that is asked: all
    #[arg(long)]
    local: bool,
}

#[derive(Debug, Args)]
pub(super) struct Of {
    /// The columns, such as name; a wrong one tells which there are
    columns: Vec<String>,
}

/// A list: what is asked for, what it has, and what it has unless something else is wanted.
struct List {
    resource: &'static str,
    columns: &'static [Column],
    usual: &'static [&'static str],
}

const QUEUES: List = List {
    resource: "queues",
    columns: &[
        Column::same("name"),
        Column::same("durable"),
        Column::same("auto_delete"),
        Column::same("arguments"),
        Column::same("policy"),
        Column::same("operator_policy"),
        Column::same("effective_policy_definition"),
        Column::of("pid", "name"),
        Column::of("owner_pid", "owner_pid_details.name"),
        Column::same("exclusive"),
        Column::same("exclusive_consumer_pid"),
        Column::same("exclusive_consumer_tag"),
        Column::same("single_active_consumer_tag"),
        Column::same("messages_ready"),
        Column::same("messages_unacknowledged"),
        Column::same("messages"),
        Column::same("messages_ready_ram"),
        Column::same("messages_unacknowledged_ram"),
        Column::same("messages_ram"),
        Column::same("messages_persistent"),
        Column::same("message_bytes"),
        Column::same("message_bytes_ready"),
        Column::same("message_bytes_unacknowledged"),
        Column::same("message_bytes_ram"),
        Column::same("message_bytes_persistent"),
        Column::same("head_message_timestamp"),
        Column::same("disk_reads"),
        Column::same("disk_writes"),
        Column::same("consumers"),
        Column::same("consumer_utilisation"),
        Column::same("consumer_capacity"),
        Column::same("memory"),
        Column::same("slave_pids"),
        Column::same("synchronised_slave_pids"),
        Column::same("state"),
        Column::same("type"),
        Column::same("node"),
        Column::same("leader"),
        Column::same("members"),
        Column::same("online"),
    ],
    usual: &["name", "messages"],
};

const EXCHANGES: List = List {
    resource: "exchanges",
    columns: &[
        Column::same("name"),
        Column::same("type"),
        Column::same("durable"),
        Column::same("auto_delete"),
        Column::same("internal"),
        Column::same("arguments"),
        Column::same("policy"),
        Column::same("effective_policy_definition"),
    ],
    usual: &["name", "type"],
};

const BINDINGS: List = List {
    resource: "bindings",
    columns: &[
        Column::of("source_name", "source"),
        Column::always("source_kind", "exchange"),
        Column::of("destination_name", "destination"),
        Column::of("destination_kind", "destination_type"),
        Column::same("routing_key"),
        Column::same("arguments"),
    ],
    usual: &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ],
};

const CONSUMERS: List = List {
    resource: "consumers",
    columns: &[
        Column::of("queue_name", "queue.name"),
        Column::of("channel_pid", "channel_details.name"),
        Column::same("consumer_tag"),
        Column::same("ack_required"),
        Column::same("prefetch_count"),
        Column::same("active"),
        Column::same("activity_status"),
        Column::same("exclusive"),
        Column::same("arguments"),
    ],
    usual: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "activity_status",
        "arguments",
    ],
};

const CONNECTIONS: List = List {
    resource: "connections",
    columns: &[
        Column::of("pid", "name"),
        Column::same("name"),
        Column::same("port"),
        Column::same("host"),
        Column::same("peer_port"),
        Column::same("peer_host"),
        Column::same("ssl"),
        Column::same("ssl_protocol"),
        Column::same("ssl_key_exchange"),
        Column::same("ssl_cipher"),
        Column::same("ssl_hash"),
        Column::same("peer_cert_subject"),
        Column::same("peer_cert_issuer"),
        Column::same("peer_cert_validity"),
        Column::same("state"),
        Column::same("channels"),
        Column::same("protocol"),
        Column::same("auth_mechanism"),
        Column::same("user"),
        Column::same("vhost"),
        Column::same("timeout"),
        Column::same("frame_max"),
        Column::same("channel_max"),
        Column::same("client_properties"),
        Column::same("recv_oct"),
        Column::same("recv_cnt"),
        Column::same("send_oct"),
        Column::same("send_cnt"),
        Column::same("send_pend"),
        Column::same("connected_at"),
        Column::of("user_provided_name", "client_properties.connection_name"),
        Column::same("node"),
    ],
    usual: &["user", "peer_host", "peer_port", "state"],
};

const CHANNELS: List = List {
    resource: "channels",
    columns: &[
        Column::of("pid", "name"),
        Column::same("name"),
        Column::same("number"),
        Column::of("connection", "connection_details.name"),
        Column::same("user"),
        Column::same("vhost"),
        Column::same("transactional"),
        Column::same("confirm"),
        Column::same("consumer_count"),
        Column::same("messages_unacknowledged"),
        Column::same("messages_uncommitted"),
        Column::same("acks_uncommitted"),
        Column::same("messages_unconfirmed"),
        Column::same("prefetch_count"),
        Column::same("global_prefetch_count"),
        Column::same("state"),
        Column::same("node"),
    ],
    usual: &["pid", "user", "consumer_count", "messages_unacknowledged"],
};

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    let in_vhost = |list: &List, In { at, of }: &In| list.show(broker, Some(&at.vhost), of);
    match command {
        Command::Queues(InState { list: In { at, of }, online: false, offline: true, local: false }) => {
            QUEUES.show_none(broker, &at.vhost, of)
        }
        Command::Queues(InState { list, .. }) => in_vhost(&QUEUES, list),
        Command::Unresponsive(In { at, of }) => QUEUES.show_none(broker, &at.vhost, of),
        Command::Exchanges(list) => in_vhost(&EXCHANGES, list),
        Command::Bindings(list) => in_vhost(&BINDINGS, list),
        Command::Consumers(list) => in_vhost(&CONSUMERS, list),
        Command::Connections(of) => CONNECTIONS.show(broker, None, of),
        Command::Channels(of) => CHANNELS.show(broker, None, of),
    }
}

impl List {
    fn show(&self, broker: &Broker<'_>, vhost: Option<&str>, of: &Of) -> Result<(), Failure> {
        let columns = self.chosen(of)?;
        broker.show(&self.rows(broker, vhost, &columns)?, &columns)
    }

    /// Shows the names of columns, if the vhost is there.
    fn show_none(&self, broker: &Broker<'_>, vhost: &str, of: &Of) -> Result<(), Failure> {
        let columns = self.chosen(of)?;
        broker.get(&["vhosts", vhost], About::vhost(vhost))?;
        broker.show(&Value::Array(Vec::new()), &columns)
    }

    fn chosen(&self, of: &Of) -> Result<Vec<Column>, Failure> {
        let usual: Vec<String> = self.usual.iter().map(|name| (*name).to_owned()).collect();
        chosen(self.columns, if of.columns.is_empty() { &usual } else { &of.columns })
    }

    fn rows(&self, broker: &Broker<'_>, vhost: Option<&str>, columns: &[Column]) -> Result<Value, Failure> {
        let names: Vec<&str> = std::iter::once(self.resource).chain(vhost).collect();
        // What is not shown is not sent.
        let from: Vec<&str> = columns.iter().filter_map(Column::place).collect();
        let path = format!("{}?columns={}", path(&names), from.join(","));
        broker.get_at(path, vhost.map(About::vhost).unwrap_or_default())
    }
}

/// How many of each thing there are, and what holds for queues: the lists that a report has.
pub(super) fn for_report(broker: &Broker<'_>, vhosts: &[String]) -> Result<(), Failure> {
    let none = Of { columns: Vec::new() };
    let title = |text: &str| crate::cli::print(&format!("\n{text}\n"));
    title("Connections")?;
    CONNECTIONS.show(broker, None, &none)?;
    title("Channels")?;
    CHANNELS.show(broker, None, &none)?;
    let of_queues = [
        "name",
        "type",
        "messages_ready",
        "messages_unacknowledged",
        "consumers",
        "policy",
        "operator_policy",
        "effective_policy_definition",
    ];
    let of_queues = Of { columns: of_queues.map(str::to_owned).to_vec() };
    for vhost in vhosts {
        title(&format!("Queues of vhost {vhost}"))?;
        QUEUES.show(broker, Some(vhost), &of_queues)?;
        title(&format!("Exchanges of vhost {vhost}"))?;
        EXCHANGES.show(broker, Some(vhost), &none)?;
        title(&format!("Bindings of vhost {vhost}"))?;
        BINDINGS.show(broker, Some(vhost), &none)?;
    }
    Ok(())
}
