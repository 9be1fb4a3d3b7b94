//! Whether a token is to be believed, and what it says.

use std::fmt;

use serde_json::Value;

use super::claims::{self, Claims};
use super::keys::{Keys, SigningKey};
use super::parts::Parts;
use super::rules::{ResourceServer, TokenRules};
use super::scope::Scope;
use crate::identity::access::Access;

/// What a token says that was believed.
#[derive(Clone, PartialEq)]
pub struct Token {
    /// The user's name.
    pub user: String,
    /// The user's tags, by name.
    pub tags: Vec<String>,
    /// When it is not good any more, in seconds since 1970; `None` is never.
    pub expires: Option<u64>,
    scopes: Vec<Scope>,
}

/// Claims may be personal, and scopes are made of them.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("user", &self.user)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why a token is not believed: for the log, not for the client. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is something else, such as a password.
    NoToken,
    /// It is not well-formed.
    Malformed(&'static str),
    /// Its algorithm is unknown or not allowed: `none`, for instance.
    Algorithm(String),
    /// It names no key, and it is not clear which one is meant.
    NoKey,
    /// It names a key that is not there. It may be, once keys are fetched anew.
    UnknownKey(String),
    /// The key it names is of another kind than its algorithm.
    WrongKind(String),
    /// Its signature is wrong.
    Signature,
    /// A claim that is needed is missing or not of its type.
    Claim(&'static str),
    /// It expired that many seconds ago.
    Expired(u64),
    /// It is not good yet.
    TooEarly(u64),
    /// It is for somebody else.
    Audience,
    /// It is for more than one of the resource servers that this broker is, whose scopes mean different things.
    Audiences,
    /// Somebody else has issued it.
    Issuer(String),
    /// It has no name for its user.
    NoUser,
    /// It has more scopes than anybody needs.
    TooManyScopes,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken => write!(f, "it is not an access token"),
            Self::Malformed(why) => write!(f, "the access token is malformed: {why}"),
            Self::Algorithm(name) => {
                write!(f, "the access token's algorithm '{}' is not allowed", shown(name))
            }
            Self::NoKey => write!(f, "the access token names no key, and there is no default one"),
            Self::UnknownKey(id) => write!(f, "the access token's key '{}' is unknown", shown(id)),
            Self::WrongKind(id) => {
                write!(f, "the access token's algorithm does not go with its key '{}'", shown(id))
            }
            Self::Signature => write!(f, "the access token's signature is wrong"),
            Self::Claim(name) => write!(f, "the access token's claim '{name}' is missing or malformed"),
            Self::Expired(ago) => write!(f, "the access token expired {ago} s ago"),
            Self::TooEarly(until) => write!(f, "the access token is not good before {until} s from now"),
            Self::Audience => write!(f, "the access token is for another audience"),
            Self::Audiences => write!(f, "the access token's audience has several of our resource servers"),
            Self::Issuer(name) => write!(f, "the access token was issued by '{}'", shown(name)),
            Self::NoUser => write!(f, "the access token has no user name"),
            Self::TooManyScopes => write!(f, "the access token has too many scopes"),
        }
    }
}

/// What a stranger wrote, as a log line may hold it.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

/// Whether to believe a token, `now` in seconds since 1970.
///
/// # Errors
/// If not. After [`Refusal::UnknownKey`] it is worth to fetch keys and to ask again.
pub fn verify(token: &str, rules: &TokenRules, keys: Keys<'_>, now: u64) -> Result<Token, Refusal> {
    let parts = Parts::split(token)?;
    if !rules.algorithms.contains(&parts.algorithm) {
        return Err(Refusal::Algorithm(format!("{:?}", parts.algorithm)));
    }
    let (id, key) = find_key(parts.key.as_deref(), rules, keys)?;
    if !key.is_for(parts.algorithm) {
        return Err(Refusal::WrongKind(id.to_owned()));
    }
    if !key.verifies(parts.algorithm, parts.signed, parts.signature) {
        return Err(Refusal::Signature);
    }
    let claims = parts.claims()?;
    let expires = check_times(&claims, rules, now)?;
    let server = find_server(&claims, rules)?;
    check_issuer(&claims, rules)?;
    let user = claims::user_name(&claims, rules).ok_or(Refusal::NoUser)?.to_owned();
    let scopes = claims::scopes(&claims, rules, server).map_err(|_| Refusal::TooManyScopes)?;
    let tags = scopes.iter().filter_map(|scope| scope.strip_prefix("tag:")).map(str::to_owned).collect();
    let scopes = scopes.iter().filter_map(|scope| Scope::parse(scope, &claims)).collect();
    Ok(Token { user, tags, expires, scopes })
}

fn find_key<'k>(
    named: Option<&'k str>,
    rules: &'k TokenRules,
    keys: Keys<'k>,
) -> Result<(&'k str, &'k SigningKey), Refusal> {
    let default = Some(rules.default_key.as_str()).filter(|id| !id.is_empty());
    match named.or(default) {
        Some(id) => keys.get(id).map(|key| (id, key)).ok_or_else(|| Refusal::UnknownKey(id.to_owned())),
        None => keys.only().map(|key| ("", key)).ok_or(Refusal::NoKey),
    }
}

/// Looks at the times; answers when the token stops to be good.
fn check_times(claims: &Claims, rules: &TokenRules, now: u64) -> Result<Option<u64>, Refusal> {
    if let Some(not_before) = claims.get("nbf") {
        let not_before = seconds(not_before).ok_or(Refusal::Claim("nbf"))?;
        if not_before > now.saturating_add(rules.leeway) {
            return Err(Refusal::TooEarly(not_before - now));
        }
    }
    let Some(expires) = claims.get("exp") else {
        return if rules.require_exp { Err(Refusal::Claim("exp")) } else { Ok(None) };
    };
    let expires = seconds(expires).ok_or(Refusal::Claim("exp"))?;
    let last = expires.saturating_add(rules.leeway);
    if last <= now { Err(Refusal::Expired(now - expires)) } else { Ok(Some(last)) }
}

/// A time of a claim in whole seconds.
fn seconds(value: &Value) -> Option<u64> {
    // The conversion saturates, and what is not finite cannot be written in JSON.
    value.as_u64().or_else(|| value.as_f64().filter(|time| *time >= 0.0).map(|time| time as u64))
}

/// Which of our names the token is for.
fn find_server<'r>(claims: &Claims, rules: &'r TokenRules) -> Result<&'r ResourceServer, Refusal> {
    let audience = claims.get("aud");
    let is_named =
        |server: &&ResourceServer| audience.is_some_and(|audience| claims::is_for(audience, &server.id));
    let mut named = rules.servers().filter(is_named);
    match (named.next(), named.next()) {
        (Some(server), None) => Ok(server),
        (Some(_), Some(_)) => Err(Refusal::Audiences),
        (None, _) if rules.verify_aud => Err(Refusal::Audience),
        (None, _) => Ok(&rules.server),
    }
}

fn check_issuer(claims: &Claims, rules: &TokenRules) -> Result<(), Refusal> {
    if !rules.issuer.is_empty() {
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(Refusal::Claim("iss"))?;
        if !same_issuer(issuer, &rules.issuer) {
            return Err(Refusal::Issuer(issuer.to_owned()));
        }
    }
    Ok(())
}

/// Whether two issuers are the same one. A slash at the end is easily forgotten, and makes no other issuer.
#[must_use]
pub fn same_issuer(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

impl Token {
    /// What it allows in a vhost, which may be nothing.
    #[must_use]
    pub fn access_or_none(&self, vhost: &str) -> Access {
        self.access(vhost).unwrap_or_else(|| Access::of_scopes(Vec::new()))
    }

    /// What it allows in a vhost; `None` if it has no scope for it.
    #[must_use]
    pub fn access(&self, vhost: &str) -> Option<Access> {
        let grants: Vec<_> = self.scopes.iter().filter_map(|scope| scope.in_vhost(vhost)).collect();
        if grants.is_empty() { None } else { Some(Access::of_scopes(grants)) }
    }
}
