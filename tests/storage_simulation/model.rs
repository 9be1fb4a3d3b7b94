//! What the broker was told to do, as plain collections, and what has to be there after a crash.

use std::collections::{BTreeMap, BTreeSet};

use crate::letters::{self, Lines};

/// Names a message over all queues and restarts. Rising in the order of publishing.
pub type Id = u64;

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    Queue(String),
    Exchange(String),
}

pub type Binding = (String, To, String);

/// A durable change.
#[derive(Clone, Debug)]
pub enum Change {
    Exchange {
        name: String,
        fanout: bool,
        auto_delete: bool,
    },
    NoExchange(String),
    Queue(String),
    NoQueue(String),
    Bind(Binding),
    Unbind(Binding),
    Enqueue(String, Id),
    Remove(String, Id),
    /// It left the queue for a consumer; from now on it comes back flagged.
    Deliver(String, Id),
    /// The queue may be deleted from now on, for want of use; or not any more.
    Doubt(String, bool),
    /// As [`Enqueue`](Self::Enqueue), in a queue of letters: when, and its lifetime.
    Letter(String, Id, u64, Option<u64>),
    /// It was given back to a queue of letters, perhaps by a consumer that had failed.
    Back(String, Id, bool),
    /// It was rejected in a queue of letters.
    Reject(String, Id),
    /// A queue of letters was purged, but for what was not ready.
    Purge(String, BTreeSet<Id>),
    /// It is that late.
    Time(u64),
    /// The broker has started again.
    Restart,
    /// A policy is there or not any more: whether it is an operator's, its name, and what it is.
    Policy(bool, String, Option<Policy>),
    /// The limits of the vhost, as text.
    Limits(String),
    /// Permissions are there or not any more: of which user, for which topic exchange if any, and what they are.
    Permission((String, String), Option<String>),
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The value of its parameter.
    pub value: String,
    /// Queues of letters whose names begin so may drop messages for it.
    pub limits: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub fanout: bool,
    pub auto_delete: bool,
}

/// Durable state.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub exchanges: BTreeMap<String, Exchange>,
    /// Each queue's messages, and whether they must be flagged as redelivered.
    pub queues: BTreeMap<String, BTreeMap<Id, bool>>,
    pub bindings: BTreeSet<Binding>,
    /// Queues that may be gone.
    pub doubtful: BTreeSet<String>,
    /// Queues of letters that are there.
    pub letter_queues: BTreeSet<String>,
    /// What is in them.
    pub letters: Lines,
    /// By kind and name.
    pub policies: BTreeMap<(bool, String), Policy>,
    /// The limits of the vhost.
    pub limits: String,
    /// By user and topic exchange; without an exchange those of the user.
    pub permissions: BTreeMap<(String, String), String>,
}

impl State {
    pub fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Exchange { name, fanout, auto_delete } => {
                self.exchanges.insert(name, Exchange { fanout, auto_delete });
            }
            Change::NoExchange(name) => self.remove_exchange(&name),
            Change::Queue(name) if letters::is_one(&name) => {
                self.letter_queues.insert(name);
            }
            Change::Queue(name) => {
                self.queues.insert(name, BTreeMap::new());
            }
            Change::NoQueue(name) => {
                self.queues.remove(&name);
                self.doubtful.remove(&name);
                if self.letter_queues.remove(&name) {
                    self.letters.delete(&name);
                }
                self.unbind_if(|(_, to, _)| *to == To::Queue(name.clone()));
            }
            Change::Bind(binding) => {
                self.bindings.insert(binding);
            }
            Change::Unbind(binding) => self.unbind_if(|other| *other == binding),
            Change::Enqueue(queue, id) => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.insert(id, false);
                }
            }
            Change::Remove(queue, id) => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.remove(&id);
                } else if self.letter_queues.contains(&queue) {
                    self.letters.lines.remove(&id);
                }
            }
            Change::Deliver(queue, id) if self.letter_queues.contains(&queue) => {
                self.letters.deliver(&queue, id);
            }
            Change::Deliver(queue, id) => {
                if let Some(flag) = self.queues.get_mut(&queue).and_then(|queue| queue.get_mut(&id)) {
                    *flag = true;
                }
            }
            Change::Doubt(queue, true) => {
                self.doubtful.insert(queue);
            }
            Change::Doubt(queue, false) => {
                self.doubtful.remove(&queue);
            }
            Change::Letter(queue, id, at, lifetime) => self.letters.enqueue(&queue, id, at, lifetime),
            Change::Back(queue, id, fails) => self.letters.back(&queue, id, fails),
            Change::Reject(queue, id) => self.letters.reject(&queue, id),
            Change::Purge(queue, but) => self.letters.purge(&queue, &but),
            Change::Time(now) => self.letters.set_time(now),
            Change::Restart => self.letters.restart(),
            Change::Policy(operator, name, policy) => {
                match policy {
                    Some(policy) => drop(self.policies.insert((operator, name), policy)),
                    None => drop(self.policies.remove(&(operator, name))),
                }
                let limits = self.policies.values().map(|policy| policy.limits.clone());
                self.letters.limit(limits.filter(|prefix| !prefix.is_empty()).collect());
            }
            Change::Limits(limits) => self.limits = limits,
            Change::Permission(key, Some(what)) => drop(self.permissions.insert(key, what)),
            Change::Permission(key, None) => drop(self.permissions.remove(&key)),
        }
    }

    fn remove_exchange(&mut self, name: &str) {
        self.exchanges.remove(name);
        self.bindings.retain(|(source, _, _)| source != name);
        self.unbind_if(|(_, to, _)| *to == To::Exchange(name.to_owned()));
    }

    /// Auto-delete exchanges go with their last binding.
    fn unbind_if(&mut self, mut goes: impl FnMut(&Binding) -> bool) {
        let gone: Vec<Binding> = self.bindings.iter().filter(|binding| goes(binding)).cloned().collect();
        self.bindings.retain(|binding| !gone.contains(binding));
        for (source, _, _) in gone {
            let unused = !self.bindings.iter().any(|(other, _, _)| *other == source);
            if unused && self.exchanges.get(&source).is_some_and(|exchange| exchange.auto_delete) {
                self.remove_exchange(&source);
            }
        }
    }

    /// The queues that a message reaches, by name.
    pub fn route(&self, exchange: &str, key: &str) -> BTreeSet<String> {
        if exchange.is_empty() {
            let all = self.queues.keys().chain(&self.letter_queues);
            return all.filter(|name| *name == key).cloned().collect();
        }
        let (mut seen, mut todo, mut found) = (BTreeSet::new(), vec![exchange.to_owned()], BTreeSet::new());
        while let Some(source) = todo.pop() {
            let Some(exchange) = self.exchanges.get(&source).filter(|_| seen.insert(source.clone())) else {
                continue;
            };
            for (_, to, bound) in self.bindings.iter().filter(|(from, _, _)| *from == source) {
                if exchange.fanout || bound == key {
                    match to {
                        To::Queue(name) => {
                            found.insert(name.clone());
                        }
                        To::Exchange(name) => todo.push(name.clone()),
                    }
                }
            }
        }
        found
    }
}

/// What was done, by the journal's positions.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Rising positions; each is applied whole or not at all.
    events: Vec<(u64, Vec<Change>)>,
    /// The state after each so many of them.
    states: Vec<State>,
    now: State,
}

/// Events between two states that are kept.
const STRIDE: usize = 24;

impl History {
    pub fn now(&self) -> &State {
        &self.now
    }

    /// The last position that was noted.
    pub fn end(&self) -> u64 {
        self.events.last().map_or(0, |(lsn, _)| *lsn)
    }

    /// Notes what is done when the journal is at `lsn`.
    pub fn note(&mut self, lsn: u64, changes: Vec<Change>) {
        assert!(self.end() <= lsn, "positions rise");
        changes.iter().for_each(|change| self.now.apply(change));
        self.events.push((lsn, changes));
        if self.events.len().is_multiple_of(STRIDE) {
            self.states.push(self.now.clone());
        }
    }

    /// The state of a journal that ends at `lsn`.
    pub fn at(&self, lsn: u64) -> State {
        let before = self.events.partition_point(|(at, _)| *at <= lsn);
        let kept = before / STRIDE;
        let mut state = kept.checked_sub(1).map_or_else(State::default, |at| self.states[at].clone());
        let rest = self.events[kept * STRIDE..before].iter();
        rest.flat_map(|(_, changes)| changes).for_each(|change| state.apply(change));
        state
    }

    /// Forgets what was done after `lsn`: it is lost.
    pub fn cut(&mut self, lsn: u64) {
        self.events.retain(|(at, _)| *at <= lsn);
        self.states.truncate(self.events.len() / STRIDE);
        self.now = self.at(lsn);
    }
}
