//! Keys, algorithms and signatures; and that nothing panics.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use proptest::prelude::*;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData as _,
};

use super::*;
use crate::identity::oauth::KeyError;

/// A key pair that signs tokens.
struct Signer {
    private: EncodingKey,
    public: String,
    algorithms: &'static [Algorithm],
}

use Algorithm as A;

static RSA: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());

fn signers() -> [Signer; 4] {
    let pem = |pair: &KeyPair| (pair.serialize_pem(), pair.public_key_pem());
    let made = |algorithm| pem(&KeyPair::generate_for(algorithm).unwrap());
    let (rsa, p256, p384, ed) =
        (pem(&RSA), made(&PKCS_ECDSA_P256_SHA256), made(&PKCS_ECDSA_P384_SHA384), made(&PKCS_ED25519));
    [
        Signer {
            private: EncodingKey::from_rsa_pem(rsa.0.as_bytes()).unwrap(),
            public: rsa.1,
            algorithms: &[A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512],
        },
        Signer {
            private: EncodingKey::from_ec_pem(p256.0.as_bytes()).unwrap(),
            public: p256.1,
            algorithms: &[A::ES256],
        },
        Signer {
            private: EncodingKey::from_ec_pem(p384.0.as_bytes()).unwrap(),
            public: p384.1,
            algorithms: &[A::ES384],
        },
        Signer {
            private: EncodingKey::from_ed_pem(ed.0.as_bytes()).unwrap(),
            public: ed.1,
            algorithms: &[A::EdDSA],
        },
    ]
}

fn key_set(id: &str, pem: &str) -> KeySet {
    let mut keys = KeySet::default();
    keys.insert(id.to_owned(), SigningKey::from_pem(pem.as_bytes()).unwrap());
    keys
}

/// The header and claims of a token as they are, with an empty signature.
fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn every_algorithm_works_with_its_kind_of_key_and_no_other() {
    let signers = signers();
    for (signer, other) in signers.iter().zip(signers.iter().cycle().skip(1)) {
        for &algorithm in signer.algorithms {
            let token = signed(algorithm, &signer.private, Some("k"), &claims(json!({})));
            let public = signer.public.as_bytes();
            let key = DecodingKey::from_rsa_pem(public)
                .or_else(|_| DecodingKey::from_ec_pem(public))
                .or_else(|_| DecodingKey::from_ed_pem(public))
                .unwrap();
            let mut jwk =
                serde_json::to_value(Jwk::from_decoding_key(&key, Some(algorithm)).unwrap()).unwrap();
            jwk["kid"] = json!("k");
            let fetched = KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
            for keys in [&key_set("k", &signer.public), &fetched] {
                assert_eq!(check(&token, &rules(), keys).unwrap().user, "ada", "{algorithm:?}");
                let allowed = TokenRules { algorithms: vec![A::HS512.into()], ..rules() };
                assert_eq!(check(&token, &allowed, keys), Err(Refusal::Algorithm(format!("{algorithm:?}"))));
            }
            assert!(matches!(
                check(&token, &rules(), &key_set("k", &other.public)),
                Err(Refusal::WrongKind(_) | Refusal::Signature)
            ));
        }
    }
}

/// A token signed on P-521, with this algorithm in its header.
fn signed_on_p521(pair: &KeyPair, algorithm: &str) -> String {
    let token = unsigned(&json!({"alg": algorithm, "kid": "k"}).to_string(), &claims(json!({})).to_string());
    let signed = token.trim_end_matches('.');
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, &pair.serialize_der()).unwrap();
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn p521_is_known_too() {
    let made = || KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
    let (pair, other) = (made(), made());
    let (x, y) = pair.der_bytes()[1..].split_at(66);
    let jwk = |x: &[u8], y: &[u8]| {
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"keys": [{"kty": "EC", "crv": "P-521", "alg": "ES512", "kid": "k", "x": x, "y": y}]})
            .to_string()
    };
    let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap();
    let fetched = KeySet::from_jwks(jwk(x, y).as_bytes()).unwrap();
    let token = signed_on_p521(&pair, "ES512");
    for keys in [&key_set("k", &pair.public_key_pem()), &key_set("k", &certificate.pem()), &fetched] {
        assert_eq!(check(&token, &rules(), keys).unwrap().user, "ada");
        assert_eq!(check(&signed_on_p521(&other, "ES512"), &rules(), keys), Err(Refusal::Signature));
        for wrong in ["ES256", "ES384", "RS256", "HS512"] {
            let token = signed_on_p521(&pair, wrong);
            assert_eq!(check(&token, &rules(), keys), Err(Refusal::WrongKind("k".to_owned())), "{wrong}");
        }
        for end in ["", "A", "AAAA", "="] {
            let cut = format!("{}{end}", &token[..token.len() - 4]);
            assert_eq!(check(&cut, &rules(), keys), Err(Refusal::Signature), "{end}");
        }
    }
    for signer in signers() {
        assert!(check(&token, &rules(), &key_set("k", &signer.public)).is_err());
    }
    assert!(KeySet::from_jwks(jwk(&x[1..], y).as_bytes()).is_err(), "it is too short");
    let nowhere = KeySet::from_jwks(jwk(&[7; 66], y).as_bytes()).unwrap();
    assert_eq!(check(&token, &rules(), &nowhere), Err(Refusal::Signature));
}

#[test]
fn a_key_of_a_set_is_for_its_own_algorithm_only() {
    let signers = signers();
    let private = &signers[0].private;
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(private, A::RS512).unwrap()).unwrap();
    jwk["kid"] = json!("k");
    let keys = KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let token = |algorithm| signed(algorithm, private, Some("k"), &claims(json!({})));
    assert!(check(&token(A::RS512), &rules(), &keys).is_ok());
    assert_eq!(check(&token(A::RS256), &rules(), &keys), Err(Refusal::WrongKind("k".to_owned())));
}

#[test]
fn a_key_without_an_id_is_used_if_it_is_the_only_one() {
    let signers = signers();
    let jwk = |at: usize| {
        let algorithm = signers[at].algorithms[0];
        serde_json::to_value(Jwk::from_encoding_key(&signers[at].private, algorithm).unwrap()).unwrap()
    };
    let set = |keys: Value| KeySet::from_jwks(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    let token = |kid| signed(A::ES256, &signers[1].private, kid, &claims(json!({})));
    let one = set(json!([jwk(1)]));
    assert!(check(&token(None), &rules(), &one).is_ok());
    assert_eq!(check(&token(Some("x")), &rules(), &one), Err(Refusal::UnknownKey("x".to_owned())));
    for last in [1, 2] {
        let two = set(json!([jwk(3 - last), jwk(last)]));
        assert_eq!((two.len(), two.ids().count()), (2, 0));
        assert_eq!(check(&token(None), &rules(), &two), Err(Refusal::NoKey), "which of them?");
    }
    let mut named = jwk(2);
    named["kid"] = json!("k");
    assert_eq!(check(&token(None), &rules(), &set(json!([jwk(1), named]))), Err(Refusal::NoKey));
}

#[test]
fn a_token_without_a_signature_is_refused() {
    for name in ["none", "None", "NONE", "", "HS257"] {
        let header = json!({"alg": name, "kid": "k"}).to_string();
        let token = unsigned(&header, &claims(json!({})).to_string());
        assert_eq!(check(&token, &rules(), &secret_keys()), Err(Refusal::Algorithm(name.to_owned())));
    }
    let token = unsigned(r#"{"alg":"HS256","kid":"k"}"#, &claims(json!({})).to_string());
    assert_eq!(check(&token, &rules(), &secret_keys()), Err(Refusal::Signature));
}

#[test]
fn a_public_key_is_no_secret() {
    for signer in signers() {
        let keys = key_set("k", &signer.public);
        let trimmed = signer.public.trim_end().to_owned();
        for known_to_all in [signer.public.as_bytes(), trimmed.as_bytes()] {
            let forged = EncodingKey::from_secret(known_to_all);
            let token = signed(A::HS256, &forged, Some("k"), &claims(json!({})));
            assert_eq!(check(&token, &rules(), &keys), Err(Refusal::WrongKind("k".to_owned())));
        }
    }
}

#[test]
fn secrets_do_not_come_from_key_sets() {
    let keys = json!({"keys": [
        {"kty": "oct", "kid": "k", "k": URL_SAFE_NO_PAD.encode(SECRET)},
        {"kty": "RSA", "kid": "e", "use": "enc", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": "o", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "kid": "c", "crv": "secp256k1", "x": "AQAB", "y": "AQAB"},
        {"kty": "RSA", "kid": "b", "n": "!", "e": "AQAB"},
        {"kid": "nothing"}, 7, null,
    ]});
    assert_eq!(KeySet::from_jwks(keys.to_string().as_bytes()).unwrap_err(), KeyError::Empty);
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, "\u{0}"] {
        assert_eq!(KeySet::from_jwks(text.as_bytes()).unwrap_err(), KeyError::Set, "{text}");
    }
}

#[test]
fn files_that_are_no_public_keys_are_refused() {
    assert_eq!(SigningKey::from_pem(RSA.serialize_pem().as_bytes()).unwrap_err(), KeyError::Private);
    assert_eq!(SigningKey::from_pem(b"-----BEGIN NOTHING-----").unwrap_err(), KeyError::Pem);
    assert_eq!(SigningKey::from_secret(b"short").unwrap_err(), KeyError::ShortSecret);
}

#[test]
fn a_certificate_is_as_good_as_its_key() {
    let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&*RSA).unwrap();
    let private = EncodingKey::from_rsa_pem(RSA.serialize_pem().as_bytes()).unwrap();
    let token = signed(A::RS256, &private, Some("k"), &claims(json!({})));
    assert!(check(&token, &rules(), &key_set("k", &certificate.pem())).is_ok());
}

#[test]
fn the_key_is_found_by_its_id() {
    let secret = EncodingKey::from_secret(SECRET);
    let with = |kid| signed(A::HS256, &secret, kid, &claims(json!({})));
    let mut keys = secret_keys();
    assert!(check(&with(None), &rules(), &keys).is_ok(), "there is only one");
    assert_eq!(check(&with(Some("x")), &rules(), &keys), Err(Refusal::UnknownKey("x".to_owned())));
    keys.insert("other".to_owned(), SigningKey::from_secret(&[b'x'; 32]).unwrap());
    assert_eq!(check(&with(None), &rules(), &keys), Err(Refusal::NoKey));
    assert_eq!(check(&with(Some("other")), &rules(), &keys), Err(Refusal::Signature));
    let default = |id: &str| TokenRules { default_key: id.to_owned(), ..rules() };
    assert!(check(&with(None), &default("k"), &keys).is_ok());
    assert_eq!(check(&with(None), &default("gone"), &keys), Err(Refusal::UnknownKey("gone".to_owned())));
    let fetched =
        verify(&with(Some("k")), &rules(), Keys { configured: no_keys(), fetched: &secret_keys() }, NOW);
    assert!(fetched.is_ok());
}

#[test]
fn what_is_no_token_is_told_apart_from_a_bad_one() {
    for text in ["", "guest", "a.b", "a.b.c", "..", "pass.word.with.dots", "🦀.🦀.🦀"] {
        assert_eq!(check(text, &rules(), &secret_keys()), Err(Refusal::NoToken), "{text}");
    }
    let header = |header: &str| check(&unsigned(header, "{}"), &rules(), &secret_keys()).unwrap_err();
    assert!(matches!(header("{}"), Refusal::Malformed(_)));
    assert!(matches!(header(r#"{"alg":7}"#), Refusal::Malformed(_)));
    assert!(matches!(header(r#"{"alg":"HS256","kid":7}"#), Refusal::Malformed(_)));
    assert!(matches!(header(r#"{"alg":"HS256","kid":"k","crit":["exp"]}"#), Refusal::Malformed(_)));
    let good = token(&claims(json!({})));
    let five_parts = format!("{good}.x.y");
    assert!(matches!(check(&five_parts, &rules(), &secret_keys()), Err(Refusal::Malformed(_))));
    for claims in [json!([]), json!("text"), json!(7)] {
        assert!(matches!(check(&token(&claims), &rules(), &secret_keys()), Err(Refusal::Malformed(_))));
    }
}

#[test]
fn a_changed_token_is_refused() {
    let good = token(&claims(json!({})));
    assert!(check(&good, &rules(), &secret_keys()).is_ok());
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    let other_claims = token(&claims(json!({"sub": "eve"})));
    let swapped = format!("{}.{signature}", other_claims.rsplit_once('.').unwrap().0);
    let wrong = [
        swapped,
        format!("{good}="),
        format!("{good}A"),
        format!("{signed_part}."),
        good[..good.len() - 1].to_owned(),
    ];
    for wrong in wrong {
        assert_eq!(check(&wrong, &rules(), &secret_keys()), Err(Refusal::Signature), "{wrong}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_on_bytes(text in ".{0,60}", header in ".{0,30}", claims in ".{0,30}", signature in "[a-zA-Z0-9_=-]{0,90}") {
        let parts = format!("{}{signature}", unsigned(&header, &claims));
        for text in [&text, &parts] {
            prop_assert!(check(text, &rules(), &secret_keys()).is_err());
        }
    }

    #[test]
    fn nothing_panics_on_claims(name in "(aud|exp|nbf|iss|sub|scope|authorization|authorization_details|roles)",
                                value in any_json()) {
        let rules = TokenRules {
            additional_scopes_keys: vec!["roles.x".to_owned(), "aud".to_owned()],
            resource_server_type: "t".to_owned(),
            issuer: "x".to_owned(),
            ..rules()
        };
        if let Ok(token) = judged(&rules, json!({"iss": "x", name: value})) {
            let _ = token.access("/");
        }
    }
}

/// Some JSON, with words that mean something to us.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("rabbitmq.read:*/*"),
        Just("rabbitmq.tag:x"),
        Just("scopes"),
        Just("permissions"),
        Just("t"),
        Just("read"),
        Just("cluster:*/vhost:{x}"),
        Just(""),
    ];
    let leaf = prop_oneof![
        word.clone().prop_map(|text| json!(text)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|yes| json!(yes)),
        Just(json!(null)),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let name = prop_oneof![
            word.clone(),
            Just("type"),
            Just("actions"),
            Just("locations"),
            Just("x"),
            Just("rabbitmq")
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}
