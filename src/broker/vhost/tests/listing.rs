//! Lists of what there is.

use super::*;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::vhost::ListedBinding;

fn ends(vhost: &VHost, listed: &[ListedBinding]) -> Vec<(String, String, String, bool)> {
    let views = vhost.binding_views(listed).into_iter().flatten();
    views.map(|one| (one.source, one.destination, one.routing_key, one.to_exchange)).collect()
}

fn end(source: &str, destination: &str, key: &str, to_exchange: bool) -> (String, String, String, bool) {
    (source.to_owned(), destination.to_owned(), key.to_owned(), to_exchange)
}

#[test]
fn bindings_are_told_from_both_ends_with_those_of_the_default_exchange() {
    let vhost = vhost();
    vhost.declare_queue(queue("b"), ME).unwrap();
    vhost.declare_queue(queue("a"), ME).unwrap();
    vhost.declare_exchange(exchange("x", "topic")).unwrap();
    vhost.bind(to_queue("x", "a", "k.#"), ME).unwrap();
    vhost.bind(to_exchange("amq.fanout", "x", ""), ME).unwrap();
    let (default_a, default_b) = (end("", "a", "a", false), end("", "b", "b", false));
    let (queue, chain) = (end("x", "a", "k.#", false), end("amq.fanout", "x", "", true));
    let ends = |listed: Vec<ListedBinding>| ends(&vhost, &listed);
    assert_eq!(ends(vhost.bindings()), [default_a.clone(), default_b.clone(), chain.clone(), queue.clone()]);
    assert_eq!(ends(vhost.bindings_from("")), [default_a.clone(), default_b]);
    assert_eq!(ends(vhost.bindings_from("x")), std::slice::from_ref(&queue));
    assert_eq!(ends(vhost.bindings_to_exchange("x")), [chain]);
    assert_eq!(ends(vhost.bindings_to_queue("a")), [default_a, queue]);
    assert_eq!(ends(vhost.bindings_to_queue("nowhere")), []);
}

#[test]
fn many_bindings_of_one_exchange_are_listed_whole_and_without_those_that_go() {
    let vhost = vhost();
    vhost.declare_queue(queue("q"), ME).unwrap();
    let keys: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
    for key in &keys {
        vhost.bind(to_queue("amq.direct", "q", key), ME).unwrap();
    }
    let listed = vhost.bindings_from("amq.direct");
    let told: Vec<String> = ends(&vhost, &listed).into_iter().map(|(_, _, key, _)| key).collect();
    assert_eq!(told, keys);
    vhost.unbind(to_queue("amq.direct", "q", "100"), ME).unwrap();
    let views = vhost.binding_views(&listed);
    assert_eq!((views.len(), views[100].is_none()), (300, true));
    assert_eq!(views.into_iter().flatten().count(), 299);
    let all = vhost.bindings();
    vhost.delete_queue("q", false, false, ME).unwrap();
    assert!(vhost.binding_views(&all).iter().all(Option::is_none));
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
