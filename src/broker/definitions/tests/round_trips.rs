//! What is imported into a broker with nothing in it is exported again, but for order and defaults.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

pub(super) const V3_10: &str = include_str!("../../../../tests/data/definitions/rabbitmq-3.10.json");
pub(super) const V3_13: &str = include_str!("../../../../tests/data/definitions/rabbitmq-3.13.json");
pub(super) const V4_2: &str = include_str!("../../../../tests/data/definitions/rabbitmq-4.2.json");
pub(super) const LAVINMQ: &str = include_str!("../../../../tests/data/definitions/lavinmq-2.json");
const ONE_VHOST: &str = include_str!("../../../../tests/data/definitions/rabbitmq-3.10-vhost.json");

/// The items of a list, with defaults for what they do not say, and without what is not theirs.
fn items(document: &Value, list: &str, defaults: &Value) -> BTreeSet<String> {
    let of_it = document[list].as_array().into_iter().flatten();
    let item = |item: &Value| {
        let mut whole = defaults.clone();
        for (key, default) in defaults.as_object().unwrap() {
            let value = item.get(key).or_else(|| item["metadata"].get(key)).filter(|value| !value.is_null());
            whole[key] = match value {
                Some(Value::String(tags)) if key == "tags" => {
                    tags.split(',').filter(|tag| !tag.is_empty()).collect()
                }
                Some(Value::String(kind)) if kind == "undefined" => default.clone(),
                Some(value) => value.clone(),
                None => default.clone(),
            };
        }
        whole.to_string()
    };
    of_it.map(item).collect()
}

/// What a document means.
fn meaning(document: &Value) -> Vec<(&'static str, BTreeSet<String>)> {
    let algorithm = "rabbit_password_hashing_sha256";
    let lists = [
        (
            "users",
            json!({ "name": "", "password_hash": "", "hashing_algorithm": algorithm, "tags": [], "limits": {} }),
        ),
        (
            "vhosts",
            json!({
                "name": "", "description": "", "tags": [],
                "default_queue_type": "classic", "protected_from_deletion": false,
            }),
        ),
        ("permissions", json!({ "user": "", "vhost": "", "configure": "", "write": "", "read": "" })),
        ("topic_permissions", json!({ "user": "", "vhost": "", "exchange": "", "write": "", "read": "" })),
        ("parameters", json!({ "component": "", "vhost": "", "name": "", "value": "" })),
        ("global_parameters", json!({ "name": "", "value": "" })),
        (
            "policies",
            json!({ "vhost": "", "name": "", "pattern": "", "apply-to": "all", "definition": {}, "priority": 0 }),
        ),
        (
            "queues",
            json!({ "vhost": "", "name": "", "durable": true, "auto_delete": false, "arguments": {} }),
        ),
        (
            "exchanges",
            json!({
                "vhost": "", "name": "", "type": "", "durable": true, "auto_delete": false,
                "internal": false, "arguments": {},
            }),
        ),
        (
            "bindings",
            json!({
                "vhost": "", "source": "", "destination": "", "destination_type": "queue",
                "routing_key": "", "arguments": {},
            }),
        ),
    ];
    let mut meaning: Vec<_> =
        lists.into_iter().map(|(list, defaults)| (list, items(document, list, &defaults))).collect();
    for (list, items) in &mut meaning {
        items.retain(|item| *list != "global_parameters" || !item.contains(CLUSTER_ID));
    }
    meaning
}

fn assert_same(one: &Value, other: &Value) {
    for ((list, one), (_, other)) in meaning(one).into_iter().zip(meaning(other)) {
        assert_eq!(one, other, "{list}");
    }
}

#[test]
fn documents_of_other_brokers_come_back() {
    for (name, text) in [("3.10", V3_10), ("3.13", V3_13), ("4.2", V4_2), ("LavinMQ", LAVINMQ)] {
        let document: Value = serde_json::from_str(text).unwrap();
        let broker = blank();
        import(&broker, &document).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        assert_same(&export(&broker), &document);
    }
}

#[test]
fn passwords_of_other_brokers_log_in() {
    for (text, name, password) in [
        (V3_13, "admin", "test12"),
        (V3_13, "orders-service", "guest"),
        (V4_2, "admin", "test12"),
        (LAVINMQ, "meter", "U*U"),
        (V3_10, "ops", "test12"),
    ] {
        let broker = blank();
        import(&broker, &serde_json::from_str(text).unwrap()).unwrap();
        assert!(broker.users.login(name, password.as_bytes(), true).is_ok(), "{name}");
        assert!(broker.users.login(name, b"another", true).is_err(), "{name}");
    }
}

#[test]
fn a_document_of_one_vhost_comes_back() {
    let document: Value = serde_json::from_str(ONE_VHOST).unwrap();
    let broker = blank();
    let scope = Scope::VHost("/".to_owned());
    import_into(&broker, &document, scope.clone()).unwrap();
    let exported = broker.export(&scope, &ExportOptions::default()).unwrap();
    // Of two lists RabbitMQ says which vhost they were in.
    let without = |document: &Value| {
        let mut document = document.clone();
        for list in ["parameters", "policies"] {
            for item in document[list].as_array_mut().unwrap() {
                item.as_object_mut().unwrap().remove("vhost");
            }
        }
        document
    };
    assert_same(&without(&exported), &without(&document));
}

/// A value that arguments may have.
fn value(random: &mut StdRng, depth: usize) -> Value {
    match random.random_range(0..if depth < 3 { 8 } else { 6 }) {
        0 => json!(random.random_range(i64::MIN..=i64::MAX)),
        1 => json!(random.random_range(-1000..1000)),
        2 => json!(f64::from(random.random_range(-1000..1000)) / 8.0),
        3 => json!(random.random_range(0..2) == 0),
        4 => json!(["", "a", "ü\u{1F407}", "\u{0}\n\"'"][random.random_range(0..4)]),
        5 => Value::Null,
        6 => (0..random.random_range(0..4)).map(|_| value(random, depth + 1)).collect(),
        _ => arguments(random, depth + 1),
    }
}

fn arguments(random: &mut StdRng, depth: usize) -> Value {
    let keys = 0..random.random_range(0..4);
    Value::Object(keys.map(|_| (format!("k{}", random.random_range(0..9)), value(random, depth))).collect())
}

fn random_document(random: &mut StdRng) -> Value {
    let vhosts = ["/", "v", "w ü"];
    let flag = |random: &mut StdRng| random.random_range(0..2) == 0;
    let (mut queues, mut exchanges, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    for vhost in vhosts {
        for number in 0..random.random_range(1..5) {
            queues.push(json!({
                "name": format!("q{number}"), "vhost": vhost, "durable": flag(random),
                "auto_delete": flag(random), "arguments": arguments(random, 0),
            }));
            let kind = ["direct", "fanout", "topic", "headers"][random.random_range(0..4)];
            exchanges.push(json!({
                "name": format!("x{number}"), "vhost": vhost, "type": kind, "durable": flag(random),
                "auto_delete": flag(random), "internal": flag(random), "arguments": arguments(random, 0),
            }));
            let kind = if flag(random) { "queue" } else { "exchange" };
            let letter = if kind == "queue" { "q" } else { "x" };
            let key = ["", "a.*", "#"][random.random_range(0..3)];
            bindings.push(json!({
                "source": format!("x{}", random.random_range(0..=number)), "vhost": vhost,
                "destination": format!("{letter}{}", random.random_range(0..=number)), "destination_type": kind,
                "routing_key": key, "arguments": arguments(random, 0),
            }));
        }
    }
    let vhosts: Vec<Value> = vhosts.iter().map(|name| json!({ "name": name, "tags": ["a"] })).collect();
    json!({ "vhosts": vhosts, "queues": queues, "exchanges": exchanges, "bindings": bindings })
}

#[test]
fn random_documents_come_back() {
    for seed in 0..100 {
        let document = random_document(&mut StdRng::seed_from_u64(seed));
        let broker = blank();
        import(&broker, &document).unwrap_or_else(|problems| panic!("seed {seed}: {problems:?}"));
        let exported = export(&broker);
        assert_same(&exported, &document);
        let other = blank();
        import(&other, &exported).unwrap();
        assert_eq!(export(&other), exported, "seed {seed}");
    }
}
