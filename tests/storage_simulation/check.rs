//! Starts a broker on a disk after a crash and compares it with the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::broker::permissions::TopicRow;
use leveret::broker::queue_cell::GetResult;
use leveret::broker::vhost::{RouteScratch, VHost};
use leveret::identity::access::Right;
use leveret::queue::Got;
use leveret::storage::disk::Disk;
use leveret::storage::options::JournalOptions;

use crate::dropping::kind_of;
use crate::letters::{self, Place};
use crate::life::{EXCHANGES, KEYS, ME, QUEUES, exchange_declare, get, vhost};
use crate::messages::Messages;
use crate::model::{Change, History, Id, State};

/// What a broker is compared with.
pub struct Expected<'a> {
    pub history: &'a History,
    pub messages: &'a Messages,
    pub touched: &'a BTreeSet<String>,
    pub options: JournalOptions,
    /// What the history says of later positions is about another journal.
    pub known: u64,
}

impl Expected<'_> {
    /// Starts a broker and compares it with the history at the position to which its journal goes, which has to be
    /// from `least` to `most`. Returns that position.
    pub fn check(&self, disk: Arc<dyn Disk>, least: u64, most: u64) -> Result<u64, String> {
        let opened = Broker::open(BrokerOptions::default(), disk, self.options, |_| {});
        let broker = opened.map_err(|error| format!("refused: {error}"))?;
        let end = broker.journal.found_end().0;
        let result = if end < least {
            Err(format!("the journal ends at {end}, but was safe up to {least}"))
        } else if end > most {
            Err(format!("the journal ends at {end}, but was only appended to up to {most}"))
        } else {
            let mut state = self.history.at(end.min(self.known));
            let vhost = vhost(&broker);
            for name in std::mem::take(&mut state.doubtful) {
                if vhost.find_queue(&name, ME).is_err() {
                    state.apply(&Change::NoQueue(name));
                }
            }
            // Time stands still since long ago, but what was delivered may be too much now.
            state.apply(&Change::Time(0));
            state.apply(&Change::Restart);
            check_parameters(&vhost, &state)
                .and_then(|()| self.check_queues(&vhost, &state))
                .and_then(|()| self.check_letters(&vhost, &state))
                .and_then(|()| check_definitions(&vhost, &state))
        };
        broker.journal.close();
        result.map(|()| end).map_err(|error| format!("{error} (the journal ends at {end})"))
    }

    fn check_queues(&self, vhost: &VHost, state: &State) -> Result<(), String> {
        let found: BTreeSet<String> = vhost.queues().iter().map(|cell| cell.spec.name.clone()).collect();
        let expected: BTreeSet<String> = state.queues.keys().chain(&state.letter_queues).cloned().collect();
        if found != expected {
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
            let mut expected: Vec<Id> = messages.keys().copied().collect();
            expected.sort_by_key(|id| letters::lane(name, self.messages.priority(*id)));
            if ids != expected {
                return Err(difference(name, &ids, messages));
            }
        }
        Ok(())
    }

    /// Takes all from the queues of letters until nothing is on its way any more.
    fn check_letters(&self, vhost: &VHost, state: &State) -> Result<(), String> {
        let lines = &state.letters.lines;
        let mut found: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut rounds = 0;
        let mut complete = false;
        loop {
            vhost.move_letters();
            for name in &state.letter_queues {
                let cell = vhost.find_queue(name, ME).map_err(|error| error.to_string())?;
                while let GetResult::Got(got) = get(&cell) {
                    let id = self
                        .check_letter(name, &got, state)
                        .map_err(|error| format!("in {name}: {error}"))?;
                    if !seen.insert(id) {
                        return Err(format!("message {id} in {name} is there twice"));
                    }
                    found.entry(name).or_default().push(id);
                }
            }
            if complete {
                break;
            }
            let lost: Vec<_> = lines
                .iter()
                .filter(|(id, line)| !line.places.contains(&Place::Gone) && !seen.contains(id))
                .collect();
            complete = lost.is_empty();
            if !complete && rounds == 5000 {
                return Err(format!("lost {lost:?}"));
            }
            if !complete {
                rounds += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        for (name, ids) in found {
            let lane = |id: &Id| (letters::lane(name, self.messages.priority(*id)), *id);
            if letters::SOURCES.contains(&name) && !ids.is_sorted_by_key(lane) {
                return Err(format!("in {name}: the order is {ids:?}"));
            }
        }
        Ok(())
    }

    fn check_letter(&self, name: &str, got: &Got, state: &State) -> Result<Id, String> {
        let (id, failed) = self.messages.check_letter(name, &got.message)?;
        let line = state.letters.lines.get(&id).ok_or_else(|| format!("message {id} is back again"))?;
        if !line.may_be_in(name) {
            return Err(format!("message {id} should be elsewhere: {line:?}"));
        }
        if line.delivered == Some(name) && line.places.len() == 1 && !got.redelivered {
            return Err(format!("message {id} was delivered and is not flagged"));
        }
        if name == "lq" && failed != line.failed {
            return Err(format!("message {id} has failed {failed} times: {line:?}"));
        }
        Ok(id)
    }
}

fn check_parameters(vhost: &VHost, state: &State) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for operator in [false, true] {
        let policies = vhost.policies(kind_of(operator));
        found.extend(
            policies.iter().map(|policy| ((operator, policy.name.clone()), policy.value().to_string())),
        );
    }
    let expected = state.policies.iter().map(|(key, policy)| (key.clone(), policy.value.clone()));
    let expected: BTreeMap<_, _> = expected.collect();
    if found != expected {
        return Err(format!("policies {found:?} instead of {expected:?}"));
    }
    let limits = vhost.limits().value().to_string();
    let expected = if state.limits.is_empty() { "{}" } else { &state.limits };
    if limits != expected {
        return Err(format!("limits {limits} instead of {expected}"));
    }
    check_permissions(vhost, state)
}

/// Those of guest are of the configuration, and there from the start.
fn check_permissions(vhost: &VHost, state: &State) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for (user, permissions) in vhost.permissions().into_iter().filter(|(user, _)| user != "guest") {
        let [write, read] = [Right::Write, Right::Read].map(|right| permissions.pattern(right));
        found.insert((user, String::new()), format!("{write} {read}"));
    }
    for TopicRow { user, exchange, write, read } in vhost.topic_permissions() {
        found.insert((user, exchange), format!("{write} {read}"));
    }
    if found == state.permissions {
        return Ok(());
    }
    Err(format!("permissions {found:?} instead of {:?}", state.permissions))
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
