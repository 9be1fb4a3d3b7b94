//! Which queues and exchanges may be deleted, and what holders of a queue that is gone are told.

use super::*;
use crate::broker::events::INTERNAL;

#[test]
fn conditions_keep_a_queue() {
    let vhost = vhost();
    assert_eq!(vhost.delete_queue("q", true, true, ME).unwrap().0, 0, "what is not there is deleted");
    let cell = vhost.declare_queue(queue("q"), ME).unwrap().cell;
    let outlet = Outlet::new();
    let consumer = consume(&cell, &outlet);
    refused(vhost.delete_queue("q", true, false, ME), 406, "queue 'q' in vhost '/' in use");
    cell.set_active(consumer, false);
    publish(&cell, false);
    refused(vhost.delete_queue("q", true, true, ME), 406, "queue 'q' in vhost '/' not empty");
    assert!(matches!(cell.get(false, &Outlet::new()), GetResult::Got(_)));
    assert!(!cell.cancel(consumer), "it is no auto-delete queue");
    publish(&cell, false);
    assert_eq!(
        vhost.delete_queue("q", true, false, ME).unwrap().0,
        1,
        "ready ones count, unacked ones do not"
    );
}

#[test]
fn a_queue_with_only_unacked_messages_is_empty() {
    let vhost = vhost();
    let cell = vhost.declare_queue(queue("q"), ME).unwrap().cell;
    publish(&cell, false);
    assert!(matches!(cell.get(false, &Outlet::new()), GetResult::Got(_)));
    assert_eq!(vhost.delete_queue("q", false, true, ME).unwrap().0, 0);
}

#[test]
fn who_holds_a_queue_that_is_gone_is_told_so() {
    let vhost = vhost();
    let cell = vhost.declare_queue(queue("q"), ME).unwrap().cell;
    let outlet = Outlet::new();
    let consumer = consume(&cell, &outlet);
    publish(&cell, false);
    vhost.delete_queue("q", false, false, ME).unwrap();
    let mut taken = Taken::default();
    outlet.take(&mut taken);
    assert_eq!((taken.deliveries.len(), &taken.gone[..]), (1, &[7][..]));
    let mut messages = vec![message(true), message(false)];
    assert_eq!(cell.publish_all(&mut messages), Err(Gone));
    assert_eq!(messages.len(), 2, "they are still there to be routed again");
    assert!(matches!(cell.get(true, &Outlet::new()), GetResult::Gone));
    let spec = ConsumerSpec { no_ack: true, ..ConsumerSpec::default() };
    let link = OutletLink { outlet, connection: ConnectionId(1), consumer: 8, channel: 1, no_ack: true };
    assert_eq!(cell.consume(spec, link), Err(ConsumeError::Gone));
    cell.settle(Some(consumer), taken.deliveries.iter().map(|delivery| delivery.position), Settle::Requeue);
    assert!(!cell.cancel(consumer));
    assert_eq!(cell.counts(), (Default::default(), 0));
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer_but_not_from_under_a_new_one() {
    let vhost = vhost();
    let auto_delete = QueueDeclare { auto_delete: true, ..queue("q") };
    let cell = vhost.declare_queue(auto_delete, ME).unwrap().cell;
    let outlet = Outlet::new();
    vhost.delete_abandoned(&cell);
    assert!(vhost.find_queue("q", ME).is_ok(), "it never had a consumer");
    let (first, second) = (consume(&cell, &outlet), consume(&cell, &outlet));
    assert!(!cell.cancel(first));
    assert!(cell.cancel(second));
    let third = consume(&cell, &outlet);
    vhost.delete_abandoned(&cell);
    assert!(vhost.find_queue("q", ME).is_ok());
    assert!(cell.cancel(third));
    vhost.delete_abandoned(&cell);
    vhost.delete_abandoned(&cell);
    assert!(vhost.find_queue("q", ME).is_err());
}

#[test]
fn deleting_an_old_queue_leaves_a_new_one_of_its_name() {
    let vhost = vhost();
    let exclusive = QueueDeclare { exclusive: true, ..queue("q") };
    let old = vhost.declare_queue(exclusive, ME).unwrap().cell;
    vhost.delete_queue("q", false, false, ME).unwrap();
    vhost.declare_queue(queue("q"), OTHER).unwrap();
    vhost.delete_owned(&old);
    assert!(vhost.find_queue("q", ME).is_ok());
}

#[test]
fn an_exchange_in_use_is_one_that_messages_come_from() {
    let vhost = vhost();
    assert!(vhost.delete_exchange("x", true, INTERNAL).is_ok());
    refused(
        vhost.delete_exchange("", false, INTERNAL),
        403,
        "operation not permitted on the default exchange",
    );
    let text = "deletion of system exchange 'amq.direct' in vhost '/' not allowed";
    refused(vhost.delete_exchange("amq.direct", false, INTERNAL), 403, text);
    vhost.declare_exchange(exchange("x", "fanout")).unwrap();
    vhost.declare_exchange(exchange("y", "fanout")).unwrap();
    vhost.bind(to_exchange("x", "y", ""), ME).unwrap();
    refused(vhost.delete_exchange("x", true, INTERNAL), 406, "exchange 'x' in vhost '/' in use");
    assert!(vhost.delete_exchange("y", true, INTERNAL).is_ok());
    assert!(
        vhost.delete_exchange("x", true, INTERNAL).is_ok(),
        "its only binding went with the other exchange"
    );
    refused(vhost.find_exchange("x"), 404, "no exchange 'x' in vhost '/'");
}
