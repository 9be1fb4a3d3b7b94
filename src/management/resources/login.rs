//! Sessions: begun with a password in a form, and ended.

use std::time::Duration;

use axum::http::header::SET_COOKIE;
use serde_json::json;

use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::cookies;
use crate::management::error::ApiError;
use crate::management::gate::shown_token;
use crate::management::routes::{Resource, delete, post};
use crate::management::sessions;
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let any = Level::Management;
    vec![Resource::new("/login", [post(any, begin).with_form_login(), delete(any, end)])]
}

fn begin(call: &Call) -> Result<Answer, ApiError> {
    let sessions = &call.api.sessions;
    let login =
        call.login.clone().ok_or_else(|| ApiError::bad("who comes by the control socket needs no login"))?;
    let (token, lasting) = sessions.begin(login, (call.api.clock)().moment);
    let cookie = cookie(call, Some(&token), lasting);
    let told = json!({
        "token": token,
        "token_type": "Bearer",
        "expires_in": lasting.as_secs(),
    });
    Ok(Answer::Noted(Box::new(Answer::Json(told)), SET_COOKIE.as_str(), cookie))
}

fn end(call: &Call) -> Result<Answer, ApiError> {
    if let Some(token) = shown_token(&call.headers) {
        call.api.sessions.end(token);
    }
    Ok(Answer::Noted(Box::new(Answer::NoContent), SET_COOKIE.as_str(), cookie(call, None, Duration::ZERO)))
}

fn cookie(call: &Call, token: Option<&str>, lasting: Duration) -> String {
    let options = &call.api.options;
    let known = options.code_flow.as_ref().and_then(|flow| flow.origin.as_deref());
    let is_secure = cookies::is_secure(&call.headers, call.origin.is_tls(), known);
    sessions::cookie(&call.headers, token, &options.path_prefix, lasting, is_secure)
}
