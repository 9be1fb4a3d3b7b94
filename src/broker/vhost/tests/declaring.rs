//! What may be declared, and what an equal declaration is.

use super::*;

#[test]
fn a_queue_is_made_once_and_found_by_name() {
    let vhost = vhost();
    let made = vhost.declare_queue(queue("q"), ME).unwrap();
    assert!(made.created);
    let again = vhost.declare_queue(queue("q"), OTHER).unwrap();
    assert!(!again.created && Arc::ptr_eq(&again.cell, &made.cell));
    assert!(Arc::ptr_eq(&vhost.find_queue("q", OTHER).unwrap(), &made.cell));
    vhost.delete_queue("q", false, false, ME).unwrap();
    let new = vhost.declare_queue(queue("q"), ME).unwrap();
    assert!(new.created && new.cell.id != made.cell.id, "a number is never given twice");
}

#[test]
fn a_queue_has_a_name() {
    let vhost = vhost();
    for name in ["", "\r", "\n\r\n"] {
        refused(vhost.declare_queue(queue(name), ME), 406, "a queue has to have a name");
    }
    assert_eq!(vhost.queue_count(), 0);
}

#[test]
fn a_different_declaration_names_the_first_difference() {
    let vhost = vhost();
    let arguments = TableBuilder::new().int32("x-max-length", 5).int32("x-mine", 1).finish();
    let declared = QueueDeclare { arguments: arguments.as_ref(), ..durable_queue("q") };
    vhost.declare_queue(declared, ME).unwrap();
    let wide = TableBuilder::new().int64("x-max-length", 5).long_str("x-mine", "2").finish();
    let same = QueueDeclare { arguments: wide.as_ref(), ..declared };
    assert!(!vhost.declare_queue(same, ME).unwrap().created, "by value, and only what a queue knows");
    refused(
        vhost.declare_queue(QueueDeclare { auto_delete: true, ..queue("q") }, ME),
        406,
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
    );
    refused(
        vhost.declare_queue(QueueDeclare { auto_delete: true, ..durable_queue("q") }, ME),
        406,
        "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
    );
    let text = "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is the \
                value '5' of type 'signedint'";
    refused(vhost.declare_queue(durable_queue("q"), ME), 406, text);
}

#[test]
fn an_exclusive_queue_is_its_connections_alone() {
    let vhost = vhost();
    let exclusive = QueueDeclare { exclusive: true, ..durable_queue("q") };
    let declared = vhost.declare_queue(exclusive, ME).unwrap();
    assert!(!declared.cell.spec.durable && declared.gate == Gate::OPEN, "it cannot outlive its connection");
    vhost.declare_exchange(exchange("x", "fanout")).unwrap();
    let locked = "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared \
                  on another connection or the exclusive property value does not match that of the original \
                  declaration.";
    refused(vhost.declare_queue(exclusive, OTHER), 405, locked);
    refused(vhost.find_declared("q", OTHER), 405, locked);
    refused(vhost.find_queue("q", OTHER), 405, locked);
    refused(vhost.bind(to_queue("x", "q", ""), OTHER), 405, locked);
    refused(vhost.delete_queue("q", false, false, OTHER), 405, locked);
    refused(vhost.declare_queue(queue("q"), ME), 405, locked);
    assert!(!vhost.declare_queue(exclusive, ME).unwrap().created);
    assert!(vhost.bind(to_queue("x", "q", ""), ME).is_ok());
    refused(vhost.unbind(to_queue("x", "q", ""), OTHER), 405, locked);
    assert_eq!(routed(&vhost, "x", ""), ["q"], "publishing is open to all");
    vhost.declare_queue(queue("open"), ME).unwrap();
    assert!(vhost.declare_queue(QueueDeclare { exclusive: true, ..queue("open") }, ME).is_err());
}

#[test]
fn names_with_the_reserved_prefix_are_the_servers() {
    let vhost = vhost();
    let text = "queue name 'amq.mine' contains reserved prefix 'amq.*'";
    refused(vhost.declare_queue(queue("amq.mine"), ME), 403, text);
    let generated = QueueDeclare { server_named: true, ..queue("amq.gen-1") };
    assert!(vhost.declare_queue(generated, ME).unwrap().created);
    assert!(!vhost.declare_queue(queue("amq.gen-1"), OTHER).unwrap().created);
    let text = "exchange name 'amq.mine' contains reserved prefix 'amq.*'";
    refused(vhost.declare_exchange(exchange("amq.mine", "fanout")), 403, text);
    let predeclared = ExchangeDeclare { durable: true, ..exchange("amq.fanout", "fanout") };
    assert!(vhost.declare_exchange(predeclared).is_ok());
}

#[test]
fn line_ends_are_no_part_of_a_name() {
    let vhost = vhost();
    let declared = vhost.declare_queue(queue("a\r\nb"), ME).unwrap();
    assert_eq!(declared.cell.spec.name, "ab");
    assert!(vhost.find_declared("\nab", ME).is_ok());
    vhost.declare_exchange(exchange("x\n", "direct")).unwrap();
    assert!(vhost.find_exchange("x").is_ok());
}

#[test]
fn bad_arguments_make_no_queue() {
    let vhost = vhost();
    let arguments = TableBuilder::new().long_str("x-message-ttl", "5").finish();
    let text = "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {unacceptable_type,longstr}";
    refused(vhost.declare_queue(QueueDeclare { arguments: arguments.as_ref(), ..queue("q") }, ME), 406, text);
    refused(vhost.find_declared("q", ME), 404, "no queue 'q' in vhost '/'");
}

#[test]
fn an_exchange_of_another_kind_is_no_match() {
    let vhost = vhost();
    refused(vhost.declare_exchange(exchange("x", "round-robin")), 406, "unknown exchange type 'round-robin'");
    let default = "operation not permitted on the default exchange";
    refused(vhost.declare_exchange(exchange("", "direct")), 403, default);
    refused(vhost.find_exchange(""), 403, default);
    refused(vhost.find_exchange("x"), 404, "no exchange 'x' in vhost '/'");
    vhost.declare_exchange(exchange("x", "direct")).unwrap();
    let differs = [
        (exchange("x", "fanout"), "type", "'fanout'", "'direct'"),
        (ExchangeDeclare { durable: true, ..exchange("x", "direct") }, "durable", "'true'", "'false'"),
        (
            ExchangeDeclare { auto_delete: true, ..exchange("x", "direct") },
            "auto_delete",
            "'true'",
            "'false'",
        ),
        (ExchangeDeclare { internal: true, ..exchange("x", "direct") }, "internal", "'true'", "'false'"),
    ];
    for (request, arg, received, current) in differs {
        let text = format!(
            "inequivalent arg '{arg}' for exchange 'x' in vhost '/': received {received} but current is {current}"
        );
        refused(vhost.declare_exchange(request), 406, &text);
    }
}

#[test]
fn an_alternate_exchange_is_a_name_and_part_of_the_declaration() {
    let vhost = vhost();
    let number = TableBuilder::new().int32("alternate-exchange", 1).finish();
    let text = "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost '/'";
    let request = ExchangeDeclare { arguments: number.as_ref(), ..exchange("x", "direct") };
    refused(vhost.declare_exchange(request), 406, text);
    let name = TableBuilder::new().long_str("alternate-exchange", "late").finish();
    let request = ExchangeDeclare { arguments: name.as_ref(), ..exchange("x", "direct") };
    vhost.declare_exchange(request).unwrap();
    assert!(vhost.declare_exchange(request).is_ok());
    assert_eq!(vhost.declare_exchange(exchange("x", "direct")).unwrap_err().code.code(), 406);
    assert!(routed(&vhost, "x", "k").is_empty(), "it need not exist");
    vhost.declare_exchange(exchange("late", "fanout")).unwrap();
    vhost.declare_queue(queue("q"), ME).unwrap();
    vhost.bind(to_queue("late", "q", ""), ME).unwrap();
    assert_eq!(routed(&vhost, "x", "k"), ["q"]);
}
