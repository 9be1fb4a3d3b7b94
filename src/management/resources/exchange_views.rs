//! Exchanges as they are shown.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::broker::definitions::value_of;
use crate::broker::vhost::VHost;
use crate::broker::views::ExchangeView;
use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::listing::{Rows, list, single};
use crate::management::past::{Of, past_of};
use crate::management::resources::channel_counts::{by_channel, published};
use crate::management::resources::neighbours::{self, Named};
use crate::management::routes::{InVHost, Resource, get};
use crate::management::statistics::{Numbers, Ranges};
use crate::management::visitor::Level;

/// How a path names the default exchange, whose name is empty.
const DEFAULT: &str = "amq.default";

/// Who made what every vhost has, in RabbitMQ's words.
const ITSELF: &str = "rmq-internal";

/// What the names of exchanges begin with that every vhost has.
const RESERVED: &str = "amq.";

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let (any, sees) = (Level::Management, InVHost::Sees);
    vec![
        Resource::new("/exchanges", [get(any, all)]),
        Resource::new("/exchanges/{vhost}", [get(any, of_vhost).in_vhost(sees)]),
        Resource::new("/exchanges/{vhost}/{exchange}", [get(any, one).in_vhost(sees)]),
    ]
}

/// The exchanges of a vhost.
fn named(vhost: &Arc<VHost>) -> impl Iterator<Item = Named> + use<> {
    neighbours::named(vhost, vhost.exchange_names())
}

fn all(call: &Call) -> Result<Answer, ApiError> {
    listed(call, call.vhosts().iter().flat_map(named).collect())
}

fn of_vhost(call: &Call) -> Result<Answer, ApiError> {
    listed(call, named(&call.vhost()?).collect())
}

fn listed(call: &Call, exchanges: Vec<Named>) -> Result<Answer, ApiError> {
    let told = Told::of(call)?;
    list(call, Rows::together(exchanges, |named| &named.name, move |exchanges| told.rows(exchanges)))
}

fn one(call: &Call) -> Result<Answer, ApiError> {
    let (vhost, told) = (call.vhost()?, Told::of(call)?);
    let name = call.name("exchange");
    let name = if name == DEFAULT { "" } else { name };
    let view = vhost.exchange_view(name).ok_or(ApiError::NotFound("exchange_not_found"))?;
    let mut row = told.row(&vhost, &view);
    row.insert("incoming".to_owned(), told.incoming(&vhost, name).into());
    // Into which queue a message went is not counted for exchanges, as in RabbitMQ unless rates are "detailed".
    row.insert("outgoing".to_owned(), json!([]));
    Ok(single(call, row.into()))
}

/// What exchanges are told with.
struct Told {
    broker: Arc<Broker>,
    ranges: Ranges,
    with_statistics: bool,
}

impl Told {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let ranges = Ranges::of(&call.query)?;
        let with_statistics = !call.query.is_true("disable_stats");
        Ok(Self { broker: call.broker().clone(), ranges, with_statistics })
    }

    /// The rows of these exchanges; none for those that have gone.
    fn rows(&self, exchanges: &[Named]) -> Vec<Option<Value>> {
        let views = |vhost: &Arc<VHost>, names: &[String]| vhost.exchange_views(names);
        neighbours::rows(exchanges, views, |view| &view.name, |vhost, view| self.row(vhost, view).into())
    }

    fn row(&self, vhost: &VHost, view: &ExchangeView) -> Map<String, Value> {
        let mut told = Map::new();
        let mut put = |key: &str, value: Value| told.insert(key.to_owned(), value);
        put("name", view.name.clone().into());
        put("vhost", view.vhost.clone().into());
        put("type", view.kind.name().into());
        put("durable", view.durable.into());
        put("auto_delete", view.auto_delete.into());
        put("internal", view.internal.into());
        put("arguments", value_of(view.arguments.as_ref()).into());
        put("policy", view.policy.clone().into());
        put("effective_policy_definition", view.effective_policy.clone().into());
        // Who made the others is not kept.
        let is_own = !view.name.is_empty() && !view.name.starts_with(RESERVED);
        put("user_who_performed_action", if is_own { "" } else { ITSELF }.into());
        if self.with_statistics {
            let past = past_of(&self.broker, Of::Exchange(vhost, &view.name));
            let numbers = Numbers { past: &past, ranges: &self.ranges };
            let counts = [("publish_in", view.publish_in), ("publish_out", view.publish_out)];
            numbers.put_events(&mut told, &counts);
        }
        told
    }

    /// What each channel published to an exchange.
    fn incoming(&self, vhost: &VHost, name: &str) -> Vec<Value> {
        let mut connections = self.broker.registry.connections();
        connections.retain(|open| std::ptr::eq(&*open.facts.vhost, vhost));
        by_channel(&self.broker, &connections, |channel| {
            let all = channel.published();
            let to = all.iter().find(|to| to.exchange == name)?;
            Some(published(&self.broker, to))
        })
    }
}
