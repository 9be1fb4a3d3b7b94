//! Bindings, and the words they are found by.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::definitions::{table_of, value_of};
use crate::broker::vhost::{BindRequest, BindTarget, ListedBinding, VHost, clean_name};
use crate::broker::views::BindingView;
use crate::identity::access::Right;
use crate::identity::operation::{Operation, Resource as On};
use crate::management::answer::Answer;
use crate::management::binding_key::{as_written, escaped, properties_key};
use crate::management::body::check_length;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, array, single};
use crate::management::resources::exchanges::as_name;
use crate::management::resources::queues::actor;
use crate::management::routes::{InVHost, Resource, Verb, delete, get, post};
use crate::management::visitor::Level;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (any, sees, enters) = (Level::Management, InVHost::Sees, InVHost::Enters);
    let pair = || -> [Verb; 2] { [get(any, between).in_vhost(sees), post(any, bind).in_vhost(enters)] };
    let single = || -> [Verb; 2] { [get(any, one).in_vhost(sees), delete(any, unbind).in_vhost(enters)] };
    vec![
        Resource::new("/bindings", [get(any, all)]),
        Resource::new("/bindings/{vhost}", [get(any, of_vhost).in_vhost(sees)]),
        Resource::new("/bindings/{vhost}/e/{source}/q/{queue}", pair()),
        Resource::new("/bindings/{vhost}/e/{source}/e/{exchange}", pair()),
        Resource::new("/bindings/{vhost}/e/{source}/q/{queue}/{key}", single()),
        Resource::new("/bindings/{vhost}/e/{source}/e/{exchange}/{key}", single()),
    ]
}

/// A binding of a list, and where it is.
type Row = (Arc<VHost>, ListedBinding);

/// A list of bindings of one vhost.
pub(super) fn listed(call: &Call, vhost: &Arc<VHost>, bindings: Vec<ListedBinding>) -> Answer {
    rows(call, bindings.into_iter().map(|binding| (vhost.clone(), binding)).collect())
}

fn rows(call: &Call, rows: Vec<Row>) -> Answer {
    // Those of one vhost together.
    let make = |rows: &[Row]| {
        let of_vhost = rows.chunk_by(|(one, _), (other, _)| Arc::ptr_eq(one, other));
        let views = of_vhost.flat_map(|rows| {
            let listed: Vec<ListedBinding> = rows.iter().map(|(_, listed)| listed.clone()).collect();
            rows.first().map(|(vhost, _)| vhost.binding_views(&listed)).unwrap_or_default()
        });
        views.map(|view| view.as_ref().map(described)).collect()
    };
    // They have no name to be sorted by.
    array(call, Rows::together(rows, |_| "", make))
}

fn described(binding: &BindingView) -> Value {
    let BindingView { source, vhost, destination, to_exchange, routing_key, arguments } = binding;
    json!({
        "source": source,
        "vhost": vhost,
        "destination": destination,
        "destination_type": if *to_exchange { "exchange" } else { "queue" },
        "routing_key": routing_key,
        "arguments": value_of(arguments.as_ref()),
        "properties_key": properties_key(routing_key, arguments.as_ref()),
    })
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    let broker = call.broker();
    let seen = broker.vhost_names().into_iter().filter(|name| call.visitor.sees(broker, name));
    let vhosts = seen.filter_map(|name| broker.vhost(&name));
    let of_vhost =
        |vhost: Arc<VHost>| vhost.bindings().into_iter().map(move |binding| (vhost.clone(), binding));
    Ok(rows(call, vhosts.flat_map(of_vhost).collect()))
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    let vhost = call.vhost()?;
    Ok(listed(call, &vhost, vhost.bindings()))
}

/// The ends of bindings in a path.
struct Ends {
    vhost: Arc<VHost>,
    source: String,
    destination: String,
    to_exchange: bool,
}

impl Ends {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let (vhost, source) = (call.vhost()?, as_name(call.name("source")));
        let to_exchange = call.name("queue").is_empty();
        let destination =
            if to_exchange { as_name(call.name("exchange")) } else { clean_name(call.name("queue")) };
        Ok(Self { vhost, source, destination, to_exchange })
    }

    fn target(&self) -> BindTarget<'_> {
        if self.to_exchange {
            BindTarget::Exchange(&self.destination)
        } else {
            BindTarget::Queue(&self.destination)
        }
    }

    /// The bindings between them.
    fn bindings(&self) -> Vec<(ListedBinding, BindingView)> {
        let listed = if self.to_exchange {
            self.vhost.bindings_to_exchange(&self.destination)
        } else {
            self.vhost.bindings_to_queue(&self.destination)
        };
        let views = self.vhost.binding_views(&listed);
        let found = listed.into_iter().zip(views).filter_map(|(listed, view)| Some((listed, view?)));
        found.filter(|(_, view)| view.source == self.source).collect()
    }

    /// The binding between them that the path means.
    fn binding(&self, call: &Call) -> Result<BindingView, ApiError> {
        let key = as_written(call.name("key"));
        let is_it =
            |binding: &BindingView| properties_key(&binding.routing_key, binding.arguments.as_ref()) == key;
        let mut views = self.bindings().into_iter().map(|(_, view)| view);
        views.find(is_it).ok_or(ApiError::NotFound("binding_not_found"))
    }

    /// Whether the visitor may bind and unbind them: as RabbitMQ, first where it leads, then where it comes from.
    fn check(&self, call: &Call, key: &str) -> Result<(), ApiError> {
        let on =
            if self.to_exchange { On::Exchange(&self.destination) } else { On::Queue(&self.destination) };
        call.check(&self.vhost, Operation::BindTo(on))?;
        if self.source.is_empty() || on == On::Exchange("") {
            // Whoever makes the binding says what is wrong with it.
            return Ok(());
        }
        call.check(&self.vhost, Operation::BindFrom(&self.source))?;
        call.check_keys(&self.vhost, Right::Read, &self.source, &[key])
    }
}

fn between(call: &Call) -> Result<Answer, ApiError> {
    let ends = Ends::of(call)?;
    Ok(listed(call, &ends.vhost, ends.bindings().into_iter().map(|(listed, _)| listed).collect()))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    Ok(single(call, described(&Ends::of(call)?.binding(call)?)))
}

fn bind(call: &Call) -> Result<Answer, ApiError> {
    let (ends, body) = (Ends::of(call)?, call.object()?);
    let key = body.optional_text("routing_key")?.unwrap_or_default();
    check_length("routing_key", key)?;
    let arguments = table_of(&body.object("arguments")?).map_err(ApiError::bad)?;
    let arguments = arguments.as_ref();
    ends.check(call, key)?;
    let request = BindRequest { source: &ends.source, target: ends.target(), key, arguments };
    call.settle(ends.vhost.bind(request, actor(call))?)?;
    let place = [&*ends.destination, &properties_key(key, arguments)].map(escaped).join("/");
    Ok(Answer::CreatedAt(place))
}

fn unbind(call: &Call) -> Result<Answer, ApiError> {
    let ends = Ends::of(call)?;
    let binding = ends.binding(call)?;
    ends.check(call, &binding.routing_key)?;
    let (key, arguments) = (&*binding.routing_key, binding.arguments.as_ref());
    let request = BindRequest { source: &ends.source, target: ends.target(), key, arguments };
    call.settle(ends.vhost.unbind(request, actor(call))?)?;
    Ok(Answer::NoContent)
}
