//! The places and forms that scopes and names come in.

use super::*;
use crate::identity::access::Right;

/// Whether a token with these claims may read the queue "q" in "/".
fn reads(rules: &TokenRules, changes: Value) -> bool {
    judged(rules, changes).unwrap().access("/").is_some_and(|access| access.allows(Right::Read, "q"))
}

fn with_keys(keys: &[&str]) -> TokenRules {
    TokenRules { additional_scopes_keys: keys.iter().map(|&key| key.to_owned()).collect(), ..rules() }
}

fn prefixed(scope_prefix: &str) -> TokenRules {
    let server = ResourceServer { scope_prefix: scope_prefix.to_owned(), ..ResourceServer::new("rabbitmq") };
    TokenRules { server, ..rules() }
}

#[test]
fn scopes_are_a_text_a_list_or_a_map() {
    for scope in [
        json!("rabbitmq.read:*/*"),
        json!("openid  rabbitmq.read:*/* profile"),
        json!(["openid", 7, "rabbitmq.read:*/*"]),
        json!({"rabbitmq": ["read:*/*"]}),
        json!({"rabbitmq": "write:*/* read:*/*", "other": []}),
    ] {
        assert!(reads(&rules(), json!({"scope": scope})), "{scope}");
        let elsewhere = json!({"scope": null, "roles": scope, "deep": {"er": scope}});
        assert!(!reads(&rules(), elsewhere.clone()));
        assert!(reads(&with_keys(&["roles"]), elsewhere.clone()));
        assert!(reads(&with_keys(&["nothing", "deep.er"]), elsewhere.clone()));
        assert!(!reads(&with_keys(&["deep", "roles.er"]), elsewhere), "{scope}");
    }
    for scope in [
        json!("read:*/*"),
        json!("other.read:*/*"),
        json!("rabbitmq.READ:*/*"),
        json!(["rabbitmq.read:*/* openid"]),
        json!({"other": ["read:*/*"]}),
        json!({"rabbitmq": ["rabbitmq.read:*/*"]}),
        json!({"rabbitmq": {"read:*/*": 1}}),
        json!(7),
        json!(null),
    ] {
        assert!(!reads(&rules(), json!({"scope": scope})), "{scope}");
    }
}

#[test]
fn keycloaks_claims_are_found() {
    let list = json!(["offline_access", "rabbitmq.read:*/*"]);
    let realm = json!({"scope": "openid", "realm_access": {"roles": list}});
    assert!(reads(&with_keys(&["realm_access.roles"]), realm));
    let client =
        json!({"scope": "openid", "resource_access": {"nost": {"roles": list}, "account": {"roles": []}}});
    assert!(reads(&with_keys(&["resource_access.account.roles", "resource_access.nost.roles"]), client));
    let requesting_party = json!({"scope": "openid", "authorization": {"permissions": [
        {"rsname": "a", "scopes": ["rabbitmq.write:*/*"]}, 7, {"rsname": "b"},
        {"rsname": "c", "scopes": ["rabbitmq.read:*/*"]},
    ]}});
    assert!(reads(&rules(), requesting_party));
    let url = json!({"scope": null, "https://example.com/roles": list});
    assert!(reads(&with_keys(&["https://example.com/roles"]), url));
}

#[test]
fn a_prefix_is_taken_off_and_an_alias_stands_for_others() {
    let unprefixed = prefixed("");
    assert!(reads(&unprefixed, json!({"scope": "read:*/*"})));
    let slashed = prefixed("api://");
    assert!(reads(&slashed, json!({"scope": "api://read:*/*"})));
    let mut aliased = with_keys(&["roles"]);
    let both = vec!["rabbitmq.tag:administrator".to_owned(), "rabbitmq.read:*/*".to_owned()];
    aliased.scope_aliases.insert("admin role".to_owned(), both);
    assert!(reads(&aliased, json!({"scope": null, "roles": ["admin role"]})));
    let tags = judged(&aliased, json!({"roles": ["admin role"]})).unwrap().tags;
    assert_eq!(tags, ["administrator"]);
}

#[test]
fn names_come_from_the_first_claim_that_has_one() {
    let user = |rules: &TokenRules, changes| judged(rules, changes).map(|token| token.user);
    let preferring =
        TokenRules { username_claims: vec!["user_name".to_owned(), "email".to_owned()], ..rules() };
    let name = |name: &str| Ok(name.to_owned());
    assert_eq!(user(&preferring, json!({"user_name": "u", "email": "e"})), name("u"));
    assert_eq!(user(&preferring, json!({"user_name": "", "email": "e"})), name("e"));
    assert_eq!(user(&preferring, json!({"user_name": 7})), name("ada"));
    assert_eq!(user(&rules(), json!({"user_name": "u", "client_id": "c"})), name("ada"));
    assert_eq!(user(&rules(), json!({"sub": null, "client_id": "c"})), name("c"));
    assert_eq!(user(&rules(), json!({"sub": null})), Err(Refusal::NoUser));
    assert_eq!(user(&rules(), json!({"sub": "x".repeat(256)})), Err(Refusal::NoUser));
}

#[test]
fn a_vhost_needs_a_permission_not_a_tag() {
    let token =
        judged(&rules(), json!({"scope": "rabbitmq.tag:management rabbitmq.write:prod-*/x"})).unwrap();
    assert_eq!(token.tags, ["management"]);
    assert_eq!(token.access("/"), None);
    let access = token.access("prod-1").unwrap();
    assert!(access.allows(Right::Write, "x") && !access.allows(Right::Read, "x"));
}

#[test]
fn topics_need_three_parts() {
    let two = judged(&rules(), json!({"scope": "rabbitmq.write:*/*"})).unwrap().access("/").unwrap();
    assert!(two.allows(Right::Write, "nost") && !two.allows_topic(Right::Write, "nost", "nost.app"));
    let three = judged(&rules(), json!({"scope": "rabbitmq.write:*/nost/*"})).unwrap().access("/").unwrap();
    assert!(three.allows_topic(Right::Write, "nost", "nost.app"));
    assert!(!three.allows_topic(Right::Read, "nost", "nost.app"));
}

#[test]
fn rich_authorization_requests_are_read() {
    let rich = TokenRules { resource_server_type: "rabbitmq-type".to_owned(), ..rules() };
    let request = |kind: &str, actions: Value, places: Value| {
        json!({"scope": null, "authorization_details": [
            {"type": kind, "actions": actions, "locations": places}, {"type": kind}, 7,
        ]})
    };
    let place = json!(["cluster:other/queue:q", "cluster:rabbit*/vhost:%2F/queue:q/unknown:1/x"]);
    assert!(reads(&rich, request("rabbitmq-type", json!(["read", "fly"]), place.clone())));
    assert!(reads(&rich, request("rabbitmq-type", json!("read"), json!("cluster:rabbitmq"))));
    assert!(!reads(&rich, request("another", json!(["read"]), place.clone())));
    assert!(!reads(&rules(), request("rabbitmq-type", json!(["read"]), place.clone())));
    assert!(!reads(&rich, request("rabbitmq-type", json!(["write"]), place.clone())));
    assert!(!reads(&rich, request("rabbitmq-type", json!(["read"]), json!("vhost:%2F/queue:q"))));
    assert!(!reads(
        &rich,
        request("rabbitmq-type", json!(["read"]), json!("cluster:rabbitmq/queue:q/exchange:x"))
    ));
    let tagged = request("rabbitmq-type", json!(["administrator", "hero"]), place);
    assert_eq!(judged(&rich, tagged).unwrap().tags, ["administrator"]);
}

#[test]
fn too_many_scopes_are_refused() {
    let scopes = |count: usize| (0..count).map(|i| format!("rabbitmq.read:*/{i}")).collect::<Vec<_>>();
    assert!(judged(&rules(), json!({"scope": scopes(2048)})).is_ok());
    assert_eq!(judged(&rules(), json!({"scope": scopes(2049)})), Err(Refusal::TooManyScopes));
    assert!(judged(&rules(), json!({"scope": vec!["rabbitmq.read:*/*"; 5000]})).is_ok(), "the same one");
}
