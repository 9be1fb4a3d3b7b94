//! What a session refuses for want of permissions, and when it notices that they have changed.

use super::*;
use crate::broker::events::INTERNAL;
use crate::broker::permissions::TopicRow;
use crate::broker::vhost::VHost;
use crate::identity::access::Permissions;
use crate::protocol::field::TableBuilder;
use crate::protocol::method::exchange;
use crate::protocol::properties::PropertiesBuilder;

impl Client {
    fn open_channel(&mut self) -> &mut Self {
        self.send(&channel::Open::default())
    }

    /// How the channel was closed since the last look; open it is again then.
    fn refusal(&mut self) -> Option<String> {
        let (bytes, _) = self.received_bytes();
        let mut rest = &bytes[..];
        let mut told = None;
        while let Ok(Next::Frame(frame)) = next_frame(rest, u32::MAX) {
            if frame.kind == FrameKind::Method
                && let Ok(Method::Channel(channel::Method::Close(close))) = Method::decode(frame.payload)
            {
                told = Some(format!("{} {}", close.reply_code, close.reply_text));
            }
            rest = &rest[frame.wire_len()..];
        }
        if told.is_some() {
            self.send(&channel::CloseOk {}).open_channel().received();
        }
        told
    }

    fn publish_to(&mut self, exchange: &str, routing_key: &str, cc: Option<&str>) -> Option<String> {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &basic::Publish { exchange, routing_key, ..Default::default() });
        let mut properties = PropertiesBuilder::new();
        if let Some(cc) = cc {
            let keys = crate::protocol::field::ArrayBuilder::new().long_str(cc).finish();
            let headers = TableBuilder::new().array("CC", keys.as_ref()).finish();
            properties.set_headers(Some(&headers));
        }
        write_header(&mut bytes, 1, 1, &properties.finish());
        write_body(&mut bytes, 1, b"x", 4096);
        assert_eq!(self.session.handle_input(&bytes, Now::at(self.now)), bytes.len());
        self.refusal()
    }
}

fn started() -> (Arc<Broker>, Arc<VHost>, Client) {
    let broker = broker(Journal::in_memory());
    let vhost = broker.vhost("/").unwrap();
    let client = Client::new(&broker);
    (broker, vhost, client)
}

fn allow(vhost: &VHost, configure: &str, write: &str, read: &str) {
    vhost.set_permissions("guest", Permissions::new(configure, write, read).unwrap(), INTERNAL);
}

fn refused(what: &str) -> Option<String> {
    Some(format!("403 ACCESS_REFUSED - {what} in vhost '/' refused for user 'guest'"))
}

#[test]
fn a_change_holds_for_the_next_operation_of_open_channels() {
    let (_broker, vhost, mut client) = started();
    client.declare("q", false).received();
    assert_eq!(client.publish_to("", "q", None), None);
    allow(&vhost, ".*", "^other", "^other");
    assert_eq!(client.publish_to("", "q", None), refused("write access to exchange 'amq.default'"));
    client.send(&basic::Get { queue: "q", ..Default::default() });
    assert_eq!(client.refusal(), refused("read access to queue 'q'"));
    allow(&vhost, "", "^amq\\.default$", "^q$");
    assert_eq!(client.publish_to("", "q", None), None);
    client.declare("q", false);
    assert_eq!(client.refusal(), refused("configure access to queue 'q'"));
    client.send(&basic::Get { queue: "q", no_ack: true, ..Default::default() });
    assert_eq!(client.received(), ["basic.get-ok"]);
    vhost.clear_permissions("guest", INTERNAL);
    assert_eq!(client.publish_to("", "q", None), refused("write access to exchange 'amq.default'"));
}

#[test]
fn routes_that_are_not_remembered_are_asked_about_after_a_change_too() {
    let (_broker, vhost, mut client) = started();
    client.declare("q", false).received();
    client.send(&queue::Bind { queue: "q", exchange: "amq.headers", ..Default::default() }).received();
    assert_eq!(client.publish_to("amq.headers", "k", None), None);
    assert_eq!(client.publish_to("amq.headers", "k", None), None);
    allow(&vhost, ".*", "^amq.fanout$", ".*");
    assert_eq!(
        client.publish_to("amq.headers", "k", None),
        refused("write access to exchange 'amq.headers'")
    );
    assert_eq!(client.publish_to("amq.fanout", "k", None), None);
    assert_eq!(
        client.publish_to("amq.headers", "k", None),
        refused("write access to exchange 'amq.headers'")
    );
}

#[test]
fn every_routing_key_of_a_topic_exchange_counts() {
    let (_broker, vhost, mut client) = started();
    let row = |write: &str, read: &str| TopicRow {
        user: "guest".into(),
        exchange: "amq.topic".into(),
        write: write.into(),
        read: read.into(),
    };
    vhost.set_topic_permission(row("^{username}\\.", "^{vhost}$"), INTERNAL).unwrap();
    assert_eq!(client.publish_to("amq.topic", "guest.a", None), None);
    assert_eq!(client.publish_to("amq.topic", "guest.a", Some("guest.b")), None);
    let told = |right: &str, key: &str| {
        refused(&format!("{right} access to topic '{key}' in exchange exchange 'amq.topic'"))
    };
    assert_eq!(client.publish_to("amq.topic", "other", None), told("write", "other"));
    assert_eq!(client.publish_to("amq.topic", "guest.a", Some("other")), told("write", "other"));
    assert_eq!(client.publish_to("amq.direct", "other", None), None, "it is no topic exchange");
    client.declare("q", false);
    for (key, wanted) in [("/", None), ("#", told("read", "#"))] {
        let bind = queue::Bind { queue: "q", exchange: "amq.topic", routing_key: key, ..Default::default() };
        client.send(&bind);
        assert_eq!(client.refusal(), wanted);
        let unbind =
            queue::Unbind { queue: "q", exchange: "amq.topic", routing_key: key, ..Default::default() };
        client.send(&unbind);
        assert_eq!(client.refusal(), wanted);
    }
    vhost.set_topic_permission(row("", ""), INTERNAL).unwrap();
    assert_eq!(client.publish_to("amq.topic", "guest.a", None), told("write", "guest.a"));
    assert_eq!(client.publish_to("amq.topic", "", None), None);
}

#[test]
fn consumers_of_what_may_not_be_read_any_more_end() {
    let (broker, vhost, mut client) = started();
    client.declare("q", false).declare("other", false);
    client.send(&basic::Consume { queue: "q", consumer_tag: "a", ..Default::default() });
    client.send(&basic::Consume { queue: "other", consumer_tag: "b", no_ack: true, ..Default::default() });
    let replies = basic::Consume { queue: "amq.rabbitmq.reply-to", no_ack: true, ..Default::default() };
    client.send(&replies).publish("q", false);
    client.received();
    client.publish("q", false);
    // It is in the outlet, and not sent.
    allow(&vhost, "", ".*", "^other$");
    broker.recheck_access();
    assert_eq!(client.received(), [""; 0], "this client does not want to be told");
    client.publish("other", false).publish("q", false);
    assert_eq!(client.received(), ["basic.deliver"], "of the other queue");
    client.send(&basic::Ack { delivery_tag: 1, multiple: false });
    assert_eq!(client.refusal(), None, "what it has it may settle");
    let counts = vhost.find_queue("q", crate::ids::ConnectionId(1)).unwrap().counts();
    assert_eq!((counts.0.ready, counts.0.unacked, counts.1), (2, 0, 0));
    client.send(&basic::Consume { queue: "other", consumer_tag: "a", ..Default::default() });
    assert_eq!(client.received(), ["basic.consume-ok"], "the tag is free");
}

#[test]
fn names_are_held_against_patterns_as_they_are_used() {
    let (_broker, vhost, mut client) = started();
    allow(&vhost, "^a\n", "", "");
    client.declare("a\n", false);
    assert_eq!(client.refusal(), refused("configure access to queue 'a'"));
    client.send(&exchange::Declare { exchange: "a\n", kind: "fanout", ..Default::default() });
    assert_eq!(client.refusal(), refused("configure access to exchange 'a'"));
    client.send(&exchange::Delete { exchange: "a\n", ..Default::default() });
    assert_eq!(client.refusal(), refused("configure access to exchange 'a'"));
    client.send(&queue::Delete { queue: "a\n", ..Default::default() });
    assert_eq!(client.refusal(), refused("configure access to queue 'a'"));
    client.send(&queue::Declare { queue: "a\n", passive: true, ..Default::default() });
    assert_eq!(client.refusal(), refused("configure access to queue 'a'"));
}

#[test]
fn what_it_hands_on_to_matters_only_for_what_is_new() {
    let (_broker, vhost, mut client) = started();
    let letters = TableBuilder::new().long_str("x-dead-letter-exchange", "d").finish();
    let declare = queue::Declare { queue: "q", arguments: letters.as_ref(), ..Default::default() };
    client.send(&declare);
    assert_eq!(client.refusal(), None);
    allow(&vhost, ".*", "^x$", "^x$");
    client.send(&declare);
    assert_eq!(client.refusal(), None, "it is there");
    client.send(&queue::Declare { queue: "r", ..declare });
    assert_eq!(client.refusal(), refused("read access to queue 'r'"));
    client.send(&queue::Declare { queue: "x", ..declare });
    assert_eq!(client.refusal(), refused("write access to exchange 'd'"));
}
