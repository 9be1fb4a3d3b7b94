//! What RabbitMQ can be told to do or not to do any more, for tools that look at it before an upgrade. Here all of it is so
//! for good, and nothing is deprecated.

use serde_json::{Value, json};

use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array};
use crate::management::routes::{Resource, get, put};
use crate::management::visitor::Level;

/// Feature flags of RabbitMQ for what is here too.
const FLAGS: [(&str, &str); 7] = [
    ("direct_exchange_routing_v2", "Bindings of direct exchanges are found without a search"),
    ("drop_unroutable_metric", "Unroutable messages that are dropped are counted"),
    ("empty_basic_get_metric", "basic.get on empty queues is counted"),
    ("implicit_default_bindings", "The default exchange leads to every queue without stored bindings"),
    ("quorum_queue", "Queues may have the rules of quorum queues"),
    ("user_limits", "Users may have limits of connections and channels"),
    ("virtual_host_metadata", "Vhosts may have a description and tags"),
];

/// The word for all of them.
const ALL: &str = "all";

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    vec![
        Resource::new("/feature-flags", [get(Level::Management, flags)]),
        Resource::new("/feature-flags/{flag}/enable", [put(Level::Administrator, enable)]),
        Resource::new("/deprecated-features", [get(Level::Monitoring, none)]),
        Resource::new("/deprecated-features/used", [get(Level::Monitoring, none)]),
    ]
}

fn flags(call: &Call) -> Result<Answer, ApiError> {
    let row = |(name, what): &(&str, &str)| {
        json!({
            "name": name,
            "desc": what,
            "doc_url": "",
            "state": "enabled",
            "stability": "stable",
            "provided_by": "leveret",
        })
    };
    Ok(array(call, Rows::new(FLAGS.to_vec(), |(name, _)| name, row)))
}

/// They are.
fn enable(call: &Call) -> Result<Answer, ApiError> {
    let flag = call.name("flag");
    if flag == ALL || FLAGS.iter().any(|(known, _)| *known == flag) {
        return Ok(Answer::NoContent);
    }
    Err(ApiError::bad(format!("unsupported: there is no feature flag {flag}")))
}

fn none(call: &Call) -> Result<Answer, ApiError> {
    Ok(array(call, Rows::new(Vec::<Value>::new(), |_| "", Value::clone)))
}
