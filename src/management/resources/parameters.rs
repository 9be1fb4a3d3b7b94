//! Runtime parameters of vhosts, global ones, and the cluster's name, which is one of those.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::masking::{masked, unmasked};
use crate::broker::parameters::{CLUSTER_NAME, Component, ParameterError, RuntimeParameter};
use crate::broker::vhost::VHost;
use crate::management::answer::{Answer, UNHEEDED};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array, single};
use crate::management::routes::{InVHost, Resource, delete, get, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (admin, maker, governs) = (Level::Administrator, Level::Policymaker, InVHost::Governs);
    vec![
        Resource::new("/parameters", [get(maker, all)]),
        Resource::new("/parameters/{component}", [get(maker, all)]),
        Resource::new("/parameters/{component}/{vhost}", [get(maker, of_vhost).in_vhost(governs)]),
        Resource::new(
            "/parameters/{component}/{vhost}/{name}",
            [
                get(maker, one).in_vhost(governs),
                put(maker, set).in_vhost(governs),
                delete(maker, clear).in_vhost(governs),
            ],
        ),
        Resource::new("/global-parameters", [get(maker, globals)]),
        Resource::new(
            "/global-parameters/{name}",
            [get(maker, global), put(admin, set_global), delete(admin, clear_global)],
        ),
        Resource::new("/cluster-name", [get(Level::Management, name), put(admin, set_name)]),
    ]
}

/// A parameter and the vhost that it is of.
type Row = (String, RuntimeParameter);

fn rows(call: &Call, vhosts: impl Iterator<Item = Arc<VHost>>) -> Answer {
    let component = Some(call.name("component")).filter(|component| !component.is_empty());
    let wanted = |row: &Row| component.is_none_or(|component| row.1.component.name() == component);
    let of_one = |vhost: Arc<VHost>| {
        vhost.parameters().into_iter().map(move |parameter| (vhost.name.clone(), parameter))
    };
    let rows: Vec<Row> = vhosts.flat_map(of_one).filter(wanted).collect();
    array(call, Rows::new(rows, |(_, parameter)| &parameter.name, described))
}

fn described((vhost, parameter): &Row) -> Value {
    let RuntimeParameter { component, name, value } = parameter;
    // Whoever may see all passwords finds them in the definitions.
    let value = if matches!(component, Component::Unsupported(_)) { masked(value) } else { value.clone() };
    json!({ "vhost": vhost, "component": component.name(), "name": name, "value": value })
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    let (broker, visitor) = (call.broker(), &call.visitor);
    let governed = broker
        .vhost_names()
        .into_iter()
        .filter(|name| visitor.is(Level::Administrator) || visitor.enters(broker, name));
    Ok(rows(call, governed.filter_map(|name| broker.vhost(&name))))
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    Ok(rows(call, std::iter::once(call.vhost()?)))
}

fn found(call: &Call, vhost: &VHost) -> Option<RuntimeParameter> {
    let (component, name) = (call.name("component"), call.name("name"));
    let is_it =
        |parameter: &RuntimeParameter| parameter.component.name() == component && parameter.name == name;
    vhost.parameters().into_iter().find(is_it)
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    let parameter = found(call, &vhost).ok_or(MISSING)?;
    Ok(single(call, described(&(vhost.name.clone(), parameter))))
}

/// There is no such parameter.
const MISSING: ApiError = ApiError::NotFound("parameter_not_found");

/// What only administrators may set by other paths, they alone may set by this one.
fn check_component(call: &Call) -> Result<(), ApiError> {
    match Component::parse(call.name("component")) {
        Ok(Component::Policy(_) | Component::Limits) => call.visitor.require(Level::Administrator),
        Ok(Component::Unsupported(_)) | Err(_) => Ok(()),
    }
}

fn set(call: &Call) -> Result<Answer, ApiError> {
    check_component(call)?;
    let (vhost, body) = (call.vhost()?, call.object()?);
    let before = found(call, &vhost);
    let value = body.required("value")?;
    let known = before.as_ref().map(|parameter| &parameter.value);
    let value = unmasked(value, known).map_err(|error| ParameterError::BadValue(error.to_string()))?;
    let (component, name) = (call.name("component"), call.name("name"));
    call.settle(vhost.set_parameter(component, name, &value, call.visitor.name())?)?;
    let answer = Answer::put(before.is_none());
    Ok(match Component::parse(component) {
        Ok(Component::Unsupported(kept)) => Answer::Noted(Box::new(answer), UNHEEDED, kept.to_owned()),
        Ok(Component::Policy(_) | Component::Limits) | Err(_) => answer,
    })
}

fn clear(call: &Call) -> Result<Answer, ApiError> {
    check_component(call)?;
    let vhost = call.vhost()?;
    let gate = match vhost.clear_parameter(call.name("component"), call.name("name"), call.visitor.name()) {
        Ok(gate) => gate.ok_or(MISSING)?,
        Err(ParameterError::NoComponent(_)) => return Err(MISSING),
        Err(error) => return Err(error.into()),
    };
    call.settle(gate)?;
    Ok(Answer::NoContent)
}

fn globals(call: &Call) -> Result<Answer, ApiError> {
    let rows = call.broker().global_parameters();
    Ok(array(
        call,
        Rows::new(rows, |(name, _)| name, |(name, value)| json!({ "name": name, "value": value })),
    ))
}

fn global(call: &Call) -> Result<Answer, ApiError> {
    let name = call.name("name");
    let value = call.broker().global_parameter(name).ok_or(MISSING)?;
    Ok(single(call, json!({ "name": name, "value": value })))
}

fn set_global(call: &Call) -> Result<Answer, ApiError> {
    let (name, body) = (call.name("name"), call.object()?);
    let value = body.required("value")?;
    let is_new = call.broker().global_parameter(name).is_none();
    call.settle(call.broker().set_global_parameter(name, value, call.visitor.name())?)?;
    Ok(Answer::put(is_new))
}

fn clear_global(call: &Call) -> Result<Answer, ApiError> {
    let (name, by) = (call.name("name"), call.visitor.name());
    call.settle(call.broker().clear_global_parameter(name, by).ok_or(MISSING)?)?;
    Ok(Answer::NoContent)
}

fn name(call: &Call) -> Result<Answer, ApiError> {
    Ok(single(call, json!({ "name": &*call.broker().cluster_name() })))
}

fn set_name(call: &Call) -> Result<Answer, ApiError> {
    let body = call.object()?;
    let (name, by) = (body.required("name")?, call.visitor.name());
    call.settle(call.broker().set_global_parameter(CLUSTER_NAME, name, by)?)?;
    Ok(Answer::NoContent)
}

impl From<ParameterError> for ApiError {
    /// In RabbitMQ's words.
    fn from(error: ParameterError) -> Self {
        Self::bad(format!(
            "Validation failed\n\n{}",
            error.to_string().trim_start_matches("Validation failed\n\n")
        ))
    }
}
