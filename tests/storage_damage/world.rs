//! A data directory with everything in it, and what a broker serves of one.

use leveret::broker::events::INTERNAL;
use std::collections::BTreeMap;
use std::sync::Arc;

use leveret::broker::Broker;
use leveret::broker::limits::VHostLimits;
use leveret::broker::options::BrokerOptions;
use leveret::broker::outlet::Outlet;
use leveret::broker::queue_cell::{GetResult, QueueCell};
use leveret::broker::vhost::{BindRequest, BindTarget, ExchangeDeclare, QueueDeclare, RouteScratch, VHost};
use leveret::broker::vhosts::Metadata;
use leveret::identity::password::PasswordHash;
use leveret::ids::ConnectionId;
use leveret::message::{Body, Message, MessageBuilder};
use leveret::protocol::field::TableRef;
use leveret::protocol::properties::{Properties, PropertiesBuilder};
use leveret::queue::Settle;
use leveret::storage::disk::Disk as _;
use leveret::storage::options::JournalOptions;
use leveret::storage::simulated_disk::{Crash, SimulatedDisk};

const ME: ConnectionId = ConnectionId(1);

/// A directory and what is in it.
pub struct World {
    pub disk: SimulatedDisk,
    pub content: Content,
    /// What was in it at any time, acknowledged messages too.
    pub ever: Content,
}

/// What a broker serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The numbers of messages in each queue, in their order.
    pub queues: BTreeMap<String, Vec<u64>>,
    /// The queues that the exchange leads to.
    pub bound: Vec<String>,
}

/// The kinds of files that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Journal,
    Segment,
    Catalogue,
}

impl Kept {
    pub fn of(name: &str) -> Option<Self> {
        match name.split('-').next()? {
            "journal" => Some(Self::Journal),
            "segment" => Some(Self::Segment),
            "catalogue" => Some(Self::Catalogue),
            _ => None,
        }
    }
}

impl Content {
    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.queues.values().map(Vec::len).sum()
    }

    /// How many messages are here and not there.
    pub fn missing_in(&self, other: &Self) -> usize {
        let missing = self.queues.iter().map(|(queue, messages)| {
            let there = other.queues.get(queue);
            messages.iter().filter(|number| !there.is_some_and(|there| there.contains(number))).count()
        });
        missing.sum()
    }

    /// Everything here is in `all`, in that order.
    #[track_caller]
    pub fn assert_within(&self, all: &Self, what: &str) {
        for (queue, messages) in &self.queues {
            let mut rest = all.queues.get(queue).unwrap_or_else(|| panic!("{what}: queue {queue}")).iter();
            for number in messages {
                assert!(
                    rest.any(|other| other == number),
                    "{what}: message {number} in {queue}: {messages:?}"
                );
            }
        }
        assert!(self.bound.iter().all(|queue| all.bound.contains(queue)), "{what}: {:?}", self.bound);
    }
}

fn options() -> JournalOptions {
    JournalOptions { file_size: 8192, budget: 4 * 8192, ..JournalOptions::default() }
}

pub fn open(disk: &SimulatedDisk) -> std::io::Result<Arc<Broker>> {
    Broker::open(BrokerOptions::default(), Arc::new(disk.clone()), options(), |_| {})
}

pub fn vhost(broker: &Broker) -> Arc<VHost> {
    let user = broker.users.login("guest", b"guest", true).expect("a login");
    broker.open_vhost("/", &user).expect("a vhost")
}

fn size(number: u64) -> usize {
    match number % 29 {
        0 => 17_000,
        1 => 0,
        _ => 150 + (number % 7) as usize * 20,
    }
}

fn body(number: u64) -> Vec<u8> {
    (0..size(number)).map(|at| (number.wrapping_mul(31).wrapping_add(at as u64 / 7) % 251) as u8).collect()
}

fn properties(number: u64) -> Vec<u8> {
    PropertiesBuilder::new().set_delivery_mode(2).set_timestamp(number).finish()
}

fn message(number: u64) -> Message {
    let raw = properties(number);
    let parsed = Properties::parse(&raw).expect("properties");
    MessageBuilder::default().build("x", "key", parsed, Body::Owned(body(number)))
}

/// The number of a message that is as it was sent.
fn number_of(message: &Message) -> u64 {
    let parsed = Properties::parse(message.raw_properties()).expect("properties");
    let number = parsed.timestamp().expect("a number");
    assert_eq!((message.exchange(), message.routing_key()), ("x", "key"), "message {number}");
    assert!(
        message.raw_properties() == properties(number) && message.body() == body(number),
        "message {number}"
    );
    number
}

fn queue(vhost: &VHost, name: &str) -> Arc<QueueCell> {
    let (durable, exclusive) = (true, false);
    let declare = QueueDeclare { name, durable, exclusive, ..Default::default() };
    vhost.declare_queue(declare, ME).expect("a queue");
    vhost.find_queue(name, ME).expect("a queue")
}

fn get(cell: &QueueCell) -> GetResult {
    let outlet = Outlet::new();
    loop {
        match cell.get(false, &outlet) {
            GetResult::Absent => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// Takes messages and acknowledges them.
fn take(cell: &QueueCell, count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    while taken.len() < count
        && let GetResult::Got(got) = get(cell)
    {
        taken.push(number_of(&got.message));
        cell.settle(None, std::iter::once(got.position), Settle::Ack);
    }
    taken
}

/// Makes a directory.
pub fn build(seed: u64) -> World {
    let disk = SimulatedDisk::new(seed);
    let mut sent: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut ever = sent.clone();
    let mut number = seed * 1000;
    for life in 0..2 {
        let broker = open(&disk).expect("a broker");
        let vhost = vhost(&broker);
        let (long, empty) = (queue(&vhost, "long"), queue(&vhost, "empty"));
        let shared = [queue(&vhost, "left"), queue(&vhost, "right")];
        let arguments = TableRef::EMPTY;
        let declare = ExchangeDeclare {
            name: "x",
            kind: "fanout",
            durable: true,
            auto_delete: false,
            internal: false,
            arguments,
            objection: None,
            by: INTERNAL,
        };
        vhost.declare_exchange(declare).expect("an exchange");
        for name in ["left", "right"] {
            let request = BindRequest { source: "x", target: BindTarget::Queue(name), key: "", arguments };
            vhost.bind(request, ME).expect("a binding");
        }
        for round in 0..[50, 12][life] {
            let mut publish = |cells: &[Arc<QueueCell>]| {
                number += 1;
                let message = message(number);
                for cell in cells {
                    cell.publish(std::iter::once(message.clone())).expect("a queue");
                    sent.entry(cell.spec.name.clone()).or_default().push(number);
                    ever.entry(cell.spec.name.clone()).or_default().push(number);
                }
            };
            publish(std::slice::from_ref(&long));
            publish(&shared);
            publish(std::slice::from_ref(&empty));
            if round % 3 == 0 {
                assert!(broker.journal.wait_durable(broker.journal.end()));
            }
            if round % 5 == 0 {
                for (cell, count) in [(&long, 1), (&shared[0], 2), (&empty, usize::MAX)] {
                    let taken = take(cell, count);
                    sent.entry(cell.spec.name.clone()).or_default().retain(|number| !taken.contains(number));
                }
            }
            if life == 0 && round % 10 == 9 {
                broker.checkpoint(true);
            }
        }
        assert!(broker.journal.wait_durable(broker.journal.end()));
        broker.journal.close();
    }
    let bound = vec!["left".to_owned(), "right".to_owned()];
    let content = Content { queues: sent, bound: bound.clone() };
    World { disk: disk.after_crash(Crash::KeepAll), content, ever: Content { queues: ever, bound } }
}

/// Makes a directory with one queue, of which two journal files are folded and not written over yet.
pub fn build_folded() -> World {
    let disk = SimulatedDisk::new(9);
    let broker = open(&disk).expect("a broker");
    let vhost = vhost(&broker);
    broker.users.add("alice", PasswordHash::none(), INTERNAL).expect("a user");
    broker.add_vhost("other", &Metadata::default(), INTERNAL).expect("a vhost");
    vhost.set_limits(VHostLimits { max_queues: Some(7), ..VHostLimits::default() }, INTERNAL);
    let cell = queue(&vhost, "long");
    let numbers: Vec<u64> = (1..250).filter(|number| number % 29 > 0).collect();
    for number in &numbers {
        let lsn = cell.publish(std::iter::once(message(*number))).expect("a queue").safe;
        assert!(broker.journal.wait_durable(lsn));
    }
    let taken = take(&cell, 5);
    let checkpoint = broker.checkpoint(true);
    assert!(checkpoint.files == 2, "{checkpoint:?}");
    broker.journal.close();
    let content = |numbers: &[u64]| {
        let queues = BTreeMap::from([("long".to_owned(), numbers.to_vec())]);
        Content { queues, bound: Vec::new() }
    };
    let (content, ever) = (content(&numbers[taken.len()..]), content(&numbers));
    World { disk: disk.after_crash(Crash::KeepAll), content, ever }
}

/// Another disk with the same on it.
pub fn copy(disk: &SimulatedDisk) -> SimulatedDisk {
    disk.after_crash(Crash::KeepAll)
}

/// Loses a file.
pub fn remove(disk: &SimulatedDisk, name: &str) {
    disk.remove(name).expect("a file");
}

/// How many messages of a queue a broker serves as redelivered.
pub fn redelivered(disk: &SimulatedDisk, name: &str) -> usize {
    let broker = open(disk).expect("a broker");
    let cell = vhost(&broker).find_queue(name, ME).expect("a queue");
    let mut count = 0;
    while let GetResult::Got(got) = get(&cell) {
        count += usize::from(got.redelivered);
    }
    count
}

/// Everything that a broker serves; it is gone afterwards.
pub fn serve(disk: &SimulatedDisk) -> std::io::Result<Content> {
    let broker = open(disk)?;
    let vhost = vhost(&broker);
    let queues = vhost.queues();
    let taken = queues.iter().map(|cell| (cell.spec.name.clone(), take(cell, usize::MAX)));
    let mut content = Content { queues: taken.collect(), bound: Vec::new() };
    if vhost.find_exchange("x").is_ok() {
        let route = vhost.route("x", "key", None, &mut RouteScratch::default()).expect("a route");
        content.bound = route.route.queues.iter().map(|cell| cell.spec.name.clone()).collect();
        content.bound.sort_unstable();
    }
    broker.journal.close();
    Ok(content)
}
