//! Scopes: `{read|write|configure}:<vhost>/<name>[/<routing key>]`.
//!
//! `*` inside a part stands for any run of characters; everything else is URL-encoded. `{vhost}` and `{claim}` stand
//! for the vhost's name and a claim of the token. RabbitMQ fills them in before it reads the pattern; here they are
//! literal text, so that nobody gets more by a `*` in a name they chose.

use serde_json::{Map, Value};

use super::wildcard::Wildcard;
use crate::identity::access::Right;

/// What one scope grants.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    right: Right,
    vhost: Part,
    name: Part,
    key: Option<Part>,
}

/// What a scope grants in one vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeGrant {
    right: Right,
    name: Wildcard,
    key: Option<Wildcard>,
}

/// A part of a scope, for which the vhost is still to be filled in.
#[derive(Clone, Debug, PartialEq)]
struct Part(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Vec<u8>),
    Wildcard,
    VHost,
}

impl Scope {
    /// A scope without its prefix; `None` if it is not one that grants a right.
    #[must_use]
    pub fn parse(text: &str, claims: &Map<String, Value>) -> Option<Self> {
        let (right, resource) = text.split_once(':')?;
        let right =
            [Right::Configure, Right::Write, Right::Read].into_iter().find(|known| known.name() == right)?;
        let mut parts = resource.split('/').map(|part| Part::parse(part, claims));
        let (vhost, name) = (parts.next()??, parts.next()??);
        let key = match parts.next() {
            Some(part) => Some(part?),
            None => None,
        };
        parts.next().is_none().then_some(Self { right, vhost, name, key })
    }

    /// What it grants in a vhost, if it is about that one.
    #[must_use]
    pub fn in_vhost(&self, vhost: &str) -> Option<ScopeGrant> {
        let wildcard = |part: &Part| part.wildcard(vhost);
        self.vhost.wildcard(vhost).matches(vhost).then(|| ScopeGrant {
            right: self.right,
            name: wildcard(&self.name),
            key: self.key.as_ref().map(wildcard),
        })
    }
}

impl ScopeGrant {
    /// Whether it gives `right` on the exchange or queue of this name. A routing key makes no difference.
    #[must_use]
    pub fn allows(&self, right: Right, name: &str) -> bool {
        self.right == right && self.name.matches(name)
    }

    /// Whether it gives `right` on a routing key of the topic exchange of this name. A scope without a third part gives
    /// none.
    #[must_use]
    pub fn allows_topic(&self, right: Right, exchange: &str, key: &str) -> bool {
        self.allows(right, exchange) && self.key.as_ref().is_some_and(|pattern| pattern.matches(key))
    }
}

impl Part {
    fn parse(text: &str, claims: &Map<String, Value>) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['*', '{', '}']) {
            let (before, mark) = rest.split_at(at);
            push_text(&mut pieces, before)?;
            if let Some(after) = mark.strip_prefix('*') {
                pieces.push(Piece::Wildcard);
                rest = after;
            } else {
                let (variable, after) = mark.strip_prefix('{')?.split_once('}')?;
                pieces.push(variable_piece(variable, claims)?);
                rest = after;
            }
        }
        push_text(&mut pieces, rest)?;
        Some(Self(pieces))
    }

    fn wildcard(&self, vhost: &str) -> Wildcard {
        let mut texts = vec![Vec::new()];
        for piece in &self.0 {
            match (piece, texts.last_mut()) {
                (Piece::Text(text), Some(last)) => last.extend_from_slice(text),
                (Piece::VHost, Some(last)) => last.extend_from_slice(vhost.as_bytes()),
                (Piece::Wildcard, _) | (_, None) => texts.push(Vec::new()),
            }
        }
        Wildcard::new(texts)
    }
}

/// What a variable stands for. One that the token does not tell stands for its own name, as in RabbitMQ.
fn variable_piece(variable: &str, claims: &Map<String, Value>) -> Option<Piece> {
    if variable.contains(['{', '*']) {
        return None;
    }
    if variable == "vhost" {
        return Some(Piece::VHost);
    }
    let value = claims.get(variable).and_then(Value::as_str).unwrap_or(variable);
    Some(Piece::Text(value.as_bytes().to_vec()))
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Option<()> {
    if !text.is_empty() {
        pieces.push(Piece::Text(url_decoded(text)?));
    }
    Some(())
}

/// The text that a URL-encoded one stands for, with `+` for a space; `None` if an escape is broken.
fn url_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn claims() -> Map<String, Value> {
        json!({"sub": "ada", "star": "a*", "number": 7}).as_object().cloned().unwrap()
    }

    fn grant(scope: &str, vhost: &str) -> Option<ScopeGrant> {
        Scope::parse(scope, &claims())?.in_vhost(vhost)
    }

    #[test]
    fn what_is_no_permission_is_none() {
        let wrong = [
            "",
            "read",
            "read:",
            "read:*",
            "read:a/b/c/d",
            "Read:*/*",
            "READ:*/*",
            "tag:administrator",
            "openid",
            "read:%2/*",
            "read:%zz/*",
            "read:{vhost/*",
            "read:vhost}/*",
            "read:{a{b}}/*",
            "delete:*/*",
            " read:*/*",
        ];
        for scope in wrong {
            assert_eq!(Scope::parse(scope, &claims()), None, "{scope}");
        }
    }

    #[test]
    fn the_vhost_is_url_decoded() {
        for (scope, vhost, is_in) in [
            ("read:%2F/*", "/", true),
            ("read:%2f/*", "/", true),
            ("read:*/*", "/", true),
            ("read:/*", "/", false),
            ("read:a+b/*", "a b", true),
            ("read:a%2Bb/*", "a+b", true),
            ("read:prod-*/*", "prod-1", true),
            ("read:prod-*/*", "test-1", false),
            ("read:{vhost}/*", "/", true),
            ("read:%C3%A9/*", "é", true),
        ] {
            assert_eq!(grant(scope, vhost).is_some(), is_in, "{scope} {vhost}");
        }
    }

    #[test]
    fn names_and_keys_have_patterns() {
        let two = grant("write:*/nost", "/").unwrap();
        assert!(two.allows(Right::Write, "nost") && !two.allows(Right::Read, "nost"));
        assert!(!two.allows(Right::Write, "nost.x") && !two.allows_topic(Right::Write, "nost", "nost.app"));
        let three = grant("write:*/sos*/sos*", "/").unwrap();
        assert!(three.allows(Right::Write, "sos.queue"), "the routing key makes no difference here");
        assert!(three.allows_topic(Right::Write, "sos", "sos.app.topic"));
        assert!(!three.allows_topic(Right::Write, "sos", "nost.app"));
        assert!(!three.allows_topic(Right::Read, "sos", "sos.app"));
    }

    #[test]
    fn variables_are_literal() {
        let of_user = grant("write:*/{sub}-{vhost}-*", "v").unwrap();
        assert!(of_user.allows(Right::Write, "ada-v-1") && !of_user.allows(Right::Write, "bob-v-1"));
        let star = grant("write:*/{star}", "v").unwrap();
        assert!(star.allows(Right::Write, "a*") && !star.allows(Right::Write, "ab"));
        let unknown = grant("write:*/{number}-{nothing}", "v").unwrap();
        assert!(unknown.allows(Right::Write, "number-nothing"));
    }

    proptest! {
        #[test]
        fn nothing_panics(scope in "(read:|write:)?[a-z*/{}%+é]{0,20}", vhost in ".{0,5}", name in ".{0,5}") {
            if let Some(grant) = grant(&scope, &vhost) {
                let topic = grant.allows_topic(Right::Read, &name, &name);
                prop_assert!(!topic || grant.allows(Right::Read, &name));
            }
        }
    }
}
