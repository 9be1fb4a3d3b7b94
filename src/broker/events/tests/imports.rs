//! Events of what is changed at once: imports of definitions, users that are put, and parameters.

use super::*;
use crate::broker::definitions::{ImportOptions, Scope, parse};
use crate::broker::parameters::CLUSTER_NAME;
use crate::broker::users::Details;

const BY: &str = r#"user_who_performed_action: "hare"}"#;

fn import(broker: &Broker, document: &serde_json::Value, dry_run: bool) {
    let document = parse(document.to_string().as_bytes(), Scope::Whole).unwrap();
    let options = ImportOptions { dry_run, loaded: None, by: ME.user.to_owned() };
    broker.import(&document, &options).unwrap();
}

/// That each event starts like this, and was the importer's.
#[track_caller]
fn assert_told(seen: &[String], expected: &[&str]) {
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.starts_with(expected) && seen.ends_with(BY), "{seen} {expected}");
    }
}

#[test]
fn an_import_is_told_once_it_is_done() {
    let watched = Watched::new();
    let broker = &watched.broker;
    declared(broker, QueueDeclare { name: "old", ..QueueDeclare::default() });
    watched.messages();
    let operator = json!({ "pattern": "none", "definition": { "max-length": 5 } });
    let document = json!({
        "users": [{ "name": "u", "password": "geheim", "tags": "management" }],
        "vhosts": [{ "name": "v", "metadata": { "description": "d" } }],
        "permissions": [{ "user": "u", "vhost": "v", "configure": "a", "write": "b", "read": "c" }],
        "topic_permissions": [{ "user": "u", "vhost": "v", "exchange": "x", "write": "w", "read": "r" }],
        "global_parameters": [{ "name": "cluster_name", "value": "hares" }],
        "policies": [{ "vhost": "/", "name": "p", "pattern": "old", "definition": { "max-length": 5 } }],
        "parameters": [
            { "component": "operator_policy", "vhost": "/", "name": "o", "value": operator },
            { "component": "shovel", "vhost": "v", "name": "s", "value": { "src-uri": "amqp://a:geheim@b" } },
            { "component": "vhost-limits", "vhost": "v", "name": "limits", "value": { "max-queues": 7 } },
        ],
        "exchanges": [{ "name": "x", "vhost": "v", "type": "topic", "durable": true }],
        "queues": [{ "name": "q", "vhost": "v", "durable": true }],
        "bindings": [
            { "source": "x", "vhost": "v", "destination": "q", "destination_type": "queue", "routing_key": "k" },
        ],
    });
    import(broker, &document, true);
    assert_eq!(watched.seen(), [""; 0]);
    import(broker, &document, false);
    let seen = watched.seen();
    assert!(!seen.concat().contains("geheim") && !seen.concat().contains("password"), "{seen:#?}");
    // Those of a new vhost.
    let predeclared = |event: &&String| !event.starts_with(r#"exchange.created {name: "amq."#);
    assert_eq!(seen.iter().filter(|event| !predeclared(event)).count(), 6);
    let seen: Vec<String> = seen.iter().filter(predeclared).cloned().collect();
    assert_told(
        &seen,
        &[
            r#"vhost.created {name: "v", "#,
            r#"parameter.set {component: "global", name: "cluster_name", value: "hares""#,
            r#"policy.set {name: "p", vhost: "/""#,
            r#"parameter.set {component: "operator_policy", name: "o", vhost: "/""#,
            r#"policy.set {name: "o", vhost: "/""#,
            r#"parameter.set {component: "shovel", name: "s", vhost: "v", value: {src-uri: "amqp://a:***@b"}"#,
            r#"parameter.set {component: "vhost-limits", name: "limits", vhost: "v", value: {max-queues: 7}"#,
            r#"vhost.limits.set {name: "limits", vhost: "v", max-queues: 7"#,
            r#"permission.created {user: "u", vhost: "v", configure: "a", write: "b", read: "c""#,
            r#"topic.permission.created {user: "u", vhost: "v", exchange: "x", write: "w", read: "r""#,
            r#"exchange.created {name: "x", vhost: "v", type: "topic", durable: true"#,
            r#"queue.created {name: "q", vhost: "v", durable: true"#,
            r#"binding.created {source_name: "x", source_kind: "exchange", destination_name: "q""#,
            r#"user.created {name: "u""#,
            r#"user.tags.set {name: "u", tags: ["management"]"#,
            r#"queue.policy.updated {name: "old", vhost: "/", type: "rabbit_classic_queue""#,
        ],
    );
}

#[test]
fn an_import_tells_what_is_said_of_vhosts_that_are_there() {
    let watched = Watched::new();
    let vhosts = json!({ "vhosts": [{ "name": "/", "metadata": { "description": "d", "tags": ["t"] } }] });
    home(&watched.broker).set_traced(true);
    import(&watched.broker, &vhosts, false);
    let updated = r#"vhost.updated {name: "/", "#;
    let seen = watched.seen();
    assert_told(&seen, &[updated]);
    for part in [r#"description: "d""#, r#"tags: ["t"]"#, "tracing: true"] {
        assert!(seen[0].contains(part), "{seen:?}");
    }
    import(&watched.broker, &vhosts, false);
    assert_eq!(watched.seen(), [""; 0], "nothing else is said");
}

#[test]
fn an_import_can_make_the_first_binding() {
    let broker = Broker::new(BrokerOptions::default());
    let document = json!({
        "queues": [{ "name": "events", "vhost": "/", "durable": true }],
        "bindings": [
            { "source": EXCHANGE, "vhost": "/", "destination": "events", "destination_type": "queue",
              "routing_key": "vhost.*" },
        ],
    });
    import(&broker, &document, false);
    let queue = home(&broker).find_queue("events", WATCHER).unwrap();
    let watched = Watched { broker, queue };
    watched.broker.add_vhost("v", &Metadata::default(), ME.user).unwrap();
    let seen = watched.seen();
    assert!(seen.len() == 1 && seen[0].starts_with(r#"vhost.created {name: "v""#), "{seen:?}");
}

#[test]
fn users_that_are_put_tell_what_becomes_different() {
    let watched = Watched::new();
    let users = &watched.broker.users;
    let secret =
        PasswordHash::new(Default::default(), b"geheim", &[7; crate::identity::password::SALT]).unwrap();
    let put = |hash: &PasswordHash, tags: &[&str]| {
        let change = |details: &mut Details| {
            details.set_hash(hash.clone());
            details.tags = Tags::parse(tags.iter().copied()).unwrap();
        };
        users.put("u", change, ME.user).unwrap();
        watched.seen()
    };
    let tags = r#"user.tags.set {name: "u", tags: "#;
    assert_told(&put(&hash(), &[]), &[r#"user.created {name: "u""#]);
    let made = r#"user.password.changed {name: "u""#;
    assert_told(&put(&secret, &["management"]), &[made, tags]);
    assert_told(&put(&secret, &["management"]), &[]);
    assert_told(&put(&hash(), &[]), &[r#"user.password.cleared {name: "u""#, tags]);
}

#[test]
fn parameters_are_told_when_they_change() {
    let watched = Watched::new();
    let (broker, vhost) = (&watched.broker, home(&watched.broker));
    let value = json!({ "uri": "amqp://a:geheim@b" });
    vhost.set_parameter("federation-upstream", "u", &value, ME.user).unwrap();
    assert!(vhost.set_parameter("none", "u", &value, ME.user).is_err());
    vhost.clear_parameter("federation-upstream", "u", ME.user).unwrap().unwrap();
    assert!(vhost.clear_parameter("federation-upstream", "u", ME.user).unwrap().is_none());
    broker.set_global_parameter(CLUSTER_NAME, &json!("hares"), ME.user).unwrap();
    assert!(broker.set_global_parameter(CLUSTER_NAME, &json!(1), ME.user).is_err());
    broker.clear_global_parameter(CLUSTER_NAME, ME.user).unwrap();
    assert!(broker.clear_global_parameter(CLUSTER_NAME, ME.user).is_none());
    assert_eq!(
        watched.seen(),
        [
            format!(
                r#"parameter.set {{component: "federation-upstream", name: "u", vhost: "/", value: {{uri: "amqp://a:***@b"}}, {BY}"#
            ),
            format!(r#"parameter.cleared {{component: "federation-upstream", name: "u", vhost: "/", {BY}"#),
            format!(r#"parameter.set {{component: "global", name: "cluster_name", value: "hares", {BY}"#),
            format!(r#"parameter.cleared {{component: "global", name: "cluster_name", {BY}"#),
        ]
    );
}
