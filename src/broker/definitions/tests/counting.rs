//! What is counted of imports and of what came by them.

use super::*;
use crate::broker::limits::NodeOptions;
use crate::broker::vhost::RouteScratch;

fn queues(count: usize) -> Value {
    let queue = |number: usize| json!({ "name": format!("q{number}"), "vhost": "/", "durable": true });
    json!({ "queues": (0..count).map(queue).collect::<Vec<_>>() })
}

/// Queues that were declared, made and deleted.
fn churn(broker: &Broker) -> (u64, u64, u64) {
    let churn = broker.churn();
    (churn.queues_declared, churn.queues_created, churn.queues_deleted)
}

#[test]
fn an_exchange_that_was_imported_counts_what_is_published_to_it() {
    let broker = blank();
    import(&broker, &json!({ "exchanges": [{ "name": "x", "vhost": "/", "type": "fanout" }] })).unwrap();
    let vhost = broker.vhost("/").unwrap();
    let routed = vhost.route("x", "", None, &mut RouteScratch::new()).unwrap();
    routed.route.exchange.add(3, 2);
    let counted = |name: &str| {
        let view = vhost.exchange_view(name).unwrap();
        (view.publish_in, view.publish_out)
    };
    assert_eq!((counted("x"), counted("")), ((3, 2), (0, 0)));
}

#[test]
fn queues_that_are_imported_are_made_and_those_that_are_not_never_were() {
    let broker = blank();
    let document = parse(queues(2).to_string().as_bytes(), Scope::Whole).unwrap();
    broker.import(&document, &ImportOptions { dry_run: true, ..Default::default() }).unwrap();
    assert_eq!(churn(&broker), (0, 0, 0), "a dry run");
    broker.limits.set(NodeOptions { queues: 3, ..NodeOptions::default() });
    import(&broker, &queues(4)).unwrap_err();
    assert_eq!(churn(&broker), (0, 0, 0), "no room");
    import(&broker, &queues(2)).unwrap();
    assert_eq!(churn(&broker), (2, 2, 0));
    let vhost = broker.vhost("/").unwrap();
    vhost.delete_queue("q0", false, false, ME).unwrap();
    assert_eq!((churn(&broker), broker.limits.queues.used()), ((2, 2, 1), 1));
}

#[test]
fn of_several_items_of_one_thing_the_last_one_holds_also_if_it_is_what_there_is() {
    let broker = blank();
    let user = |tags: &str| json!({ "name": "u", "password_hash": "", "tags": tags });
    let vhost = |most: i64| json!({ "name": "v", "limits": { "max-queues": most } });
    import(&broker, &json!({ "users": [user("monitoring")], "vhosts": [vhost(5)] })).unwrap();
    let before = export(&broker);
    let twice = json!({
        "users": [user("administrator"), user("monitoring")],
        "vhosts": [vhost(7), vhost(5)],
    });
    import(&broker, &twice).unwrap();
    assert_eq!(export(&broker), before);
}
