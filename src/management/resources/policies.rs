//! Policies of users and of operators.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::vhost::VHost;
use crate::management::answer::{Answer, UNHEEDED};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array, single};
use crate::management::routes::{InVHost, Resource, delete, get, put};
use crate::management::visitor::Level;

/// What RabbitMQ's refusals begin with.
const INVALID: &str = "Validation failed\n\n";

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (admin, any) = (Level::Administrator, Level::Management);
    let (maker, sees, governs) = (Level::Policymaker, InVHost::Sees, InVHost::Governs);
    vec![
        Resource::new("/policies", [get(any, all)]),
        Resource::new("/policies/{vhost}", [get(any, of_vhost).in_vhost(sees)]),
        Resource::new(
            "/policies/{vhost}/{name}",
            [
                get(maker, one).in_vhost(governs),
                put(maker, set).in_vhost(governs),
                delete(maker, clear).in_vhost(governs),
            ],
        ),
        Resource::new("/operator-policies", [get(any, all_operator)]),
        Resource::new("/operator-policies/{vhost}", [get(any, operator_of_vhost).in_vhost(sees)]),
        Resource::new(
            "/operator-policies/{vhost}/{name}",
            [get(any, one_operator).in_vhost(sees), put(admin, set_operator), delete(admin, clear_operator)],
        ),
    ]
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    all_of(call, PolicyKind::User)
}

fn all_operator(call: &Call) -> Result<Answer, ApiError> {
    all_of(call, PolicyKind::Operator)
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    Ok(listed(call, PolicyKind::User, &[call.vhost()?]))
}

fn operator_of_vhost(call: &Call) -> Result<Answer, ApiError> {
    Ok(listed(call, PolicyKind::Operator, &[call.vhost()?]))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    one_of(call, PolicyKind::User)
}

fn one_operator(call: &Call) -> Result<Answer, ApiError> {
    one_of(call, PolicyKind::Operator)
}

fn set(call: &Call) -> Result<Answer, ApiError> {
    set_of(call, PolicyKind::User)
}

fn set_operator(call: &Call) -> Result<Answer, ApiError> {
    set_of(call, PolicyKind::Operator)
}

fn clear(call: &Call) -> Result<Answer, ApiError> {
    clear_of(call, PolicyKind::User)
}

fn clear_operator(call: &Call) -> Result<Answer, ApiError> {
    clear_of(call, PolicyKind::Operator)
}

fn all_of(call: &Call, kind: PolicyKind) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let seen = broker.vhost_names().into_iter().filter(|name| call.visitor.sees(broker, name));
    let vhosts: Vec<Arc<VHost>> = seen.filter_map(|name| broker.vhost(&name)).collect();
    Ok(listed(call, kind, &vhosts))
}

fn listed(call: &Call, kind: PolicyKind, vhosts: &[Arc<VHost>]) -> Answer {
    let of_one = |vhost: &Arc<VHost>| {
        let name = vhost.name.clone();
        vhost.policies(kind).into_iter().map(move |policy| (name.clone(), policy))
    };
    let rows: Vec<(String, Arc<Policy>)> = vhosts.iter().flat_map(of_one).collect();
    let row = |(vhost, policy): &(String, Arc<Policy>)| Value::Object(policy.described(vhost));
    array(call, Rows::new(rows, |(_, policy)| &policy.name, row))
}

fn found(call: &Call, vhost: &VHost, kind: PolicyKind) -> Option<Arc<Policy>> {
    vhost.policies(kind).into_iter().find(|policy| policy.name == call.name("name"))
}

fn one_of(call: &Call, kind: PolicyKind) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    let policy = found(call, &vhost, kind).ok_or(ApiError::NotFound("policy_not_found"))?;
    Ok(single(call, Value::Object(policy.described(&vhost.name))))
}

fn set_of(call: &Call, kind: PolicyKind) -> Result<Answer, ApiError> {
    let (vhost, name, body) = (call.vhost()?, call.name("name"), call.object()?);
    body.required("pattern")?;
    body.required("definition")?;
    let known = ["pattern", "definition", "priority", "apply-to"];
    let said = known.iter().filter_map(|key| Some(((*key).to_owned(), body.get(key)?.clone())));
    let value = Value::Object(Map::from_iter(said));
    let policy = Policy::from_value(name, &value, kind).map_err(|error| {
        let why = error.to_string();
        ApiError::bad(if why.starts_with(INVALID) { why } else { format!("{INVALID}{why}") })
    })?;
    let unheeded = policy.definition.unheeded().join(", ");
    let is_new = found(call, &vhost, kind).is_none();
    call.settle(vhost.set_policy(kind, policy, call.visitor.name()))?;
    let answer = Answer::put(is_new);
    if unheeded.is_empty() {
        return Ok(answer);
    }
    let component = kind.component();
    tracing::warn!(vhost = ?vhost.name, ?name, keys = unheeded, "keys of a {component} have no effect");
    Ok(Answer::Noted(Box::new(answer), UNHEEDED, unheeded))
}

fn clear_of(call: &Call, kind: PolicyKind) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    match vhost.clear_policy(kind, call.name("name"), call.visitor.name()) {
        Some(gate) => call.settle(gate)?,
        None if found(call, &vhost, kind).is_some() => {
            return Err(ApiError::bad("the policy is in the configuration, and cannot be deleted here"));
        }
        None => return Err(ApiError::NotFound("policy_not_found")),
    }
    Ok(Answer::NoContent)
}
