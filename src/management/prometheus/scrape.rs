//! What one scrape is about, and the numbers of the node at its moment. Numbers of objects are read as they are written.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::churn::Churn;
use crate::broker::connections::{Bytes, ConnectionState};
use crate::broker::statistics::activity::Booked;
use crate::broker::totals::{Counted, Event};
use crate::broker::vhost::VHost;
use crate::broker::views::ObjectTotals;
use crate::management::Api;
use crate::management::error::ApiError;
use crate::management::prometheus::table;
use crate::management::query::Query;
use crate::pattern::Pattern;

/// What is answered at which path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Numbers of objects added up.
    Aggregated,
    /// Everything, and each object.
    PerObject,
    /// Families that are asked for, of each object.
    Detailed,
    /// What takes memory.
    MemoryBreakdown,
}

impl Endpoint {
    /// RabbitMQ's word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::PerObject => "per-object",
            Self::Detailed => "detailed",
            Self::MemoryBreakdown => "memory-breakdown",
        }
    }
}

/// The longest word that may stand in place of `rabbitmq`, as in `LavinMQ`.
const LONGEST_PREFIX: usize = 20;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) endpoint: Endpoint,
    /// In place of `rabbitmq`.
    pub(super) word: String,
    /// The families, by name. Heeded by the detailed endpoint, as what follows.
    families: Vec<String>,
    /// None is all of them.
    vhosts: Vec<String>,
    queues: Option<Pattern>,
}

impl Wish {
    /// What a query says.
    ///
    /// # Errors
    /// If it names a family that is not known, or a wrong prefix or pattern.
    pub(super) fn of(endpoint: Endpoint, query: &Query) -> Result<Self, ApiError> {
        let word = query.get("prefix").unwrap_or("rabbitmq");
        let is_name = |word: &str| {
            let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
            word.starts_with(is_letter) && word.chars().all(|c| is_letter(c) || c.is_ascii_digit())
        };
        if word.len() > LONGEST_PREFIX || !is_name(word) {
            let why =
                format!("a prefix has letters, digits and underscores, and at most {LONGEST_PREFIX} of them");
            return Err(ApiError::bad(why));
        }
        let mut wish =
            Self { endpoint, word: word.to_owned(), families: Vec::new(), vhosts: Vec::new(), queues: None };
        if endpoint == Endpoint::Detailed {
            let words = |name| query.all(name).map(str::to_owned).collect();
            (wish.families, wish.vhosts) = (words("family"), words("vhost"));
            if let Some(unknown) = wish.families.iter().find(|family| !table::is_family(family)) {
                return Err(ApiError::bad(format!("there is no family \"{unknown}\"")));
            }
            let pattern = query.get("queue").map(Pattern::new).transpose();
            wish.queues = pattern.map_err(|error| ApiError::bad(error.to_string()))?;
        }
        Ok(wish)
    }

    /// Whether metrics of a family are to be written.
    pub(super) fn wants(&self, family: &str) -> bool {
        self.endpoint != Endpoint::Detailed || self.families.iter().any(|known| known == family)
    }

    /// Whether objects of a vhost are.
    pub(super) fn has_vhost(&self, vhost: &str) -> bool {
        self.vhosts.is_empty() || self.vhosts.iter().any(|known| known == vhost)
    }

    /// Whether queues of this name are.
    pub(super) fn has_queue(&self, queue: &str) -> bool {
        self.queues.as_ref().is_none_or(|pattern| pattern.is_in(queue))
    }
}

/// See the module.
pub(super) struct Scrape {
    pub(super) api: Arc<Api>,
    pub(super) wish: Wish,
    /// Seconds since the start.
    pub(super) uptime: f64,
    pub(super) counted: Counted,
    pub(super) churn: Churn,
    pub(super) objects: ObjectTotals,
    /// Open connections by state.
    pub(super) states: [u64; 3],
    pub(super) bytes: Bytes,
    pub(super) sums: Booked,
}

impl Scrape {
    /// Reads the numbers of the node.
    pub(super) fn begin(api: Arc<Api>, wish: Wish) -> Self {
        let broker = &api.broker;
        let mut states = [0; 3];
        for connection in broker.registry.connections() {
            states[connection.state() as usize] += 1;
        }
        Self {
            uptime: (api.clock)().unix_ms.saturating_sub(broker.node.started_at) as f64 / 1000.0,
            counted: broker.totals.counted(),
            churn: broker.churn(),
            objects: broker.object_totals(None),
            states,
            bytes: broker.registry.bytes(),
            sums: broker.queue_sums(),
            wish,
            api,
        }
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.api.broker
    }

    /// How often something happened in all vhosts.
    pub(super) const fn event(&self, event: Event) -> u64 {
        self.counted.of(event)
    }

    /// Open connections in a state.
    pub(super) const fn connections(&self, state: ConnectionState) -> u64 {
        self.states[state as usize]
    }

    /// The vhosts that are asked for, by name.
    pub(super) fn vhosts(&self) -> impl Iterator<Item = Arc<VHost>> {
        let names = self.broker().vhost_names().into_iter();
        names.filter(|name| self.wish.has_vhost(name)).filter_map(|name| self.broker().vhost(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(endpoint: Endpoint, query: &str) -> Result<Wish, ApiError> {
        Wish::of(endpoint, &Query::from(query))
    }

    #[test]
    fn a_wish_says_what_is_wanted() {
        let query = "family=queue_metrics&family=ra_metrics&vhost=a&vhost=%2F&queue=%5Eq&prefix=x_1";
        let detailed = wish(Endpoint::Detailed, query).unwrap();
        assert!(detailed.wants("queue_metrics") && !detailed.wants("channel_metrics"));
        assert!(detailed.has_vhost("/") && detailed.has_vhost("a") && !detailed.has_vhost("b"));
        assert!(detailed.has_queue("q1") && !detailed.has_queue("1q"));
        assert_eq!(detailed.word, "x_1");
        let all = wish(Endpoint::PerObject, "vhost=a&family=none&queue=(").unwrap();
        assert!(all.wants("queue_metrics") && all.has_vhost("b") && all.has_queue("x"));
        assert!(!wish(Endpoint::Detailed, "").unwrap().wants("queue_metrics"));
    }

    #[test]
    fn wrong_wishes_are_refused() {
        let wrong =
            ["family=x", "queue=(", "prefix=", "prefix=1a", "prefix=a-b", "prefix=aaaaaaaaaaaaaaaaaaaaa"];
        for query in wrong {
            assert!(matches!(wish(Endpoint::Detailed, query), Err(ApiError::Bad(_))), "{query}");
        }
    }
}
