//! What a life does with queues that drop messages, with policies, limits, permissions and time.

use leveret::broker::events::INTERNAL;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use leveret::broker::limits::VHostLimits;
use leveret::broker::permissions::TopicRow;
use leveret::broker::policies::PolicyKind;
use leveret::broker::policies::policy::Policy;
use leveret::broker::queue_cell::{GetResult, QueueCell};
use leveret::broker::vhost::{BindRequest, BindTarget};
use leveret::identity::access::Permissions;
use leveret::ids::Lsn;
use leveret::message::Message;
use leveret::protocol::field::TableRef;
use leveret::queue::Settle;
use rand::RngExt as _;

use crate::letters::{self, DEAD, EXCHANGE, SOURCES};
use crate::life::{Life, ME, Unsettled, exchange_declare, get, queue_declare};
use crate::model::{self, Change, Id, To};

/// Patterns and definitions of policies, and the beginnings of the names of queues that may drop messages by them.
const POLICIES: [(&str, &str, u64, &str); 4] = [
    ("^l", "max-length", 3, "l"),
    ("^lr$", "message-ttl", 40, "lr"),
    ("^lq", "max-length-bytes", 900, "lq"),
    ("^none", "max-length", 0, ""),
];

const NAMES: [&str; 3] = ["p0", "p1", "p2"];

/// The kind of policies.
pub fn kind_of(operator: bool) -> PolicyKind {
    if operator { PolicyKind::Operator } else { PolicyKind::User }
}

impl Life<'_> {
    /// Begins a life: all queues of letters are there.
    pub fn begin(&mut self) {
        let now = self.clock.load(Ordering::Relaxed);
        self.messages.set_time(now);
        if !self.history.now().exchanges.contains_key(EXCHANGE) {
            let gate =
                self.vhost.declare_exchange(exchange_declare(EXCHANGE, true, false)).expect("an exchange");
            let change = Change::Exchange { name: EXCHANGE.to_owned(), fanout: true, auto_delete: false };
            self.note(gate.durable, vec![change]);
        }
        DEAD.into_iter().chain(SOURCES).for_each(|name| self.declare_letters(name));
        let request = BindRequest {
            source: EXCHANGE,
            target: BindTarget::Queue(DEAD[0]),
            key: "",
            arguments: TableRef::EMPTY,
        };
        let gate = self.vhost.bind(request, ME).expect("a binding");
        let binding = (EXCHANGE.to_owned(), To::Queue(DEAD[0].to_owned()), String::new());
        if !self.history.now().bindings.contains(&binding) {
            self.note(gate.durable, vec![Change::Bind(binding)]);
        }
    }

    fn declare_letters(&mut self, name: &str) {
        if !self.history.now().letter_queues.contains(name) {
            let arguments = letters::arguments(name);
            let declared = self.vhost.declare_queue(queue_declare(name, &arguments), ME).expect("a queue");
            assert!(declared.created, "{name}");
            self.note(declared.gate.durable, vec![Change::Queue(name.to_owned())]);
        }
    }

    /// One operation.
    pub fn operate_letters(&mut self) -> Lsn {
        match self.random.random_range(0..100) {
            0..36 => self.publish_letters(),
            36..54 => self.get_letter(),
            54..57 => {
                let cell = self.letter_cell();
                self.consume_from(&cell)
            }
            57..60 => self.take(),
            60..72 => self.settle(),
            72..82 => self.look(),
            82..88 => {
                self.vhost.move_letters();
                self.broker.journal.end()
            }
            88..92 => self.policy(),
            92 => self.permission(),
            93..95 => self.limits(),
            95..97 => self.purge_letters(),
            97 => self.delete_letters(),
            _ => {
                self.broker.relieve_memory(0);
                self.broker.journal.end()
            }
        }
    }

    pub fn letter_cell(&mut self) -> std::sync::Arc<QueueCell> {
        let all: Vec<&str> = SOURCES.into_iter().chain(DEAD).collect();
        let name = self.pick(&all);
        self.vhost.find_queue(name, ME).expect("a queue")
    }

    /// A message for a queue, and what is noted of it.
    pub fn letter(&mut self, queue: &str) -> (Message, Option<Change>) {
        let lifetime = self.chance(15).then(|| self.random.random_range(1..200));
        let persistent = queue == "lq" || self.chance(90);
        let (id, message) = self.message_of("", queue, persistent, lifetime);
        let at = message.published_at();
        let change = Change::Letter(queue.to_owned(), id, at, lifetime);
        (message, persistent.then_some(change))
    }

    fn publish_letters(&mut self) -> Lsn {
        let name = self.pick(&SOURCES);
        let cell = self.vhost.find_queue(name, ME).expect("a queue");
        let made: Vec<_> = (0..self.random.random_range(1..6)).map(|_| self.letter(name)).collect();
        let (messages, changes): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let lsn = cell.publish(messages.into_iter()).expect("a queue").safe;
        let changes: Vec<Change> = changes.into_iter().flatten().collect();
        if changes.is_empty() { Lsn::ZERO } else { self.note(lsn, changes) }
    }

    fn get_letter(&mut self) -> Lsn {
        let cell = self.letter_cell();
        if let GetResult::Got(got) = get(&cell) {
            self.delivered(cell.spec.name.clone(), None, got.position, &got.message);
        }
        self.broker.journal.end()
    }

    /// Whether it is one that may come from there.
    pub fn check_letter(&self, queue: &str, got: &Message) {
        let (id, failed) = self.messages.check_letter(queue, got).expect("as it was sent");
        if got.is_persistent() {
            let line = self.history.now().letters.lines.get(&id);
            let line = line.unwrap_or_else(|| panic!("message {id} comes from {queue} and was gone"));
            assert!(line.may_be_in(queue), "message {id} comes from {queue}: {line:?}");
            assert!(queue != "lq" || failed == line.failed, "message {id} failed {failed} times: {line:?}");
        }
    }

    /// Time passes.
    fn look(&mut self) -> Lsn {
        let now = self.clock.load(Ordering::Relaxed) + self.random.random_range(0..60);
        let may_go = self.history.now().queues.contains_key("e0");
        let before = self.broker.journal.end();
        self.note(before, vec![Change::Time(now), Change::Doubt("e0".to_owned(), may_go)]);
        self.clock.store(now, Ordering::Relaxed);
        self.messages.set_time(now);
        self.vhost.look_at_due();
        let after = self.broker.journal.end();
        if may_go && self.vhost.find_queue("e0", ME).is_err() {
            self.unsettled.retain(|delivery| delivery.queue != "e0");
            return self.note(after, vec![Change::NoQueue("e0".to_owned())]);
        }
        self.note(after, vec![Change::Doubt("e0".to_owned(), false)])
    }

    fn policy(&mut self) -> Lsn {
        let (name, operator) = (self.pick(&NAMES), self.chance(30));
        let kind = kind_of(operator);
        if self.chance(40) {
            let gate = self.vhost.clear_policy(kind, name, INTERNAL);
            let was_set = self.history.now().policies.contains_key(&(operator, name.to_owned()));
            assert_eq!(gate.is_some(), was_set, "{name}");
            let Some(gate) = gate else { return Lsn::ZERO };
            return self.note(gate.durable, vec![Change::Policy(operator, name.to_owned(), None)]);
        }
        let (pattern, key, most, limits) = POLICIES[self.random.random_range(0..POLICIES.len())];
        let value = serde_json::json!({
            "pattern": pattern,
            "definition": { key: most },
            "priority": self.random.random_range(0..3),
            "apply-to": "queues",
        });
        let policy = Policy::from_value(name, &value, kind).expect("a policy");
        let noted = model::Policy { value: policy.value().to_string(), limits: limits.to_owned() };
        let gate = self.vhost.set_policy(kind, policy, INTERNAL);
        self.note(gate.durable, vec![Change::Policy(operator, name.to_owned(), Some(noted))])
    }

    /// Permissions of a user, or those on a topic exchange, are set or cleared.
    fn permission(&mut self) -> Lsn {
        let (user, exchange) = (self.pick(&NAMES).to_owned(), self.pick(&["", "x0", "x1"]).to_owned());
        let key = (user.clone(), exchange.clone());
        if self.chance(40) {
            let gate = match &*exchange {
                "" => self.vhost.clear_permissions(&user, INTERNAL),
                exchange => self.vhost.clear_topic_permissions(&user, Some(exchange), INTERNAL),
            };
            if !self.history.now().permissions.contains_key(&key) {
                return Lsn::ZERO;
            }
            return self.note(gate.durable, vec![Change::Permission(key, None)]);
        }
        let [write, read] = ["w", "r"].map(|name| format!("^{name}{}", self.random.random_range(0..3)));
        let noted = format!("{write} {read}");
        let gate = if exchange.is_empty() {
            self.vhost.set_permissions(
                &user,
                Permissions::new("", &write, &read).expect("patterns"),
                INTERNAL,
            )
        } else {
            let row = TopicRow { user, exchange, write, read };
            self.vhost.set_topic_permission(row, INTERNAL).expect("patterns")
        };
        self.note(gate.durable, vec![Change::Permission(key, Some(noted))])
    }

    fn limits(&mut self) -> Lsn {
        let mut limit =
            || (self.random.random_range(0..2) == 0).then(|| self.random.random_range(1000..2000));
        let limits = VHostLimits { max_connections: limit(), max_queues: limit() };
        let gate = self.vhost.set_limits(limits, INTERNAL);
        self.note(gate.durable, vec![Change::Limits(limits.value().to_string())])
    }

    fn purge_letters(&mut self) -> Lsn {
        let cell = self.letter_cell();
        let (lsn, taken) = self.purged(&cell);
        let name = &cell.spec.name;
        let but: BTreeSet<Id> = self.out(name, &taken);
        self.note(lsn, vec![Change::Purge(name.clone(), but)]);
        self.deliver_all(taken);
        lsn
    }

    /// Deletes a queue with what is on its way from there, and declares it again.
    fn delete_letters(&mut self) -> Lsn {
        let name = self.pick(&SOURCES);
        let lsn = self.delete(name);
        self.declare_letters(name);
        lsn
    }
}

/// What is noted of deliveries that are settled.
pub fn changes(settled: &[Unsettled], how: Settle) -> Vec<Change> {
    let kept = settled.iter().filter(|delivery| delivery.persistent);
    let changes = kept.filter_map(|delivery| {
        let (queue, id) = (delivery.queue.clone(), delivery.id);
        match (letters::is_one(&queue), how) {
            (true, Settle::Reject) => Some(Change::Reject(queue, id)),
            (_, Settle::Ack | Settle::Reject) => Some(Change::Remove(queue, id)),
            (true, _) => Some(Change::Back(queue, id, how == Settle::Fail)),
            (false, _) => None,
        }
    });
    changes.collect()
}
