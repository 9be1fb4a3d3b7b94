//! Checks for scripts and containers: they end with 0 if all is well, and otherwise say what is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::Value;

use super::UNAVAILABLE;
use super::broker::{About, Broker};
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
    CheckRunning,
    /// See whether no alarm blocks publishers
    CheckAlarms,
    /// See whether no alarm of this broker blocks publishers
    CheckLocalAlarms,
    /// See whether all listeners accept connections, as seen from here
    CheckPortConnectivity,
    /// See whether something listens on a port
    CheckPortListener(Port),
    /// See whether something listens for a protocol
    CheckProtocolListener(Protocol),
    /// See whether all vhosts run
    CheckVirtualHosts,
    /// See whether no certificate ends soon
    CheckCertificateExpiration(Expiration),
    /// See whether no queue would be lost with this broker; on one node none is replicated
    CheckIfNodeIsQuorumCritical,
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
        Command::CheckPortConnectivity => check_ports(broker),
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
    }
}

/// Asks the broker's own check.
fn check(broker: &Broker<'_>, names: &[&str], told: &str) -> Result<(), Failure> {
    let names: Vec<&str> = ["health", "checks"].into_iter().chain(names.iter().copied()).collect();
    let answer = broker.ask(Question::new(Method::GET, path(&names)))?;
    if answer.status == 503 {
        let text = format!("{}{}", answer.reason(), details(&answer.json()));
        return Err(Failure::RefusedAs { code: UNAVAILABLE, text });
    }
    broker.done(answer, About::default())?;
    broker.say(told)
}

/// What a check that failed lists.
fn details(answer: &Value) -> String {
    let lists = ["alarms", "expired", "virtual-hosts", "missing"];
    let found = lists.iter().find_map(|key| answer.get(key).filter(|list| !list.is_null()));
    found.map_or_else(String::new, |list| format!(": {list}"))
}

/// Connects to all listeners that are reached by TCP.
fn check_ports(broker: &Broker<'_>) -> Result<(), Failure> {
    let overview = broker.get(&["overview"], About::default())?;
    let listeners = overview["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut count = 0;
    for listener in listeners {
        let Some(port) = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        let Some(ip) = listener["ip_address"].as_str().and_then(|ip| ip.parse().ok()) else { continue };
        let address = reachable(broker.client.target(), ip, port);
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
        let host = remote.host.trim_start_matches('[').trim_end_matches(']');
        let nowhere = || std::io::Error::other("its host has no address");
        return (host, port).to_socket_addrs()?.next().ok_or_else(nowhere);
    }
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::from((ip, port)))
}
