use serde_json::{Value, json};

use super::policy::ApplyTo;
use super::*;

fn policy(name: &str, value: Value) -> Policy {
    Policy::from_value(name, &value, PolicyKind::User).unwrap()
}

fn refusal(value: Value, kind: PolicyKind) -> String {
    Policy::from_value("p", &value, kind).unwrap_err().to_string()
}

#[test]
fn a_value_comes_back_as_it_was() {
    let value = json!({
        "pattern": "^jobs\\.", "apply-to": "classic_queues", "priority": -3,
        "definition": {"message-ttl": 0, "dead-letter-exchange": "", "overflow": "reject-publish"},
    });
    let policy = policy("p", value.clone());
    assert_eq!((policy.value(), policy.apply_to), (value, ApplyTo::ClassicQueues));
    assert_eq!(policy.definition.settings.message_ttl, Some(0));
    assert_eq!(policy.definition.settings.dead_letter_exchange.as_deref(), Some(""));
}

#[test]
fn what_is_wrong_is_told() {
    let with = |definition: Value| json!({"pattern": "", "definition": definition});
    for (value, text) in [
        (with(json!({})), "no policy provided"),
        (with(json!({"x": 1, "ha-mode": "all"})), "ha-mode, x are not recognised policy settings"),
        (with(json!({"message-ttl": -1})), "-1 is not a valid message TTL"),
        (with(json!({"message-ttl": "60"})), "\"60\" is not a valid message TTL"),
        (with(json!({"expires": 0})), "0 is not a valid queue expiry"),
        (with(json!({"overflow": "drop"})), "\"drop\" is not a valid overflow value"),
        (json!({"pattern": "(", "definition": {"expires": 1}}), "the pattern \"(\" is not valid"),
        (json!({"definition": {"expires": 1}}), "Key \"pattern\" not found"),
        (json!({"pattern": "", "definition": {"expires": 1}, "apply-to": "q"}), "should be one of all"),
        (json!({"pattern": "", "definition": {"expires": 1}, "priority": 1.5}), "should be a number"),
        (json!({"pattern": "", "definition": {"expires": 1}, "x": 1}), "x is no part of a policy"),
        (json!([]), "should be an object"),
    ] {
        let told = refusal(value, PolicyKind::User);
        assert!(told.contains(text), "{told}");
    }
    let exchange = with(json!({"dead-letter-exchange": "d"}));
    let told = refusal(exchange, PolicyKind::Operator);
    assert!(told.contains("dead-letter-exchange are not recognised operator policy settings"), "{told}");
}

#[test]
fn the_highest_priority_that_matches_applies() {
    let mut policies = Policies::default();
    let bound = |pattern: &str, priority: i64, to: &str| json!({"pattern": pattern, "priority": priority, "apply-to": to, "definition": {"max-length": 1}});
    for (name, value) in [
        ("b-low", bound(".", 0, "all")),
        ("a-low", bound(".", 0, "queues")),
        ("exchanges", bound(".", 9, "exchanges")),
        ("quorum", bound("x", 5, "quorum_queues")),
        ("not-amq", bound("^(?!amq\\.)y", 4, "queues")),
    ] {
        policies.set(PolicyKind::User, policy(name, value));
    }
    let on = |name, kind| policies.on_queue(name, kind).user.map(|policy| policy.name.clone());
    assert_eq!(on("x", QueueKind::Classic).as_deref(), Some("a-low"));
    assert_eq!(on("a x", QueueKind::Quorum).as_deref(), Some("quorum"), "the pattern is not anchored");
    assert_eq!(on("y", QueueKind::Classic).as_deref(), Some("not-amq"));
    assert_eq!(on("amq.y", QueueKind::Classic).as_deref(), Some("a-low"));
    assert_eq!(on("", QueueKind::Classic), None);
    assert_eq!(policies.on_exchange("x").user.unwrap().name, "exchanges");
}

#[test]
fn a_policy_is_not_for_queues_that_do_not_heed_it() {
    let mut policies = Policies::default();
    let limit = json!({"pattern": "", "definition": {"delivery-limit": 3, "max-length": 5}});
    policies.set(PolicyKind::User, policy("p", limit));
    assert!(policies.on_queue("q", QueueKind::Quorum).user.is_some());
    assert!(policies.on_queue("q", QueueKind::Classic).user.is_none());
    let lazy = json!({"pattern": "", "definition": {"queue-mode": "lazy"}});
    policies.set(PolicyKind::User, policy("p", lazy));
    assert!(policies.on_queue("q", QueueKind::Quorum).user.is_none());
    let applied = policies.on_queue("q", QueueKind::Classic).user.unwrap();
    assert_eq!(applied.definition.unheeded(), ["queue-mode"]);
}

#[test]
fn an_operator_of_the_configuration_is_there_until_one_of_its_name_is_set() {
    let value = |max: u64| json!({"pattern": "", "definition": {"max-length": max}});
    let operator = |max| Policy::from_value("cap", &value(max), PolicyKind::Operator).unwrap();
    let configured = [Operator::new("^/$", operator(10)).unwrap()];
    assert!(Policies::new("other", &configured).on_queue("q", QueueKind::Classic).operator.is_none());
    let mut policies = Policies::new("/", &configured);
    let max = |policies: &Policies| policies.on_queue("q", QueueKind::Classic).settings().max_length;
    assert_eq!((max(&policies), policies.all_set(PolicyKind::Operator).count()), (Some(10), 0));
    assert!(!policies.clear(PolicyKind::Operator, "cap"), "it is not one that was set");
    policies.set(PolicyKind::Operator, operator(20));
    assert_eq!((max(&policies), policies.all_set(PolicyKind::Operator).count()), (Some(20), 1));
    policies.set(PolicyKind::User, policy("mine", value(15)));
    assert_eq!(max(&policies), Some(15));
    assert!(policies.clear(PolicyKind::Operator, "cap"));
    assert_eq!(max(&policies), Some(10));
}

#[test]
fn a_pattern_cannot_take_for_ever() {
    let evil = json!({"pattern": "^(?=(a+)+$)(a+)+\\1b", "definition": {"max-length": 1}});
    let mut policies = Policies::default();
    policies.set(PolicyKind::User, policy("p", evil));
    assert!(policies.on_queue(&"a".repeat(255), QueueKind::Classic).user.is_none());
    let huge = json!({"pattern": "(a{1000}){1000}", "definition": {"max-length": 1}});
    assert!(refusal(huge, PolicyKind::User).contains("is not valid"));
}
