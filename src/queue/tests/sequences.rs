//! Random sequences of everything that can be done with a queue, compared with the model after each step.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::model::{Kept, Model, Place};
use super::store::Store;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        count: usize,
        size: usize,
    },
    Get {
        no_ack: bool,
    },
    Consume {
        spec: ConsumerSpec,
        room: usize,
    },
    SetActive {
        who: usize,
        active: bool,
    },
    Cancel {
        who: usize,
    },
    Settle {
        who: usize,
        pick: Pick,
        how: Settle,
    },
    /// The connection has written `room` messages, and calls back if it had said full.
    Room {
        who: usize,
        room: usize,
    },
    /// The connection ends; its consumer has not been cancelled yet.
    Hangup {
        who: usize,
    },
    Purge,
    Deliver,
    /// The journal is written, and what can leave memory does.
    Relieve {
        all: bool,
    },
    /// A checkpoint moves what is in the journal to a segment.
    Fold,
    /// What is not stored is moved out of memory.
    Spill {
        bytes: u64,
    },
    /// A segment is written anew.
    Rewrite,
    /// What the queue wants to have read is read, and given to it only later.
    Load,
}

/// Which of its deliveries somebody settles.
#[derive(Clone, Debug)]
enum Pick {
    All,
    /// The first, some more by the bits, and the first once more.
    Some(u16),
}

fn spec() -> impl Strategy<Value = ConsumerSpec> {
    (0u16..4, prop::bool::weighted(0.25), prop::bool::weighted(0.05), -1i32..2).prop_map(
        |(prefetch, no_ack, exclusive, priority)| ConsumerSpec { prefetch, no_ack, exclusive, priority },
    )
}

fn how() -> impl Strategy<Value = Settle> {
    prop_oneof![3 => Just(Settle::Ack), 1 => Just(Settle::Reject), 3 => Just(Settle::Requeue), 1 => Just(Settle::Fail), 1 => Just(Settle::Unsent)]
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..64usize;
    let pick = prop_oneof![1 => Just(Pick::All), 3 => any::<u16>().prop_map(Pick::Some)];
    prop_oneof![
        10 => (1..6usize, 8..40usize).prop_map(|(count, size)| Step::Publish { count, size }),
        1 => (1..80usize).prop_map(|count| Step::Publish { count, size: 8 }),
        4 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        4 => (spec(), 0..9usize).prop_map(|(spec, room)| Step::Consume { spec, room }),
        6 => (who.clone(), prop::bool::weighted(0.8)).prop_map(|(who, active)| Step::SetActive { who, active }),
        2 => who.clone().prop_map(|who| Step::Cancel { who }),
        14 => (who.clone(), pick, how()).prop_map(|(who, pick, how)| Step::Settle { who, pick, how }),
        6 => (who.clone(), 0..12usize).prop_map(|(who, room)| Step::Room { who, room }),
        1 => who.prop_map(|who| Step::Hangup { who }),
        1 => Just(Step::Purge),
        30 => Just(Step::Deliver),
        5 => prop::bool::weighted(0.3).prop_map(|all| Step::Relieve { all }),
        2 => Just(Step::Fold),
        2 => (0..3000u64).prop_map(|bytes| Step::Spill { bytes }),
        1 => Just(Step::Rewrite),
        5 => Just(Step::Load),
    ]
}

struct Run {
    bench: Bench,
    model: Model,
    /// By the number of their link.
    ids: Vec<ConsumerId>,
    /// What has come back from consumers, ever: only that may come later than what follows it.
    returned: BTreeSet<u64>,
    /// The highest position each consumer has seen.
    seen: Vec<Option<u64>>,
    /// Everything that left the queue.
    left: Vec<u64>,
    /// Nothing that calls for a delivery happened since the last one.
    quiet: bool,
    store: Store,
    /// What is being read.
    pending: Option<Load>,
}

impl Run {
    fn new() -> Self {
        let mut bench = Bench::with(0);
        bench.queue.keep(2000);
        Self {
            bench,
            store: Store::default(),
            pending: None,
            model: Model::default(),
            ids: Vec::new(),
            returned: BTreeSet::new(),
            seen: Vec::new(),
            left: Vec::new(),
            quiet: true,
        }
    }

    /// One of the consumers there are.
    fn present(&self, who: usize) -> Option<usize> {
        let present: Vec<usize> =
            (0..self.ids.len()).filter(|&number| !self.model.takers[number].cancelled).collect();
        (!present.is_empty()).then(|| present[who % present.len()])
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { count, size } => self.publish(count, size),
            Step::Get { no_ack } => self.get(no_ack),
            Step::Consume { spec, room } => self.consume(&spec, room),
            Step::SetActive { who, active } => {
                let Some(number) = self.present(who) else { return };
                self.bench.queue.set_active(self.ids[number], active);
                self.model.set_active(number, active);
                self.quiet &= !active;
            }
            Step::Cancel { who } => {
                let Some(number) = self.present(who) else { return };
                self.bench.queue.cancel(self.ids[number]);
                self.model.takers[number].cancelled = true;
            }
            Step::Settle { who, pick, how } => self.settle(who, &pick, how),
            Step::Room { who, room } => self.room(who, room),
            Step::Hangup { who } => {
                let Some(number) = self.present(who) else { return };
                self.bench.links[number].0.borrow_mut().closed = true;
                self.model.takers[number].closed = true;
            }
            Step::Purge => {
                let mut purged = Vec::new();
                let whole = self.bench.queue.purge(|range| purged.extend(range.start.0..range.end.0));
                assert_eq!(whole.count, purged.len() as u64);
                assert_eq!(purged, self.model.purge());
                self.left.extend(purged);
            }
            Step::Deliver => self.deliver(),
            Step::Relieve { all } => {
                self.bench.queue.note_written(self.store.end());
                if all {
                    self.bench.queue.relieve_all();
                } else {
                    self.bench.queue.relieve();
                }
            }
            Step::Fold => self.fold(),
            Step::Spill { bytes } => {
                let mut unstored = Vec::new();
                let _ = self.bench.queue.unstored(Position(0), bytes, 1000, &mut unstored);
                let messages: Vec<_> = unstored.into_iter().map(|one| (one.position, one.message)).collect();
                let (run, items) = self.store.segment(&messages, true);
                self.bench.queue.moved(run, &items);
            }
            Step::Rewrite => self.rewrite(),
            Step::Load => {
                self.load();
                self.pending = self.bench.queue.plan_load();
            }
        }
        self.check();
    }

    /// Moves all that is in the journal to a segment, settling some of it between its writing and its move.
    fn fold(&mut self) {
        let mut here = Vec::new();
        let mut from = Some(Position(0));
        while let Some(next) = from {
            from = self.bench.queue.stored_below(u64::MAX, next, 3, &mut here);
        }
        let messages: Vec<_> = here.iter().map(|here| (here.position, self.store.at(here.address))).collect();
        let (run, items) = self.store.segment(&messages, false);
        self.settle(self.model.messages.len(), &Pick::Some(0x5555), Settle::Ack);
        let (first, rest) = items.split_at(items.len() / 3);
        self.bench.queue.moved(run.clone(), first);
        self.load();
        self.bench.queue.moved(run, rest);
    }

    fn rewrite(&mut self) {
        let Some(run) = self.bench.queue.runs().next().cloned() else { return };
        let messages: Vec<_> = run.live.iter().map(|n| (Position(n), self.numbered(n))).collect();
        let (to, items) = self.store.segment(&messages, run.transient);
        self.bench.queue.rewritten((run.segment, run.from), to, &items);
    }

    /// The message at a position, as it was published.
    fn numbered(&self, position: u64) -> Message {
        let kept = self.model.messages.iter().find(|kept| kept.position == position).unwrap();
        numbered(position, kept.size as usize)
    }

    /// Gives the queue what was read. Returns whether there was anything.
    fn load(&mut self) -> bool {
        let Some(load) = self.pending.take().or_else(|| self.bench.queue.plan_load()) else { return false };
        assert_eq!(self.store.carry_out(load, &mut self.bench.queue), 0);
        true
    }

    fn publish(&mut self, count: usize, size: usize) {
        for n in 0..count {
            let message = numbered(self.model.next, size);
            let stored = !(n + size).is_multiple_of(3);
            if stored {
                message.set_stored_at(self.store.append(Position(self.model.next), &message));
            }
            let position = self.bench.queue.publish(message, stored);
            assert_eq!(position.0, self.model.publish(size as u64));
        }
        self.quiet = false;
    }

    fn get(&mut self, no_ack: bool) {
        let got = loop {
            match self.bench.queue.get(no_ack, 0) {
                Get::Got(got) => {
                    assert_eq!(number_of(&got.message), got.position.0);
                    break Some((got.position.0, got.redelivered, got.remaining));
                }
                Get::Empty => break None,
                Get::Absent => assert!(self.load(), "nothing is read"),
            }
        };
        assert_eq!(got, self.model.get(no_ack));
    }

    fn consume(&mut self, spec: &ConsumerSpec, room: usize) {
        // Scanning every consumer at every delivery is dear; a dozen make all the cases.
        if self.model.present() >= 12 {
            return;
        }
        let link = TestLink::new(self.ids.len(), room, &self.bench.log);
        let id = self.bench.queue.consume(spec.clone(), link.clone());
        assert_eq!(id.is_ok(), self.model.consume(spec.clone(), room).is_some());
        let Ok(id) = id else { return };
        for (number, &other) in self.ids.iter().enumerate() {
            assert!(self.model.takers[number].cancelled || other != id, "an id names one consumer at a time");
        }
        self.ids.push(id);
        self.seen.push(None);
        self.bench.links.push(link);
    }

    /// Settles for one of those who have something: gets and former consumers together, or a consumer.
    fn settle(&mut self, who: usize, pick: &Pick, how: Settle) {
        let owners: Vec<Option<usize>> = std::iter::once(None)
            .chain((0..self.ids.len()).map(Some))
            .filter(|&owner| !self.model.outstanding(owner).is_empty())
            .collect();
        if owners.is_empty() {
            return;
        }
        let owner = owners[who % owners.len()];
        let mut positions = self.model.outstanding(owner);
        if let Pick::Some(bits) = pick {
            let mut at = 0;
            positions.retain(|_| {
                at += 1;
                at == 1 || bits >> (at % 16) & 1 == 1
            });
        }
        if matches!(how, Settle::Requeue | Settle::Fail | Settle::Unsent) {
            self.returned.extend(&positions);
        }
        if let Pick::Some(bits) = pick {
            // None of these is outstanding when its turn comes.
            positions.push(positions[0]);
            positions.push(self.model.next + u64::from(*bits));
            positions.extend(self.left.last());
            positions.extend(self.model.first_ready().map(|kept| kept.position));
        }
        let id = owner.map(|number| self.ids[number]);
        let removed = self.bench.settle(id, &positions, how);
        assert_eq!(removed, self.model.settle(owner, &positions, how));
        assert_eq!(self.bench.settle(id, &positions, how), [0_u64; 0], "a second time changes nothing");
        self.left.extend(removed);
        self.quiet = false;
    }

    fn room(&mut self, who: usize, room: usize) {
        let Some(number) = self.present(who) else { return };
        {
            let mut connection = self.bench.links[number].0.borrow_mut();
            connection.room += room;
            connection.notified = false;
            connection.refused = false;
        }
        let taker = &mut self.model.takers[number];
        taker.room += room;
        taker.notified = false;
        if taker.parked {
            self.bench.queue.resume(self.ids[number]);
            self.model.resume(number);
            self.quiet = false;
        }
    }

    fn deliver(&mut self) {
        let before: Vec<usize> = (0..self.ids.len()).filter(|&number| self.model.eligible(number)).collect();
        let mut wakes = Vec::new();
        self.bench.queue.deliver(0, &mut wakes);
        while self.load() {
            self.bench.queue.deliver(0, &mut wakes);
        }
        let pushed: Vec<Pushed> = self.bench.log.borrow_mut().drain(..).collect();
        assert_eq!(pushed, self.model.deliver(), "who got what, in which order");
        let woken: Vec<usize> = wakes.iter().map(|link| link.0.borrow().number).collect();
        let asked: Vec<usize> =
            pushed.iter().filter(|pushed| pushed.wake).map(|pushed| pushed.link).collect();
        assert_eq!(woken, asked);
        for &Pushed { link, position, .. } in &pushed {
            let seen = self.seen[link];
            self.seen[link] = seen.max(Some(position));
            assert!(
                seen.is_none_or(|seen| seen < position) || self.returned.contains(&position),
                "consumer {link} got {position} after {seen:?}, and it had not come back"
            );
        }
        self.check_turns(&before, &pushed);
        self.quiet = true;
    }

    /// Consumers of one priority that could take messages all the time got as many, give or take one.
    fn check_turns(&self, before: &[usize], pushed: &[Pushed]) {
        let always: Vec<usize> =
            before.iter().copied().filter(|&number| self.model.eligible(number)).collect();
        let got = |number: usize| pushed.iter().filter(|pushed| pushed.link == number).count();
        for &a in &always {
            for &b in &always {
                if self.model.takers[a].spec.priority == self.model.takers[b].spec.priority {
                    assert!(got(a).abs_diff(got(b)) <= 1, "{a} got {}, {b} got {}", got(a), got(b));
                }
            }
        }
    }

    /// What holds after every step.
    fn check(&mut self) {
        let queue = &mut self.bench.queue;
        assert_eq!(queue.depth(), self.model.depth());
        assert_eq!(queue.consumer_count() as usize, self.model.present());
        assert_eq!(queue.next_position(&numbered(0, 8)).0, self.model.next);
        assert_eq!(queue.was_abandoned(), !self.ids.is_empty() && self.model.present() == 0);
        assert_eq!(
            self.model.messages.len() + self.left.len(),
            self.model.next as usize,
            "none lost, none twice"
        );
        let (mut memory, mut absent) = (0, 0);
        for &Kept { position, size, place, redelivered } in &self.model.messages {
            let Some(entry) = queue.lanes.entry(Position(position)) else {
                assert!(queue.runs().any(|run| run.live.contains(position)), "{position} is nowhere");
                assert_eq!((place, redelivered), (Place::Ready, false), "at {position}");
                absent += 1;
                continue;
            };
            let state = match place {
                Place::Ready => State::Ready,
                Place::Out { no_ack: false, .. } => State::Unacked,
                Place::Out { no_ack: true, .. } => State::Held,
            };
            assert_eq!((entry.state(), entry.redelivered()), (state, redelivered), "at {position}");
            assert_eq!(entry.body_len(), size);
            match &entry.message {
                Some(message) => {
                    assert_eq!(number_of(message), position);
                    memory += memory_of(message);
                }
                None => absent += u64::from(state == State::Ready),
            }
        }
        assert_eq!((queue.memory, queue.absent()), (memory, absent));
        let live: u64 = queue.runs().map(|run| run.live.len()).sum();
        assert!(live <= self.model.messages.len() as u64, "runs have more than there is");
        for number in 0..self.ids.len() {
            let prefetch = usize::from(self.model.takers[number].spec.prefetch);
            assert!(
                prefetch == 0 || self.model.unacked(number) <= prefetch,
                "consumer {number} has too many"
            );
        }
        if self.quiet {
            let waiting = self.model.depth().ready;
            assert!(
                waiting == 0 || self.model.turn().is_none(),
                "{waiting} wait and a consumer could take them"
            );
        }
    }

    /// Ends the queue with whatever is in it, and does what connections do that do not know yet.
    fn close(mut self) {
        let mut wakes = Vec::new();
        assert_eq!(self.bench.queue.close(&mut wakes).ready, self.model.depth().ready);
        let mut woken = BTreeSet::new();
        for (number, taker) in self.model.takers.iter().enumerate() {
            let told = self.bench.links[number].0.borrow().told_gone;
            assert_eq!(told, u32::from(!taker.cancelled));
            if told > 0 && !taker.notified && !taker.closed {
                woken.insert(number);
            }
        }
        assert_eq!(wakes.iter().map(|link| link.0.borrow().number).collect::<BTreeSet<_>>(), woken);
        for owner in std::iter::once(None).chain((0..self.ids.len()).map(Some)) {
            let positions = self.model.outstanding(owner);
            let id = owner.map(|number| self.ids[number]);
            for how in [Settle::Requeue, Settle::Ack] {
                assert_eq!(self.bench.settle(id, &positions, how), [0_u64; 0]);
            }
        }
        for &id in &self.ids {
            self.bench.queue.resume(id);
            self.bench.queue.set_active(id, true);
            self.bench.queue.cancel(id);
        }
        assert_eq!(self.bench.queue.depth(), Depth::default());
        assert_eq!(self.bench.queue.consumer_count(), 0);
        assert!(matches!(self.bench.queue.get(false, 0), Get::Empty));
        assert_eq!((self.bench.queue.absent(), self.bench.queue.plan_load()), (0, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, max_shrink_time: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_does_what_its_model_does(steps in prop::collection::vec(step(), 1..400)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.close();
    }
}
