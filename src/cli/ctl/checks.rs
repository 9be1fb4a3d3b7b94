//! Checks for scripts and containers: they end with 0 if all is well, and otherwise say what is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::broker::{About, Broker};
use super::node::{alarms, node};
use super::options::Format;
use super::output::Column;
use super::{InVHost, UNAVAILABLE};
use crate::cli::client::{Question, Target, path};
use crate::cli::failure::Failure;

/// How long a listener may take to accept.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// See whether the broker answers
    Ping,
    /// See whether the broker runs and takes clients
    #[command(visible_alias = "is_running")]
    CheckRunning,
    /// List the alarms that are on
    Alarms,
    /// See whether no alarm is on and storage works, as scripts of earlier versions of RabbitMQ ask
    NodeHealthCheck,
    /// See whether no alarm blocks publishers
    CheckAlarms,
    /// See whether no alarm of this broker blocks publishers
    CheckLocalAlarms,
    /// See whether all listeners accept connections, as seen from here
    CheckPortConnectivity(Address),
    /// See whether something listens on a port
    CheckPortListener(Port),
    /// See whether something listens for a protocol
    CheckProtocolListener(Protocol),
    /// See whether all vhosts run
    CheckVirtualHosts,
    /// See whether no certificate ends soon
    CheckCertificateExpiration(Expiration),
    /// See whether no queue would be lost with this broker; on one node none is replicated
    #[command(visible_alias = "check_if_node_is_mirror_sync_critical")]
    CheckIfNodeIsQuorumCritical,
    /// See whether all quorum queues have a leader; on one node they have
    CheckForQuorumQueuesWithoutAnElectedLeader(Leaders),
    /// See whether the broker can store what is declared
    #[command(visible_alias = "check_if_metadata_store_is_initialized_with_data")]
    CheckIfMetadataStoreIsInitialized,
}

#[derive(Debug, Args)]
pub(super) struct Address {
    /// Try the ports there, instead of where the broker says that it listens
    #[arg(short, long, value_name = "HOST")]
    address: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Leaders {
    #[command(flatten)]
    at: InVHost,
    /// In all vhosts
    #[arg(long, alias = "across-all-vhosts")]
    all_vhosts: bool,
    /// A regular expression that is looked for in the names of queues
    #[arg(default_value = ".*")]
    pattern: String,
}

#[derive(Debug, Args)]
pub(super) struct Port {
    /// The port
    port: u16,
}

#[derive(Debug, Args)]
pub(super) struct Protocol {
    /// The protocol, such as amqp, amqp/ssl, http
    protocol: String,
}

#[derive(Debug, Args)]
pub(super) struct Expiration {
    /// So many units from now
    #[arg(long, default_value_t = 4)]
    within: u32,
    /// What is counted
    #[arg(long, value_enum, default_value = "weeks")]
    unit: Unit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    /// Days
    Days,
    /// Weeks
    Weeks,
    /// Months
    Months,
    /// Years
    Years,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Days => "days",
            Self::Weeks => "weeks",
            Self::Months => "months",
            Self::Years => "years",
        }
    }
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::Ping => {
            broker.get(&["whoami"], About::default())?;
            broker.say("the broker is running")
        }
        Command::CheckRunning => check(broker, &["is-in-service"], "the broker runs and takes clients"),
        Command::CheckAlarms => check(broker, &["alarms"], "no alarm is on"),
        Command::CheckLocalAlarms => check(broker, &["local-alarms"], "no alarm is on"),
        Command::Alarms => list_alarms(broker),
        Command::NodeHealthCheck => check_node(broker),
        Command::CheckPortConnectivity(Address { address }) => check_ports(broker, address.as_deref()),
        Command::CheckPortListener(Port { port }) => {
            let told = format!("something listens on port {port}");
            check(broker, &["port-listener", &port.to_string()], &told)
        }
        Command::CheckProtocolListener(Protocol { protocol }) => {
            let told = format!("something listens for {protocol}");
            check(broker, &["protocol-listener", protocol], &told)
        }
        Command::CheckVirtualHosts => check(broker, &["virtual-hosts"], "all vhosts run"),
        Command::CheckCertificateExpiration(Expiration { within, unit }) => {
            let names = ["certificate-expiration", &within.to_string(), unit.name()];
            check(broker, &names, &format!("no certificate ends within {within} {}", unit.name()))
        }
        Command::CheckIfNodeIsQuorumCritical => {
            check(broker, &["node-is-quorum-critical"], "no queue would be lost")
        }
        Command::CheckForQuorumQueuesWithoutAnElectedLeader(Leaders { at, all_vhosts, pattern }) => {
            let vhost = if *all_vhosts { vec!["all-vhosts"] } else { vec!["vhost", &at.vhost] };
            let names =
                [&["quorum-queues-without-elected-leaders"], &vhost[..], &["pattern", pattern]].concat();
            check_about(broker, &names, About::vhost(&at.vhost), "all quorum queues have a leader")
        }
        Command::CheckIfMetadataStoreIsInitialized => {
            check(broker, &["metadata-store", "initialized"], "what is declared can be stored")
        }
    }
}

/// Asks the broker's own check.
fn check(broker: &Broker<'_>, names: &[&str], told: &str) -> Result<(), Failure> {
    check_about(broker, names, About::default(), told)
}

/// The same about something that may not be there.
fn check_about(broker: &Broker<'_>, names: &[&str], about: About<'_>, told: &str) -> Result<(), Failure> {
    let names: Vec<&str> = ["health", "checks"].into_iter().chain(names.iter().copied()).collect();
    let answer = broker.ask(Question::new(Method::GET, path(&names)))?;
    if answer.status == 503 {
        let text = format!("{}{}", answer.reason(), details(&answer.json()));
        return Err(Failure::RefusedAs { code: UNAVAILABLE, text });
    }
    broker.done(answer, about)?;
    broker.say(told)
}

fn list_alarms(broker: &Broker<'_>) -> Result<(), Failure> {
    let node = node(broker)?;
    let rows: Vec<Value> =
        alarms(&node).into_iter().map(|alarm| json!({ "alarm": alarm, "node": node["name"] })).collect();
    if rows.is_empty() && broker.options.format() != Format::Json {
        return broker.say("no alarm is on");
    }
    broker.show(&rows.into(), &[Column::same("alarm"), Column::same("node")])
}

/// The check that answers with 200 whatever it finds.
fn check_node(broker: &Broker<'_>) -> Result<(), Failure> {
    let told = broker.get(&["healthchecks", "node"], About::default())?;
    if told["status"] == "ok" {
        return broker.say("the broker is well");
    }
    let text = told["reason"].as_str().unwrap_or_default().to_owned();
    Err(Failure::RefusedAs { code: UNAVAILABLE, text })
}

/// What a check that failed lists.
fn details(answer: &Value) -> String {
    let lists = ["alarms", "expired", "virtual-hosts", "missing"];
    let found = lists.iter().find_map(|key| answer.get(key).filter(|list| !list.is_null()));
    found.map_or_else(String::new, |list| format!(": {list}"))
}

/// Connects to all listeners that are reached by TCP: at a host, or where they are.
fn check_ports(broker: &Broker<'_>, host: Option<&str>) -> Result<(), Failure> {
    let overview = broker.get(&["overview"], About::default())?;
    let listeners = overview["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut count = 0;
    for listener in listeners {
        let Some(port) = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        let Some(ip) = listener["ip_address"].as_str().and_then(|ip| ip.parse().ok()) else { continue };
        let address = match host {
            Some(host) => resolved(host, port),
            None => reachable(broker.client.target(), ip, port),
        };
        let connected = address.and_then(|address| TcpStream::connect_timeout(&address, PATIENCE));
        if let Err(error) = connected {
            let protocol = listener["protocol"].as_str().unwrap_or_default();
            let text = format!("the listener for {protocol} on port {port} cannot be reached: {error}");
            return Err(Failure::RefusedAs { code: UNAVAILABLE, text });
        }
        count += 1;
    }
    broker.say(&format!("all {count} listeners accept connections"))
}

/// Where a listener is reached: one that listens everywhere, on this machine or where the broker is.
fn reachable(target: &Target, ip: IpAddr, port: u16) -> std::io::Result<SocketAddr> {
    if let Target::Remote(remote) = target {
        return resolved(remote.host.trim_start_matches('[').trim_end_matches(']'), port);
    }
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::from((ip, port)))
}

fn resolved(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    let nowhere = || std::io::Error::other("its host has no address");
    (host, port).to_socket_addrs()?.next().ok_or_else(nowhere)
}
