//! What users may do in vhosts, and with the routing keys of topic exchanges.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::permissions::TopicRow;
use crate::broker::vhost::VHost;
use crate::channel::gates::Gate;
use crate::identity::access::{Permissions, Right};
use crate::management::answer::Answer;
use crate::management::body::check_length;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array, single};
use crate::management::resources::users;
use crate::management::routes::{Resource, delete, get, put};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let admin = Level::Administrator;
    vec![
        Resource::new("/permissions", [get(admin, all)]),
        Resource::new(
            "/permissions/{vhost}/{user}",
            [get(admin, one), put(admin, set), delete(admin, clear)],
        ),
        Resource::new("/vhosts/{vhost}/permissions", [get(admin, of_vhost)]),
        Resource::new("/users/{user}/permissions", [get(admin, of_user)]),
        Resource::new("/topic-permissions", [get(admin, all_topics)]),
        Resource::new(
            "/topic-permissions/{vhost}/{user}",
            [get(admin, topics), put(admin, set_topic), delete(admin, clear_topics)],
        ),
        Resource::new(
            "/topic-permissions/{vhost}/{user}/{exchange}",
            [get(admin, topic), delete(admin, clear_topics)],
        ),
        Resource::new("/vhosts/{vhost}/topic-permissions", [get(admin, topics_of_vhost)]),
        Resource::new("/users/{user}/topic-permissions", [get(admin, topics_of_user)]),
    ]
}

/// The permissions of one user in one vhost.
struct Row {
    vhost: String,
    user: String,
    permissions: Permissions,
}

impl Row {
    fn described(&self) -> Value {
        let [configure, write, read] =
            [Right::Configure, Right::Write, Right::Read].map(|right| self.permissions.pattern(right));
        let Self { vhost, user, .. } = self;
        json!({ "user": user, "vhost": vhost, "configure": configure, "write": write, "read": read })
    }
}

/// The rows of these vhosts.
fn rows(vhosts: &[Arc<VHost>]) -> Vec<Row> {
    let of_one = |vhost: &Arc<VHost>| {
        let name = vhost.name.clone();
        let rows = vhost.permissions().into_iter();
        rows.map(move |(user, permissions)| Row { vhost: name.clone(), user, permissions })
    };
    vhosts.iter().flat_map(of_one).collect()
}

fn vhosts(call: &Call) -> Vec<Arc<VHost>> {
    let broker = call.broker();
    broker.vhost_names().into_iter().filter_map(|name| broker.vhost(&name)).collect()
}

fn listed(call: &Call, rows: Vec<Row>) -> Answer {
    array(call, Rows::new(rows, |row| &row.user, Row::described))
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    Ok(listed(call, rows(&vhosts(call))))
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    Ok(listed(call, rows(&[call.vhost()?])))
}

fn of_user(call: &Call) -> Result<Answer, ApiError> {
    let user = users::found(call)?;
    let mut rows = rows(&vhosts(call));
    rows.retain(|row| row.user == user.name);
    Ok(listed(call, rows))
}

/// The row in the path.
fn found(call: &Call) -> Result<(Arc<VHost>, Row), ApiError> {
    let vhost = call.vhost()?;
    let row = rows(std::slice::from_ref(&vhost)).into_iter().find(|row| row.user == call.name("user"));
    Ok((vhost, row.ok_or(ApiError::NotFound("permissions_not_found"))?))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    Ok(single(call, found(call)?.1.described()))
}

/// The vhost in the path, for its user, of whom something is to be set: a wrong name is a wrong request then.
fn place(call: &Call) -> Result<Arc<VHost>, ApiError> {
    let nobody = || ApiError::bad("vhost_or_user_not_found");
    call.broker().users.find(call.name("user")).ok_or_else(nobody)?;
    call.broker().vhost(call.name("vhost")).ok_or_else(nobody)
}

fn set(call: &Call) -> Result<Answer, ApiError> {
    let body = call.object()?;
    for key in ["configure", "write", "read"] {
        body.required(key)?;
    }
    let [configure, write, read] = [body.text("configure")?, body.text("write")?, body.text("read")?];
    let permissions = Permissions::new(configure, write, read);
    let permissions = permissions.map_err(|error| ApiError::bad(error.to_string()))?;
    let (vhost, user) = (place(call)?, call.name("user"));
    let is_new = !vhost.admits(user);
    let set = || vhost.set_permissions(user, permissions, call.visitor.name());
    let gate = call.broker().users.with_existing(user, set)?;
    call.broker().recheck_access();
    call.settle(gate)?;
    Ok(Answer::put(is_new))
}

fn clear(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, row) = found(call)?;
    let gate = vhost.clear_permissions(&row.user, call.visitor.name());
    call.broker().recheck_access();
    call.settle(gate)?;
    Ok(Answer::NoContent)
}

/// What one user may do with one topic exchange.
struct Topic {
    vhost: String,
    row: TopicRow,
}

impl Topic {
    fn described(&self) -> Value {
        let TopicRow { user, exchange, write, read } = &self.row;
        json!({ "user": user, "vhost": self.vhost, "exchange": exchange, "write": write, "read": read })
    }
}

fn topic_rows(vhosts: &[Arc<VHost>]) -> Vec<Topic> {
    let of_one = |vhost: &Arc<VHost>| {
        let name = vhost.name.clone();
        vhost.topic_permissions().into_iter().map(move |row| Topic { vhost: name.clone(), row })
    };
    vhosts.iter().flat_map(of_one).collect()
}

fn topics_listed(call: &Call, rows: Vec<Topic>) -> Answer {
    array(call, Rows::new(rows, |topic| &topic.row.user, Topic::described))
}

fn all_topics(call: &Call) -> Result<Answer, ApiError> {
    Ok(topics_listed(call, topic_rows(&vhosts(call))))
}

fn topics_of_vhost(call: &Call) -> Result<Answer, ApiError> {
    Ok(topics_listed(call, topic_rows(&[call.vhost()?])))
}

fn topics_of_user(call: &Call) -> Result<Answer, ApiError> {
    let user = users::found(call)?;
    let mut rows = topic_rows(&vhosts(call));
    rows.retain(|topic| topic.row.user == user.name);
    Ok(topics_listed(call, rows))
}

/// The exchange in the path, if one is.
fn exchange(call: &Call) -> Option<&str> {
    Some(call.name("exchange")).filter(|exchange| !exchange.is_empty())
}

/// The rows in the path: of a user, perhaps of one exchange.
fn topics_found(call: &Call) -> Result<(Arc<VHost>, Vec<Topic>), ApiError> {
    let (vhost, user) = (call.vhost()?, call.name("user"));
    let mut rows = topic_rows(std::slice::from_ref(&vhost));
    let exchange = exchange(call);
    rows.retain(|topic| {
        topic.row.user == user && exchange.is_none_or(|exchange| topic.row.exchange == exchange)
    });
    if rows.is_empty() { Err(ApiError::NotFound("permissions_not_found")) } else { Ok((vhost, rows)) }
}

fn topics(call: &Call) -> Result<Answer, ApiError> {
    Ok(topics_listed(call, topics_found(call)?.1))
}

fn topic(call: &Call) -> Result<Answer, ApiError> {
    let rows = topics_found(call)?.1;
    Ok(single(call, rows.first().map(Topic::described).unwrap_or_default()))
}

fn set_topic(call: &Call) -> Result<Answer, ApiError> {
    let body = call.object()?;
    for key in ["exchange", "write", "read"] {
        body.required(key)?;
    }
    let exchange = body.text("exchange")?;
    check_length("exchange", exchange)?;
    let (vhost, user) = (place(call)?, call.name("user").to_owned());
    let row = TopicRow {
        user: user.clone(),
        exchange: exchange.to_owned(),
        write: body.text("write")?.to_owned(),
        read: body.text("read")?.to_owned(),
    };
    let known = vhost.topic_permissions();
    let is_new = !known.iter().any(|known| known.user == user && known.exchange == exchange);
    let set = || vhost.set_topic_permission(row, call.visitor.name());
    let gate: Result<Gate, _> = call.broker().users.with_existing(&user, set)?;
    call.settle(gate.map_err(|error| ApiError::bad(error.to_string()))?)?;
    Ok(Answer::put(is_new))
}

fn clear_topics(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, _) = topics_found(call)?;
    let (user, by) = (call.name("user"), call.visitor.name());
    call.settle(vhost.clear_topic_permissions(user, exchange(call), by))?;
    Ok(Answer::NoContent)
}
