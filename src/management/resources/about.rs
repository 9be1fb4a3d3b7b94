//! What the broker says of itself, also to those who have not logged in.

use serde_json::json;

use crate::broker::churn::LoginProtocol;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::single;
use crate::management::routes::{Resource, delete, get};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (monitoring, admin) = (Level::Monitoring, Level::Administrator);
    vec![
        Resource::new("/auth", [get(Level::Anyone, auth)]),
        Resource::new("/auth/attempts/{node}", [get(monitoring, attempts), delete(admin, forget_attempts)]),
        Resource::new(
            "/auth/attempts/{node}/source",
            [get(monitoring, sources), delete(admin, forget_attempts)],
        ),
        Resource::new("/version", [get(Level::Anyone, version)]),
        Resource::new("/extensions", [get(Level::Management, extensions)]),
        Resource::new("/config/effective", [get(admin, configuration)]),
    ]
}

/// How a page logs its visitors in: with a password, and perhaps at a provider, by what that is called.
fn auth(call: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::Json(match &call.api.options.code_flow {
        None => json!({ "oauth_enabled": false }),
        Some(provider) => json!({ "oauth_enabled": true, "oauth_label": provider.label }),
    }))
}

fn attempts(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    let told = |protocol: LoginProtocol| {
        let (succeeded, failed) = call.broker().login_attempts.of(protocol);
        json!({
            "protocol": protocol.name(),
            "auth_attempts": succeeded + failed,
            "auth_attempts_succeeded": succeeded,
            "auth_attempts_failed": failed,
        })
    };
    Ok(Answer::Json(LoginProtocol::ALL.map(told).to_vec().into()))
}

/// Attempts are not counted by where they come from, as in RabbitMQ unless it is told to.
fn sources(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    Ok(Answer::Json(json!([])))
}

fn forget_attempts(call: &Call) -> Result<Answer, ApiError> {
    call.check_node()?;
    call.broker().login_attempts.forget();
    Ok(Answer::NoContent)
}

fn version(call: &Call) -> Result<Answer, ApiError> {
    let options = call.api.live.current();
    Ok(Answer::Json(json!({
        "product_name": options.product_name,
        "product_version": options.product_version,
        "rabbitmq_version": options.rabbitmq_version,
    })))
}

/// Scripts of RabbitMQ's pages; there is the main one.
fn extensions(_call: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::Json(json!([{ "javascript": "dispatcher.js" }])))
}

/// The options as they were at the start or the last reload, with secrets masked.
fn configuration(call: &Call) -> Result<Answer, ApiError> {
    Ok(single(call, call.broker().node.configuration().into()))
}
