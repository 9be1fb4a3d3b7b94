//! Channels.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::broker::connections::{ConnectionState, DeliveredFrom, OpenChannel, OpenConnection, PublishedTo};
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, list, single};
use crate::management::parts::{
    channel_name, connection_details, consumer, garbage_collection, moment, put_reductions,
};
use crate::management::past::{Of, past_of};
use crate::management::resources::channel_counts::{delivered, published};
use crate::management::resources::connections;
use crate::management::routes::{InVHost, Resource, get};
use crate::management::statistics::{Numbers, Ranges};
use crate::management::visitor::Level;

/// After so many milliseconds without anything to do a channel is idle.
const IDLE_AFTER: u64 = 5000;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let any = Level::Management;
    vec![
        Resource::new("/channels", [get(any, all)]),
        Resource::new("/channels/{channel}", [get(any, one)]),
        Resource::new("/vhosts/{vhost}/channels", [get(any, of_vhost).in_vhost(InVHost::Sees)]),
        Resource::new("/connections/{name}/channels", [get(any, of_connection)]),
    ]
}

/// A channel with its connection and its name.
struct Named {
    name: String,
    connection: Arc<OpenConnection>,
    channel: Arc<OpenChannel>,
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    listed(call, &connections::shown(call))
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    let mut connections = connections::shown(call);
    connections.retain(|connection| Arc::ptr_eq(&connection.facts.vhost, &vhost));
    listed(call, &connections)
}

fn of_connection(call: &Call) -> Result<Answer, ApiError> {
    listed(call, &[connections::found(call)?])
}

fn listed(call: &Call, connections: &[Arc<OpenConnection>]) -> Result<Answer, ApiError> {
    let named = |connection: &Arc<OpenConnection>| {
        let named = |channel: Arc<OpenChannel>| Named {
            name: channel_name(connection, channel.number),
            connection: connection.clone(),
            channel,
        };
        connection.channels().into_iter().map(named).collect::<Vec<_>>()
    };
    let channels: Vec<Named> = connections.iter().flat_map(named).collect();
    let told = Told::of(call)?;
    list(call, Rows::new(channels, |named| &named.name, move |named| told.row(named).into()))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    let missing = || ApiError::NotFound("channel_not_found");
    let name = call.name("channel");
    let (of_connection, number) = split(name).ok_or_else(missing)?;
    let connection = call.broker().registry.connection_named(of_connection).ok_or_else(missing)?;
    if !connections::is_shown(call, &connection) {
        return Err(ApiError::refused("User not authorised to access channel"));
    }
    let channel = connection.channel(number).ok_or_else(missing)?;
    let told = Told::of(call)?;
    let named = Named { name: name.to_owned(), connection, channel };
    let mut row = told.row(&named);
    told.put_details(&mut row, &named);
    Ok(single(call, row.into()))
}

/// The connection's name and the number in a channel's name.
fn split(name: &str) -> Option<(&str, u16)> {
    let (connection, number) = name.strip_suffix(')')?.rsplit_once(" (")?;
    Some((connection, number.parse().ok()?))
}

/// What channels are told with.
struct Told {
    broker: Arc<Broker>,
    ranges: Ranges,
    /// Milliseconds since 1970.
    now: u64,
}

impl Told {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let ranges = Ranges::of(&call.query)?;
        Ok(Self { broker: call.broker().clone(), ranges, now: (call.api.clock)().unix_ms })
    }

    fn row(&self, named: &Named) -> Map<String, Value> {
        let Named { name, connection, channel } = named;
        let (facts, counters) = (&connection.facts, &channel.counters);
        let mut told = Map::new();
        let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
        put("name", name.clone().into());
        put("number", channel.number.into());
        put("connection_details", connection_details(connection));
        put("user", facts.user.name.clone().into());
        put("user_who_performed_action", facts.user.name.clone().into());
        put("vhost", facts.vhost.name.clone().into());
        put("node", self.broker.node.name.clone().into());
        let is_held_up = connection.state() == ConnectionState::Flow;
        put("state", if is_held_up { "flow" } else { "running" }.into());
        put("confirm", channel.confirms().into());
        put("transactional", channel.is_transactional().into());
        put("consumer_count", counters.consumers.get().into());
        put("messages_unacknowledged", counters.unacked.get().into());
        put("messages_unconfirmed", counters.unconfirmed.get().into());
        put("messages_uncommitted", counters.uncommitted.get().into());
        put("acks_uncommitted", counters.acks_uncommitted.get().into());
        put("prefetch_count", counters.prefetch.get().into());
        put("global_prefetch_count", counters.global_prefetch.get().into());
        // A channel's own Raft client, which there is none of.
        put("pending_raft_commands", 0.into());
        put("garbage_collection", garbage_collection());
        let active_at = counters.active_at.get();
        let active_at = if active_at == 0 { facts.connected_at } else { active_at };
        if self.now.saturating_sub(active_at) >= IDLE_AFTER {
            put("idle_since", moment(active_at).into());
        }
        put_reductions(&mut told);
        let past = past_of(&self.broker, Of::Channel(channel));
        Numbers { past: &past, ranges: &self.ranges }.put_events(&mut told, &of_channel(channel));
        told
    }

    /// Adds what only a single channel is told with: its consumers, and its counts for each exchange and queue.
    fn put_details(&self, told: &mut Map<String, Value>, named: &Named) {
        let Named { connection, channel, .. } = named;
        let vhost = &connection.facts.vhost;
        let consumers: Vec<Value> = if channel.counters.consumers.get() == 0 {
            Vec::new()
        } else {
            let all = self.broker.consumer_views(vhost).into_iter();
            let own = all.filter(|view| view.connection == connection.id && view.channel == channel.number);
            own.map(|view| consumer(&self.broker.node.name, &view)).collect()
        };
        told.insert("consumer_details".to_owned(), consumers.into());
        let to_exchange = |to: &Arc<PublishedTo>| {
            let exchange = json!({ "name": to.exchange, "vhost": vhost.name });
            json!({ "exchange": exchange, "stats": published(&self.broker, to) })
        };
        let publishes: Vec<Value> = channel.published().iter().map(to_exchange).collect();
        told.insert("publishes".to_owned(), publishes.into());
        let of_queue = |from: &Arc<DeliveredFrom>| {
            let queue = json!({ "name": from.queue, "vhost": vhost.name });
            json!({ "queue": queue, "stats": delivered(&self.broker, from) })
        };
        let deliveries: Vec<Value> = channel.delivered().iter().map(of_queue).collect();
        told.insert("deliveries".to_owned(), deliveries.into());
    }
}

/// What a channel counted.
fn of_channel(channel: &OpenChannel) -> [(&'static str, u64); 12] {
    let counters = &channel.counters;
    let (deliver, deliver_no_ack) = (counters.deliver.get(), counters.deliver_no_ack.get());
    let (get, get_no_ack) = (counters.get.get(), counters.get_no_ack.get());
    [
        ("publish", counters.publish.get()),
        ("confirm", counters.confirm.get()),
        ("return_unroutable", counters.return_unroutable.get()),
        ("drop_unroutable", counters.drop_unroutable.get()),
        ("deliver", deliver),
        ("deliver_no_ack", deliver_no_ack),
        ("get", get),
        ("get_no_ack", get_no_ack),
        ("get_empty", counters.get_empty.get()),
        ("deliver_get", deliver + deliver_no_ack + get + get_no_ack),
        ("redeliver", counters.redeliver.get()),
        ("ack", counters.ack.get()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channels_name_is_taken_apart() {
        let connection = "127.0.0.1:1 -> 127.0.0.1:5672";
        assert_eq!(split(&format!("{connection} (7)")), Some((connection, 7)));
        assert_eq!(split("a (b) (65535)"), Some(("a (b)", 65535)));
        for wrong in ["", "a", "a (", "a (x)", "a (65536)", "a (1) ", ")"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
