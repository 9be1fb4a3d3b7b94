//! Documents that are refused: all that is wrong with them is told, and nothing changes.

use super::*;
use crate::broker::limits::NodeOptions;

#[test]
fn all_problems_are_told_and_nothing_is_done() {
    let broker = blank();
    let before = export(&broker);
    let document = json!({
        "users": [
            { "name": "good", "password_hash": "", "tags": "" },
            { "name": "weak", "password_hash": "x", "hashing_algorithm": "rabbit_password_hashing_md5", "tags": "" },
            { "name": "", "tags": "" },
        ],
        "vhosts": [{ "name": "v" }, { "name": "s", "default_queue_type": "stream" }],
        "permissions": [
            { "user": "good", "vhost": "v", "configure": "(", "write": "", "read": "" },
            { "user": "missing", "vhost": "v", "configure": "", "write": "", "read": "" },
            { "user": "weak", "vhost": "w", "configure": "", "write": "", "read": "" },
        ],
        "topic_permissions": [{ "user": "good", "vhost": "v", "exchange": "x", "write": "" }],
        "parameters": [
            { "component": "unknown", "vhost": "v", "name": "n", "value": 1 },
            { "component": "vhost-limits", "vhost": "v", "name": "other", "value": {} },
        ],
        "global_parameters": [{ "name": "cluster_name", "value": 1 }],
        "policies": [{ "vhost": "v", "name": "p", "pattern": ".*", "definition": { "ha-mode": "all" } }],
        "queues": [
            { "name": "orders", "vhost": "v", "arguments": { "x-max-length": "many" } },
            { "name": "stream", "vhost": "v", "type": "stream" },
            { "name": "nowhere" },
            { "name": "large", "vhost": "v", "arguments": { "x": 18_446_744_073_709_551_615_u64 } },
            "no object",
            { "name": "in-s", "vhost": "s" },
        ],
        "exchanges": [
            { "name": "delayed", "vhost": "v", "type": "x-delayed-message" },
            { "name": "h", "vhost": "v", "type": "headers" },
        ],
        "bindings": [
            { "source": "delayed", "vhost": "v", "destination": "orders", "destination_type": "queue" },
            { "source": "h", "vhost": "v", "destination": "none", "destination_type": "queue" },
            { "source": "none", "vhost": "v", "destination": "h", "destination_type": "exchange" },
            { "source": "h", "vhost": "v", "destination": "h", "destination_type": "exchange",
              "arguments": { "x-match": "some" } },
        ],
    });
    let problems = told(import(&broker, &document).unwrap_err());
    let expected = [
        "users[1] 'weak': MD5 hashes are not accepted",
        "users[2] '': a user name should be 1 to 255 bytes",
        "vhosts[1] 's': default_queue_type is \"stream\"; there are classic and quorum",
        "permissions[0] 'good' in vhost 'v': ",
        "topic_permissions[0] 'good' in vhost 'v': it has no read",
        "global_parameters[0] 'cluster_name': cluster_name should be a string",
        "policies[0] 'p' in vhost 'v': Validation failed: ha-mode are not recognised policy settings",
        "parameters[0] 'n' in vhost 'v': component unknown not found",
        "parameters[1] 'other' in vhost 'v': name not recognised: other",
        "exchanges[0] 'delayed' in vhost 'v': unknown exchange type 'x-delayed-message'",
        "queues[2] 'nowhere' in vhost '?': it has no vhost",
        "queues[3] 'large' in vhost 'v': 18446744073709551615 of x is too large a number",
        "queues[4]: it should be an object",
        "permissions[1] 'missing' in vhost 'v': user 'missing' does not exist",
        "permissions[2] 'weak' in vhost 'w': vhost 'w' does not exist",
        "queues[0] 'orders' in vhost 'v': invalid arg 'x-max-length' for queue 'orders'",
        "queues[1] 'stream' in vhost 'v': queue 'stream': queue type 'stream' is not supported",
        "bindings[1] 'h' -> 'none' in vhost 'v': queue 'none' does not exist",
        "bindings[2] 'none' -> 'h' in vhost 'v': exchange 'none' does not exist",
        "bindings[3] 'h' -> 'h' in vhost 'v': Invalid x-match field value",
    ];
    let found: Vec<&str> = problems.iter().map(String::as_str).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
    assert_eq!(export(&broker), before);
    assert!(broker.vhost("v").is_none() && broker.users.find("good").is_none());
}

#[test]
fn what_is_no_document_is_told_at_once() {
    for (text, problem) in [
        ("", "the document: it is not valid JSON at line 1, column 0"),
        ("[]", "the document: it should be a JSON object"),
        ("{\"users\": [}", "the document: it is not valid JSON at line 1, column 12"),
        (&"[".repeat(100_000), "the document: it is not valid JSON at line 1, column 128"),
    ] {
        assert_eq!(told(parse(text.as_bytes(), Scope::Whole).unwrap_err()), [problem]);
    }
    let broker = blank();
    assert_eq!(told(import(&broker, &json!({ "queues": {} })).unwrap_err()), ["queues: it should be a list"]);
    let report = import(&broker, &json!({ "quues": [] })).unwrap();
    assert_eq!(report.skipped, ["the document's \"quues\" is not known"]);
}

#[test]
fn hashes_without_an_algorithm_are_md5_in_documents_before_3_6() {
    let document = |version: &str| {
        json!({ "rabbit_version": version, "users": [
            { "name": "a", "password_hash": "+pHuxkR9fCyrrwXjOD4BP4XbzO3l8LJr8YkThMgJ0yVHFRE+", "tags": "" },
        ] })
    };
    let broker = blank();
    let problems = told(import(&broker, &document("3.5.7")).unwrap_err());
    assert!(problems[0].starts_with("users[0] 'a': MD5 hashes are not accepted"), "{problems:?}");
    import(&broker, &document("3.6.0")).unwrap();
    assert!(broker.users.login("a", b"guest", true).is_ok());
}

#[test]
fn names_cannot_write_into_the_log() {
    let queue = json!({ "name": "q\u{1b}[31m", "vhost": "/", "arguments": { "x-max-length": "many" } });
    let problems = told(import(&blank(), &json!({ "queues": [queue] })).unwrap_err());
    assert!(problems[0].contains("\\u{1b}") && !problems[0].contains('\u{1b}'), "{problems:?}");
}

#[test]
fn limits_count() {
    let node = NodeOptions { queues: 3, exchanges: 1, ..NodeOptions::default() };
    let broker = Broker::new(BrokerOptions { node, users: Vec::new(), ..BrokerOptions::default() });
    declare(&broker.vhost("/").unwrap(), "there");
    let queue = |name: &str| json!({ "name": name, "vhost": "/" });
    let limit = json!({
        "component": "vhost-limits", "vhost": "/", "name": "limits", "value": { "max-queues": 2 },
    });
    let two = json!({ "queues": [queue("a"), queue("b")], "parameters": [limit] });
    assert_eq!(
        told(import(&broker, &two).unwrap_err()),
        ["vhost '/': it would have 3 queues, and its queue limit is 2"]
    );
    let three = json!({ "queues": [queue("a"), queue("b"), queue("c")] });
    assert_eq!(
        told(import(&broker, &three).unwrap_err()),
        ["the document: there are 1 queues and 3 would come, and limits.queues is 3"]
    );
    let two = json!({ "queues": [queue("a"), queue("b"), queue("there")] });
    import(&broker, &two).unwrap();
    assert_eq!(broker.limits.queues.used(), 3);
    let exchange = |name: &str| json!({ "name": name, "vhost": "/", "type": "direct" });
    let problems = import(&broker, &json!({ "exchanges": [exchange("x"), exchange("y")] })).unwrap_err();
    assert_eq!((problems.len(), broker.limits.exchanges.used()), (1, 0));
}

#[test]
fn vhosts_and_bindings_have_limits() {
    let node = NodeOptions { vhosts: 2, bindings_per_queue: 3, ..NodeOptions::default() };
    let broker = Broker::new(BrokerOptions { node, users: Vec::new(), ..BrokerOptions::default() });
    let vhosts = |names: &[&str]| json!({ "vhosts": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() });
    assert_eq!(
        told(import(&broker, &vhosts(&["a", "b"])).unwrap_err()),
        ["the document: there are 1 vhosts and 2 would come, and limits.vhosts is 2"]
    );
    import(&broker, &vhosts(&["/", "a"])).unwrap();
    import(&broker, &vhosts(&["/", "a"])).unwrap();
    declare(&broker.vhost("/").unwrap(), "q");
    let bindings = |keys: &[&str]| {
        let binding = |key: &&str| {
            json!({ "source": "amq.direct", "vhost": "/", "destination": "q", "destination_type": "queue",
                    "routing_key": key })
        };
        json!({ "bindings": keys.iter().map(binding).collect::<Vec<_>>() })
    };
    import(&broker, &bindings(&["a", "b"])).unwrap();
    assert_eq!(
        told(import(&broker, &bindings(&["b", "c", "d"])).unwrap_err()),
        ["queue 'q' in vhost '/': it would have 4 bindings, and limits.bindings_per_queue is 3"]
    );
    import(&broker, &bindings(&["a", "b", "c"])).unwrap();
    import(&broker, &bindings(&["a", "b", "c"])).unwrap();
}

#[test]
fn a_queue_of_a_connection_is_nobodys_elses() {
    let broker = blank();
    let vhost = broker.vhost("/").unwrap();
    let request = QueueDeclare { name: "own", exclusive: true, ..Default::default() };
    vhost.declare_queue(request, ME).unwrap();
    let binding = json!({
        "source": "amq.direct", "vhost": "/", "destination": "own", "destination_type": "queue",
    });
    let report = import(&broker, &json!({ "queues": [{ "name": "own", "vhost": "/" }] })).unwrap();
    assert!(report.left[0].contains("cannot obtain exclusive access"), "{report:?}");
    let problems = told(import(&broker, &json!({ "bindings": [binding] })).unwrap_err());
    assert!(problems[0].ends_with("the queue is a connection's own"), "{problems:?}");
    assert_eq!(export(&broker)["queues"], json!([]));
}

#[test]
fn unsupported_parameters_are_kept_and_told() {
    let broker = blank();
    let shovel =
        json!({ "component": "shovel", "vhost": "/", "name": "s", "value": { "src-uri": "amqp://" } });
    let report = import(&broker, &json!({ "parameters": [shovel] })).unwrap();
    assert_eq!(report.unsupported, ["parameters[0] 's' in vhost '/': a parameter of shovel"]);
    assert_eq!(export(&broker)["parameters"], json!([shovel]));
    let vhost = broker.vhost("/").unwrap();
    let set =
        |component: &str, name: &str, value: Value| vhost.set_parameter(component, name, &value, INTERNAL);
    set("federation-upstream", "u", json!({ "uri": "x" })).unwrap();
    set("operator_policy", "o", json!({ "pattern": "", "definition": { "max-length": 1 } })).unwrap();
    set("vhost-limits", "limits", json!({ "max-queues": 5 })).unwrap();
    for (component, name) in [("policy", "p"), ("none", "n"), ("vhost-limits", "other"), ("shovel", "")] {
        assert!(set(component, name, json!({})).is_err(), "{component}");
    }
    let names = || vhost.parameters().into_iter().map(|parameter| parameter.name).collect::<Vec<_>>();
    assert_eq!(names(), ["u", "o", "s", "limits"]);
    for (component, name) in [("shovel", "s"), ("operator_policy", "o"), ("vhost-limits", "limits")] {
        assert!(vhost.clear_parameter(component, name, INTERNAL).unwrap().is_some(), "{component}");
        assert!(vhost.clear_parameter(component, name, INTERNAL).unwrap().is_none(), "{component}");
    }
    for component in ["policy", "none"] {
        assert!(vhost.clear_parameter(component, "p", INTERNAL).is_err(), "{component}");
    }
    assert_eq!(names(), ["u"]);
}
