//! Which bindings are made, and what goes when they go.

use super::*;

#[test]
fn checks_come_in_order() {
    let vhost = vhost();
    let default = "operation not permitted on the default exchange";
    refused(vhost.bind(to_queue("", "nowhere", ""), ME), 403, default);
    refused(vhost.bind(to_exchange("nowhere", "", ""), ME), 403, default);
    refused(vhost.unbind(to_queue("", "nowhere", ""), ME), 403, default);
    refused(vhost.bind(to_queue("x", "q", ""), ME), 404, "no exchange 'x' in vhost '/'");
    refused(vhost.bind(to_exchange("x", "y", ""), ME), 404, "no exchange 'x' in vhost '/'");
    vhost.declare_exchange(exchange("x", "headers")).unwrap();
    refused(vhost.bind(to_queue("x", "q", ""), ME), 404, "no queue 'q' in vhost '/'");
    refused(vhost.bind(to_exchange("x", "y", ""), ME), 404, "no exchange 'y' in vhost '/'");
    vhost.declare_queue(QueueDeclare { exclusive: true, ..queue("q") }, ME).unwrap();
    let bad = TableBuilder::new().long_str("x-match", "some").finish();
    let request = BindRequest { arguments: bad.as_ref(), ..to_queue("x", "q", "") };
    assert_eq!(vhost.bind(request, OTHER).unwrap_err().code, ReplyCode::ResourceLocked);
    assert_eq!(vhost.bind(request, ME).unwrap_err().code, ReplyCode::PreconditionFailed);
    assert!(vhost.bind(to_queue("x", "q", ""), ME).is_ok());
}

#[test]
fn unbinding_what_is_not_there_is_fine() {
    let vhost = vhost();
    assert!(vhost.unbind(to_queue("x", "q", ""), ME).is_ok());
    vhost.declare_exchange(exchange("x", "direct")).unwrap();
    assert!(vhost.unbind(to_queue("x", "q", ""), ME).is_ok());
    vhost.declare_queue(queue("q"), ME).unwrap();
    assert!(vhost.unbind(to_queue("x", "q", ""), ME).is_ok());
    assert!(vhost.unbind(to_exchange("x", "y", ""), ME).is_ok());
    vhost.bind(to_queue("x", "q", "a"), ME).unwrap();
    vhost.unbind(to_queue("x", "q", "b"), ME).unwrap();
    assert_eq!(routed(&vhost, "x", "a"), ["q"]);
    vhost.unbind(to_queue("x", "q", "a"), ME).unwrap();
    assert!(routed(&vhost, "x", "a").is_empty());
}

#[test]
fn only_a_binding_that_is_there_is_kept_from_others() {
    let vhost = vhost();
    vhost.declare_exchange(exchange("x", "direct")).unwrap();
    vhost.declare_queue(QueueDeclare { exclusive: true, ..queue("q") }, ME).unwrap();
    vhost.bind(to_queue("x", "q", "a"), ME).unwrap();
    assert!(vhost.unbind(to_queue("x", "q", "b"), OTHER).is_ok());
    let refused = vhost.unbind(to_queue("x", "q", "a"), OTHER).unwrap_err();
    assert_eq!(refused.code, ReplyCode::ResourceLocked);
    assert_eq!(routed(&vhost, "x", "a"), ["q"]);
}

#[test]
fn a_queue_that_is_deleted_takes_auto_delete_exchanges_upstream_with_it() {
    let vhost = vhost();
    for name in ["a", "b", "kept"] {
        let auto_delete = name != "kept";
        vhost.declare_exchange(ExchangeDeclare { auto_delete, ..exchange(name, "fanout") }).unwrap();
    }
    vhost.declare_queue(queue("q"), ME).unwrap();
    for request in [
        to_exchange("kept", "a", ""),
        to_exchange("a", "b", ""),
        to_queue("b", "q", ""),
        to_queue("kept", "q", ""),
    ] {
        vhost.bind(request, ME).unwrap();
    }
    vhost.delete_queue("q", false, false, ME).unwrap();
    assert!(vhost.find_exchange("a").is_err() && vhost.find_exchange("b").is_err());
    assert!(vhost.find_exchange("kept").is_ok());
    vhost.declare_queue(queue("q"), ME).unwrap();
    assert!(routed(&vhost, "kept", "").is_empty(), "a queue of the same name is another one");
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_as_source() {
    let vhost = vhost();
    vhost.declare_exchange(ExchangeDeclare { auto_delete: true, ..exchange("a", "direct") }).unwrap();
    vhost.declare_queue(queue("q"), ME).unwrap();
    vhost.bind(to_queue("a", "q", "1"), ME).unwrap();
    vhost.bind(to_queue("a", "q", "2"), ME).unwrap();
    vhost.unbind(to_queue("a", "q", "1"), ME).unwrap();
    assert!(vhost.find_exchange("a").is_ok());
    vhost.unbind(to_queue("a", "q", "2"), ME).unwrap();
    assert!(vhost.find_exchange("a").is_err());
}
