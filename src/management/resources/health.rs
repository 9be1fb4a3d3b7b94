//! Health checks: 200 if all is well, and 503 with the reason if not.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::broker::node::ListenerAddress;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::parts::moment;
use crate::management::routes::{Resource, get};
use crate::management::visitor::Level;

const DAY: u64 = 86_400;

/// Units of time and their seconds, as RabbitMQ counts them.
const UNITS: [(&str, u64); 4] =
    [("days", DAY), ("weeks", 7 * DAY), ("months", 30 * DAY), ("years", 365 * DAY)];

/// Names of protocols that mean another one of the list of listeners.
const ALIASES: [(&str, &str); 5] = [
    ("amqp091", "amqp"),
    ("amqp10", "amqp10"),
    ("amqps", "amqp/ssl"),
    ("amqp091/ssl", "amqp/ssl"),
    ("web-amqp", "http/web-amqp"),
];

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (known, anyone) = (Level::Management, Level::Anyone);
    let check = |path, handler| Resource::new(path, [get(known, handler)]);
    let probe = |path, handler| Resource::new(path, [get(anyone, handler)]);
    vec![
        check("/health/checks/alarms", alarms),
        check("/health/checks/local-alarms", alarms),
        check("/health/checks/certificate-expiration/{within}/{unit}", certificates),
        check("/health/checks/port-listener/{port}", port_listener),
        check("/health/checks/protocol-listener/{protocol}", protocol_listener),
        check("/health/checks/virtual-hosts", vhosts),
        check("/health/checks/node-is-quorum-critical", quorum),
        check("/health/checks/quorum-queues-without-elected-leaders/all-vhosts", leaders),
        check("/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}", leaders),
        check("/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", leaders_of_vhost),
        check(
            "/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
            leaders_of_vhost,
        ),
        check("/health/checks/metadata-store/initialized", storage),
        check("/health/checks/metadata-store/initialized/with-data", storage),
        probe("/health/checks/is-in-service", in_service),
        probe("/health/checks/ready-to-serve-clients", in_service),
        probe("/health/checks/below-node-connection-limit", below_limit),
        probe("/health/checks/reached-target-cluster-size", cluster_size),
        check("/healthchecks/node", node),
        check("/healthchecks/node/{node}", named_node),
        Resource::new(
            "/aliveness-test/{vhost}",
            [get(known, alive).in_vhost(crate::management::routes::InVHost::Sees)],
        ),
    ]
}

fn ok() -> Result<Answer, ApiError> {
    Ok(Answer::Json(json!({ "status": "ok" })))
}

/// What is wrong, with what else there is to say.
fn failed(reason: &str, more: Value) -> Result<Answer, ApiError> {
    let mut told = json!({ "status": "failed", "reason": reason });
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    Ok(Answer::Status(StatusCode::SERVICE_UNAVAILABLE, told))
}

fn alarms(call: &Call) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let on = [(broker.alarms.is_memory_on(), "memory"), (broker.alarms.is_disk_on(), "disk")];
    let on: Vec<Value> = on
        .iter()
        .filter(|(is_on, _)| *is_on)
        .map(|(_, resource)| json!({ "node": broker.node.name, "resource": resource }))
        .collect();
    if on.is_empty() { ok() } else { failed("There are alarms in effect", json!({ "alarms": on })) }
}

/// Whether a certificate that listeners show ends within a time from now.
fn certificates(call: &Call) -> Result<Answer, ApiError> {
    let seconds = seconds(call.name("within"), call.name("unit"))?;
    let now = (call.api.clock)().unix_ms / 1000;
    let node = &call.broker().node;
    let listeners: Vec<Value> = node
        .listeners()
        .iter()
        .filter(|listener| matches!(listener.protocol, "amqp/ssl" | "https" | "https/web-amqp"))
        .filter_map(|listener| match &listener.at {
            ListenerAddress::Tcp(address) => Some(json!({
                "protocol": listener.protocol,
                "port": address.port(),
                "interface": address.ip().to_string(),
            })),
            ListenerAddress::Unix(_) => None,
        })
        .collect();
    let expired: Vec<Value> = node
        .certificates()
        .into_iter()
        .filter(|certificate| certificate.ends_at < now.saturating_add(seconds) && !listeners.is_empty())
        .map(|certificate| {
            json!({
                "node": node.name,
                "certfile": certificate.file.display().to_string(),
                "certfile_expires_on": [moment(certificate.ends_at.saturating_mul(1000))],
                "listeners": listeners,
            })
        })
        .collect();
    if expired.is_empty() { ok() } else { failed("Certificates expiring", json!({ "expired": expired })) }
}

fn seconds(within: &str, unit: &str) -> Result<u64, ApiError> {
    let (_, each) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
        ApiError::bad("Time unit not recognised. Supported units: days, weeks, months, years.")
    })?;
    let within: Option<u64> = within.parse().ok();
    within
        .and_then(|within| within.checked_mul(*each))
        .ok_or_else(|| ApiError::bad("Invalid expiration period"))
}

fn port_listener(call: &Call) -> Result<Answer, ApiError> {
    let port: u16 = call.name("port").parse().map_err(|_| ApiError::bad("Invalid port"))?;
    let listeners = call.broker().node.listeners();
    let ports: Vec<u16> = listeners
        .iter()
        .filter_map(|listener| match &listener.at {
            ListenerAddress::Tcp(address) => Some(address.port()),
            ListenerAddress::Unix(_) => None,
        })
        .collect();
    if ports.contains(&port) {
        return Ok(Answer::Json(json!({ "status": "ok", "port": port })));
    }
    failed("No active listener", json!({ "missing": port, "ports": ports }))
}

fn protocol_listener(call: &Call) -> Result<Answer, ApiError> {
    let asked = call.name("protocol");
    let name = ALIASES.iter().find(|(alias, _)| *alias == asked).map_or(asked, |(_, name)| name);
    let mut protocols: Vec<&str> =
        call.broker().node.listeners().iter().map(|listener| listener.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    if protocols.contains(&name) {
        return Ok(Answer::Json(json!({ "status": "ok", "protocol": name })));
    }
    failed("No active listener", json!({ "missing": asked, "protocols": protocols }))
}

/// All vhosts that there are run.
fn vhosts(_call: &Call) -> Result<Answer, ApiError> {
    ok()
}

fn quorum(_call: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::Json(json!({ "status": "ok", "reason": "single node cluster" })))
}

/// The one node there is leads all queues.
fn leaders(_call: &Call) -> Result<Answer, ApiError> {
    ok()
}

fn leaders_of_vhost(call: &Call) -> Result<Answer, ApiError> {
    call.vhost()?;
    ok()
}

/// Definitions are read before anything listens, and are lost to whoever asks once storage has failed.
fn storage(call: &Call) -> Result<Answer, ApiError> {
    if call.broker().journal.has_failed() { failed("Storage has failed", json!({})) } else { ok() }
}

/// Whether clients are served: something listens for them, and changes can be kept.
fn in_service(call: &Call) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let listens = broker.node.listeners().iter().any(|listener| listener.protocol.contains("amqp"));
    if broker.journal.has_failed() {
        return failed("Storage has failed", json!({}));
    }
    if listens { ok() } else { failed("No active listener", json!({})) }
}

fn below_limit(call: &Call) -> Result<Answer, ApiError> {
    let registry = &call.broker().registry;
    let (open, limit) = (registry.len(), registry.limit());
    if limit == 0 || open < limit as usize {
        return Ok(Answer::Json(json!({ "status": "ok", "limit": limit, "connections": open })));
    }
    failed("node connection limit is reached", json!({ "limit": limit, "connections": open }))
}

/// A cluster of one node is whole.
fn cluster_size(_call: &Call) -> Result<Answer, ApiError> {
    ok()
}

/// The check of earlier versions: alarms and storage.
fn node(call: &Call) -> Result<Answer, ApiError> {
    let why = match call.broker().alarms.reason() {
        _ if call.broker().journal.has_failed() => "storage has failed",
        Some(why) => why,
        None => return ok(),
    };
    // It answers 200 whatever it finds, as RabbitMQ's.
    Ok(Answer::Json(json!({ "status": "failed", "reason": why })))
}

fn named_node(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    node(call)
}

/// Whether a vhost works. Since version 4 RabbitMQ does not publish and consume for it either; here it looks whether
/// storage still takes what is published.
fn alive(call: &Call) -> Result<Answer, ApiError> {
    call.vhost()?;
    if call.broker().journal.has_failed() { failed("Storage has failed", json!({})) } else { ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("2", "weeks"), Ok(14 * DAY));
        for (within, unit) in [("1", "moons"), ("x", "days"), ("-1", "days"), ("99999999999999", "years")] {
            assert!(matches!(seconds(within, unit), Err(ApiError::Bad(_))), "{within} {unit}");
        }
    }
}
