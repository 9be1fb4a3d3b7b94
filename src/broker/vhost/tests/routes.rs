//! Where messages go, and how long a route holds.

use super::*;
use crate::broker::events::INTERNAL;

#[test]
fn an_exchange_that_is_missing_or_internal_is_refused() {
    let vhost = vhost();
    let mut scratch = RouteScratch::default();
    refused(vhost.route("x", "", None, &mut scratch), 404, "no exchange 'x' in vhost '/'");
    vhost.declare_exchange(ExchangeDeclare { internal: true, ..exchange("x", "fanout") }).unwrap();
    let text = "cannot publish to internal exchange 'x' in vhost '/'";
    refused(vhost.route("x", "", None, &mut scratch), 403, text);
    vhost.declare_queue(queue("q"), ME).unwrap();
    vhost.bind(to_exchange("amq.fanout", "x", ""), ME).unwrap();
    vhost.bind(to_queue("x", "q", ""), ME).unwrap();
    assert_eq!(routed(&vhost, "amq.fanout", ""), ["q"], "bindings lead through it");
}

#[test]
fn the_default_exchange_leads_to_the_queue_of_that_name() {
    let vhost = vhost();
    vhost.declare_queue(queue("q"), ME).unwrap();
    assert_eq!(routed(&vhost, "", "q"), ["q"]);
    assert!(routed(&vhost, "", "other").is_empty());
}

#[test]
fn queues_come_once_and_in_the_order_of_their_numbers() {
    let vhost = vhost();
    for name in ["b", "a", "c"] {
        vhost.declare_queue(queue(name), ME).unwrap();
    }
    for (name, key) in [("c", "1"), ("a", "1"), ("b", "1"), ("b", "#"), ("c", "*")] {
        vhost.bind(to_queue("amq.topic", name, key), ME).unwrap();
    }
    assert_eq!(routed(&vhost, "amq.topic", "1"), ["b", "a", "c"]);
}

#[test]
fn only_a_route_that_headers_cannot_change_is_kept() {
    let vhost = vhost();
    let cacheable = |name| vhost.route(name, "k", None, &mut RouteScratch::default()).unwrap().cacheable;
    assert!(cacheable("") && cacheable("amq.topic") && !cacheable("amq.headers"));
    vhost.bind(to_exchange("amq.topic", "amq.headers", "#"), ME).unwrap();
    assert!(!cacheable("amq.topic"));
}

/// A channel trusts a cached route as long as the epoch stands: whatever can change a route moves it.
#[test]
fn every_change_moves_the_epoch_and_nothing_else_does() {
    let vhost = vhost();
    let moves = |what: &str, expected: bool, change: &dyn Fn()| {
        let before = vhost.epoch();
        change();
        assert_eq!(vhost.epoch() != before, expected, "{what}");
    };
    moves("declare", true, &|| _ = vhost.declare_queue(queue("q"), ME).unwrap());
    moves("equal declare", false, &|| _ = vhost.declare_queue(queue("q"), ME).unwrap());
    moves("exchange", true, &|| _ = vhost.declare_exchange(exchange("x", "direct")).unwrap());
    moves("equal exchange", false, &|| _ = vhost.declare_exchange(exchange("x", "direct")).unwrap());
    moves("bind", true, &|| _ = vhost.bind(to_queue("x", "q", "k"), ME).unwrap());
    moves("repeated bind", false, &|| _ = vhost.bind(to_queue("x", "q", "k"), ME).unwrap());
    moves("route", false, &|| _ = routed(&vhost, "x", "k"));
    moves("refused delete", false, &|| _ = vhost.delete_exchange("x", true, INTERNAL).unwrap_err());
    moves("unbind", true, &|| _ = vhost.unbind(to_queue("x", "q", "k"), ME).unwrap());
    moves("repeated unbind", false, &|| _ = vhost.unbind(to_queue("x", "q", "k"), ME).unwrap());
    moves("exchange delete", true, &|| _ = vhost.delete_exchange("x", false, INTERNAL).unwrap());
    moves("repeated exchange delete", false, &|| _ = vhost.delete_exchange("x", false, INTERNAL).unwrap());
    moves("queue delete", true, &|| _ = vhost.delete_queue("q", false, false, ME).unwrap());
    moves("repeated queue delete", false, &|| _ = vhost.delete_queue("q", false, false, ME).unwrap());
    let cell = vhost.declare_queue(queue("q"), ME).unwrap().cell;
    moves("end of the owner", true, &|| vhost.delete_owned(&cell));
    moves("repeated end of the owner", false, &|| vhost.delete_owned(&cell));
}
