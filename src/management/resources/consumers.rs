//! Consumers.

use std::sync::Arc;

use serde_json::Value;

use crate::broker::vhost::VHost;
use crate::broker::views::ConsumerView;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array};
use crate::management::parts::consumer;
use crate::management::routes::{InVHost, Resource, get};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let any = Level::Management;
    vec![
        Resource::new("/consumers", [get(any, all)]),
        Resource::new("/consumers/{vhost}", [get(any, of_vhost).in_vhost(InVHost::Sees)]),
    ]
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    Ok(listed(call, &call.vhosts()))
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    Ok(listed(call, &[call.vhost()?]))
}

/// Those that the visitor may see: any if it monitors, else those of its own connections.
fn listed(call: &Call, vhosts: &[Arc<VHost>]) -> Answer {
    let mut consumers: Vec<ConsumerView> =
        vhosts.iter().flat_map(|vhost| call.broker().consumer_views(vhost)).collect();
    if !call.visitor.is(Level::Monitoring) {
        let is_own = |view: &ConsumerView| {
            view.open_connection.as_ref().is_some_and(|open| call.visitor.is_user(&open.facts.user))
        };
        consumers.retain(is_own);
    }
    let node = call.broker().node.name.clone();
    array(call, Rows::new(consumers, |view| &view.tag, move |view| -> Value { consumer(&node, view) }))
}
