//! What operators ask for now and then: the hash of a password, and that queues are spread over nodes.

use serde_json::json;

use crate::identity::password::PasswordHash;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::routes::{Resource, get, post, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let admin = Level::Administrator;
    vec![
        Resource::new("/auth/hash_password", [put(admin, hash_body)]),
        Resource::new("/auth/hash_password/{password}", [get(admin, hash)]),
        Resource::new("/rebalance/queues", [post(admin, rebalance)]),
    ]
}

/// The hash as it is stored for new users.
fn hashed(call: &Call, password: &str) -> Result<PasswordHash, ApiError> {
    Ok(call.broker().users.hash_new(password.as_bytes())?)
}

fn hash(call: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::Json(json!({ "ok": hashed(call, call.name("password"))?.text() })))
}

/// As in `LavinMQ`: the password is not in the path, where proxies log it.
fn hash_body(call: &Call) -> Result<Answer, ApiError> {
    let body = call.object()?;
    let hash = hashed(call, body.text("password")?)?;
    Ok(Answer::Json(json!({ "password_hash": hash.text(), "hashing_algorithm": hash.algorithm() })))
}

/// On one node they are.
fn rebalance(_: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::NoContent)
}
