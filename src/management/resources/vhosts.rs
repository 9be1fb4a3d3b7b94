//! Vhosts.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::broker::connections::Bytes;
use crate::broker::vhost::VHost;
use crate::broker::vhosts::{Metadata, QueueType, VHostError};
use crate::identity::access::Permissions;
use crate::management::answer::Answer;
use crate::management::body::Object;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, list, single};
use crate::management::resources::vhost_statistics;
use crate::management::routes::{InVHost, Resource, delete, get, post, put};
use crate::management::statistics::Ranges;
use crate::management::visitor::{Level, Visitor};

/// Where a vhost is.
const ONE: &str = "/vhosts/{vhost}";

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let admin = Level::Administrator;
    vec![
        Resource::new("/vhosts", [get(Level::Management, all)]),
        Resource::new(
            ONE,
            [get(Level::Management, one).in_vhost(InVHost::Sees), put(admin, set), delete(admin, remove)],
        ),
        Resource::new("/vhosts/{vhost}/deletion/protection", [post(admin, protect), delete(admin, expose)]),
        Resource::new("/vhosts/{vhost}/start/{node}", [post(admin, start)]),
    ]
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let seen = broker.vhost_names().into_iter().filter(|name| call.visitor.sees(broker, name));
    let vhosts: Vec<Arc<VHost>> = seen.filter_map(|name| broker.vhost(&name)).collect();
    let (broker, ranges) = (broker.clone(), Ranges::of(&call.query)?);
    let make = move |vhosts: &[Arc<VHost>]| {
        // One walk over the connections for all of them.
        let bytes = broker.registry.bytes_of_all(vhosts);
        let row = |(vhost, bytes): (&Arc<VHost>, Bytes)| Some(described(&broker, vhost, bytes, &ranges));
        vhosts.iter().zip(bytes).map(row).collect()
    };
    list(call, Rows::together(vhosts, |vhost| &vhost.name, make))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    let (broker, vhost) = (call.broker(), call.vhost()?);
    let bytes = broker.registry.bytes_of(&vhost);
    Ok(single(call, described(broker, &vhost, bytes, &Ranges::of(&call.query)?)))
}

fn described(broker: &Broker, vhost: &VHost, bytes: Bytes, ranges: &Ranges) -> Value {
    let metadata = broker.vhost_metadata(&vhost.name).unwrap_or_default().value();
    let mut described = metadata.clone();
    if let Some(object) = described.as_object_mut() {
        object.insert("metadata".to_owned(), metadata);
        object.insert("name".to_owned(), vhost.name.clone().into());
        object.insert("tracing".to_owned(), vhost.is_traced().into());
        object.insert("cluster_state".to_owned(), json!({ &*broker.node.name: "running" }));
        vhost_statistics::put(object, broker, vhost, bytes, ranges);
    }
    described
}

/// Makes a vhost, or says other things about one. As in RabbitMQ what is not said any more is gone, but protection and
/// tracing stay as they are.
fn set(call: &Call) -> Result<Answer, ApiError> {
    let (broker, name, body) = (call.broker(), call.name("vhost"), call.object()?);
    let wanted = metadata(&body)?;
    let (protected, traced) = (body.flag("protected_from_deletion")?, body.flag("tracing")?);
    let change = |metadata: &mut Metadata| {
        let is_protected = protected.unwrap_or(metadata.protected_from_deletion);
        *metadata = Metadata { protected_from_deletion: is_protected, ..wanted.clone() };
    };
    let mut new = Metadata::default();
    change(&mut new);
    let (is_new, gate) = match broker.add_vhost(name, &new, call.visitor.name()) {
        Ok(gate) => (true, gate),
        Err(VHostError::Exists(_)) => {
            // First, so that who is told of the change is told of this too.
            trace(call, traced);
            (false, broker.set_vhost_metadata(name, change, call.visitor.name())?)
        }
        Err(error) => return Err(error.into()),
    };
    let vhost = call.vhost()?;
    trace(call, traced);
    let gate = if is_new { gate.and(given_to_maker(call, &vhost)) } else { gate };
    call.settle(gate)?;
    Ok(Answer::put(is_new))
}

/// Switches tracing, if it is said how.
fn trace(call: &Call, traced: Option<bool>) {
    let vhost = traced.and_then(|on| Some((call.vhost().ok()?, on)));
    vhost.into_iter().for_each(|(vhost, on)| vhost.set_traced(on));
}

fn metadata(body: &Object) -> Result<Metadata, ApiError> {
    let kind = body.optional_text("default_queue_type")?;
    let default_queue_type = match kind {
        // RabbitMQ's own definitions say "undefined".
        None | Some("" | "undefined") => QueueType::default(),
        Some(kind) => QueueType::parse(kind).ok_or_else(|| {
            ApiError::bad(format!("the default queue type should be classic or quorum, and is {kind}"))
        })?,
    };
    Ok(Metadata {
        description: body.optional_text("description")?.unwrap_or_default().to_owned(),
        tags: body.words("tags")?.unwrap_or_default(),
        default_queue_type,
        protected_from_deletion: false,
    })
}

/// The user who makes a vhost may do everything in it.
fn given_to_maker(call: &Call, vhost: &VHost) -> crate::channel::gates::Gate {
    use crate::channel::gates::Gate;
    let Visitor::User(user) = &call.visitor else { return Gate::OPEN };
    // Not one who is kept elsewhere: whoever vouches for such a user says what it may do, and another one may have its name.
    if user.token().is_some() {
        return Gate::OPEN;
    }
    let everything = || vhost.set_permissions(&user.name, Permissions::everything(), &user.name);
    call.broker().users.with_existing(&user.name, everything).unwrap_or(Gate::OPEN)
}

fn remove(call: &Call) -> Result<Answer, ApiError> {
    call.settle(call.broker().delete_vhost(call.name("vhost"), call.visitor.name())?)?;
    Ok(Answer::NoContent)
}

fn protect(call: &Call) -> Result<Answer, ApiError> {
    set_protected(call, true)
}

fn expose(call: &Call) -> Result<Answer, ApiError> {
    set_protected(call, false)
}

fn set_protected(call: &Call, is_protected: bool) -> Result<Answer, ApiError> {
    let change = |metadata: &mut Metadata| metadata.protected_from_deletion = is_protected;
    call.settle(call.broker().set_vhost_metadata(call.name("vhost"), change, call.visitor.name())?)?;
    Ok(Answer::NoContent)
}

/// Vhosts that are there run.
fn start(call: &Call) -> Result<Answer, ApiError> {
    call.vhost()?;
    call.check_node()?;
    Ok(Answer::NoContent)
}

impl From<VHostError> for ApiError {
    fn from(error: VHostError) -> Self {
        match error {
            VHostError::Missing(_) => Self::NotFound("vhost_not_found"),
            VHostError::Protected(_) => Self::Precondition(error.to_string()),
            VHostError::Exists(_) | VHostError::Full(..) | VHostError::BadName => {
                Self::bad(error.to_string())
            }
        }
    }
}
