//! Starts a broker on a disk after a crash and compares it with the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::broker::queue_cell::GetResult;
use leveret::broker::vhost::{RouteScratch, VHost};
use leveret::storage::disk::Disk;
use leveret::storage::options::JournalOptions;

use crate::life::{EXCHANGES, KEYS, ME, QUEUES, exchange_declare, get, vhost};
use crate::messages::Messages;
use crate::model::{History, Id, State};

/// What a broker is compared with.
pub struct Expected<'a> {
    pub history: &'a History,
    pub messages: &'a Messages,
    pub touched: &'a BTreeSet<String>,
    pub options: JournalOptions,
}

impl Expected<'_> {
    /// Starts a broker and compares it with the history at the position to which its journal goes, which has to be
    /// from `least` to `most`. Returns that position.
    pub fn check(&self, disk: Arc<dyn Disk>, least: u64, most: u64) -> Result<u64, String> {
        let opened = Broker::open(BrokerOptions::default(), disk, self.options, |_| {});
        let broker = opened.map_err(|error| format!("refused: {error}"))?;
        let end = broker.journal.end().0;
        let result = if end < least {
            Err(format!("the journal ends at {end}, but was safe up to {least}"))
        } else if end > most {
            Err(format!("the journal ends at {end}, but was only appended to up to {most}"))
        } else {
            let state = self.history.at(end);
            let vhost = vhost(&broker);
            self.check_queues(&vhost, &state).and_then(|()| check_definitions(&vhost, &state))
        };
        broker.journal.close();
        result.map(|()| end).map_err(|error| format!("{error} (the journal ends at {end})"))
    }

    fn check_queues(&self, vhost: &VHost, state: &State) -> Result<(), String> {
        let found: BTreeSet<String> = vhost.queues().iter().map(|cell| cell.spec.name.clone()).collect();
        if !found.iter().eq(state.queues.keys()) {
            let expected: Vec<_> = state.queues.keys().collect();
            return Err(format!("queues {found:?} instead of {expected:?}"));
        }
        for (name, messages) in &state.queues {
            let cell = vhost.find_queue(name, ME).map_err(|error| error.to_string())?;
            let mut ids: Vec<Id> = Vec::new();
            while let GetResult::Got(got) = get(&cell) {
                let id = self.messages.check(&got.message).map_err(|error| format!("in {name}: {error}"))?;
                if got.redelivered && !self.touched.contains(name) {
                    return Err(format!("message {id} in {name} is flagged and never was delivered"));
                }
                if !got.redelivered && messages.get(&id) == Some(&true) {
                    return Err(format!("message {id} in {name} was delivered and is not flagged"));
                }
                ids.push(id);
            }
            if !ids.iter().eq(messages.keys()) {
                return Err(difference(name, &ids, messages));
            }
        }
        Ok(())
    }
}

fn difference(name: &str, found: &[Id], expected: &BTreeMap<Id, bool>) -> String {
    let lost: Vec<_> = expected.keys().filter(|id| !found.contains(id)).collect();
    let extra: Vec<_> = found.iter().filter(|id| !expected.contains_key(id)).collect();
    format!("in {name}: lost {lost:?}, back again {extra:?}, found {found:?}")
}

fn check_definitions(vhost: &VHost, state: &State) -> Result<(), String> {
    for name in EXCHANGES {
        match (vhost.find_exchange(name).is_ok(), state.exchanges.get(name)) {
            (false, None) => {}
            (true, Some(exchange)) => {
                let declare = exchange_declare(name, exchange.fanout, exchange.auto_delete);
                vhost.declare_exchange(declare).map_err(|error| error.to_string())?;
            }
            (found, _) => return Err(format!("exchange {name} is there: {found}")),
        }
    }
    let exchanges = state.exchanges.keys().map(String::as_str).flat_map(|name| KEYS.map(|key| (name, key)));
    for (exchange, key) in exchanges.chain(QUEUES.map(|queue| ("", queue))) {
        let routed = vhost.route(exchange, key, None, &mut RouteScratch::default());
        let routed = routed.map_err(|error| error.to_string())?;
        let names: BTreeSet<String> = routed.route.queues.iter().map(|cell| cell.spec.name.clone()).collect();
        let expected = state.route(exchange, key);
        if names != expected {
            return Err(format!("{exchange:?} with {key:?} leads to {names:?} instead of {expected:?}"));
        }
    }
    Ok(())
}
