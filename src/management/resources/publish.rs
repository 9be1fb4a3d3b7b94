//! Publishing a message to an exchange: mandatory, and answered when it is safe.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::broker::publishing::{check_expiration, sender_selected};
use crate::broker::queue_cell::{QueueCell, Taken};
use crate::broker::stamps::Rewrite;
use crate::broker::totals::{Event, Tally};
use crate::broker::vhost::{REPLY_TO, Route, RouteScratch, TraceOrigin, VHost};
use crate::channel::gates::Gate;
use crate::identity::access::Right;
use crate::identity::operation::Operation;
use crate::management::answer::Answer;
use crate::management::body::{Object, check_length};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::properties;
use crate::management::resources::exchanges::as_name;
use crate::management::resources::queues::NOBODY;
use crate::management::routes::{InVHost, Resource, post};
use crate::management::visitor::{Level, Visitor};
use crate::message::{Body, Marks, Message, MessageBuilder};
use crate::protocol::properties::Properties;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let publish = post(Level::Management, publish).in_vhost(InVHost::Enters).large();
    vec![Resource::new("/exchanges/{vhost}/{exchange}/publish", [publish])]
}

fn publish(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, exchange, body) = (call.vhost()?, as_name(call.name("exchange")), call.object()?);
    let options = call.api.live.current();
    for key in ["routing_key", "properties", "payload", "payload_encoding"] {
        body.required(key)?;
    }
    let key = body.text("routing_key")?;
    check_length("exchange", &exchange)?;
    check_length("routing_key", key)?;
    let raw = properties::from_json(&body.object("properties")?)?;
    let payload = payload(&body, options.max_message_size)?;
    call.check(&vhost, Operation::PublishTo(&exchange))?;
    if let Some(reason) = call.broker().alarms.reason() {
        return Err(ApiError::Unavailable(format!("publishers are blocked: {reason}")));
    }
    let properties = Properties::assume_valid(&raw);
    let mut scratch = RouteScratch::new();
    let headers = properties.headers();
    let more = sender_selected(headers)?;
    let keys = [&[key], &*more].concat();
    let route = if more.is_empty() {
        vhost.route(&exchange, key, headers, &mut scratch)?.route
    } else {
        vhost.route_keys(&exchange, &keys, headers, &mut scratch)?
    };
    call.check_keys(&vhost, Right::Write, &exchange, &keys)?;
    check(call, properties)?;
    let (mut builder, unix_ms) = (MessageBuilder::default(), (call.api.clock)().unix_ms);
    builder.set_time(unix_ms);
    let node = &call.broker().node_name;
    let changed = Rewrite { reply_to: None, stamps: options.stamps, unix_ms, node }.apply(properties);
    let properties = changed.as_deref().map_or(properties, Properties::assume_valid);
    let hides_bcc = headers.is_some_and(|headers| headers.get("BCC").is_some());
    let marks = Marks { hides_bcc, ..Marks::default() };
    let message = builder.build_marked(&exchange, key, properties, Body::Owned(payload), marks);
    if vhost.is_traced() {
        vhost.trace_publish(origin(call), &message, &route, &mut builder, &mut scratch);
    }
    let HandedIn { reached, taken } = hand_in(&vhost, &route, &message, &mut scratch);
    count(&vhost, &route, reached, &message);
    vhost.move_letters();
    if taken.refused > 0 {
        return Err(ApiError::bad("rejected Unable to publish message. Check queue limits."));
    }
    call.settle(Gate::durable(taken.safe))?;
    Ok(Answer::Json(json!({ "routed": reached > 0 })))
}

/// Who publishes or gets, for traces. It has no connection of AMQP.
pub(super) fn origin(call: &Call) -> TraceOrigin<'_> {
    TraceOrigin {
        node: &call.broker().node_name,
        connection: "management",
        channel: 0,
        user: call.visitor.name(),
    }
}

/// The body of the message.
fn payload(body: &Object, most: u64) -> Result<Vec<u8>, ApiError> {
    let text = body.required("payload")?.as_str().ok_or_else(|| ApiError::bad("payload_not_string"))?;
    let payload = match body.text("payload_encoding")? {
        "string" => text.as_bytes().to_vec(),
        "base64" => {
            BASE64_STANDARD.decode(text).map_err(|error| ApiError::bad(format!("not_base64: {error}")))?
        }
        other => return Err(ApiError::bad(format!("unsupported_encoding: {other}"))),
    };
    if payload.len() as u64 > most {
        let size = payload.len();
        return Err(ApiError::bad(format!("message size {size} is larger than configured max size {most}")));
    }
    Ok(payload)
}

/// What holds for the properties of every message.
fn check(call: &Call, properties: Properties<'_>) -> Result<(), ApiError> {
    if properties.reply_to() == Some(REPLY_TO.as_bytes()) {
        return Err(ApiError::bad("fast reply consumer does not exist"));
    }
    check_expiration(properties)?;
    let Some(claimed) = properties.user_id() else { return Ok(()) };
    let may = match &call.visitor {
        Visitor::User(user) => user.may_publish_as(claimed),
        Visitor::Local => true,
        Visitor::Nobody => false,
    };
    if may {
        return Ok(());
    }
    let (claimed, name) = (String::from_utf8_lossy(claimed), call.visitor.name());
    Err(ApiError::bad(format!("user_id property set to '{claimed}' but authenticated user was '{name}'")))
}

/// Counts a message that so many queues took for its exchange and its vhost.
fn count(vhost: &VHost, route: &Route, reached: usize, message: &Message) {
    let routed = reached as u64;
    route.exchange.add(1, routed);
    let mut tally = Tally::default();
    tally.count_sizes(message.body_len(), 1);
    tally.count(Event::Received, 1);
    tally.count(Event::ReceivedConfirm, 1);
    tally.count(Event::Confirmed, 1);
    tally.count(Event::Routed, routed);
    if reached == 0 {
        tally.count(Event::UnroutableReturned, 1);
    }
    vhost.totals.take(&mut tally, NOBODY);
}

/// What became of a message.
struct HandedIn {
    /// Queues that took it, or refused it because of what holds for them.
    reached: usize,
    taken: Taken,
}

/// Gives a message to its queues. Where all of them are gone it is routed once more: they may exist again.
fn hand_in(vhost: &VHost, route: &Route, message: &Message, scratch: &mut RouteScratch) -> HandedIn {
    // A queue that is gone takes nothing.
    let one = |cell: &Arc<QueueCell>| cell.publish(std::iter::once(message.clone())).ok();
    let publish = |route: &Route| -> Vec<Taken> { route.queues.iter().filter_map(one).collect() };
    let mut taken = publish(route);
    if taken.is_empty() && !route.queues.is_empty() {
        taken = publish(&vhost.route_of(message, scratch));
    }
    HandedIn { reached: taken.len(), taken: taken.into_iter().fold(Taken::default(), Taken::and) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::broker::options::BrokerOptions;
    use crate::broker::vhost::QueueDeclare;

    #[test]
    fn a_message_whose_queues_have_gone_is_routed_once_more_or_nowhere() {
        let broker = Broker::new(BrokerOptions::default());
        let (vhost, mut scratch) = (broker.vhost("/").unwrap(), RouteScratch::new());
        let declare = || {
            vhost.declare_queue(QueueDeclare { name: "q", ..QueueDeclare::default() }, NOBODY).unwrap();
        };
        declare();
        let route = vhost.route("", "q", None, &mut scratch).unwrap().route;
        let message = MessageBuilder::default().build("", "q", Properties::EMPTY, Body::Borrowed(b"x"));
        let mut reached = || hand_in(&vhost, &route, &message, &mut scratch).reached;
        assert_eq!(reached(), 1);
        vhost.delete_queue("q", false, false, NOBODY).unwrap();
        assert_eq!(reached(), 0);
        declare();
        assert_eq!(reached(), 1);
    }
}
