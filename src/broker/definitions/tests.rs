//! Imports and exports of a broker in memory.

mod counting;
mod crashes;
mod problems;
mod round_trips;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::broker::Broker;
use crate::broker::events::INTERNAL;
use crate::broker::options::BrokerOptions;
use crate::broker::parameters::CLUSTER_ID;
use crate::broker::queue_cell::QueueCell;
use crate::broker::vhost::{QueueDeclare, VHost};
use crate::broker::vhosts::{Metadata, VHostError};
use crate::identity::access::Right;
use crate::ids::ConnectionId;
use crate::message::{Body, MessageBuilder};
use crate::protocol::properties::{Properties, PropertiesBuilder};

const ME: ConnectionId = ConnectionId(1);

/// A broker without users.
fn blank() -> Arc<Broker> {
    Broker::new(BrokerOptions { users: Vec::new(), ..BrokerOptions::default() })
}

fn import(broker: &Broker, document: &Value) -> Result<Report, Vec<Problem>> {
    import_into(broker, document, Scope::Whole)
}

fn import_into(broker: &Broker, document: &Value, scope: Scope) -> Result<Report, Vec<Problem>> {
    let document = parse(document.to_string().as_bytes(), scope)?;
    broker.import(&document, &ImportOptions::default()).map(|(report, _)| report)
}

fn export(broker: &Broker) -> Value {
    broker.export(&Scope::Whole, &ExportOptions::default()).unwrap()
}

fn told(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn declare(vhost: &VHost, name: &str) -> Arc<QueueCell> {
    let request = QueueDeclare { name, durable: true, ..Default::default() };
    vhost.declare_queue(request, ME).unwrap().cell
}

fn publish(cell: &QueueCell, count: usize) {
    let raw = PropertiesBuilder::new().set_delivery_mode(2).finish();
    for _ in 0..count {
        let body = Body::Owned(vec![7; 100]);
        let message = MessageBuilder::default().build("", "q", Properties::parse(&raw).unwrap(), body);
        cell.publish(std::iter::once(message)).unwrap();
    }
}

fn count(report: &Report, list: &str) -> (u64, u64, u64) {
    let Count { created, changed, unchanged } = report.counts.get(list).copied().unwrap_or_default();
    (created, changed, unchanged)
}

#[test]
fn a_policy_takes_effect_on_queues_that_are_there() {
    let broker = blank();
    let cell = declare(&broker.vhost("/").unwrap(), "q");
    publish(&cell, 10);
    let policy =
        json!({ "vhost": "/", "name": "short", "pattern": "^q$", "definition": { "max-length": 3 } });
    import(&broker, &json!({ "policies": [policy] })).unwrap();
    // What a policy drops of a queue is left to the agenda.
    broker.look_at_due();
    assert_eq!(cell.counts().0.ready, 3);
    let operator = json!({
        "component": "operator_policy", "vhost": "/", "name": "o",
        "value": { "pattern": ".*", "definition": { "max-length": 1 } },
    });
    import(&broker, &json!({ "parameters": [operator] })).unwrap();
    broker.look_at_due();
    assert_eq!(cell.counts().0.ready, 1);
}

#[test]
fn a_queue_follows_the_policies_of_its_document() {
    let broker = blank();
    let document = json!({
        "vhosts": [{ "name": "v" }],
        "queues": [{ "name": "q", "vhost": "v" }],
        "policies": [{ "vhost": "v", "name": "p", "pattern": "q", "definition": { "max-length": 2 } }],
    });
    import(&broker, &document).unwrap();
    let cell = broker.vhost("v").unwrap().find_queue("q", ME).unwrap();
    assert!(cell.spec.durable, "that is what nothing means");
    publish(&cell, 5);
    assert_eq!(cell.counts().0.ready, 2);
}

#[test]
fn what_is_there_with_other_properties_stays() {
    let broker = blank();
    let vhost = broker.vhost("/").unwrap();
    declare(&vhost, "q");
    let document = json!({
        "queues": [
            { "name": "q", "vhost": "/", "durable": false },
            { "name": "amq.gen-x", "vhost": "/" },
            { "name": "r", "vhost": "/" },
            { "name": "r", "vhost": "/", "auto_delete": true },
        ],
        "exchanges": [
            { "name": "amq.direct", "vhost": "/", "type": "fanout" },
            { "name": "", "vhost": "/", "type": "direct" },
        ],
        "bindings": [{ "source": "amq.direct", "vhost": "/", "destination": "amq.gen-x", "destination_type": "queue" }],
    });
    let report = import(&broker, &document).unwrap();
    assert_eq!(
        report.left,
        [
            "queues[0] 'q' in vhost '/': inequivalent arg 'durable' for queue 'q' in vhost '/': \
             received 'false' but current is 'true'",
            "queues[3] 'r' in vhost '/': the document has another queue of this name before it",
        ]
    );
    assert_eq!(report.skipped.len(), 4, "{:?}", report.skipped);
    assert_eq!((count(&report, "queues"), count(&report, "exchanges")), ((1, 0, 2), (0, 0, 0)));
    assert!(vhost.find_queue("q", ME).unwrap().spec.durable);
    assert!(!vhost.find_queue("r", ME).unwrap().spec.auto_delete);
}

#[test]
fn an_import_again_changes_nothing() {
    let broker = blank();
    let document: Value = serde_json::from_str(round_trips::V3_13).unwrap();
    import(&broker, &document).unwrap();
    let cell = broker.vhost("/").unwrap().find_queue("copy", ME).unwrap();
    publish(&cell, 3);
    let before = export(&broker);
    let report = import(&broker, &document).unwrap();
    let news = report.counts.values().map(|count| count.created + count.changed);
    assert_eq!(news.sum::<u64>(), 0, "{report:?}");
    assert_eq!(export(&broker), before);
    assert_eq!(cell.counts().0.ready, 3);
}

#[test]
fn users_are_overwritten_and_keep_what_is_not_said() {
    let broker = Broker::new(BrokerOptions::default());
    let logs_in = |name: &str, password: &str| broker.users.login(name, password.as_bytes(), true).is_ok();
    let document = json!({
        "users": [
            { "name": "guest", "tags": "monitoring, ops" },
            { "name": "ci", "password": "s3cret", "tags": [] },
            { "name": "nobody", "password_hash": "", "tags": [] },
        ],
        "permissions": [{ "user": "ci", "vhost": "/", "configure": "", "write": "^ci", "read": "" }],
    });
    let report = import(&broker, &document).unwrap();
    assert_eq!(count(&report, "users"), (2, 1, 0));
    let guest = broker.users.find("guest").unwrap();
    let tags: Vec<String> = guest.details().tags.iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["monitoring", "ops"]);
    assert!(logs_in("guest", "guest") && logs_in("ci", "s3cret") && !logs_in("nobody", ""));
    let access = broker.vhost("/").unwrap().access_of("ci");
    assert!(access.allows(Right::Write, "ci-1") && !access.allows(Right::Read, "ci-1"));
    let without = ExportOptions { hashes: false, ..ExportOptions::default() };
    let exported = broker.export(&Scope::Whole, &without).unwrap();
    assert!(!exported.to_string().contains("hash"), "{exported}");
    import(&broker, &exported).unwrap();
    assert!(logs_in("ci", "s3cret"), "the password is not said, so it stays");
}

#[test]
fn nothing_of_a_password_shows() {
    let document = json!({ "users": [
        { "name": "a", "password": "s3cret", "password_hash": "s3cret-hash", "tags": [] },
        { "name": "b", "password_hash": "s3cret-hash", "tags": [] },
        { "name": "c", "password": "s3cret", "tags": [] },
        { "name": "d", "password": "", "tags": [] },
    ] });
    let document = parse(document.to_string().as_bytes(), Scope::Whole).unwrap();
    assert!(!format!("{document:?}").contains("s3cret"));
    let problems = told(blank().import(&document, &ImportOptions::default()).unwrap_err());
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(!problems.concat().contains("s3cret"));
    let broken = told(parse(br#"{"users": [{"password": "s3cret" "#, Scope::Whole).unwrap_err());
    assert!(broken[0].contains("line 1") && !broken[0].contains("s3cret"), "{broken:?}");
}

#[test]
fn a_dry_run_says_the_same_and_does_nothing() {
    let broker = blank();
    let document = parse(round_trips::V4_2.as_bytes(), Scope::Whole).unwrap();
    let before = export(&broker);
    let options = ImportOptions { dry_run: true, loaded: Some("x".to_owned()), ..ImportOptions::default() };
    let (dry, _) = broker.import(&document, &options).unwrap();
    assert_eq!((export(&broker), broker.loaded_definitions()), (before, None));
    let options = ImportOptions { loaded: Some("x".to_owned()), ..ImportOptions::default() };
    let (wet, _) = broker.import(&document, &options).unwrap();
    assert_eq!((dry, broker.loaded_definitions().as_deref()), (wet, Some("x")));
    assert_eq!(broker.limits.queues.used(), 3);
}

#[test]
fn one_vhost_is_exported_and_imported_into_another() {
    let broker = blank();
    import(&broker, &serde_json::from_str(round_trips::V3_13).unwrap()).unwrap();
    let scope = |name: &str| Scope::VHost(name.to_owned());
    let mut exported = broker.export(&scope("orders"), &ExportOptions::default()).unwrap();
    assert_eq!(exported["description"], "Orders");
    assert!(exported.get("users").is_none() && exported["queues"][0].get("vhost").is_none());
    let missing = told(import_into(&broker, &exported, scope("copy")).unwrap_err());
    assert!(missing.iter().all(|text| text.ends_with("vhost 'copy' does not exist")), "{missing:?}");
    broker.add_vhost("copy", &Metadata::default(), INTERNAL).unwrap();
    exported["users"] = json!([{ "name": "x", "tags": "" }]);
    let report = import_into(&broker, &exported, scope("copy")).unwrap();
    assert!(report.skipped[0].contains("users are left out"), "{report:?}");
    let mut copy = broker.export(&scope("copy"), &ExportOptions::default()).unwrap();
    exported.as_object_mut().unwrap().remove("users");
    for key in ["original_vhost_name", "explanation"] {
        copy[key] = exported[key].clone();
    }
    assert_eq!(copy, exported);
    assert!(broker.users.find("x").is_none());
    assert!(broker.export(&scope("none"), &ExportOptions::default()).is_none());
}

#[test]
fn a_vhost_that_is_protected_is_not_deleted() {
    let broker = blank();
    import(&broker, &serde_json::from_str(round_trips::V4_2).unwrap()).unwrap();
    let protected = VHostError::Protected("tenant-a".to_owned());
    assert_eq!(broker.delete_vhost("tenant-a", INTERNAL), Err(protected));
    broker
        .set_vhost_metadata("tenant-a", |metadata| metadata.protected_from_deletion = false, INTERNAL)
        .unwrap();
    assert_eq!(broker.vhost_metadata("tenant-a").unwrap().description, "Tenant A");
    broker.delete_vhost("tenant-a", INTERNAL).unwrap();
    assert!(matches!(broker.set_vhost_metadata("tenant-a", |_| (), INTERNAL), Err(VHostError::Missing(_))));
}

#[test]
fn the_default_type_is_given_to_queues_that_say_none() {
    let broker = blank();
    let queue = |name: &str, kind: Option<&str>| json!({ "name": name, "vhost": "v", "type": kind });
    let document = json!({
        "vhosts": [{ "name": "v", "metadata": { "default_queue_type": "quorum" } }],
        "queues": [queue("none", None), queue("classic", Some("classic")), queue("quorum", Some("quorum"))],
    });
    import(&broker, &document).unwrap();
    let exported = export(&broker);
    let kinds: Vec<_> =
        exported["queues"].as_array().unwrap().iter().map(|queue| (&queue["name"], &queue["type"])).collect();
    assert_eq!(
        format!("{kinds:?}").replace("String", ""),
        r#"[(("classic"), ("classic")), (("none"), ("quorum")), (("quorum"), ("quorum"))]"#
    );
}

#[test]
fn global_parameters_are_kept_and_name_the_cluster() {
    let broker = blank();
    assert_eq!(&*broker.cluster_name(), "leveret");
    let id = json!({ "name": CLUSTER_ID, "value": "another" });
    let name = json!({ "name": "cluster_name", "value": "hares" });
    let report = import(&broker, &json!({ "global_parameters": [id, name] })).unwrap();
    assert_eq!(&*broker.cluster_name(), "hares");
    assert!(report.skipped[0].contains("its own") && broker.cluster_id().starts_with("rabbitmq-cluster-id-"));
    assert!(!export(&broker).to_string().contains(CLUSTER_ID));
    broker.set_global_parameter("any", &json!({ "a": [1, 2.0] }), INTERNAL).unwrap();
    assert_eq!(broker.global_parameter("any"), Some(json!({ "a": [1, 2.0] })));
    assert!(broker.set_global_parameter("cluster_name", &json!(1), INTERNAL).is_err());
    assert!(broker.set_global_parameter(CLUSTER_ID, &json!("x"), INTERNAL).is_err());
    assert!(broker.clear_global_parameter(CLUSTER_ID, INTERNAL).is_none());
    assert!(broker.clear_global_parameter("cluster_name", INTERNAL).is_some());
    assert!(broker.clear_global_parameter("cluster_name", INTERNAL).is_none());
    assert_eq!(&*broker.cluster_name(), "leveret");
}

#[test]
fn many_queues_are_imported_at_once() {
    let broker = blank();
    let queues: Vec<Value> =
        (0..20_000).map(|number| json!({ "name": format!("q{number}"), "vhost": "/" })).collect();
    let bindings: Vec<Value> = (0..20_000)
        .map(|number| {
            let name = format!("q{number}");
            json!({
                "source": "amq.topic", "vhost": "/", "destination": name,
                "destination_type": "queue", "routing_key": name,
            })
        })
        .collect();
    let document = parse_value(&json!({ "queues": queues, "bindings": bindings }), Scope::Whole).unwrap();
    let (report, _) = broker.import(&document, &ImportOptions::default()).unwrap();
    assert_eq!((count(&report, "queues"), count(&report, "bindings")), ((20_000, 0, 0), (20_000, 0, 0)));
    assert_eq!(broker.vhost("/").unwrap().queues().len(), 20_000);
}
