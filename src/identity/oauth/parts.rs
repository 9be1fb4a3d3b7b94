//! The parts of a token (JWS, compact): header, claims, signature.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::token::Refusal;

/// A token taken apart. Nothing of it is to be believed yet.
pub(super) struct Parts<'a> {
    pub(super) algorithm: Algorithm,
    /// Which key it says it is signed with.
    pub(super) key: Option<String>,
    /// What is signed: header and claims as they were sent.
    pub(super) signed: &'a str,
    /// The claims as they were sent.
    claims: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::NoToken)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::NoToken)?;
        let header = object(header).ok_or(Refusal::NoToken)?;
        if claims.contains('.') {
            return Err(Refusal::Malformed("it does not have three parts"));
        }
        // RFC 7515: who does not know what is critical must not go on.
        if header.contains_key("crit") {
            return Err(Refusal::Malformed("its header has critical extensions"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.ok_or(Refusal::Malformed("its header has no algorithm"))?;
        let unknown = |_| Refusal::Algorithm(algorithm.to_owned());
        let algorithm = Algorithm::from_str(algorithm).map_err(unknown)?;
        let key = match header.get("kid") {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) => Some(key.clone()),
            Some(_) => return Err(Refusal::Malformed("its key id is not a text")),
        };
        Ok(Self { algorithm, key, signed, claims, signature })
    }

    /// The claims. Only worth reading once the signature is known to be right.
    pub(super) fn claims(&self) -> Result<Claims, Refusal> {
        object(self.claims).ok_or(Refusal::Malformed("its claims are not a JSON object"))
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let text = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&text).ok()
}
