//! Tracing of a vhost, on and off. It holds until the restart; `vhosts.traced` says what holds from then on.

use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::routes::{Resource, delete, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let verbs = [put(Level::Administrator, turn_on), delete(Level::Administrator, turn_off)];
    vec![Resource::new("/vhosts/{vhost}/tracing", verbs)]
}

fn turn_on(call: &Call) -> Result<Answer, ApiError> {
    call.vhost()?.set_traced(true);
    Ok(Answer::NoContent)
}

fn turn_off(call: &Call) -> Result<Answer, ApiError> {
    call.vhost()?.set_traced(false);
    Ok(Answer::NoContent)
}
