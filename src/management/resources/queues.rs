//! Queues: made, emptied, deleted, and what they are bound to.

use std::sync::Arc;

use crate::broker::definitions::table_of;
use crate::broker::events::Actor;
use crate::broker::queue_cell::QueueCell;
use crate::broker::vhost::{Declared, QueueDeclare, VHost, clean_name};
use crate::channel::gates::Gate;
use crate::identity::operation::{Operation, Resource as On};
use crate::ids::ConnectionId;
use crate::management::answer::Answer;
use crate::management::body::check_length;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::resources::bindings;
use crate::management::routes::{InVHost, Resource, delete, get, post, put};
use crate::management::visitor::Level;
use crate::queue::arguments::{self, DEAD_LETTER_EXCHANGE};

/// Who asks here is no connection, and owns no exclusive queue.
pub(super) const NOBODY: ConnectionId = ConnectionId(0);

/// The visitor, as who does something to exchanges, queues and bindings.
pub(super) fn actor(call: &Call) -> Actor<'_> {
    Actor { connection: NOBODY, user: call.visitor.name() }
}

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (any, enters) = (Level::Management, InVHost::Enters);
    vec![
        Resource::new(
            "/queues/{vhost}/{queue}",
            [put(any, declare).in_vhost(enters), delete(any, remove).in_vhost(enters)],
        ),
        Resource::new("/queues/{vhost}/{queue}/contents", [delete(any, purge).in_vhost(enters)]),
        Resource::new("/queues/{vhost}/{queue}/bindings", [get(any, bindings).in_vhost(InVHost::Sees)]),
        Resource::new("/queues/{vhost}/{queue}/actions", [post(Level::Administrator, act)]),
    ]
}

/// The vhost in the path, and its queue that is there too.
pub(super) fn found(call: &Call) -> Result<(Arc<VHost>, Arc<QueueCell>), ApiError> {
    let vhost = call.vhost()?;
    let cell = vhost.queue(&clean_name(call.name("queue"))).ok_or(ApiError::NotFound("queue_not_found"))?;
    Ok((vhost, cell))
}

fn declare(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, body) = (call.vhost()?, call.object()?);
    let name = clean_name(call.name("queue"));
    if name.is_empty() {
        return Err(ApiError::bad("a queue has to have a name"));
    }
    check_length("queue", &name)?;
    let flag = |key: &str| body.flag(key).map(Option::unwrap_or_default);
    let (durable, auto_delete) = (flag("durable")?, flag("auto_delete")?);
    let table = table_of(&body.object("arguments")?).map_err(ApiError::bad)?;
    let it = On::Queue(&name);
    call.check(&vhost, Operation::Declare(it))?;
    let letters = table.as_ref().get(DEAD_LETTER_EXCHANGE).and_then(|value| value.as_str());
    let objection = letters.and_then(|exchange| call.objection(&vhost, Operation::CreateWith(it, exchange)));
    let request = QueueDeclare {
        name: &name,
        durable,
        auto_delete,
        arguments: table.as_ref(),
        objection: objection.as_ref(),
        ..QueueDeclare::default()
    };
    let Declared { created, gate, .. } = vhost.declare_queue(request, actor(call))?;
    for argument in arguments::without_effect(table.as_ref()).filter(|_| created) {
        tracing::warn!(queue = ?name, "the argument {argument} is kept, but has no effect in this version");
    }
    call.settle(gate)?;
    Ok(Answer::put(created))
}

fn remove(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, cell) = found(call)?;
    let name = &cell.spec.name;
    call.check(&vhost, Operation::Delete(On::Queue(name)))?;
    let (if_unused, if_empty) = (call.query.is_true("if-unused"), call.query.is_true("if-empty"));
    let (_, gate) = vhost.delete_queue(name, if_unused, if_empty, actor(call))?;
    call.settle(gate)?;
    Ok(Answer::NoContent)
}

fn purge(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, cell) = found(call)?;
    call.check(&vhost, Operation::TakeFrom(&cell.spec.name))?;
    let (_, lsn) = vhost.find_queue(&cell.spec.name, NOBODY)?.purge();
    call.settle(Gate::durable(lsn))?;
    Ok(Answer::NoContent)
}

fn bindings(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, cell) = found(call)?;
    Ok(bindings::listed(call, &vhost, vhost.bindings_to_queue(&cell.spec.name)))
}

/// What mirrored queues were told in RabbitMQ. One that is alone is in step with itself.
fn act(call: &Call) -> Result<Answer, ApiError> {
    found(call)?;
    let body = call.object()?;
    match body.text("action")? {
        "sync" | "cancel_sync" => Ok(Answer::NoContent),
        other => Err(ApiError::bad(format!("unknown: {other}"))),
    }
}
