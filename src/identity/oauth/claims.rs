//! Scopes in the claims of a token, in all the places and forms that authorization servers have for them.

use serde_json::{Map, Value};

use super::requests;
use super::rules::{ResourceServer, TokenRules};

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// Where Keycloak puts what a requesting party may do (UMA).
const PERMISSIONS_PATH: &str = "authorization.permissions.scopes";

/// Most scopes for this broker in a token, as in RabbitMQ.
const MOST_SCOPES: usize = 2048;

/// There are too many scopes.
pub(super) struct TooMany;

/// The scopes for one of this broker's names, without their prefix, each once.
pub(super) fn scopes(
    claims: &Claims,
    rules: &TokenRules,
    server: &ResourceServer,
) -> Result<Vec<String>, TooMany> {
    let mut all = Vec::new();
    let ResourceServer { id, scope_prefix } = server;
    let own_paths = rules.additional_scopes_keys.iter().map(String::as_str);
    for path in ["scope", PERMISSIONS_PATH].into_iter().chain(own_paths) {
        at_path(claims, path, &mut |value| push_scopes(&mut all, value, id));
    }
    let aliases = all.iter().filter_map(|scope| rules.scope_aliases.get(scope));
    let aliased: Vec<String> = aliases.flatten().cloned().collect();
    all.extend(aliased);
    if let Some(details) = claims.get("authorization_details") {
        requests::push_scopes(&mut all, details, &rules.resource_server_type, id);
    }
    let own = all.iter().filter_map(|scope| scope.strip_prefix(scope_prefix));
    let mut own: Vec<String> = own.map(str::to_owned).collect();
    own.sort_unstable();
    own.dedup();
    if own.len() > MOST_SCOPES { Err(TooMany) } else { Ok(own) }
}

/// The longest name that a client can say in AMQP.
const LONGEST_NAME: usize = 255;

/// Who the token is for.
pub(super) fn user_name<'a>(claims: &'a Claims, rules: &TokenRules) -> Option<&'a str> {
    let mut names = rules.name_claims().filter_map(|claim| claims.get(claim)?.as_str());
    names.find(|name| !name.is_empty() && name.len() <= LONGEST_NAME)
}

/// Whether the audience names somebody. A text may name several, with spaces between.
pub(super) fn is_for(audience: &Value, somebody: &str) -> bool {
    match audience {
        Value::String(text) => text.split(' ').any(|name| name == somebody),
        Value::Array(names) => names.iter().any(|name| name == somebody),
        _ => false,
    }
}

/// Calls `found` with each value at a path of claims. An array on the way, but for the value itself, stands for
/// all of its items.
fn at_path(claims: &Claims, path: &str, found: &mut impl FnMut(&Value)) {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    // A claim may have a dot in its name: URLs are usual.
    if let (Some(value), Some(_)) = (claims.get(path), rest) {
        found(value);
    }
    let Some(value) = claims.get(key) else { return };
    let Some(rest) = rest else { return found(value) };
    match value {
        Value::Object(inner) => at_path(inner, rest, found),
        Value::Array(items) => {
            items.iter().filter_map(Value::as_object).for_each(|inner| at_path(inner, rest, found));
        }
        _ => {}
    }
}

/// Adds the scopes of a claim: a list, a text with spaces, or a map that has either without its prefix for each resource
/// server.
fn push_scopes(all: &mut Vec<String>, value: &Value, id: &str) {
    match value {
        Value::Object(by_server) => {
            let own = by_server.get(id).into_iter().flat_map(items);
            all.extend(own.map(|scope| format!("{id}.{scope}")));
        }
        other => all.extend(items(other).map(str::to_owned)),
    }
}

/// The texts of a list, or of a text with spaces between them.
fn items(value: &Value) -> impl Iterator<Item = &str> {
    let listed = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    let written = value.as_str().into_iter().flat_map(|text| text.split(' '));
    listed.chain(written).filter(|item| !item.is_empty())
}
