//! Limits of users and of vhosts.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::limits::VHostLimits;
use crate::broker::users::{User, UserLimits};
use crate::broker::vhost::VHost;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array};
use crate::management::resources::users;
use crate::management::routes::{InVHost, Resource, delete, get, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let admin = Level::Administrator;
    vec![
        Resource::new("/vhost-limits", [get(Level::Management, of_vhosts)]),
        Resource::new("/vhost-limits/{vhost}", [get(Level::Management, of_vhost).in_vhost(InVHost::Sees)]),
        Resource::new("/vhost-limits/{vhost}/{limit}", [put(admin, set_vhost), delete(admin, clear_vhost)]),
        Resource::new("/user-limits", [get(admin, of_users)]),
        Resource::new("/user-limits/{user}", [get(admin, of_user)]),
        Resource::new("/user-limits/{user}/{limit}", [put(admin, set_user), delete(admin, clear_user)]),
    ]
}

/// A row: whose limits, and which.
type Limited = (String, Value);

fn listed(call: &Call, whose: &'static str, rows: Vec<Limited>) -> Answer {
    array(
        call,
        Rows::new(rows, |(name, _)| name, move |(name, value)| json!({ whose: name, "value": value })),
    )
}

fn of_vhosts(call: &Call) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let seen = broker.vhost_names().into_iter().filter(|name| call.visitor.sees(broker, name));
    Ok(vhosts_listed(call, seen.filter_map(|name| broker.vhost(&name))))
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    Ok(vhosts_listed(call, std::iter::once(call.vhost()?)))
}

fn vhosts_listed(call: &Call, vhosts: impl Iterator<Item = Arc<VHost>>) -> Answer {
    let limited = vhosts.filter(|vhost| !vhost.limits().is_empty());
    let rows = limited.map(|vhost| (vhost.name.clone(), vhost.limits().value())).collect();
    listed(call, "vhost", rows)
}

/// What the body says about the limit in the path, as an object of that one.
fn wanted(call: &Call) -> Result<Value, ApiError> {
    let body = call.object()?;
    let mut limits = json!({});
    limits[call.name("limit")] = body.required("value")?.clone();
    Ok(limits)
}

fn set_vhost(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    let wanted = VHostLimits::from_value(&wanted(call)?).map_err(ApiError::bad)?;
    let change = |limits: &mut VHostLimits| {
        limits.max_connections = wanted.max_connections.or(limits.max_connections);
        limits.max_queues = wanted.max_queues.or(limits.max_queues);
    };
    call.settle(vhost.change_limits(change, call.visitor.name()))?;
    Ok(Answer::NoContent)
}

fn clear_vhost(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    let clear: fn(&mut VHostLimits) = match call.name("limit") {
        "max-connections" => |limits| limits.max_connections = None,
        "max-queues" => |limits| limits.max_queues = None,
        other => return Err(unknown(other)),
    };
    call.settle(vhost.change_limits(clear, call.visitor.name()))?;
    Ok(Answer::NoContent)
}

fn of_users(call: &Call) -> Result<Answer, ApiError> {
    Ok(users_listed(call, call.broker().users.all()))
}

fn of_user(call: &Call) -> Result<Answer, ApiError> {
    Ok(users_listed(call, vec![users::found(call)?]))
}

fn users_listed(call: &Call, users: Vec<Arc<User>>) -> Answer {
    let limits = users.into_iter().map(|user| (user.name.clone(), user.details().limits));
    let limited = limits.filter(|(_, limits)| !limits.is_empty());
    listed(call, "user", limited.map(|(user, limits)| (user, limits.value())).collect())
}

fn set_user(call: &Call) -> Result<Answer, ApiError> {
    let user = call.name("user");
    if call.broker().users.find(user).is_none() {
        return Err(ApiError::bad(format!("no_such_user: {user}")));
    }
    let wanted = wanted(call)?;
    let set = UserLimits::from_value(&wanted).map_err(ApiError::bad)?;
    // Here -1, no limit, takes one away.
    let change: fn(&mut UserLimits, UserLimits) = match call.name("limit") {
        "max-connections" => |limits, set| limits.max_connections = set.max_connections,
        _ => |limits, set| limits.max_channels = set.max_channels,
    };
    let by = call.visitor.name();
    call.settle(call.broker().users.set_limits(user, |limits| change(limits, set), by)?)?;
    Ok(Answer::NoContent)
}

fn clear_user(call: &Call) -> Result<Answer, ApiError> {
    let clear: fn(&mut UserLimits) = match call.name("limit") {
        "max-connections" => |limits| limits.max_connections = None,
        "max-channels" => |limits| limits.max_channels = None,
        other => return Err(unknown(other)),
    };
    let (user, by) = (call.name("user"), call.visitor.name());
    call.settle(call.broker().users.set_limits(user, clear, by)?)?;
    Ok(Answer::NoContent)
}

fn unknown(limit: &str) -> ApiError {
    ApiError::bad(format!("there is no limit {limit}"))
}
