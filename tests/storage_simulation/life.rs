//! One life of a broker, from a start to a crash: a random sequence of operations, noted in the history.

use leveret::broker::events::INTERNAL;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use leveret::broker::Broker;
use leveret::broker::outlet::{Delivery, Outlet, OutletLink, Taken};
use leveret::broker::queue_cell::{GetResult, QueueCell};
use leveret::broker::transaction::Commit;
use leveret::broker::vhost::{BindRequest, BindTarget, ExchangeDeclare, QueueDeclare, RouteScratch, VHost};
use leveret::ids::{ConnectionId, ConsumerId, Lsn, Position, Progress};
use leveret::message::Message;
use leveret::protocol::field::{Table, TableRef};
use leveret::queue::{ConsumerSpec, Settle};
use leveret::storage::backup::Watch;
use leveret::storage::simulated_disk::{Crash, SimulatedDisk};
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::dropping::changes;
use crate::letters::{self, SOURCES};
use crate::messages::{Kind, Messages, id_of};
use crate::model::{Binding, Change, History, Id, To};
use crate::watched::{Bounds, Photograph};

pub const ME: ConnectionId = ConnectionId(1);
/// "q2" has priorities, and "e0" goes when it is not used.
pub const QUEUES: [&str; 5] = ["q0", "q1", "q2", "q3", "e0"];
pub const EXCHANGES: [&str; 3] = ["x0", "x1", "x2"];
pub const KEYS: [&str; 2] = ["a", "b"];

pub fn queue_declare<'a>(name: &'a str, arguments: &'a Table) -> QueueDeclare<'a> {
    QueueDeclare { name, durable: true, arguments: arguments.as_ref(), ..Default::default() }
}

pub fn exchange_declare(name: &str, fanout: bool, auto_delete: bool) -> ExchangeDeclare<'_> {
    let kind = if fanout { "fanout" } else { "direct" };
    let arguments = TableRef::EMPTY;
    ExchangeDeclare {
        name,
        kind,
        durable: true,
        auto_delete,
        internal: false,
        arguments,
        objection: None,
        by: INTERNAL,
    }
}

/// What a consumer was given, and the queue it is of.
type Given = (String, ConsumerId, Delivery);

/// A delivery that is not settled.
#[derive(Debug)]
pub struct Unsettled {
    pub queue: String,
    consumer: Option<ConsumerId>,
    position: Position,
    pub id: Id,
    pub persistent: bool,
}

pub struct Life<'a> {
    pub broker: Arc<Broker>,
    pub vhost: Arc<VHost>,
    pub history: &'a mut History,
    pub messages: &'a mut Messages,
    /// Queues that something was ever delivered from.
    pub touched: &'a mut BTreeSet<String>,
    pub random: &'a mut StdRng,
    /// Bytes of the largest messages.
    pub largest: usize,
    pub clock: Arc<AtomicU64>,
    pub unsettled: Vec<Unsettled>,
    outlet: Arc<Outlet>,
    consumers: Vec<(String, ConsumerId)>,
    /// Copies that were made meanwhile.
    pub backups: Vec<Photograph>,
}

/// Stops the threads beside a life, also when that panics.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most copies that are made in one life.
const BACKUPS: usize = 6;

/// Makes copies until `stop`. What was in the journal before each has to be on it, whatever `storage.sync` says.
fn back_up(broker: &Broker, stop: &AtomicBool) -> Vec<Photograph> {
    let mut made = Vec::new();
    while made.len() < BACKUPS && !stop.load(Ordering::Relaxed) {
        let target = SimulatedDisk::new(made.len() as u64);
        let before = broker.journal.end().0;
        match broker.backup(&target, &Watch::default()) {
            Ok(_) => {
                let end = broker.journal.end().0;
                let (disk, how) = (target.after_crash(Crash::DropUnsynced), Crash::DropUnsynced);
                let bounds = Bounds { durable: before, written: before, end };
                made.push(Photograph { disk, how, bounds, before: "the end of a backup".to_owned() });
            }
            Err(error) => {
                assert!(broker.journal.has_failed(), "{error}");
                assert!(target.snapshot().is_empty());
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    made
}

/// Takes the next message, once it is read.
pub fn get(cell: &QueueCell) -> GetResult {
    let outlet = Outlet::new();
    loop {
        match cell.get(false, &outlet) {
            GetResult::Absent => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// The vhost "/".
pub fn vhost(broker: &Broker) -> Arc<VHost> {
    let user = broker.users.login("guest", b"guest", true).expect("a login");
    broker.open_vhost("/", &user).expect("a vhost")
}

impl<'a> Life<'a> {
    pub fn new(
        broker: Arc<Broker>,
        history: &'a mut History,
        messages: &'a mut Messages,
        touched: &'a mut BTreeSet<String>,
        random: &'a mut StdRng,
        clock: Arc<AtomicU64>,
    ) -> Self {
        let vhost = vhost(&broker);
        let (unsettled, consumers, outlet) = (Vec::new(), Vec::new(), Outlet::new());
        let largest = if random.random_range(0..8) == 0 { 70_000 } else { 17_000 };
        Self {
            broker,
            vhost,
            history,
            messages,
            touched,
            random,
            largest,
            clock,
            unsettled,
            outlet,
            consumers,
            backups: Vec::new(),
        }
    }

    /// Lives on for so many operations, or until the journal fails. `beside` checkpoints on another thread, and
    /// `backups` makes copies on yet another.
    pub fn go_on(&mut self, operations: u32, beside: bool, backups: bool) {
        let stop = AtomicBool::new(false);
        let (broker, vhost) = (self.broker.clone(), self.vhost.clone());
        self.begin();
        std::thread::scope(|scope| {
            let stops = Stops(&stop);
            if beside {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        broker.checkpoint(true);
                        vhost.move_letters();
                        std::thread::sleep(Duration::from_micros(100));
                    }
                });
            }
            let backups = backups.then(|| scope.spawn(|| back_up(&broker, &stop)));
            for _ in 0..operations {
                let lsn = if self.chance(45) { self.operate_letters() } else { self.operate(beside) };
                if !self.pace(lsn) {
                    break;
                }
            }
            drop(stops);
            self.backups.extend(backups.into_iter().flat_map(|thread| thread.join().expect("no panic")));
        });
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    pub fn pick<'n>(&mut self, names: &[&'n str]) -> &'n str {
        names[self.random.random_range(0..names.len())]
    }

    /// Sometimes waits, so that groups are of all sizes. Returns whether the journal works.
    fn pace(&mut self, lsn: Lsn) -> bool {
        match self.random.random_range(0..10) {
            0..5 => self.broker.journal.wait_durable(lsn),
            5..9 => {
                let at = Progress { written: Lsn::ZERO, durable: lsn };
                self.broker.journal.wake_at(at, Waker::noop());
                !self.broker.journal.has_failed()
            }
            _ => !self.broker.journal.has_failed(),
        }
    }

    fn operate(&mut self, beside: bool) -> Lsn {
        match self.random.random_range(0..100) {
            0..5 => self.declare_queue(),
            5..9 => self.declare_exchange(),
            9..15 => self.bind(),
            15..17 => self.unbind(),
            17..19 => self.delete_queue(),
            19..20 => self.delete_exchange(),
            20..52 => self.publish(),
            52..60 => self.publish_batch(),
            60..72 => self.get(),
            72..74 => self.consume(),
            74..78 => self.take(),
            78..88 => self.settle(),
            88..90 => self.purge(),
            90..96 => self.commit(),
            96 => {
                self.broker.relieve_memory(0);
                self.broker.journal.end()
            }
            _ => {
                if !beside {
                    self.broker.checkpoint(true);
                }
                self.broker.journal.end()
            }
        }
    }

    pub fn note(&mut self, lsn: Lsn, changes: Vec<Change>) -> Lsn {
        // The answer to what was so already waits for the change that made it so, which has its place.
        let lsn = lsn.max(Lsn(self.history.end()));
        self.history.note(lsn.0, changes);
        lsn
    }

    fn declare_queue(&mut self) -> Lsn {
        let name = self.pick(&QUEUES);
        let declared =
            self.vhost.declare_queue(queue_declare(name, &letters::arguments(name)), ME).expect("a queue");
        assert_eq!(declared.created, !self.history.now().queues.contains_key(name), "{name}");
        let changes = if declared.created { vec![Change::Queue(name.to_owned())] } else { Vec::new() };
        self.note(declared.gate.durable, changes)
    }

    fn declare_exchange(&mut self) -> Lsn {
        let name = self.pick(&EXCHANGES);
        if self.history.now().exchanges.contains_key(name) {
            return self.vhost.find_exchange(name).expect("an exchange").durable;
        }
        let (fanout, auto_delete) = (self.chance(50), self.chance(30));
        let declare = exchange_declare(name, fanout, auto_delete);
        let lsn = self.vhost.declare_exchange(declare).expect("an exchange").durable;
        self.note(lsn, vec![Change::Exchange { name: name.to_owned(), fanout, auto_delete }])
    }

    fn bind(&mut self) -> Lsn {
        let (source, key) = (self.pick(&EXCHANGES), self.pick(&KEYS));
        let (to, target) = if self.chance(75) {
            let name = self.pick(&QUEUES);
            (To::Queue(name.to_owned()), BindTarget::Queue(name))
        } else {
            let name = self.pick(&EXCHANGES);
            (To::Exchange(name.to_owned()), BindTarget::Exchange(name))
        };
        let request = BindRequest { source, target, key, arguments: TableRef::EMPTY };
        match self.vhost.bind(request, ME) {
            Ok(gate) => {
                let binding = (source.to_owned(), to, key.to_owned());
                self.note(gate.durable, vec![Change::Bind(binding)])
            }
            Err(_) => self.broker.journal.end(),
        }
    }

    fn unbind(&mut self) -> Lsn {
        let all = self.history.now().bindings.iter().filter(|(source, ..)| source != letters::EXCHANGE);
        let all: Vec<&Binding> = all.collect();
        if all.is_empty() {
            return Lsn::ZERO;
        }
        let binding = all[self.random.random_range(0..all.len())].clone();
        let (source, to, key) = &binding;
        let target = match to {
            To::Queue(name) => BindTarget::Queue(name),
            To::Exchange(name) => BindTarget::Exchange(name),
        };
        let request = BindRequest { source, target, key, arguments: TableRef::EMPTY };
        let lsn = self.vhost.unbind(request, ME).expect("an unbind").durable;
        self.note(lsn, vec![Change::Unbind(binding)])
    }

    fn delete_queue(&mut self) -> Lsn {
        let name = self.pick(&QUEUES);
        self.delete(name)
    }

    pub fn delete(&mut self, name: &str) -> Lsn {
        self.take();
        let (_, gate) = self.vhost.delete_queue(name, false, false, ME).expect("a delete");
        self.unsettled.retain(|delivery| delivery.queue != name);
        self.consumers.iter_mut().filter(|(queue, _)| queue == name).for_each(|(queue, _)| queue.clear());
        self.note(gate.durable, vec![Change::NoQueue(name.to_owned())])
    }

    fn delete_exchange(&mut self) -> Lsn {
        let name = self.pick(&EXCHANGES);
        let gate = self.vhost.delete_exchange(name, false, INTERNAL).expect("a delete");
        self.note(gate.durable, vec![Change::NoExchange(name.to_owned())])
    }

    fn cell(&mut self) -> Option<Arc<QueueCell>> {
        let name = self.pick(&QUEUES);
        self.vhost.find_queue(name, ME).ok()
    }

    fn message(&mut self, exchange: &str, key: &str) -> (Id, Message) {
        let persistent = self.chance(90);
        self.message_of(exchange, key, persistent, None)
    }

    pub fn message_of(
        &mut self,
        exchange: &str,
        key: &str,
        persistent: bool,
        lifetime: Option<u64>,
    ) -> (Id, Message) {
        let size = match self.random.random_range(0..20) {
            0 => 0,
            1 => 1,
            2 => 16 * 1024 - 1 + self.random.random_range(0..3),
            3 => self.random.random_range(0..self.largest),
            _ => self.random.random_range(0..300),
        };
        let priority = self.chance(30).then(|| self.random.random_range(0..6));
        self.messages.make(exchange, key, size, Kind { persistent, priority, lifetime })
    }

    /// One message to all queues of a route, queue by queue.
    fn publish(&mut self) -> Lsn {
        let known: Vec<String> =
            self.history.now().exchanges.keys().filter(|name| *name != letters::EXCHANGE).cloned().collect();
        let (exchange, key) = if self.chance(30) || known.is_empty() {
            (String::new(), self.pick(&QUEUES).to_owned())
        } else {
            (known[self.random.random_range(0..known.len())].clone(), self.pick(&KEYS).to_owned())
        };
        let (id, message) = self.message(&exchange, &key);
        let route = self.vhost.route(&exchange, &key, None, &mut RouteScratch::default()).expect("a route");
        let names: BTreeSet<String> = route.route.queues.iter().map(|cell| cell.spec.name.clone()).collect();
        assert_eq!(names, self.history.now().route(&exchange, &key), "route of {exchange:?} {key:?}");
        let mut last = Lsn::ZERO;
        for cell in &route.route.queues {
            let lsn = cell.publish(std::iter::once(message.clone())).expect("a queue").safe;
            assert_eq!(lsn > Lsn::ZERO, message.is_persistent());
            if message.is_persistent() {
                last = self.note(lsn, vec![Change::Enqueue(cell.spec.name.clone(), id)]);
            }
            if self.chance(20) {
                std::thread::yield_now();
            }
        }
        last
    }

    fn publish_batch(&mut self) -> Lsn {
        let Some(cell) = self.cell() else { return Lsn::ZERO };
        let name = cell.spec.name.clone();
        let count = self.random.random_range(2..7);
        let made: Vec<(Id, Message)> = (0..count).map(|_| self.message("", &name)).collect();
        let kept = made.iter().filter(|(_, message)| message.is_persistent());
        let changes: Vec<Change> = kept.map(|(id, _)| Change::Enqueue(name.clone(), *id)).collect();
        let lsn = cell.publish(made.into_iter().map(|(_, message)| message)).expect("a queue").safe;
        if changes.is_empty() { Lsn::ZERO } else { self.note(lsn, changes) }
    }

    pub fn delivered(
        &mut self,
        queue: String,
        consumer: Option<ConsumerId>,
        position: Position,
        got: &Message,
    ) {
        let id = id_of(got).expect("a number");
        if letters::is_one(&queue) {
            self.check_letter(&queue, got);
        } else {
            self.messages.check(got).expect("as it was sent");
        }
        self.touched.insert(queue.clone());
        let end = self.broker.journal.end();
        self.note(end, vec![Change::Deliver(queue.clone(), id)]);
        self.unsettled.push(Unsettled { queue, consumer, position, id, persistent: got.is_persistent() });
    }

    fn get(&mut self) -> Lsn {
        let Some(cell) = self.cell() else { return Lsn::ZERO };
        if let GetResult::Got(got) = get(&cell) {
            self.delivered(cell.spec.name.clone(), None, got.position, &got.message);
        }
        self.broker.journal.end()
    }

    fn consume(&mut self) -> Lsn {
        match self.cell() {
            Some(cell) => self.consume_from(&cell),
            None => Lsn::ZERO,
        }
    }

    pub fn consume_from(&mut self, cell: &QueueCell) -> Lsn {
        if cell.counts().1 == 0 {
            self.touched.insert(cell.spec.name.clone());
            let consumer = u32::try_from(self.consumers.len()).expect("few consumers");
            let spec = ConsumerSpec { prefetch: 4, ..ConsumerSpec::default() };
            let link = OutletLink {
                outlet: self.outlet.clone(),
                connection: ConnectionId(1),
                consumer,
                channel: 1,
                no_ack: false,
            };
            let id = cell.consume(spec, link).expect("a consumer");
            self.consumers.push((cell.spec.name.clone(), id));
            cell.set_active(id, true);
        }
        self.broker.journal.end()
    }

    pub fn take(&mut self) -> Lsn {
        let taken = self.taken();
        self.deliver_all(taken);
        self.broker.journal.end()
    }

    pub fn deliver_all(&mut self, taken: Vec<Given>) {
        for (queue, consumer, delivery) in taken {
            self.delivered(queue, Some(consumer), delivery.position, &delivery.message);
        }
    }

    /// What consumers were given, with the queue it is of.
    fn taken(&mut self) -> Vec<Given> {
        let mut taken = Taken::default();
        self.outlet.take(&mut taken);
        let deliveries = taken.deliveries.into_iter().map(|delivery| {
            self.outlet.release(delivery.cost(), &mut Vec::new());
            let (queue, consumer) = self.consumers[delivery.consumer as usize].clone();
            (queue, consumer, delivery)
        });
        deliveries.filter(|(queue, ..)| !queue.is_empty()).collect()
    }

    /// Deliveries to settle together, of one queue and consumer.
    fn some_unsettled(&mut self) -> Vec<Unsettled> {
        if self.unsettled.is_empty() {
            return Vec::new();
        }
        let at = self.random.random_range(0..self.unsettled.len());
        let (queue, consumer) = (self.unsettled[at].queue.clone(), self.unsettled[at].consumer);
        let mut most = self.random.random_range(1..6);
        let together = |delivery: &mut Unsettled| {
            let fits = most > 0 && delivery.queue == queue && delivery.consumer == consumer;
            most -= usize::from(fits);
            fits
        };
        self.unsettled.extract_if(.., together).collect()
    }

    fn how(&mut self) -> Settle {
        match self.random.random_range(0..20) {
            0..14 => Settle::Ack,
            14..16 => Settle::Reject,
            16 => Settle::Requeue,
            17..19 => Settle::Fail,
            _ => Settle::Unsent,
        }
    }

    pub fn settle(&mut self) -> Lsn {
        let some = self.some_unsettled();
        let Some(first) = some.first() else { return Lsn::ZERO };
        let how = self.how();
        let cell = self.vhost.find_queue(&first.queue, ME).expect("a queue");
        let lsn = cell.settle(first.consumer, some.iter().map(|delivery| delivery.position), how);
        let changes = changes(&some, how);
        self.note(lsn, changes)
    }

    fn purge(&mut self) -> Lsn {
        let Some(cell) = self.cell() else { return Lsn::ZERO };
        let (lsn, taken) = self.purged(&cell);
        let name = &cell.spec.name;
        let out = self.out(name, &taken);
        let ready = self.history.now().queues[name].keys().filter(|id| !out.contains(id));
        let changes = ready.map(|id| Change::Remove(name.clone(), *id)).collect();
        self.note(lsn, changes);
        self.deliver_all(taken);
        lsn
    }

    /// Purges a queue. What was read meanwhile may have gone out until then: looked at after it, but to be noted behind
    /// it.
    pub fn purged(&mut self, cell: &QueueCell) -> (Lsn, Vec<Given>) {
        let (_, lsn) = cell.purge();
        (lsn, self.taken())
    }

    /// What a queue has delivered, with what was `taken` just now.
    pub fn out(&self, queue: &str, taken: &[Given]) -> BTreeSet<Id> {
        let given = taken.iter().filter(|(from, ..)| from == queue);
        let given = given.map(|(.., delivery)| id_of(&delivery.message).expect("a number"));
        let unsettled = self.unsettled.iter().filter(|delivery| delivery.queue == queue);
        unsettled.map(|delivery| delivery.id).chain(given).collect()
    }

    fn commit(&mut self) -> Lsn {
        let mut commit = Commit::default();
        let mut changed = Vec::new();
        for _ in 0..self.random.random_range(0..5) {
            if self.chance(40) {
                let name = self.pick(&SOURCES);
                let cell = self.vhost.find_queue(name, ME).expect("a queue");
                let (message, change) = self.letter(name);
                changed.extend(change);
                commit.publish(&cell, message);
                continue;
            }
            let Some(cell) = self.cell() else { continue };
            let (id, message) = self.message("", &cell.spec.name);
            if message.is_persistent() {
                changed.push(Change::Enqueue(cell.spec.name.clone(), id));
            }
            commit.publish(&cell, message);
        }
        for _ in 0..self.random.random_range(0..3) {
            let (some, how) = (self.some_unsettled(), self.how());
            for delivery in &some {
                let cell = self.vhost.find_queue(&delivery.queue, ME).expect("a queue");
                commit.settle(&cell, delivery.consumer, delivery.position, how);
            }
            changed.extend(changes(&some, how));
        }
        let lsn = commit.apply(&self.broker.journal).expect("no limits");
        self.note(lsn, changed)
    }
}
