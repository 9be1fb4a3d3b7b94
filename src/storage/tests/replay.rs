//! Random histories: what a start makes of headers alone is what the records say, message by message.

use proptest::prelude::*;

use super::*;
use crate::storage::simulated_disk::SimulatedDisk;

#[derive(Clone, Debug)]
enum Step {
    /// A message of this size goes into these queues.
    Publish(Vec<u64>, usize),
    /// So many messages from the n-th on leave a queue, in one batch.
    Remove(u64, usize, usize),
    /// The n-th message of a queue is delivered.
    Deliver(u64, usize),
    /// A queue goes, and comes again under another number.
    Renew(u64),
    Wait,
    /// The oldest files are retired, or it is tried and given up.
    Retire(usize, bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let queue = 0_u64..3;
    let size = prop_oneof![4 => 0_usize..600, 1 => 16_380_usize..16_400, 1 => Just(40_000_usize)];
    prop_oneof![
        8 => (prop::collection::vec(queue.clone(), 1..4), size).prop_map(|(to, size)| Step::Publish(to, size)),
        5 => (queue.clone(), 0_usize..10, 1_usize..8).prop_map(|(q, at, count)| Step::Remove(q, at, count)),
        1 => (queue.clone(), 0_usize..10).prop_map(|(q, at)| Step::Deliver(q, at)),
        1 => queue.prop_map(Step::Renew),
        2 => Just(Step::Wait),
        2 => (1_usize..4, any::<bool>()).prop_map(|(files, ends)| Step::Retire(files, ends)),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Debug, Default)]
struct QueueModel {
    messages: BTreeMap<u64, Message>,
    next: u64,
    delivered: u64,
}

/// What has to be found.
#[derive(Debug, Default)]
struct Model {
    queues: BTreeMap<QueueId, QueueModel>,
    last: u64,
}

struct World {
    disk: SimulatedDisk,
    journal: Journal,
    model: Model,
    sent: u64,
}

impl World {
    fn new() -> Self {
        let disk = SimulatedDisk::new(1);
        let (journal, _) = open_with(&disk, small()).unwrap();
        let mut world = Self { disk, journal, model: Model::default(), sent: 0 };
        (0..3).for_each(|_| world.declare());
        world
    }

    fn declare(&mut self) {
        self.model.last += 1;
        let id = QueueId(self.model.last);
        declare(&self.journal, id);
        self.model.queues.insert(id, QueueModel::default());
    }

    fn queue(&self, nth: u64) -> QueueId {
        *self.model.queues.keys().nth(nth as usize).unwrap()
    }

    fn publish(&mut self, to: &[u64], size: usize) {
        self.sent += 1;
        let sent = message(self.sent, size);
        for nth in to {
            let id = self.queue(*nth);
            let queue = self.model.queues.get_mut(&id).unwrap();
            let position = queue.next;
            queue.next += 1;
            self.journal.append(|batch| {
                let message = batch.own(sent.clone());
                let position = Position(position);
                batch.record(&Record::Enqueued { queue: id, position, message: &message });
                queue.messages.insert(position.0, message);
            });
        }
    }

    fn remove(&mut self, nth: u64, at: usize, count: usize) {
        let id = self.queue(nth);
        let queue = self.model.queues.get_mut(&id).unwrap();
        let gone: Vec<u64> = queue.messages.keys().copied().skip(at).take(count).collect();
        self.journal.append(|batch| gone.iter().for_each(|at| batch.removed(id, Position(*at))));
        queue.messages.retain(|at, _| !gone.contains(at));
    }

    fn deliver(&mut self, nth: u64, at: usize) {
        let queue = self.queue(nth);
        let model = self.model.queues.get_mut(&queue).unwrap();
        model.delivered = model.delivered.max(at as u64);
        let position = Position(model.delivered);
        self.journal.append(|batch| batch.record(&Record::DeliveredThrough { queue, position }));
    }

    /// What a checkpoint does that copies all forward.
    fn retire(&self, files: usize, ends: bool) {
        assert!(self.journal.wait_durable(self.journal.end()));
        let Some(retiring) = self.journal.begin_retire(self.journal.end(), files) else { return };
        let queues = self.model.queues.iter();
        let all = queues
            .flat_map(|(id, queue)| queue.messages.iter().map(move |(at, message)| (*id, *at, message)));
        let stored = all.filter(|(_, _, message)| (1..retiring.below).contains(&message.stored_at()));
        let stored: Vec<_> = stored.collect();
        for (id, queue) in &self.model.queues {
            declare(&self.journal, *id);
            let (queue, position) = (*id, Position(queue.delivered));
            self.journal.append(|batch| batch.record(&Record::DeliveredThrough { queue, position }));
        }
        for (queue, at, message) in stored {
            self.journal.append(|batch| batch.store_again(queue, Position(at), message));
        }
        assert!(self.journal.wait_durable(self.journal.end()));
        if ends {
            say_needed(&self.disk, retiring.oldest).unwrap();
            self.journal.say_retired();
            self.journal.end_retire(false).unwrap();
        } else {
            self.journal.abort_retire();
        }
    }

    fn check(&self) {
        assert!(self.journal.wait_durable(self.journal.end()));
        let Found { definitions, messages, end } =
            found(&self.disk.after_crash(Crash::DropUnsynced)).unwrap();
        assert_eq!(end, self.journal.end().0);
        assert!(definitions.queues.iter().map(|queue| queue.id).eq(self.model.queues.keys().copied()));
        let mut count = 0;
        for (queue, model) in definitions.queues.iter().zip(self.model.queues.values()) {
            assert_eq!(positions(queue), model.messages.keys().copied().collect::<Vec<_>>());
            assert_eq!(queue.content.first_lane().delivered, Position(model.delivered));
            // Files that say so may be gone, if nothing of them is left.
            assert!(queue.content.first_lane().next.0 <= model.next);
            for (at, message) in &model.messages {
                let found = &messages[&(queue.id, *at)];
                assert!(found.body() == message.body() && found.raw_properties() == message.raw_properties());
                count += 1;
            }
        }
        assert_eq!(messages.len(), count);
    }

    fn restart(&mut self) {
        self.journal.close();
        let (journal, mut image) = open_with(&self.disk, small()).unwrap();
        let definitions = image.take(VHOST);
        assert_eq!(image.last_queue(), self.model.last);
        for ((queue, at), message) in load(&journal, &definitions).unwrap() {
            self.model.queues.get_mut(&queue).unwrap().messages.insert(at, message);
        }
        self.journal = journal;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn headers_say_all(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Publish(to, size) => world.publish(&to, size),
                Step::Remove(queue, at, count) => world.remove(queue, at, count),
                Step::Deliver(queue, at) => world.deliver(queue, at),
                Step::Renew(nth) => {
                    let id = world.queue(nth);
                    world.journal.append(|batch| batch.record(&Record::QueueDeleted { id }));
                    world.model.queues.remove(&id);
                    world.declare();
                }
                Step::Wait => {
                    prop_assert!(world.journal.wait_durable(world.journal.end()));
                }
                Step::Retire(files, ends) => world.retire(files, ends),
                Step::Restart => world.restart(),
            }
        }
        world.check();
    }
}

/// Removals of neighbours are one record, in the order of everything else of the batch.
#[test]
fn removals_of_a_batch_are_joined() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    declare(&journal, QUEUE);
    declare(&journal, QueueId(2));
    for n in 0..20 {
        enqueue(&journal, QUEUE, n, &message(n, 10));
        enqueue(&journal, QueueId(2), n, &message(n, 10));
    }
    let before = journal.end().0;
    let end = journal.append(|batch| {
        (0..5).for_each(|n| batch.removed(QUEUE, Position(n)));
        batch.removed_range(QUEUE, Position(5), 3);
        // Not the next one, another queue, and not the next one again.
        batch.removed(QUEUE, Position(9));
        batch.removed(QueueId(2), Position(10));
        batch.removed(QueueId(2), Position(12));
        let message = message(99, 10);
        batch.record(&Record::Enqueued { queue: QUEUE, position: Position(20), message: &message });
        batch.removed(QUEUE, Position(20));
    });
    assert_eq!(end.0 - before, 6);
    assert!(journal.wait_durable(end));
    let queues = found(&disk).unwrap().definitions.queues;
    assert_eq!(positions(&queues[0]), [8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!(queues[0].content.first_lane().next, Position(21));
    assert_eq!(positions(&queues[1]).len(), 18);
    // In memory they count as much.
    let journal = Journal::in_memory();
    let end = journal.append(|batch| (0..5).for_each(|n| batch.removed(QUEUE, Position(n))));
    assert_eq!(end, Lsn(1));
}
