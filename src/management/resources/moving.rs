//! Moving messages from one queue to another. RabbitMQ has no such resource: its shovel does it with two connections.

use serde::Deserialize;
use serde_json::json;

use crate::broker::vhost::moving::Moved;
use crate::identity::operation::Operation;
use crate::ids::ConnectionId;
use crate::management::answer::{Answer, Sink};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::progress::{self, PROGRESS, tell};
use crate::management::routes::{InVHost, Resource, post};
use crate::management::visitor::Level;

/// Whose queues are touched: those that belong to a connection are not.
const NOBODY: ConnectionId = ConnectionId(0);

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let verb = post(Level::Management, make).in_vhost(InVHost::Enters);
    vec![Resource::new("/queues/{vhost}/{queue}/move", [verb])]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    /// The queue that they go to.
    to: String,
}

fn make(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    let (from, Move { to }) = (call.name("queue").to_owned(), call.json()?);
    call.check(&vhost, Operation::TakeFrom(&from))?;
    call.check(&vhost, Operation::PublishTo(""))?;
    let source = vhost.find_queue(&from, NOBODY)?;
    let target = vhost.find_queue(&to, NOBODY)?;
    if source.id == target.id {
        return Err(ApiError::bad("a queue is not moved to itself"));
    }
    let (api, user) = (call.api.clone(), call.visitor.name().to_owned());
    Ok(progress::answer(move |sink: &mut Sink| {
        let of = source.counts().0.ready;
        let mut next = (api.clock)().moment.after(PROGRESS);
        let moved = vhost.move_messages(&source, &target, |done| {
            let now = (api.clock)().moment;
            let is_due = now >= next;
            if is_due {
                next = now.after(PROGRESS);
            }
            let is_heard = !is_due || tell(sink, done, of.max(done));
            is_heard && !api.ending.is_cancelled()
        });
        let Moved { messages, safe, outcome } = moved;
        let is_safe = api.broker.journal.wait_durable(safe);
        tracing::info!(user, vhost = vhost.name, from, to, messages, ?outcome, "messages moved");
        match outcome {
            _ if !is_safe => {
                Err("storage has failed; whether the messages are moved is not known".to_owned())
            }
            Ok(()) => Ok(json!({ "messages": messages })),
            Err(error) => Err(format!("{messages} messages were moved, and the others stay: {error}")),
        }
    }))
}
