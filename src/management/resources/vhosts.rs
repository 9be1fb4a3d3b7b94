//! Vhosts.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::vhost::VHost;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, list};
use crate::management::routes::{InVHost, Resource, get};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    vec![
        Resource::new("/vhosts", [get(Level::Management, all)]),
        Resource::new("/vhosts/{vhost}", [get(Level::Management, one).in_vhost(InVHost::Sees)]),
    ]
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let seen = broker.vhost_names().into_iter().filter(|name| call.visitor.sees(broker, name));
    let vhosts: Vec<Arc<VHost>> = seen.filter_map(|name| broker.vhost(&name)).collect();
    let broker = broker.clone();
    let rows = Rows::new(vhosts, |vhost| &vhost.name, move |vhost| described(&broker, vhost));
    list(call, rows)
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    Ok(Answer::Json(described(call.broker(), &vhost)))
}

fn described(broker: &crate::broker::Broker, vhost: &VHost) -> Value {
    let mut described =
        broker.vhost_metadata(&vhost.name).map_or_else(|| json!({}), |metadata| metadata.value());
    if let Some(object) = described.as_object_mut() {
        object.insert("name".to_owned(), vhost.name.clone().into());
        object.insert("tracing".to_owned(), vhost.is_traced().into());
    }
    described
}
