//! Connections that are to end.

use std::sync::Arc;

use crate::broker::connections::OpenConnection;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::routes::{Resource, delete};
use crate::management::visitor::Level;

/// What clients are told unless the request gives a reason.
const REASON: &str = "Closed via management plugin";

/// The header with the reason.
const REASON_HEADER: &str = "x-reason";

/// The longest reason in bytes: a longer one is cut.
const LONGEST_REASON: usize = 200;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let any = Level::Management;
    vec![
        Resource::new("/connections/{name}", [delete(any, close)]),
        Resource::new("/connections/username/{user}", [delete(any, close_all)]),
    ]
}

/// Whether the visitor may end a connection: administrators any, others their own.
fn may_close(call: &Call, connection: &OpenConnection) -> bool {
    call.visitor.is_user(&connection.facts.user) || call.visitor.is(Level::Administrator)
}

fn reason(call: &Call) -> &str {
    let said = call.headers.get(REASON_HEADER).and_then(|reason| reason.to_str().ok());
    let reason = said.filter(|reason| !reason.is_empty()).unwrap_or(REASON);
    &reason[..reason.floor_char_boundary(LONGEST_REASON)]
}

fn close(call: &Call) -> Result<Answer, ApiError> {
    let connection: Arc<OpenConnection> = call
        .broker()
        .registry
        .connection_named(call.name("name"))
        .ok_or(ApiError::NotFound("connection_not_found"))?;
    if !may_close(call, &connection) {
        call.visitor.require(Level::Administrator)?;
    }
    connection.close(reason(call));
    Ok(Answer::NoContent)
}

fn close_all(call: &Call) -> Result<Answer, ApiError> {
    let user = call.name("user");
    if call.visitor.name() != user {
        call.visitor.require(Level::Administrator)?;
    }
    // Others may have the same name.
    let may_close = |connection: &OpenConnection| may_close(call, connection);
    call.broker().registry.close_connections_of(user, may_close, reason(call));
    Ok(Answer::NoContent)
}
