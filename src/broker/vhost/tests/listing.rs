//! Lists of what there is.

use super::*;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::views::BindingView;

fn ends(bindings: &[BindingView]) -> Vec<(&str, &str, &str, bool)> {
    bindings.iter().map(|one| (&*one.source, &*one.destination, &*one.routing_key, one.to_exchange)).collect()
}

#[test]
fn bindings_are_told_from_both_ends_with_those_of_the_default_exchange() {
    let vhost = vhost();
    vhost.declare_queue(queue("b"), ME).unwrap();
    vhost.declare_queue(queue("a"), ME).unwrap();
    vhost.declare_exchange(exchange("x", "topic")).unwrap();
    vhost.bind(to_queue("x", "a", "k.#"), ME).unwrap();
    vhost.bind(to_exchange("amq.fanout", "x", ""), ME).unwrap();
    let (default_a, default_b) = (("", "a", "a", false), ("", "b", "b", false));
    let (queue, chain) = (("x", "a", "k.#", false), ("amq.fanout", "x", "", true));
    assert_eq!(ends(&vhost.bindings()), [default_a, default_b, chain, queue]);
    assert_eq!(ends(&vhost.bindings_from("")), [default_a, default_b]);
    assert_eq!(ends(&vhost.bindings_from("x")), [queue]);
    assert_eq!(ends(&vhost.bindings_to_exchange("x")), [chain]);
    assert_eq!(ends(&vhost.bindings_to_queue("a")), [default_a, queue]);
    assert_eq!(ends(&vhost.bindings_to_queue("nowhere")), []);
}

#[test]
fn exchanges_are_told_with_what_holds_for_them() {
    let vhost = vhost();
    vhost.declare_exchange(exchange("x", "headers")).unwrap();
    let value = serde_json::json!({"pattern": "^x", "definition": {"alternate-exchange": "y"}});
    let policy = Policy::from_value("p", &value, PolicyKind::User).unwrap();
    vhost.set_policy(PolicyKind::User, policy, INTERNAL);
    let names = vhost.exchange_names();
    assert_eq!(names[0], "");
    assert_eq!((names.len(), names.last().map(|name| &**name)), (vhost.exchange_count(), Some("x")));
    let views = vhost.exchange_views(&names);
    assert_eq!(views.iter().map(|view| &view.name).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    let x = views.last().unwrap();
    assert_eq!((x.kind.name(), x.policy.as_deref(), x.durable), ("headers", Some("p"), false));
    assert_eq!(x.effective_policy.get("alternate-exchange").and_then(|name| name.as_str()), Some("y"));
    assert_eq!(vhost.exchange_view("amq.topic").unwrap().policy, None);
    assert!(vhost.exchange_view("nothing").is_none());
}

#[test]
fn names_of_queues_are_sorted_and_those_that_go_are_left_out() {
    let vhost = vhost();
    for name in ["c", "a", "b"] {
        vhost.declare_queue(queue(name), ME).unwrap();
    }
    let names = vhost.queue_names();
    assert_eq!((&names[..], vhost.queue_count()), (&["a", "b", "c"].map(str::to_owned)[..], 3));
    vhost.delete_queue("b", false, false, ME).unwrap();
    let found: Vec<_> =
        vhost.queues_named(&names).into_iter().map(|(cell, _)| cell.spec.name.clone()).collect();
    assert_eq!(found, ["a", "c"]);
}

#[test]
fn an_exchange_that_was_deleted_counts_from_zero_when_it_is_declared_again() {
    let vhost = vhost();
    vhost.declare_exchange(exchange("x", "fanout")).unwrap();
    let route = |vhost: &VHost| vhost.route("x", "", None, &mut RouteScratch::default()).unwrap().route;
    route(&vhost).exchange.add(3, 0);
    assert_eq!(vhost.exchange_view("x").unwrap().publish_in, 3);
    vhost.delete_exchange("x", false, INTERNAL).unwrap();
    vhost.declare_exchange(exchange("x", "fanout")).unwrap();
    assert_eq!(vhost.exchange_view("x").unwrap().publish_in, 0);
    route(&vhost).exchange.add(1, 0);
    assert_eq!(vhost.exchange_view("x").unwrap().publish_in, 1);
}
