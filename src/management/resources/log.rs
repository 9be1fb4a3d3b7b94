//! The log: its last lines; opened anew after its file was moved away; and its level, which holds until the restart or the
//! next reload.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::log_control::LogControl;
use crate::management::log_tail::News;
use crate::management::parts::moment;
use crate::management::routes::{Resource, get, post, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let admin = Level::Administrator;
    vec![
        Resource::new("/log", [get(admin, tail)]),
        Resource::new("/log/level", [get(Level::Monitoring, level), put(admin, set_level)]),
        Resource::new("/log/rotation", [post(admin, rotate)]),
    ]
}

fn log(call: &Call) -> Result<&Arc<dyn LogControl>, ApiError> {
    call.api.log.get().ok_or_else(|| ApiError::bad("the log of this broker cannot be reached"))
}

/// What is new after the line whose number the client had last.
fn tail(call: &Call) -> Result<Answer, ApiError> {
    let number = |text: &str| {
        text.parse().map_err(|_| ApiError::bad("after is the number of a line, as \"last\" tells it"))
    };
    let after = call.query.get("after").map_or(Ok(0), number)?;
    let log = log(call)?;
    let News { lines, last, is_gap } = log.tail().after(after);
    let lines: Vec<Value> = lines
        .into_iter()
        .map(|(seq, line)| {
            json!({
                "seq": seq,
                "time": moment(line.unix_ms),
                "level": line.level.as_str().to_ascii_lowercase(),
                "target": line.target,
                "text": line.text,
            })
        })
        .collect();
    Ok(Answer::Json(json!({ "lines": lines, "last": last, "gap": is_gap, "level": log.level().to_string() })))
}

fn level(call: &Call) -> Result<Answer, ApiError> {
    Ok(Answer::Json(json!({ "level": log(call)?.level().to_string() })))
}

fn set_level(call: &Call) -> Result<Answer, ApiError> {
    let body = call.object()?;
    let level = parsed(body.text("level")?)?;
    log(call)?.set_level(level);
    tracing::info!(%level, "log level set");
    Ok(Answer::NoContent)
}

/// A level by its name here, or by RabbitMQ's.
fn parsed(name: &str) -> Result<LevelFilter, ApiError> {
    Ok(match name {
        "off" | "none" => LevelFilter::OFF,
        "error" | "critical" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" | "notice" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => {
            return Err(ApiError::bad(format!(
                "there is no log level {name}; there are off, error, warn, info, debug and trace"
            )));
        }
    })
}

fn rotate(call: &Call) -> Result<Answer, ApiError> {
    let reopened = log(call)?.reopen();
    reopened
        .map_err(|error| ApiError::Unavailable(format!("the log file cannot be opened anew: {error}")))?;
    tracing::info!("log file opened anew");
    Ok(Answer::NoContent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_rabbitmqs_names_too() {
        for (name, level) in [("warning", "warn"), ("none", "off"), ("critical", "error"), ("debug", "debug")]
        {
            assert_eq!(parsed(name).unwrap().to_string(), level);
            assert_eq!(parsed(level).unwrap().to_string(), level);
        }
        assert!(parsed("loud").unwrap_err().to_string().contains("there is no log level loud"));
    }
}
