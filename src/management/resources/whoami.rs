//! Who asks.

use serde_json::json;

use crate::identity::tags::Tag;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::routes::{Resource, get};
use crate::management::visitor::{Level, Visitor};

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    vec![Resource::new("/whoami", [get(Level::Management, whoami)])]
}

fn whoami(call: &Call) -> Result<Answer, ApiError> {
    let (tags, is_internal) = match &call.visitor {
        Visitor::User(user) => {
            let details = user.details();
            let tags: Vec<String> = details.tags.iter().map(|tag| tag.name().to_owned()).collect();
            (tags, details.token.is_none())
        }
        Visitor::Local => (vec![Tag::Administrator.name().to_owned()], false),
        Visitor::Nobody => (Vec::new(), false),
    };
    Ok(Answer::Json(json!({
        "name": call.visitor.name(),
        "tags": tags,
        "is_internal_user": is_internal,
        "login_session_timeout": call.api.sessions.lasting().as_secs() / 60,
    })))
}
