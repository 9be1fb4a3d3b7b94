//! Tokens as a made-up authorization server issues them.

mod forms;
mod signatures;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::keys::Keys;
use super::{KeySet, Refusal, ResourceServer, SigningKey, Token, TokenRules, verify};

/// The time of all tests.
const NOW: u64 = 1_700_000_000;

const SECRET: &[u8] = b"a secret that is long enough for a key";

fn no_keys() -> &'static KeySet {
    static NONE: std::sync::LazyLock<KeySet> = std::sync::LazyLock::new(KeySet::default);
    &NONE
}

/// One secret, under the name "k".
fn secret_keys() -> KeySet {
    let mut keys = KeySet::default();
    keys.insert("k".to_owned(), SigningKey::from_secret(SECRET).unwrap());
    keys
}

/// Claims that are fine, changed by `changes`; `null` takes one away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "aud": "rabbitmq", "exp": NOW + 60, "sub": "ada", "scope": "openid rabbitmq.read:*/*/*",
    });
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    object.retain(|_, value| !value.is_null());
    claims
}

fn signed(algorithm: Algorithm, key: &EncodingKey, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

/// A token with these claims, signed with the secret.
fn token(claims: &Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET), Some("k"), claims)
}

fn check(token: &str, rules: &TokenRules, configured: &KeySet) -> Result<Token, Refusal> {
    verify(token, rules, Keys { configured, fetched: no_keys() }, NOW)
}

/// What comes of changed claims under these rules.
fn judged(rules: &TokenRules, changes: Value) -> Result<Token, Refusal> {
    check(&token(&claims(changes)), rules, &secret_keys())
}

fn rules() -> TokenRules {
    TokenRules::new("rabbitmq")
}

#[test]
fn times_are_checked_to_the_second() {
    let refusal = |changes| judged(&rules(), changes).unwrap_err();
    assert_eq!(judged(&rules(), json!({})).unwrap().expires, Some(NOW + 60));
    assert_eq!(refusal(json!({"exp": NOW})), Refusal::Expired(0));
    assert_eq!(refusal(json!({"exp": NOW - 5})), Refusal::Expired(5));
    assert_eq!(refusal(json!({"exp": null})), Refusal::Claim("exp"));
    for wrong in [json!("soon"), json!(-1), json!([NOW + 60]), json!({}), json!(true)] {
        assert_eq!(refusal(json!({"exp": wrong})), Refusal::Claim("exp"));
    }
    assert_eq!(judged(&rules(), json!({"exp": NOW as f64 + 1.5})).unwrap().expires, Some(NOW + 1));
    assert_eq!(judged(&rules(), json!({"exp": 1e300})).unwrap().expires, Some(u64::MAX));
    assert_eq!(refusal(json!({"nbf": NOW + 1})), Refusal::TooEarly(1));
    assert_eq!(refusal(json!({"nbf": "now"})), Refusal::Claim("nbf"));
    assert!(judged(&rules(), json!({"nbf": NOW})).is_ok());
    let lenient = TokenRules { leeway: 5, ..rules() };
    assert_eq!(judged(&lenient, json!({"exp": NOW - 4, "nbf": NOW + 5})).unwrap().expires, Some(NOW + 1));
    assert_eq!(judged(&lenient, json!({"exp": NOW - 5})), Err(Refusal::Expired(5)));
    let endless = TokenRules { require_exp: false, ..rules() };
    assert_eq!(judged(&endless, json!({"exp": null})).unwrap().expires, None);
}

#[test]
fn the_audience_names_this_broker() {
    for audience in [json!("rabbitmq"), json!("account rabbitmq"), json!(["account", "rabbitmq"])] {
        assert!(judged(&rules(), json!({"aud": audience})).is_ok(), "{audience}");
    }
    let wrong = [
        json!("rabbit"),
        json!("RABBITMQ"),
        json!([]),
        json!(["rabbitmq2", 7]),
        json!({"rabbitmq": 1}),
        json!(null),
    ];
    for audience in wrong {
        assert_eq!(judged(&rules(), json!({"aud": audience})), Err(Refusal::Audience), "{audience}");
        let careless = TokenRules { verify_aud: false, ..rules() };
        assert!(judged(&careless, json!({"aud": audience})).is_ok());
    }
}

#[test]
fn a_token_is_for_one_of_the_brokers_names() {
    let rules = TokenRules { further_servers: vec![ResourceServer::new("nost")], ..rules() };
    let grants = |aud: Value, scope: Value| {
        judged(&rules, json!({"aud": aud, "scope": scope})).map(|token| token.access("/").is_some())
    };
    let both = json!("rabbitmq.read:*/* nost.read:*/*");
    for (aud, scope, granted) in [
        (json!("rabbitmq"), json!("rabbitmq.read:*/*"), true),
        (json!(["account", "nost"]), json!("nost.read:*/*"), true),
        (json!("nost"), json!({"nost": ["read:*/*"]}), true),
        (json!("nost"), json!("rabbitmq.read:*/*"), false),
        (json!("rabbitmq"), json!("nost.read:*/*"), false),
        (json!("nost"), json!({"rabbitmq": ["read:*/*"]}), false),
    ] {
        assert_eq!(grants(aud.clone(), scope.clone()), Ok(granted), "{aud} {scope}");
    }
    assert_eq!(grants(json!("nost rabbitmq"), both.clone()), Err(Refusal::Audiences));
    assert_eq!(grants(json!("other"), both), Err(Refusal::Audience));
    let careless = TokenRules { verify_aud: false, ..rules };
    let claims = |aud: &str| json!({"aud": aud, "scope": "nost.read:*/*"});
    assert!(judged(&careless, claims("nost")).unwrap().access("/").is_some());
    assert!(judged(&careless, claims("other")).unwrap().access("/").is_none(), "it is for the first name");
}

#[test]
fn a_configured_issuer_is_asked_for() {
    let strict = TokenRules { issuer: "https://keys.example/realms/nost".to_owned(), ..rules() };
    assert!(judged(&rules(), json!({"iss": "https://elsewhere"})).is_ok());
    assert!(judged(&strict, json!({"iss": "https://keys.example/realms/nost"})).is_ok());
    assert!(judged(&strict, json!({"iss": "https://keys.example/realms/nost/"})).is_ok());
    let other = "https://keys.example/realms/other".to_owned();
    assert_eq!(judged(&strict, json!({"iss": other})), Err(Refusal::Issuer(other)));
    assert_eq!(judged(&strict, json!({})), Err(Refusal::Claim("iss")));
}

#[test]
fn reasons_keep_to_one_short_line() {
    let long = format!("a\nb{}", "x".repeat(500));
    for refusal in
        [Refusal::Algorithm(long.clone()), Refusal::UnknownKey(long.clone()), Refusal::Issuer(long)]
    {
        let text = refusal.to_string();
        assert!(text.len() < 150 && !text.contains('\n'), "{text}");
    }
}
