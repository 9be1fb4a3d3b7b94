//! From where on alarms block publishers. What is set here holds until the restart; the configuration says what holds from
//! then on.

use serde::Deserialize;
use serde_json::json;

use crate::broker::thresholds::FreeLimit;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::routes::{Resource, get, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (sees, sets) = (Level::Monitoring, Level::Administrator);
    vec![
        Resource::new("/alarm-limits/memory", [get(sees, memory), put(sets, set_memory)]),
        Resource::new("/alarm-limits/disk", [get(sees, disk), put(sets, set_disk)]),
    ]
}

/// How a limit is said: as an object with one key.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// In bytes.
    Bytes(u64),
    /// As a part of what there is of it.
    Fraction(f64),
    /// As a part of the machine's memory.
    OfMemory(f64),
}

/// What the body says.
fn said(call: &Call) -> Result<Said, ApiError> {
    let said = call.json()?;
    match said {
        Said::Fraction(part) if !(0.0..=1.0).contains(&part) => {
            Err(ApiError::bad("a fraction is from 0 to 1"))
        }
        Said::OfMemory(part) if !(0.0..=1e6).contains(&part) => Err(ApiError::bad("of_memory is 0 or more")),
        said => Ok(said),
    }
}

fn memory(call: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::Json(json!({ "bytes": call.broker().thresholds.memory() })))
}

fn set_memory(call: &Call) -> Result<Answer, ApiError> {
    let thresholds = &call.broker().thresholds;
    let bytes = match said(call)? {
        Said::Bytes(bytes) => bytes,
        Said::Fraction(part) | Said::OfMemory(part) => {
            thresholds.of_machine(part).ok_or_else(unknown_memory)?
        }
    };
    thresholds.set_memory(bytes);
    tracing::info!(bytes, "memory watermark set");
    Ok(Answer::NoContent)
}

fn disk(call: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::Json(match call.broker().thresholds.disk() {
        FreeLimit::Auto => json!({ "auto": true, "bytes": call.broker().node.disk().limit }),
        FreeLimit::Fraction(part) => json!({ "fraction": part, "bytes": call.broker().node.disk().limit }),
        FreeLimit::Bytes(bytes) => json!({ "bytes": bytes }),
    }))
}

fn set_disk(call: &Call) -> Result<Answer, ApiError> {
    let thresholds = &call.broker().thresholds;
    let limit = match said(call)? {
        Said::Bytes(bytes) => FreeLimit::Bytes(bytes),
        Said::Fraction(part) => FreeLimit::Fraction(part),
        Said::OfMemory(part) => FreeLimit::Bytes(thresholds.of_machine(part).ok_or_else(unknown_memory)?),
    };
    thresholds.set_disk(limit);
    tracing::info!(?limit, "limit of free space set");
    Ok(Answer::NoContent)
}

fn unknown_memory() -> ApiError {
    ApiError::bad("how much memory the machine has is not known; say bytes")
}
