//! Durable state as the catalogue and the journal tell it: definitions, and where each queue's messages are stored.
//!
//! It is put together before anything is served, from what the catalogue has and then the journal's records in order.
//! Records may come twice, or after what they speak of is gone. No message is read for it.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use roaring::RoaringTreemap;

use crate::deaths::Reason;
use crate::ids::{Position, QueueId};
use crate::protocol::field::Table;
use crate::queue::log::ADDRESSES;
pub use crate::queue::log::{MessageLog, StoredMessage};
use crate::queue::{LaneState, Marks};
use crate::routing::{BindingSpec, ExchangeSpec, Router};
use crate::storage::codec::Reader;
use crate::storage::enqueues::Enqueues;
use crate::storage::record::{Definition, Enqueued, Entry, Parameter, decode};

/// Removals of a queue from which on it is asked whether its messages are worth sorting out.
const COMPACT_FROM: u64 = 1024;

/// The name in records of what is no vhost's but the broker's: no vhost has it.
pub const GLOBAL: &str = "";

/// The component of the global parameters that say which vhosts there are.
pub const VHOST: &str = "vhost";

/// What was durable.
#[derive(Debug, Default)]
pub struct Image {
    vhosts: BTreeMap<String, VHostImage>,
    queues: HashMap<QueueId, Replayed, FixedState>,
    last_queue: u64,
    /// Messages at lower body addresses were moved: the records that refer to them are of no use.
    first_address: u64,
}

#[derive(Debug)]
struct VHostImage {
    exchanges: BTreeMap<String, ExchangeSpec>,
    /// Bindings. Its exchanges are never auto-deleted: what a transient binding held is not known here.
    router: Router<QueueId>,
    /// Parameters by component and name.
    parameters: BTreeMap<(String, String), Parameter>,
}

/// A durable queue while records are applied.
#[derive(Debug, Default)]
struct Replayed {
    declared: Option<Declared>,
    /// Messages in the journal, in the order of their records. Those in `removed` do not count, and of several at a
    /// position only the last.
    log: MessageLog,
    /// Positions whose messages were removed, here or in a segment. None of them is given again.
    removed: RoaringTreemap,
    /// How many of them since the log was sorted out.
    dropped: u64,
    runs: Vec<RunImage>,
    /// By the numbers of the lanes.
    lanes: BTreeMap<u8, LaneState>,
    /// With when they died, as a number that grows.
    dead: BTreeMap<Position, (usize, Reason)>,
    died: usize,
    counts: BTreeMap<Position, u32>,
    has_lifetimes: bool,
}

#[derive(Debug)]
struct Declared {
    vhost: String,
    name: String,
    auto_delete: bool,
    arguments: Table,
}

/// Messages of one queue that lie one after the other in a segment file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunImage {
    /// The file's number.
    pub segment: u64,
    /// Offset of the first message.
    pub from: u64,
    /// Offset behind the last one.
    pub until: u64,
    /// About how many bytes the bodies of those in `live` have.
    pub bytes: u64,
    /// The positions of the messages that were not removed.
    pub live: RoaringTreemap,
}

/// What is in a durable queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueImage {
    /// Messages in the journal, by rising position.
    pub messages: MessageLog,
    /// Messages in segments; none of the runs is empty.
    pub runs: Vec<RunImage>,
    /// What else is known. There is a lane for every message; its next position is one at or above which none was ever
    /// seen.
    pub marks: Marks,
}

impl QueueImage {
    /// The position from which on no message of the first lane was ever seen, and that below which they may have been
    /// delivered.
    #[must_use]
    pub fn first_lane(&self) -> LaneState {
        self.marks.lanes.first().copied().unwrap_or_default()
    }
}

/// A durable queue with its name.
#[derive(Debug)]
pub struct NamedQueue {
    /// Its number.
    pub id: QueueId,
    /// Its name.
    pub name: String,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: Table,
    /// What is in it.
    pub content: QueueImage,
}

/// The durable state of one vhost.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Durable exchanges, without those every vhost has.
    pub exchanges: Vec<ExchangeSpec>,
    /// Durable queues.
    pub queues: Vec<NamedQueue>,
    /// Bindings between them.
    pub bindings: Vec<BindingSpec<QueueId>>,
    /// Parameters, by component and name.
    pub parameters: Vec<Parameter>,
}

impl Image {
    /// Applies definition records, encoded one after the other by [`Record::encode`]. `None` if the bytes are
    /// anything else; what came before is applied then.
    ///
    /// [`Record::encode`]: crate::storage::record::Record::encode
    pub fn define(&mut self, records: &[u8]) -> Option<()> {
        let mut reader = Reader(records);
        while !reader.0.is_empty() {
            let Entry::Definition(definition) = decode(&mut reader)? else { return None };
            self.apply_definition(*definition);
        }
        Some(())
    }

    /// Puts what is known of a queue's content: its marks, and what it has in segments. Its definition comes by
    /// [`define`](Self::define), before or after.
    pub fn put_queue(&mut self, id: QueueId, marks: Marks, runs: Vec<RunImage>) {
        let queue = self.queue(id);
        for LaneState { number, delivered, next } in marks.lanes {
            let lane = queue.lane(Position::first_of(number));
            lane.delivered = lane.delivered.max(delivered);
            lane.next = lane.next.max(next);
        }
        marks.dead.into_iter().for_each(|(position, reason)| queue.die(position, reason));
        queue.counts.extend(marks.counts);
        queue.has_lifetimes |= marks.has_lifetimes;
        queue.runs = runs;
    }

    /// Notes that queue numbers up to this one were given.
    pub fn set_last_queue(&mut self, last: u64) {
        self.last_queue = self.last_queue.max(last);
    }

    /// Says where the first file of the journal that is needed begins.
    pub(super) fn set_first_address(&mut self, address: u64) {
        self.first_address = address;
    }

    /// Applies the next record. `address` is that of the next item of its group.
    pub(super) fn apply(&mut self, entry: Entry, address: u64) {
        match entry {
            Entry::Definition(definition) => self.apply_definition(*definition),
            Entry::Enqueued(enqueued) => {
                let Enqueued { queue, position, address: reference, stored_len, body_len, count, .. } =
                    enqueued;
                let address = reference.unwrap_or(address);
                let last = address.saturating_add(u64::from(stored_len).saturating_mul(count - 1));
                let is_here = self.is_here(address) && self.is_here(last);
                let queue = self.queue(queue);
                queue.has_lifetimes |= enqueued.has_lifetime;
                queue.saw(Position(position.0 + (count - 1)));
                if is_here {
                    queue.log.push_alike(StoredMessage { position, address, stored_len, body_len }, count);
                }
            }
            Entry::Removed(queue, position, count) => self.queue(queue).remove(position.0, count),
            Entry::DeliveredThrough(queue, position) => {
                let lane = self.queue(queue).lane(position);
                lane.delivered = lane.delivered.max(position);
            }
            Entry::Dead(queue, position, reason) => self.queue(queue).die(position, reason),
            Entry::Returned(queue, position, count) => {
                self.queue(queue).counts.insert(position, count);
            }
        }
    }

    /// Applies enqueues, and returns the address behind the messages that are stored with them, of which the first is at
    /// `address`.
    pub(super) fn apply_enqueues(&mut self, enqueues: Enqueues<'_, '_>, mut address: u64) -> u64 {
        let is_here = self.is_here(address);
        let queue = self.queue(enqueues.queue());
        let mut last = None::<Position>;
        for Enqueued { position, stored_len, body_len, .. } in enqueues {
            // Most rise: then the lane need only know of the last.
            if let Some(last) = last.filter(|last| last.next() != position) {
                queue.saw(last);
            }
            last = Some(position);
            if is_here {
                queue.log.push(StoredMessage { position, address, stored_len, body_len });
            }
            address = address.saturating_add(u64::from(stored_len));
        }
        if let Some(last) = last {
            queue.saw(last);
        }
        address
    }

    /// Whether what lies at a body address is needed still.
    fn is_here(&self, address: u64) -> bool {
        (self.first_address..ADDRESSES).contains(&address)
    }

    fn apply_definition(&mut self, definition: Definition) {
        match definition {
            Definition::ExchangeDeclared(vhost, exchange) => {
                let vhost = self.vhost(vhost);
                vhost.router.declare(ExchangeSpec { auto_delete: false, ..exchange.clone() });
                vhost.exchanges.entry(exchange.name.clone()).or_insert(exchange);
            }
            Definition::ExchangeDeleted(vhost, name) => {
                let vhost = self.vhost(vhost);
                vhost.exchanges.remove(&name);
                vhost.router.delete(&name);
            }
            Definition::QueueDeclared(vhost, id, name, auto_delete, arguments) => {
                self.vhost(vhost.clone());
                let declared = Declared { vhost, name, auto_delete, arguments };
                self.queue(id).declared.get_or_insert(declared);
            }
            Definition::QueueDeleted(id) => {
                self.set_last_queue(id.0);
                self.queues.remove(&id);
                for vhost in self.vhosts.values_mut() {
                    vhost.router.remove_queue(id);
                }
            }
            // One end may be gone, or be told of by a later snapshot together with the binding.
            Definition::Bound(vhost, binding) => {
                let router = &mut self.vhost(vhost).router;
                let _ = router.bind(&binding.source, &binding.destination, &binding.key, &binding.arguments);
            }
            Definition::Unbound(vhost, binding) => {
                let router = &mut self.vhost(vhost).router;
                router.unbind(&binding.source, &binding.destination, &binding.key, &binding.arguments);
            }
            Definition::ParameterSet(vhost, parameter) => {
                let key = (parameter.component.clone(), parameter.name.clone());
                self.vhost(vhost).parameters.insert(key, parameter);
            }
            Definition::ParameterCleared(vhost, component, name) => {
                if vhost == GLOBAL && component == VHOST {
                    // All of it goes with it, but for its queues, which have records of their own.
                    self.vhosts.remove(&name);
                }
                self.vhost(vhost).parameters.remove(&(component, name));
            }
        }
    }

    fn vhost(&mut self, name: String) -> &mut VHostImage {
        self.vhosts.entry(name).or_insert_with(|| VHostImage {
            exchanges: BTreeMap::new(),
            router: Router::with_predeclared(),
            parameters: BTreeMap::new(),
        })
    }

    /// A queue, perhaps one that a later record declares.
    fn queue(&mut self, id: QueueId) -> &mut Replayed {
        self.last_queue = self.last_queue.max(id.0);
        self.queues.entry(id).or_default()
    }

    /// Whether a queue is declared.
    pub(super) fn is_declared(&self, id: QueueId) -> bool {
        self.queues.get(&id).is_some_and(|queue| queue.declared.is_some())
    }

    /// Adds what was found in a segment of a declared queue, but for what is known to be elsewhere or removed.
    pub(super) fn add_run(&mut self, id: QueueId, mut run: RunImage) {
        let queue = self.queue(id);
        // The last of each lane would do, but these are few enough.
        run.live.iter().for_each(|position| queue.saw(Position(position)));
        let elsewhere: RoaringTreemap = queue.log.iter().map(|message| message.position.0).collect();
        run.live -= elsewhere;
        queue.runs.iter().for_each(|other| run.live -= &other.live);
        queue.runs.push(run);
    }

    /// Queues that are not declared, and how many messages are in each. Their definitions are lost.
    pub(super) fn orphans(&self) -> Vec<(QueueId, u64)> {
        let orphans = self.queues.iter().filter(|(_, queue)| queue.declared.is_none());
        let count = |queue: &Replayed| {
            let log = queue.log.iter().map(|message| message.position.0);
            let mut live: RoaringTreemap = log.collect();
            queue.runs.iter().for_each(|run| live |= &run.live);
            live -= &queue.removed;
            live.len()
        };
        let mut counts: Vec<_> = orphans.map(|(id, queue)| (*id, count(queue))).collect();
        counts.retain(|(_, count)| *count > 0);
        counts.sort_unstable();
        counts
    }

    /// The highest queue number that was ever seen.
    #[must_use]
    pub fn last_queue(&self) -> u64 {
        self.last_queue
    }

    /// The vhosts that something durable was in.
    pub fn vhosts(&self) -> impl Iterator<Item = &str> {
        self.scopes().filter(|name| *name != GLOBAL)
    }

    /// The vhosts that something durable was in, and [`GLOBAL`] if the broker has something itself.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.vhosts.keys().map(String::as_str)
    }

    /// Takes the state of one vhost out.
    #[must_use]
    pub fn take(&mut self, vhost: &str) -> Definitions {
        let Some(image) = self.vhosts.remove(vhost) else { return Definitions::default() };
        let is_here = |_: &QueueId, queue: &mut Replayed| {
            queue.declared.as_ref().is_some_and(|declared| declared.vhost == vhost)
        };
        let mut queues: Vec<NamedQueue> = self
            .queues
            .extract_if(is_here)
            .filter_map(|(id, content)| NamedQueue::new(id, content))
            .collect();
        queues.sort_by_key(|queue| queue.id);
        Definitions {
            exchanges: image.exchanges.into_values().collect(),
            queues,
            bindings: image.router.bindings().collect(),
            parameters: image.parameters.into_values().collect(),
        }
    }
}

impl Replayed {
    fn remove(&mut self, from: u64, count: u64) {
        let until = from.saturating_add(count);
        let lane = self.lane(Position(from));
        // What was never there need not be remembered, however far the range goes.
        let known = until.min(lane.next.0);
        lane.next = lane.next.max(Position(until));
        self.dropped += match count {
            1 if from < known => u64::from(self.removed.insert(from)),
            _ => self.removed.insert_range(from..known.max(from)),
        };
        if !(self.dead.is_empty() && self.counts.is_empty()) {
            let gone = Position(from)..Position(known.max(from));
            self.dead.extract_if(gone.clone(), |_, _| true).for_each(drop);
            self.counts.extract_if(gone, |_, _| true).for_each(drop);
        }
        if self.dropped >= COMPACT_FROM && self.dropped > self.log.len() as u64 / 2 {
            self.dropped = 0;
            self.sort_out();
        }
    }

    /// The lane that a position belongs to.
    fn lane(&mut self, position: Position) -> &mut LaneState {
        let number = position.lane();
        self.lanes.entry(number).or_insert_with(|| {
            let first = Position::first_of(number);
            LaneState { number, delivered: first, next: first }
        })
    }

    /// A message was at `position`.
    fn saw(&mut self, position: Position) {
        let lane = self.lane(position);
        lane.next = lane.next.max(position.next());
    }

    fn die(&mut self, position: Position, reason: Reason) {
        self.died += 1;
        self.dead.insert(position, (self.died, reason));
        self.counts.remove(&position);
    }

    /// Drops what was removed.
    fn sort_out(&mut self) {
        if self.removed.is_empty() {
            return;
        }
        let removed = &self.removed;
        self.log.retain(|message| !removed.contains(message.position.0));
    }

    fn into_image(mut self) -> QueueImage {
        self.sort_out();
        let Self { log: mut messages, removed, mut runs, lanes, dead, counts, has_lifetimes, .. } = self;
        let mut dead: Vec<_> = dead.into_iter().collect();
        dead.sort_unstable_by_key(|(_, (when, _))| *when);
        let marks = Marks {
            lanes: lanes.into_values().collect(),
            dead: dead.into_iter().map(|(position, (_, reason))| (position, reason)).collect(),
            counts: counts.into_iter().collect(),
            has_lifetimes,
        };
        messages.order();
        for run in &mut runs {
            run.remove(&removed);
        }
        runs.retain(|run| !run.live.is_empty());
        QueueImage { messages, runs, marks }
    }
}

impl RunImage {
    fn remove(&mut self, removed: &RoaringTreemap) {
        let before = self.live.len();
        let gone = self.live.intersection_len(removed);
        if gone > 0 {
            self.bytes -= self.bytes / before * gone;
            self.live -= removed;
        }
    }
}

impl NamedQueue {
    fn new(id: QueueId, mut content: Replayed) -> Option<Self> {
        let Declared { name, auto_delete, arguments, .. } = content.declared.take()?;
        Some(Self { id, name, auto_delete, arguments, content: content.into_image() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::record::Record;

    const QUEUE: QueueId = QueueId(7);

    fn definitions(name: &str) -> Vec<u8> {
        let (vhost, id, arguments) = ("/", QUEUE, &Table::default());
        let mut records = Vec::new();
        Record::QueueDeclared { vhost, id, name, auto_delete: true, arguments }.encode(&mut records);
        records
    }

    fn enqueued(position: u64, address: u64) -> Entry {
        let (position, address) = (Position(position), Some(address));
        Entry::Enqueued(Enqueued {
            queue: QUEUE,
            position,
            address,
            stored_len: 20,
            body_len: 10,
            has_lifetime: false,
            count: 1,
        })
    }

    fn run(segment: u64, positions: std::ops::Range<u64>, bytes: u64) -> RunImage {
        RunImage { segment, from: 4096, until: 9000, bytes, live: positions.collect() }
    }

    fn taken(image: &mut Image) -> QueueImage {
        let mut queues = image.take("/").queues;
        assert_eq!((queues.len(), queues[0].id), (1, QUEUE));
        queues.remove(0).content
    }

    #[test]
    fn the_journal_goes_on_where_the_catalogue_ends() {
        let mut image = Image::default();
        let lanes = vec![LaneState { number: 0, delivered: Position(40), next: Position(100) }];
        let marks = Marks { lanes, ..Marks::default() };
        image.put_queue(QUEUE, marks, vec![run(1, 0..10, 1000), run(2, 10..20, 500)]);
        image.set_last_queue(30);
        image.define(&definitions("q")).unwrap();
        // A later record that says less changes nothing.
        image.apply(Entry::DeliveredThrough(QUEUE, Position(20)), 0);
        image.apply(Entry::Removed(QUEUE, Position(3), 1), 0);
        image.apply(Entry::Removed(QUEUE, Position(8), 12), 0);
        image.apply(Entry::Removed(QUEUE, Position(3), 1), 0);
        image.apply(enqueued(50, 999), 0);
        assert_eq!(image.last_queue(), 30);
        let queue = taken(&mut image);
        let LaneState { delivered, next, .. } = queue.first_lane();
        assert_eq!((delivered, next), (Position(40), Position(100)));
        let live = [0, 1, 2, 4, 5, 6, 7].into_iter().collect();
        assert_eq!(queue.runs, [RunImage { bytes: 700, live, ..run(1, 0..0, 0) }]);
        assert_eq!(queue.messages.len(), 1);
    }

    #[test]
    fn of_several_records_at_a_position_the_last_counts() {
        let mut image = Image::default();
        image.set_first_address(100);
        image.define(&definitions("q")).unwrap();
        for (position, address) in [(5, 100), (1, 200), (3, 300), (1, 400), (2, 99), (3, 500), (4, 600)] {
            image.apply(enqueued(position, address), 0);
        }
        image.apply(Entry::Removed(QUEUE, Position(3), 1), 0);
        let queue = taken(&mut image);
        let found: Vec<_> =
            queue.messages.iter().map(|message| (message.position.0, message.address)).collect();
        assert_eq!(found, [(1, 400), (4, 600), (5, 100)]);
    }

    #[test]
    fn what_was_removed_is_sorted_out_on_the_way() {
        let mut image = Image::default();
        image.define(&definitions("q")).unwrap();
        for position in 0..100_000 {
            image.apply(enqueued(position, 1 + position), 0);
            if position >= 100 {
                image.apply(Entry::Removed(QUEUE, Position(position - 100), 1), 0);
            }
            assert!(image.queue(QUEUE).log.len() <= 2 * COPIES_AT_MOST, "at {position}");
        }
        let queue = taken(&mut image);
        assert!(queue.messages.iter().map(|message| message.position.0).eq(99_900..100_000));
    }

    const COPIES_AT_MOST: usize = COMPACT_FROM as usize + 100;

    #[test]
    fn a_range_that_goes_anywhere_costs_nothing() {
        let mut image = Image::default();
        image.define(&definitions("q")).unwrap();
        image.apply(enqueued(1, 1), 0);
        image.apply(enqueued(2, 21), 0);
        image.apply(Entry::Removed(QUEUE, Position(2), u64::MAX - 2), 0);
        image.apply(Entry::Removed(QUEUE, Position(9), 0), 0);
        let queue = taken(&mut image);
        assert_eq!((queue.messages.len(), queue.first_lane().next), (1, Position(u64::MAX)));
    }

    #[test]
    fn only_definitions_define() {
        let mut records = definitions("q");
        let mut image = Image::default();
        assert!(image.define(&[]).is_some());
        assert!(image.define(&records[..records.len() - 1]).is_none());
        Record::Removed { queue: QUEUE, position: Position(1), count: 1 }.encode(&mut records);
        assert!(image.define(&records).is_none());
        assert_eq!(taken(&mut image), QueueImage::default());
    }
}
