//! Single changes of users, each in one step. RabbitMQ's own resource replaces tags and password together, which is no way
//! to change one of them while somebody else changes the other.

use serde::{Deserialize, Deserializer};
use serde_json::json;
use zeroize::Zeroizing;

use crate::broker::login::Attempt;
use crate::broker::users::UserError;
use crate::identity::password::PasswordHash;
use crate::identity::tags::Tags;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::routes::{Resource, post, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    vec![
        Resource::new("/users/{user}/added", [post(Level::Administrator, add)]),
        Resource::new("/users/{user}/password", [put(Level::Administrator, set_password)]),
        Resource::new("/users/{user}/tags", [put(Level::Administrator, set_tags)]),
        Resource::new("/users/{user}/authenticated", [post(Level::Administrator, authenticate)]),
    ]
}

/// What somebody is to log in with: a password, the hash of one, or nothing that lets them in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    #[serde(default, deserialize_with = "hidden")]
    password: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "hidden")]
    password_hash: Option<Zeroizing<String>>,
    hashing_algorithm: Option<String>,
}

/// Text that does not stay in memory.
fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::deserialize(from)?.map(Zeroizing::new))
}

impl Secret {
    fn is_none(&self) -> bool {
        self.password.is_none() && self.password_hash.is_none()
    }

    /// What is to be stored. Takes tens of milliseconds for a password.
    fn hash(&self, call: &Call) -> Result<PasswordHash, ApiError> {
        match (&self.password, &self.password_hash) {
            (Some(_), Some(_)) => {
                let why = "both a password and the hash of one are given";
                Err(ApiError::Named("both_password_and_password_hash_are_provided", why.to_owned()))
            }
            (Some(password), None) => call.broker().users.hash_new(password.as_bytes()).map_err(refused),
            (None, Some(hash)) => PasswordHash::parse(hash, self.hashing_algorithm.as_deref())
                .map_err(|error| ApiError::bad(error.to_string())),
            (None, None) => Ok(PasswordHash::none()),
        }
    }
}

fn refused(error: UserError) -> ApiError {
    match error {
        UserError::Missing(_) => ApiError::NotFound("user_not_found"),
        UserError::Exists(_) => ApiError::Conflict(error.to_string()),
        other => ApiError::bad(other.to_string()),
    }
}

/// Adds a user, if there is none of this name.
fn add(call: &Call) -> Result<Answer, ApiError> {
    let (users, user) = (&call.broker().users, call.name("user"));
    // Before the work of a hash.
    if users.find(user).is_some() {
        return Err(refused(UserError::Exists(user.to_owned())));
    }
    let hash = call.json::<Secret>()?.hash(call)?;
    call.settle(users.add(user, hash, call.visitor.name()).map_err(refused)?)?;
    tracing::info!(?user, "user added");
    Ok(Answer::Created)
}

fn set_password(call: &Call) -> Result<Answer, ApiError> {
    let (users, user) = (&call.broker().users, call.name("user"));
    if users.find(user).is_none() {
        return Err(ApiError::NotFound("user_not_found"));
    }
    let secret: Secret = call.json()?;
    let hash = secret.hash(call)?;
    call.settle(users.set_password(user, hash, call.visitor.name()).map_err(refused)?)?;
    let what = if secret.is_none() { "cleared" } else { "changed" };
    tracing::info!(?user, "password {what}");
    Ok(Answer::NoContent)
}

fn set_tags(call: &Call) -> Result<Answer, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        tags: Vec<String>,
    }
    let Body { tags } = call.json()?;
    let tags =
        Tags::parse(tags.iter().map(String::as_str)).map_err(|error| ApiError::bad(error.to_string()))?;
    let (user, by) = (call.name("user"), call.visitor.name());
    call.settle(call.broker().users.set_tags(user, tags, by).map_err(refused)?)?;
    Ok(Answer::NoContent)
}

/// Checks a password as if somebody logged in from this machine.
fn authenticate(call: &Call) -> Result<Answer, ApiError> {
    let Secret { password: Some(password), .. } = call.json()? else {
        return Err(ApiError::bad("the password is missing"));
    };
    let (user, password) = (call.name("user").to_owned(), Zeroizing::new(password.as_bytes().to_vec()));
    let attempt = Attempt { user, password, from_loopback: true, now: (call.api.clock)() };
    match call.broker().logins.check(attempt) {
        Ok(_) => Ok(Answer::Json(json!({ "ok": true }))),
        Err(error) => Err(ApiError::bad(format!("failed to authenticate user: {error}"))),
    }
}
