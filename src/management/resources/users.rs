//! Users.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::users::{Details, User, UserError, UserLimits};
use crate::identity::password::PasswordHash;
use crate::identity::tags::{Tag, Tags};
use crate::management::answer::Answer;
use crate::management::body::Object;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array, single};
use crate::management::routes::{Resource, delete, get, post, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let admin = Level::Administrator;
    vec![
        Resource::new("/users", [get(admin, all)]),
        Resource::new("/users/without-permissions", [get(admin, without_permissions)]),
        Resource::new("/users/bulk-delete", [post(admin, remove_all)]),
        Resource::new("/users/{user}", [get(admin, one), put(admin, set), delete(admin, remove)]),
    ]
}

/// The user in the path.
///
/// # Errors
/// If there is none of this name.
pub(super) fn found(call: &Call) -> Result<Arc<User>, ApiError> {
    call.broker().users.find(call.name("user")).ok_or(ApiError::NotFound("user_not_found"))
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    Ok(listed(call, call.broker().users.all()))
}

fn without_permissions(call: &Call) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let vhosts = broker.vhost_names().into_iter().filter_map(|name| broker.vhost(&name));
    let with: HashSet<String> = vhosts.flat_map(|vhost| vhost.permissions()).map(|(user, _)| user).collect();
    let mut users = broker.users.all();
    users.retain(|user| !with.contains(&user.name));
    Ok(listed(call, users))
}

fn listed(call: &Call, users: Vec<Arc<User>>) -> Answer {
    array(call, Rows::new(users, |user| &user.name, |user| described(user)))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    Ok(single(call, described(&*found(call)?)))
}

fn described(user: &User) -> Value {
    let details = user.details();
    let tags: Vec<&str> = details.tags.iter().map(Tag::name).collect();
    // The hash of a password from the configuration may be in the making.
    let hash = details.hash().cloned().unwrap_or_else(PasswordHash::none);
    json!({
        "name": user.name,
        "password_hash": hash.text(),
        "hashing_algorithm": hash.algorithm(),
        "tags": tags,
        "limits": details.limits.value(),
    })
}

/// Makes a user, or changes one. As in RabbitMQ one for whom nothing is said to log in with has no password from then on.
fn set(call: &Call) -> Result<Answer, ApiError> {
    let (users, body) = (&call.broker().users, call.object()?);
    let tags = body.words("tags")?.ok_or_else(|| ApiError::bad("tags_not_present"))?;
    let tags =
        Tags::parse(tags.iter().map(String::as_str)).map_err(|error| ApiError::bad(error.to_string()))?;
    let limits = body.get("limits").map(UserLimits::from_value).transpose().map_err(ApiError::bad)?;
    let hash = hash(call, &body)?;
    let change = |details: &mut Details| {
        details.set_hash(hash);
        details.tags = tags;
        details.limits = limits.unwrap_or(details.limits);
    };
    let (is_new, gate) = users.put(call.name("user"), change, call.visitor.name())?;
    call.settle(gate)?;
    Ok(Answer::put(is_new))
}

/// What the user is to log in with. Takes tens of milliseconds for a password.
fn hash(call: &Call, body: &Object) -> Result<PasswordHash, ApiError> {
    let password = body.optional_text("password")?;
    let hash = body.optional_text("password_hash")?;
    match (password, hash) {
        (Some(_), Some(_)) => Err(ApiError::bad("both_password_and_password_hash_are_provided")),
        (Some(password), None) => Ok(call.broker().users.hash_new(password.as_bytes())?),
        (None, Some(hash)) => {
            let algorithm = body.optional_text("hashing_algorithm")?;
            PasswordHash::parse(hash, algorithm).map_err(|error| ApiError::bad(error.to_string()))
        }
        (None, None) => Ok(PasswordHash::none()),
    }
}

fn remove(call: &Call) -> Result<Answer, ApiError> {
    call.settle(call.broker().delete_user(call.name("user"), call.visitor.name())?)?;
    Ok(Answer::NoContent)
}

/// Deletes several, or none if one of them does not exist.
fn remove_all(call: &Call) -> Result<Answer, ApiError> {
    let (broker, body) = (call.broker(), call.object()?);
    body.required("users")?;
    let names = body.words("users")?.unwrap_or_default();
    if let Some(missing) = names.iter().find(|name| broker.users.find(name).is_none()) {
        return Err(ApiError::bad(format!("no_such_user: {missing}")));
    }
    for name in names {
        // One that somebody else deletes meanwhile, or that is named twice, is gone as well.
        match broker.delete_user(&name, call.visitor.name()) {
            Ok(gate) => call.settle(gate)?,
            Err(UserError::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::info!(user = ?name, by = call.visitor.name(), "user deleted");
    }
    Ok(Answer::NoContent)
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Missing(_) => Self::NotFound("user_not_found"),
            error => Self::bad(error.to_string()),
        }
    }
}
