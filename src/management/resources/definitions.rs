//! Definitions, of the whole broker or of one vhost: exported, and imported all or not at all.

use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::broker::definitions::{ExportOptions, ImportOptions, Problem, Scope, parse};
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::routes::{InVHost, Resource, Verb, get, post};
use crate::management::visitor::Level;

/// The field of a form that has the file.
const FIELD: &str = "file";

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let admin = Level::Administrator;
    let whole = || [get(admin, export).audited(), post(admin, import).large()];
    let in_vhost = |verb: Verb| verb.in_vhost(InVHost::Governs);
    vec![
        Resource::new("/definitions", whole()),
        Resource::new("/all-configuration", whole()),
        Resource::new("/definitions/{vhost}", whole().map(in_vhost)),
    ]
}

fn scope(call: &Call) -> Scope {
    match call.name("vhost") {
        "" => Scope::Whole,
        name => Scope::VHost(name.to_owned()),
    }
}

fn export(call: &Call) -> Result<Answer, ApiError> {
    let rabbitmq_version = call.api.options.rabbitmq_version.clone();
    let options = ExportOptions { rabbitmq_version, ..ExportOptions::default() };
    let document = call.broker().export(&scope(call), &options);
    let document = document.ok_or(ApiError::NotFound("vhost_not_found"))?;
    Ok(match call.query.get("download").filter(|name| !name.is_empty()) {
        Some(name) => Answer::File(name.to_owned(), document),
        None => Answer::Json(document),
    })
}

/// With `dry_run=true` nothing is changed, and the answer is what would be; with `report=true` it is what was.
fn import(call: &Call) -> Result<Answer, ApiError> {
    let file = uploaded(call)?;
    let document = match parse(file.as_deref().unwrap_or(&call.body), scope(call)) {
        Ok(document) => document,
        Err(problems) => return Ok(refused(&problems)),
    };
    let dry_run = call.query.is_true("dry_run");
    let options = ImportOptions { dry_run, by: call.visitor.name().to_owned(), ..ImportOptions::default() };
    match call.broker().import(&document, &options) {
        Ok((report, _)) if dry_run => Ok(Answer::Json(report.value())),
        Ok((report, gate)) => {
            call.settle(gate)?;
            let is_told = call.query.is_true("report");
            Ok(if is_told { Answer::Json(report.value()) } else { Answer::NoContent })
        }
        Err(problems) => Ok(refused(&problems)),
    }
}

/// All that is wrong: the first of it where clients of RabbitMQ look, and everything as a list.
fn refused(problems: &[Problem]) -> Answer {
    let texts: Vec<Value> = problems.iter().map(|problem| problem.to_string().into()).collect();
    let reason = match problems {
        [] => "the definitions cannot be imported".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    };
    let body = json!({ "error": "bad_request", "reason": reason, "problems": texts });
    Answer::Status(StatusCode::BAD_REQUEST, body)
}

/// The file in a form, as the page of RabbitMQ sends it; `None` if the body is no form.
fn uploaded(call: &Call) -> Result<Option<Vec<u8>>, ApiError> {
    let Some(kind) = call.headers.get(CONTENT_TYPE) else { return Ok(None) };
    if !kind.as_bytes().starts_with(b"multipart/form-data") {
        return Ok(None);
    }
    let mut request = Request::new(axum::body::Body::from(call.body.clone()));
    request.headers_mut().insert(CONTENT_TYPE, kind.clone());
    // All of the body is here: nothing is waited for.
    Handle::current().block_on(async {
        let wrong =
            |error: &dyn std::fmt::Display| ApiError::bad(format!("the form cannot be read: {error}"));
        let mut form = Multipart::from_request(request, &()).await.map_err(|error| wrong(&error))?;
        while let Some(field) = form.next_field().await.map_err(|error| wrong(&error))? {
            if field.name() == Some(FIELD) {
                let bytes = field.bytes().await.map_err(|error| wrong(&error))?;
                return Ok(Some(bytes.to_vec()));
            }
        }
        Err(ApiError::bad(format!("the form has no field {FIELD:?}")))
    })
}
