//! Rich authorization requests (RFC 9396) in the claim `authorization_details`, as RabbitMQ reads them: actions, and the
//! places in a cluster where they are allowed.

use serde_json::Value;

use super::scope::Scope;
use super::wildcard::Wildcard;

const ACTIONS: [&str; 3] = ["read", "write", "configure"];
const TAGS: [&str; 4] = ["monitoring", "administrator", "management", "policymaker"];

/// Most places of one request that are looked at, so that actions times places stay within reason.
const MOST_PLACES: usize = 1024;

/// A place such as `cluster:rabbitmq/vhost:v/queue:q`.
#[derive(Default)]
struct Place<'a> {
    cluster: Option<&'a str>,
    vhost: Option<&'a str>,
    queue: Option<&'a str>,
    exchange: Option<&'a str>,
    key: Option<&'a str>,
}

/// Adds what the requests for this kind of server come to, as scopes with the resource server's name `id`. An empty `kind`
/// reads none.
pub(super) fn push_scopes(all: &mut Vec<String>, details: &Value, kind: &str, id: &str) {
    if kind.is_empty() {
        return;
    }
    for request in details.as_array().into_iter().flatten() {
        if request.get("type").and_then(Value::as_str) != Some(kind) {
            continue;
        }
        let (Some(actions), Some(places)) = (request.get("actions"), request.get("locations")) else {
            continue;
        };
        let places = texts(places).take(MOST_PLACES).map(Place::parse);
        let resources: Vec<String> =
            places.filter(|place| place.is_in(id)).filter_map(|place| place.resource()).collect();
        if resources.is_empty() {
            continue;
        }
        for action in TAGS.into_iter().filter(|tag| texts(actions).any(|action| action == *tag)) {
            all.push(format!("{id}.tag:{action}"));
        }
        for action in ACTIONS.into_iter().filter(|right| texts(actions).any(|action| action == *right)) {
            all.extend(resources.iter().map(|resource| format!("{id}.{action}:{resource}")));
        }
    }
}

/// A text, or the texts of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).chain(value.as_str())
}

impl<'a> Place<'a> {
    fn parse(text: &'a str) -> Self {
        let mut place = Self::default();
        for attribute in text.split('/') {
            let Some((key, value)) = attribute.split_once(':') else { continue };
            let slot = match key {
                "cluster" => &mut place.cluster,
                "vhost" => &mut place.vhost,
                "queue" => &mut place.queue,
                "exchange" => &mut place.exchange,
                "routing-key" => &mut place.key,
                _ => continue,
            };
            *slot = Some(value);
        }
        place
    }

    fn is_in(&self, id: &str) -> bool {
        let wildcard = |pattern: &str| Wildcard::new(pattern.split('*').map(|text| text.into()).collect());
        self.cluster.is_some_and(|cluster| wildcard(cluster).matches(id))
    }

    /// The resource as scopes write it. A place with a queue and an exchange must mean one name by both.
    fn resource(&self) -> Option<String> {
        if let (Some(queue), Some(exchange)) = (self.queue, self.exchange)
            && queue != exchange
        {
            return None;
        }
        let vhost = self.vhost.unwrap_or("*");
        let name = self.queue.or(self.exchange).unwrap_or("*");
        let resource = format!("{vhost}/{name}/{}", self.key.unwrap_or("*"));
        // What is no scope would only count towards their number.
        Scope::parse(&format!("read:{resource}"), &serde_json::Map::new()).map(|_| resource)
    }
}
