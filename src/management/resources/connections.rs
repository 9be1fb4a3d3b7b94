//! Connections, as they are shown.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::broker::connections::{OpenConnection, PROTOCOL, TlsFacts};
use crate::broker::definitions::value_of;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array, list, single};
use crate::management::parts::{garbage_collection, put_reductions};
use crate::management::past::{Of, past_of};
use crate::management::routes::{InVHost, Resource, get};
use crate::management::statistics::{Family, Numbers, Ranges};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let any = Level::Management;
    vec![
        Resource::new("/connections", [get(any, all)]),
        Resource::new("/vhosts/{vhost}/connections", [get(any, of_vhost).in_vhost(InVHost::Sees)]),
        Resource::new("/connections/{name}", [get(any, one)]),
        Resource::new("/connections/username/{user}", [get(any, of_user)]),
        Resource::new("/connections/{name}/sessions", [get(any, sessions)]),
    ]
}

/// Whether the visitor may see a connection: any if it monitors, else its own.
pub(super) fn is_shown(call: &Call, connection: &OpenConnection) -> bool {
    call.visitor.is(Level::Monitoring) || call.visitor.is_user(&connection.facts.user)
}

/// The connections that the visitor may see.
pub(super) fn shown(call: &Call) -> Vec<Arc<OpenConnection>> {
    let mut connections = call.broker().registry.connections();
    connections.retain(|connection| is_shown(call, connection));
    connections
}

/// The connection in the path.
///
/// # Errors
/// If there is none of this name, or the visitor may not see it.
pub(super) fn found(call: &Call) -> Result<Arc<OpenConnection>, ApiError> {
    let connection = call.broker().registry.connection_named(call.name("name"));
    let connection = connection.ok_or(ApiError::NotFound("connection_not_found"))?;
    if is_shown(call, &connection) {
        Ok(connection)
    } else {
        Err(ApiError::refused("User not authorised to access connection"))
    }
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    listed(call, shown(call))
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    let mut connections = shown(call);
    connections.retain(|connection| Arc::ptr_eq(&connection.facts.vhost, &vhost));
    listed(call, connections)
}

fn listed(call: &Call, connections: Vec<Arc<OpenConnection>>) -> Result<Answer, ApiError> {
    let (broker, ranges) = (call.broker().clone(), Ranges::of(&call.query)?);
    let row = move |connection: &Arc<OpenConnection>| described(&broker, connection, &ranges);
    list(call, Rows::new(connections, |connection| &connection.facts.name, row))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    let connection = found(call)?;
    Ok(single(call, described(call.broker(), &connection, &Ranges::of(&call.query)?)))
}

/// AMQP 1.0 has sessions. These connections have none.
fn sessions(call: &Call) -> Result<Answer, ApiError> {
    found(call)?;
    Ok(Answer::Json(json!([])))
}

fn of_user(call: &Call) -> Result<Answer, ApiError> {
    let mut connections = call.broker().registry.connections_of(call.name("user"));
    connections.retain(|connection| is_shown(call, connection));
    let node = call.broker().node.name.clone();
    let row = move |connection: &Arc<OpenConnection>| {
        let facts = &connection.facts;
        json!({ "name": facts.name, "node": node, "user": facts.user.name, "vhost": facts.vhost.name })
    };
    Ok(array(call, Rows::new(connections, |connection| &connection.facts.name, row)))
}

/// A connection as it is told.
fn described(broker: &Broker, connection: &OpenConnection, ranges: &Ranges) -> Value {
    let (facts, counters) = (&connection.facts, &connection.counters);
    let mut told = Map::new();
    let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
    put("name", facts.name.clone().into());
    put("vhost", facts.vhost.name.clone().into());
    put("user", facts.user.name.clone().into());
    put("user_who_performed_action", facts.user.name.clone().into());
    put("node", broker.node.name.clone().into());
    put("protocol", PROTOCOL.into());
    put("type", "network".into());
    put("auth_mechanism", facts.auth_mechanism.into());
    put("state", connection.state().name().into());
    put("host", facts.local.map(|address| address.ip().to_string()).into());
    put("port", facts.local.map(|address| address.port()).into());
    let peer = facts.remote.map_or_else(|| facts.peer.clone(), |address| address.ip().to_string());
    put("peer_host", peer.into());
    put("peer_port", facts.remote.map(|address| address.port()).into());
    put("channels", connection.channel_count().into());
    put("channel_max", facts.channel_max.into());
    put("frame_max", facts.frame_max.into());
    put("timeout", facts.heartbeat.into());
    put("connected_at", facts.connected_at.into());
    put("client_properties", value_of((*facts.client_properties).as_ref()).into());
    if let Some(name) = &facts.user_provided_name {
        put("user_provided_name", name.clone().into());
    }
    put("recv_cnt", counters.received.get().into());
    put("send_cnt", counters.sent.get().into());
    put("send_pend", counters.pending.get().into());
    put("garbage_collection", garbage_collection());
    put_tls(&mut told, facts.tls.as_ref());
    put_reductions(&mut told);
    let past = past_of(broker, Of::Connection(connection));
    let numbers = Numbers { past: &past, ranges };
    numbers.put(&mut told, Family::Data, "recv_oct", counters.received_bytes.get());
    numbers.put(&mut told, Family::Data, "send_oct", counters.sent_bytes.get());
    told.into()
}

/// Adds what was agreed on for encryption, and the client's certificate; without these null.
fn put_tls(told: &mut Map<String, Value>, tls: Option<&TlsFacts>) {
    let cipher = tls.map(|tls| CipherParts::of(tls.cipher));
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    let mut put = |key: &str, value: Option<String>| told.insert(key.to_owned(), value.into());
    put("ssl_protocol", tls.map(|tls| tls.protocol.to_lowercase()));
    put("ssl_key_exchange", cipher.as_ref().map(|cipher| cipher.key_exchange.clone()));
    put("ssl_cipher", cipher.as_ref().map(|cipher| cipher.cipher.clone()));
    put("ssl_hash", cipher.map(|cipher| cipher.hash));
    put("peer_cert_subject", certificate.map(|certificate| certificate.subject.clone()));
    put("peer_cert_issuer", certificate.map(|certificate| certificate.issuer.clone()));
    put("peer_cert_validity", certificate.map(|certificate| certificate.validity.clone()));
    told.insert("ssl".to_owned(), tls.is_some().into());
}

/// The parts of a cipher suite's IANA name, in RabbitMQ's words.
#[derive(Debug, PartialEq, Eq)]
struct CipherParts {
    /// What TLS 1.3 agrees on apart is "any".
    key_exchange: String,
    cipher: String,
    hash: String,
}

impl CipherParts {
    fn of(suite: &str) -> Self {
        let suite = suite.to_lowercase();
        let rest = suite.split_once('_').map_or(&*suite, |(_, rest)| rest);
        let (key_exchange, rest) = rest.split_once("_with_").unwrap_or(("any", rest));
        let (cipher, hash) = rest.rsplit_once('_').unwrap_or((rest, ""));
        let [key_exchange, cipher, hash] = [key_exchange, cipher, hash].map(str::to_owned);
        Self { key_exchange, cipher, hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_have_parts() {
        let parts = |suite| {
            let CipherParts { key_exchange, cipher, hash } = CipherParts::of(suite);
            [key_exchange, cipher, hash]
        };
        assert_eq!(parts("TLS13_AES_256_GCM_SHA384"), ["any", "aes_256_gcm", "sha384"]);
        assert_eq!(parts("TLS_AES_256_GCM_SHA384"), ["any", "aes_256_gcm", "sha384"]);
        assert_eq!(
            parts("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
            ["ecdhe_rsa", "chacha20_poly1305", "sha256"]
        );
        assert_eq!(parts(""), ["any", "", ""]);
    }

    #[test]
    fn without_tls_all_of_it_is_null() {
        let mut told = Map::new();
        put_tls(&mut told, None);
        assert_eq!((&told["ssl"], &told["ssl_cipher"]), (&json!(false), &Value::Null));
        assert_eq!(told.values().filter(|value| value.is_null()).count(), 7);
    }
}
