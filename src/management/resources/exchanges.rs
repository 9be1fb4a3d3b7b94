//! Exchanges: made, deleted, and what they are bound to.

use std::sync::Arc;

use crate::broker::definitions::table_of;
use crate::broker::vhost::{ALTERNATE, ExchangeDeclare, VHost, check_not_default, clean_name, exchange_kind};
use crate::identity::operation::{Operation, Resource as On};
use crate::management::answer::Answer;
use crate::management::body::check_length;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::resources::bindings;
use crate::management::routes::{InVHost, Resource, delete, get, put};
use crate::management::visitor::Level;

/// What the default exchange is called where it needs a name.
const DEFAULT: &str = "amq.default";

/// There is no such exchange.
pub(super) const MISSING: ApiError = ApiError::NotFound("exchange_not_found");

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (any, enters) = (Level::Management, InVHost::Enters);
    vec![
        Resource::new(
            "/exchanges/{vhost}/{exchange}",
            [put(any, declare).in_vhost(enters), delete(any, remove).in_vhost(enters)],
        ),
        Resource::new(
            "/exchanges/{vhost}/{exchange}/bindings/source",
            [get(any, bindings_from).in_vhost(InVHost::Sees)],
        ),
        Resource::new(
            "/exchanges/{vhost}/{exchange}/bindings/destination",
            [get(any, bindings_to).in_vhost(InVHost::Sees)],
        ),
    ]
}

/// An exchange's name as AMQP has it.
pub(super) fn as_name(word: &str) -> String {
    if word == DEFAULT { String::new() } else { clean_name(word) }
}

fn declare(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, body) = (call.vhost()?, call.object()?);
    let name = as_name(call.name("exchange"));
    check_length("exchange", &name)?;
    let kind = body.optional_text("type")?.unwrap_or("direct");
    let flag = |key: &str| body.flag(key).map(Option::unwrap_or_default);
    let (durable, auto_delete, internal) = (flag("durable")?, flag("auto_delete")?, flag("internal")?);
    let arguments = table_of(&body.object("arguments")?).map_err(ApiError::bad)?;
    exchange_kind(kind)?;
    check_not_default(&name)?;
    let it = On::Exchange(&name);
    call.check(&vhost, Operation::Declare(it))?;
    let alternate = arguments.as_ref().get(ALTERNATE).and_then(|value| value.as_str());
    let objection =
        alternate.and_then(|alternate| call.objection(&vhost, Operation::CreateWith(it, alternate)));
    let is_new = vhost.exchange_view(&name).is_none();
    let arguments = arguments.as_ref();
    let objection = objection.as_ref();
    let gate = vhost.declare_exchange(ExchangeDeclare {
        name: &name,
        kind,
        durable,
        auto_delete,
        internal,
        arguments,
        objection,
        by: call.visitor.name(),
    })?;
    call.settle(gate)?;
    Ok(Answer::put(is_new))
}

/// The exchange in the path, if there is one of this name.
fn found(call: &Call) -> Result<(Arc<VHost>, String), ApiError> {
    let (vhost, name) = (call.vhost()?, as_name(call.name("exchange")));
    vhost.exchange_view(&name).ok_or(MISSING)?;
    Ok((vhost, name))
}

fn remove(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, name) = found(call)?;
    vhost.check_deletable(&name)?;
    call.check(&vhost, Operation::Delete(On::Exchange(&name)))?;
    let if_unused = call.query.is_true("if-unused");
    call.settle(vhost.delete_exchange(&name, if_unused, call.visitor.name())?)?;
    Ok(Answer::NoContent)
}

fn bindings_from(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, name) = found(call)?;
    Ok(bindings::listed(call, &vhost, vhost.bindings_from(&name)))
}

fn bindings_to(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, name) = found(call)?;
    Ok(bindings::listed(call, &vhost, vhost.bindings_to_exchange(&name)))
}
