//! Queues that drop messages by themselves, and where these may be then.
//!
//! What is dropped when depends on what is in memory and on who looks, so that a message may have several places; it is
//! at exactly one of them. Each of these messages was published to one queue, under its name.

use std::collections::{BTreeMap, BTreeSet};

use leveret::message::Message;
use leveret::protocol::field::{Table, TableBuilder, Value};
use leveret::protocol::properties::Properties;

use crate::messages::{Messages, body, id_of};
use crate::model::Id;

/// A fanout exchange that leads to [`DEAD`]'s first.
pub const EXCHANGE: &str = "letters";

/// Queues of dead letters, which drop nothing. What is rejected in the first goes on to the second.
pub const DEAD: [&str; 2] = ["d0", "d1"];

/// Queues that messages are published to. Policies match them by their first letter.
pub const SOURCES: [&str; 6] = ["lr", "lt", "lm", "lq", "lp", "ld"];

/// Failures that a message of "lq" survives.
pub const FAILURES: u32 = 2;

/// Lifetime of messages in "lt".
const TTL: u64 = 100;

/// How long "e0" may be unused.
pub const EXPIRES: u64 = 150;

/// A queue with the exchange and the key of its dead letters.
fn letters_of(queue: &str) -> Option<(&'static str, Option<&'static str>)> {
    match queue {
        "lr" | "lp" => Some((EXCHANGE, None)),
        "lt" => Some(("", Some("d0"))),
        "lm" => Some((EXCHANGE, Some("key"))),
        "lq" | "d0" => Some(("", Some("d1"))),
        _ => None,
    }
}

/// Where dead messages of a queue go.
pub fn target(queue: &str) -> Option<&'static str> {
    match queue {
        "lr" | "lp" | "lt" | "lm" => Some("d0"),
        "lq" | "d0" => Some("d1"),
        _ => None,
    }
}

/// Whether a queue is one of these.
pub fn is_one(queue: &str) -> bool {
    SOURCES.contains(&queue) || DEAD.contains(&queue)
}

/// The arguments of a queue, of any in the simulation.
pub fn arguments(queue: &str) -> Table {
    let mut table = TableBuilder::new();
    if let Some((exchange, key)) = letters_of(queue) {
        table.long_str("x-dead-letter-exchange", exchange);
        if let Some(key) = key {
            table.long_str("x-dead-letter-routing-key", key);
        }
    }
    match queue {
        "lt" => table.int64("x-message-ttl", TTL.cast_signed()),
        "lm" | "ld" => table.int64("x-max-length", 4),
        "lq" => table
            .long_str("x-queue-type", "quorum")
            .value("x-delivery-limit", Value::I64(i64::from(FAILURES))),
        "lp" | "q2" => table.int64("x-max-priority", 3),
        "e0" => table.int64("x-expires", EXPIRES.cast_signed()),
        _ => &mut table,
    };
    table.finish()
}

/// The lane of a message in a queue: the lower comes first.
pub fn lane(queue: &str, priority: Option<u8>) -> u8 {
    match queue {
        "lp" | "q2" => 3 - priority.unwrap_or(0).min(3),
        "lq" => 31 - priority.unwrap_or(4),
        _ => 0,
    }
}

/// Where a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a queue.
    In(&'static str),
    /// Dead in a queue: on its way from there.
    Dead(&'static str),
    Gone,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Line {
    /// It is at one of them.
    pub places: BTreeSet<Place>,
    /// It is delivered, so that nothing happens to it.
    out: bool,
    /// When its time is over in the queue it was published to.
    deadline: Option<u64>,
    /// The queue that has delivered it last.
    pub delivered: Option<&'static str>,
    /// How often a consumer has failed with it, where that is counted.
    pub failed: u32,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    pub lines: BTreeMap<Id, Line>,
    now: u64,
    /// The policies may drop something, by the beginning of the queues' names.
    pub limited: Vec<String>,
}

fn known(queue: &str) -> &'static str {
    SOURCES.into_iter().chain(DEAD).find(|known| *known == queue).expect("a queue of letters")
}

impl Line {
    /// It may die where it may be.
    fn may_die_in(&mut self, queue: &'static str) {
        if !self.out && self.places.contains(&Place::In(queue)) {
            self.places.extend(dying(queue));
        }
    }

    /// Whether it may be found in `queue`, once all that is dead has gone where it belongs.
    pub fn may_be_in(&self, queue: &str) -> bool {
        self.places.iter().any(|place| match place {
            Place::In(name) => *name == queue,
            Place::Dead(name) => target(name) == Some(queue),
            Place::Gone => false,
        })
    }
}

/// Where a message of a queue may be when it has died there.
fn dying(queue: &str) -> Vec<Place> {
    match target(queue) {
        Some(target) => vec![Place::Dead(known(queue)), Place::In(target)],
        None => vec![Place::Gone],
    }
}

impl Lines {
    /// Whether messages of a queue may be dropped at any time.
    pub fn is_limited(&self, queue: &str) -> bool {
        matches!(queue, "lm" | "ld") || self.limited.iter().any(|prefix| queue.starts_with(prefix))
    }

    /// What may die now may be dead.
    fn age(&mut self) {
        let limited: Vec<_> = SOURCES.into_iter().filter(|queue| self.is_limited(queue)).collect();
        for line in self.lines.values_mut() {
            let expired = line.deadline.is_some_and(|deadline| deadline <= self.now);
            for queue in SOURCES.into_iter().filter(|queue| expired || limited.contains(queue)) {
                line.may_die_in(queue);
            }
        }
    }

    fn age_one(&mut self, queue: &str, id: Id) {
        let limited = self.is_limited(queue);
        if let Some(line) = self.lines.get_mut(&id)
            && (limited || line.deadline.is_some_and(|deadline| deadline <= self.now))
        {
            line.may_die_in(known(queue));
        }
    }

    pub fn limit(&mut self, limited: Vec<String>) {
        self.limited = limited;
        self.age();
    }

    pub fn set_time(&mut self, now: u64) {
        self.now = now;
        self.age();
    }

    /// What was delivered is ready again.
    pub fn restart(&mut self) {
        self.lines.values_mut().for_each(|line| line.out = false);
        self.age();
    }

    /// A message was published at a time, with a lifetime of its own.
    pub fn enqueue(&mut self, queue: &str, id: Id, at: u64, lifetime: Option<u64>) {
        let lifetime = lifetime.into_iter().chain((queue == "lt").then_some(TTL)).min();
        let line = Line {
            places: BTreeSet::from([Place::In(known(queue))]),
            out: false,
            deadline: lifetime.map(|lifetime| at + lifetime),
            delivered: None,
            failed: 0,
        };
        self.lines.insert(id, line);
        self.age_one(queue, id);
    }

    /// It was seen there.
    pub fn deliver(&mut self, queue: &str, id: Id) {
        if let Some(line) = self.lines.get_mut(&id) {
            let queue = known(queue);
            line.places = BTreeSet::from([Place::In(queue)]);
            line.out = true;
            if line.delivered != Some(queue) {
                (line.delivered, line.failed) = (Some(queue), 0);
            }
        }
    }

    /// It was given back.
    pub fn back(&mut self, queue: &str, id: Id, fails: bool) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.out = false;
            line.failed += u32::from(fails && queue == "lq");
            if line.failed > FAILURES {
                self.reject(queue, id);
            }
            self.age_one(queue, id);
        }
    }

    pub fn reject(&mut self, queue: &str, id: Id) {
        if target(queue).is_none() {
            self.lines.remove(&id);
        } else if let Some(line) = self.lines.get_mut(&id) {
            line.out = false;
            line.failed = 0;
            line.places = dying(queue).into_iter().collect();
        }
    }

    /// All that is ready was dropped, but for some that were not ready any more.
    pub fn purge(&mut self, queue: &str, but: &BTreeSet<Id>) {
        let queue = known(queue);
        let comes = |place: &Place| matches!(place, Place::Dead(from) if target(from) == Some(queue));
        self.lines.retain(|id, line| {
            let concerned = line.may_be_in(queue) || line.places.contains(&Place::Dead(queue));
            if line.out || but.contains(id) || !concerned {
                return true;
            }
            // One that is on its way to the queue may come yet.
            if !line.places.iter().any(comes) {
                line.places.remove(&Place::In(queue));
            }
            line.places.insert(Place::Gone);
            line.places.len() > 1
        });
    }

    /// The queue is gone with all in it.
    pub fn delete(&mut self, queue: &str) {
        let queue = known(queue);
        self.lines.retain(|_, line| {
            if line.places.remove(&Place::In(queue)) | line.places.remove(&Place::Dead(queue)) {
                line.places.insert(Place::Gone);
            }
            line.places.iter().any(|place| *place != Place::Gone)
        });
    }
}

impl Messages {
    /// What is made from now on is published at this time.
    pub fn set_time(&mut self, unix_ms: u64) {
        self.builder.set_time(unix_ms);
    }

    pub fn priority(&self, id: Id) -> Option<u8> {
        self.sent.get(&id).and_then(|sent| sent.kind.priority)
    }

    /// As [`check`](Self::check), in a queue of letters. Returns how often a consumer has failed with it as well.
    pub fn check_letter(&self, queue: &str, message: &Message) -> Result<(Id, u32), String> {
        let id = id_of(message).ok_or("a message without a number")?;
        let sent = self.sent.get(&id).ok_or_else(|| format!("message {id} was never sent"))?;
        let found = Properties::parse(message.raw_properties()).map_err(|error| error.to_string())?;
        let headers = found.headers();
        let header = |name: &str| headers.and_then(|headers| headers.get(name));
        let died = sent.key != queue;
        let first = header("x-first-death-queue").and_then(Value::as_str);
        let lifetime = sent.kind.lifetime.filter(|_| !died).map(|lifetime| lifetime.to_string());
        let same = first == died.then_some(&*sent.key)
            && found.priority() == sent.kind.priority
            && found.expiration() == lifetime.as_deref().map(str::as_bytes)
            && message.is_persistent() == sent.kind.persistent
            && message.body() == body(id, sent.size);
        let failed = header("x-delivery-count").and_then(|count| count.as_int()).unwrap_or(0);
        let failed = u32::try_from(failed).map_err(|error| error.to_string())?;
        if same { Ok((id, failed)) } else { Err(format!("message {id} to {} has changed", sent.key)) }
    }
}
