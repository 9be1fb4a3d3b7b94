//! Random sequences of everything that can be done with a queue, compared with the model after each step.

mod restart;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::model::{Kept, Model, Place};
use super::steps::{Pick, Step, Timing, setup, step};
use super::store::Store;
use super::*;
use crate::queue::rules::Settings;

struct Run {
    bench: Bench,
    model: Model,
    /// By the number of their link.
    ids: Vec<ConsumerId>,
    /// What has come back from consumers, ever: only that may come later than what follows it.
    returned: BTreeSet<u64>,
    /// The highest position each consumer has seen of each lane.
    seen: Vec<BTreeMap<u8, u64>>,
    /// What the journal has for the queue.
    stored: BTreeSet<u64>,
    /// The last one that was settled or purged.
    last_left: Option<u64>,
    traits: Traits,
    /// Milliseconds since 1970.
    now: u64,
    /// Nothing that calls for a delivery happened since the last one.
    quiet: bool,
    store: Store,
    /// What is being read.
    pending: Option<Load>,
}

impl Run {
    fn new(traits: Traits, settings: Settings) -> Self {
        let rules = Rules::new(traits.kind, settings);
        let mut bench = Bench::with(0);
        bench.queue = Queue::new(traits);
        bench.queue.keep(2000);
        bench.queue.set_rules(rules.clone());
        let mut run = Self {
            bench,
            store: Store::default(),
            pending: None,
            model: Model::new(traits, rules),
            ids: Vec::new(),
            returned: BTreeSet::new(),
            seen: Vec::new(),
            stored: BTreeSet::new(),
            last_left: None,
            traits,
            now: 1_000_000,
            quiet: true,
        };
        run.touch();
        run
    }

    fn touch(&mut self) {
        self.bench.queue.touch(self.now);
        self.model.touch(self.now);
    }

    /// One of the consumers there are.
    fn present(&self, who: usize) -> Option<usize> {
        let present: Vec<usize> =
            (0..self.ids.len()).filter(|&number| !self.model.takers[number].cancelled).collect();
        (!present.is_empty()).then(|| present[who % present.len()])
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { count, size, timing } => self.publish(count, size, &timing),
            Step::Get { no_ack } => self.get(no_ack),
            Step::Consume { spec, room, active } => self.consume(&spec, room, active),
            Step::SetActive { who, active } => {
                let Some(number) = self.present(who) else { return };
                self.set_active(number, active);
            }
            Step::Cancel { who } => {
                let Some(number) = self.present(who) else { return };
                self.bench.queue.cancel(self.ids[number]);
                self.model.cancel(number);
                // Another one may take its place.
                self.quiet &= !self.traits.single_active;
            }
            Step::Settle { who, pick, how } => self.settle(who, &pick, how),
            Step::Room { who, room } => self.room(who, room),
            Step::Hangup { who } => {
                let Some(number) = self.present(who) else { return };
                self.bench.links[number].0.borrow_mut().closed = true;
                self.model.takers[number].closed = true;
            }
            Step::Purge => self.purge(),
            Step::Deliver => self.deliver(),
            Step::Pass(time) => self.now += time,
            Step::Rules(settings) => {
                let rules = Rules::new(self.traits.kind, settings);
                self.bench.queue.set_rules(rules.clone());
                self.model.rules = rules;
            }
            Step::Touch => self.touch(),
            Step::Bury { most, stuck } => self.bury(most, stuck),
            Step::TryAgain => {
                self.bench.queue.try_stuck_again();
                self.model.try_stuck_again();
            }
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
            Step::Damage { which } => self.damage(which),
            Step::Load => {
                self.load();
                self.pending = self.bench.queue.plan_load();
            }
            Step::Restart => self.restart(),
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
        self.store.damaged.clear();
        self.settle(messages.len(), &Pick::Some(0x5555), Settle::Ack);
        let (first, rest) = items.split_at(items.len() / 3);
        self.bench.queue.moved(run.clone(), first);
        if items.len() % 2 == 0 {
            self.load();
        } else if self.pending.is_none() {
            // It is under way while the rest is moved.
            self.pending = self.bench.queue.plan_load();
        }
        self.bench.queue.moved(run, rest);
    }

    fn rewrite(&mut self) {
        let Some(run) = self.bench.queue.runs().next().cloned() else { return };
        let message = |number| self.model.find(number).unwrap().message.clone();
        let messages: Vec<_> = run.live.iter().map(|number| (Position(number), message(number))).collect();
        let (to, items) = self.store.segment(&messages, run.transient);
        self.store.damaged.clear();
        self.bench.queue.rewritten((run.segment, run.from), to, &items);
    }

    /// Gives the queue what was read. Returns whether there was anything.
    fn load(&mut self) -> bool {
        let Some(load) = self.pending.take().or_else(|| self.bench.queue.plan_load()) else { return false };
        // Who plans a read tells the journal what happened before the queue can be given the answer. A message that died
        // just now and turns out to be damaged is still stored when its death is told.
        self.take_events();
        self.look_away();
        let damaged = self.store.carry_out(load, &mut self.bench.queue);
        self.look_at_damaged(damaged);
        self.look_at_doomed();
        // So does who gives it: what died by being read is not buried before that is told.
        self.take_events();
        true
    }

    /// A message as it is published now.
    fn message(&self, number: u64, size: usize, timing: &Timing) -> Message {
        let mut raw = vec![0, 0];
        if let Some(priority) = timing.priority {
            raw[0] |= 0x08;
            raw.push(priority);
        }
        if let Some(lifetime) = timing.lifetime {
            raw[0] |= 0x01;
            let text = lifetime.to_string();
            raw.push(text.len() as u8);
            raw.extend_from_slice(text.as_bytes());
        }
        let mut body = number.to_be_bytes().to_vec();
        body.resize(size, 0);
        let mut builder = MessageBuilder::default();
        builder.set_time(self.now - timing.age);
        builder.build("", "q", Properties::parse(&raw).unwrap(), Body::Owned(body))
    }

    fn publish(&mut self, count: usize, size: usize, timing: &Timing) {
        for n in 0..count {
            if self.bench.queue.refuses(size as u64) {
                break;
            }
            let number = self.model.next_position(timing.priority);
            let message = self.message(number, size, timing);
            assert_eq!(self.bench.queue.next_position(&message).0, number);
            let stored = !(n + size).is_multiple_of(3);
            if stored {
                message.set_stored_at(self.store.append(Position(number), &message));
                self.stored.insert(number);
            }
            if stored {
                assert_eq!(self.bench.queue.publish(message.clone(), stored).0, number);
            } else {
                self.bench.queue.publish_all(std::iter::once(message.clone()));
            }
            assert_eq!(self.model.publish(message, timing, stored), number);
        }
        self.quiet = false;
    }

    /// Tells the model which of the ready messages are not in memory.
    fn look_away(&mut self) {
        let ready = self.model.messages.iter().filter(|kept| kept.place == Place::Ready);
        let away = ready.filter_map(|kept| match self.bench.queue.lanes.get(Position(kept.position)) {
            Some(entry) => entry.message.is_none().then_some((kept.position, true)),
            None => Some((kept.position, false)),
        });
        self.model.away = away.collect();
    }

    fn get(&mut self, no_ack: bool) {
        if self.model.has_surplus() {
            self.deliver();
        }
        loop {
            self.look_away();
            let got = match self.bench.queue.get(no_ack, self.now) {
                Get::Got(got) => {
                    assert_eq!(number_of(&got.message), got.position.0);
                    Some(Some((got.position.0, got.redelivered, got.remaining, told_returns(&got.message))))
                }
                Get::Empty => Some(None),
                Get::Absent => None,
            };
            self.bench.queue.mark_delivered(3, |_| {});
            assert_eq!(got, self.model.get(no_ack, self.now));
            if got.is_some() {
                break;
            }
            assert!(self.load(), "nothing is read");
        }
    }

    fn purge(&mut self) {
        let mut purged = Vec::new();
        let whole = self.bench.queue.purge(|range| purged.extend(range.start.0..range.end.0));
        assert_eq!(whole.count, purged.len() as u64);
        purged.sort_unstable();
        assert_eq!(purged, self.model.purge());
        purged.iter().for_each(|position| {
            self.stored.remove(position);
        });
        self.last_left = purged.pop().or(self.last_left);
    }

    /// Moves dead letters, those that are found and not stuck.
    fn bury(&mut self, most: usize, stuck: u16) {
        let mut dead = self.bench.queue.first_dead(most, 300);
        while dead.is_empty() && self.bench.queue.has_dead() {
            assert!(self.load(), "nothing is read");
            dead = self.bench.queue.first_dead(most, 300);
        }
        assert!(dead.len() <= most && dead.is_empty() == self.model.dead.is_empty());
        for (dead, expected) in dead.iter().zip(&self.model.dead) {
            assert_eq!((dead.position.0, dead.reason), *expected, "in the order of their deaths");
            assert_eq!(number_of(&dead.message), dead.position.0);
        }
        for (number, DeadMessage { position, .. }) in dead.into_iter().enumerate() {
            if stuck >> number & 1 == 1 {
                self.bench.queue.set_aside(position);
                self.model.set_aside(position.0);
                continue;
            }
            let stored = self.bench.queue.bury(position);
            assert_eq!(stored, self.model.bury(position.0));
            self.leave(position.0, stored);
        }
    }

    /// The journal is told that a message left the queue, if that is stored.
    fn leave(&mut self, position: u64, stored: bool) {
        assert_eq!(self.stored.remove(&position), stored, "{position} leaves once");
    }

    /// The journal is told what happened beside.
    fn take_events(&mut self) {
        let events = self.bench.queue.take_events();
        assert_eq!(events, std::mem::take(&mut self.model.events));
        for event in events {
            match event {
                Event::Removed(position) => self.leave(position.0, true),
                Event::Dead(position, _) | Event::Returned(position, _) => {
                    assert!(self.stored.contains(&position.0), "{position} is not stored");
                }
            }
        }
    }

    fn consume(&mut self, spec: &ConsumerSpec, room: usize, active: bool) {
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
        self.seen.push(BTreeMap::new());
        self.bench.links.push(link);
        if active {
            self.set_active(self.ids.len() - 1, true);
        }
    }

    fn set_active(&mut self, number: usize, active: bool) {
        self.bench.queue.set_active(self.ids[number], active);
        self.model.set_active(number, active);
        self.quiet &= !active;
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
            positions.push(self.model.next_position(None) + u64::from(*bits));
            positions.extend(self.last_left);
            positions.extend(self.model.dead.first().map(|(position, _)| *position));
            positions.extend(self.model.first_ready().map(|kept| kept.position));
        }
        let id = owner.map(|number| self.ids[number]);
        let mut removed = Vec::new();
        let settled = positions.iter().map(|&position| Position(position));
        self.bench.queue.settle(id, settled, how, |position, stored| removed.push((position.0, stored)));
        assert_eq!(removed, self.model.settle(owner, &positions, how));
        assert_eq!(self.bench.settle(id, &positions, how), [0_u64; 0], "a second time changes nothing");
        for (position, stored) in removed {
            self.leave(position, stored);
            self.last_left = Some(position);
        }
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
        let (mut wakes, mut pushed) = (Vec::new(), Vec::new());
        loop {
            self.look_away();
            self.bench.queue.deliver(self.now, &mut wakes);
            self.bench.queue.mark_delivered(3, |_| {});
            let some: Vec<Pushed> = self.bench.log.borrow_mut().drain(..).collect();
            assert_eq!(some, self.model.deliver(self.now), "who got what, in which order");
            pushed.extend(some);
            if !self.load() {
                break;
            }
        }
        let woken: Vec<usize> = wakes.iter().map(|link| link.0.borrow().number).collect();
        let asked: Vec<usize> =
            pushed.iter().filter(|pushed| pushed.wake).map(|pushed| pushed.link).collect();
        assert_eq!(woken, asked);
        for &Pushed { link, position, .. } in &pushed {
            let seen = self.seen[link].insert(Position(position).lane(), position);
            assert!(
                seen.is_none_or(|seen| seen < position) || self.returned.contains(&position),
                "consumer {link} got {position} after {seen:?}, and it had not come back"
            );
            let deadline = self.model.find(position).and_then(|kept| self.model.deadline(kept));
            assert!(deadline.is_none_or(|deadline| deadline >= self.now), "{position} is over its time");
        }
        if self.traits.single_active {
            assert!(pushed.windows(2).all(|two| two[0].link == two[1].link), "only one is served");
        }
        assert!(!self.model.has_surplus(), "there is no room for all of it");
        let front = self.model.first_ready().and_then(|kept| self.model.deadline(kept));
        assert!(front.is_none_or(|deadline| deadline > self.now), "the front is over its time");
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
        assert_eq!(self.bench.queue.take_lost(), 0);
        self.take_events();
        self.look_away();
        let (queue, model) = (&mut self.bench.queue, &self.model);
        assert_eq!(queue.depth(), model.depth());
        assert_eq!(queue.consumer_count() as usize, model.present());
        assert_eq!(queue.next_position(&numbered(0, 8)).0, model.next_position(None));
        assert_eq!(queue.was_abandoned(), !self.ids.is_empty() && model.present() == 0);
        assert_eq!(model.messages.len() + model.left, model.published, "none lost, none twice");
        let stored = model.messages.iter().filter(|kept| kept.stored).map(|kept| kept.position);
        assert_eq!(self.stored, stored.collect());
        self.check_messages();
        let (queue, model) = (&mut self.bench.queue, &self.model);
        assert_eq!(queue.refuses_more(2, 50), model.refuses(2, 50));
        assert_eq!(queue.is_expired(self.now), model.expires_at().is_some_and(|at| at <= self.now));
        let deadline = model.front_deadline().into_iter().chain(model.expires_at()).min();
        assert_eq!(queue.next_deadline(), deadline);
        let mut having = 0;
        for number in 0..self.ids.len() {
            let prefetch = usize::from(model.takers[number].spec.prefetch);
            let unacked = model.unacked(number);
            assert!(prefetch == 0 || unacked <= prefetch, "consumer {number} has too many");
            having += usize::from(unacked > 0 && !model.takers[number].cancelled);
        }
        assert!(having <= 1 || !self.traits.single_active, "only one has messages");
        if self.quiet {
            let waiting = self.model.depth().ready;
            assert!(
                waiting == 0 || self.model.turn().is_none(),
                "{waiting} wait and a consumer could take them"
            );
        }
    }

    /// Everything is where it should be, and nothing else is there.
    fn check_messages(&self) {
        let (queue, model) = (&self.bench.queue, &self.model);
        let (mut memory, mut absent, mut entries, mut wanted) = (0, 0, 0, 0);
        for kept in &model.messages {
            let &Kept { position, size, place, redelivered, returns, .. } = kept;
            assert_eq!(queue.deaths.returns(Position(position)), returns, "at {position}");
            let Some(entry) = queue.lanes.get(Position(position)) else {
                assert!(queue.runs().any(|run| run.live.contains(position)), "{position} is nowhere");
                let flagged = queue.lanes.of(Position(position)).unwrap().flagged_below;
                assert_eq!((place, redelivered), (Place::Ready, position < flagged.0), "at {position}");
                absent += 1;
                continue;
            };
            entries += 1;
            let state = match place {
                Place::Ready => State::Ready,
                Place::Out { no_ack: false, .. } => State::Unacked,
                Place::Out { no_ack: true, .. } => State::Held,
                Place::Dead => State::Dead,
            };
            assert_eq!((entry.state(), entry.redelivered()), (state, redelivered), "at {position}");
            assert_eq!((entry.body_len(), entry.is_stored()), (size, kept.stored));
            match &entry.message {
                Some(message) => {
                    assert_eq!(number_of(message), position);
                    memory += memory_of(message);
                    if place == Place::Ready && queue.paging.is_wanted(Position(position)) {
                        wanted += memory_of(message);
                    }
                }
                None => absent += u64::from(state == State::Ready),
            }
        }
        assert_eq!((queue.memory.bytes, queue.absent()), (memory, absent));
        self.check_figures();
        // What a run brings may lie behind others that are in memory and were not wanted before.
        assert!(queue.paging.wanted_bytes() <= wanted, "more than the {wanted} that are there");
        assert_eq!(queue.lanes.entries().count(), entries, "entries of what has left");
        let mut live = queue.runs().flat_map(|run| &run.live);
        assert!(live.all(|position| model.find(position).is_some()), "runs have what has left");
        let counted = |position: Position| model.find(position.0).is_some_and(|kept| kept.returns.failed > 0);
        assert!(queue.deaths.counts().all(|(position, _)| counted(position)), "counts of what has left");
        let dead: Vec<u64> = queue.deaths.positions().map(|position| position.0).collect();
        assert_eq!(dead, model.dead.iter().map(|(position, _)| *position).collect::<Vec<_>>());
        let all: Vec<u64> = queue.deaths.marks().map(|(position, _)| position.0).collect();
        let known: Vec<u64> = model.stuck.iter().chain(&model.dead).map(|(position, _)| *position).collect();
        assert_eq!((&all[..known.len()], queue.deaths.dead()), (&known[..], known.len() as u64));
        let sizes = model.messages.iter().filter(|kept| kept.place == Place::Dead).map(|kept| kept.size);
        assert_eq!(queue.deaths.dead_bytes(), sizes.sum::<u64>());
    }

    /// What is counted is what there is.
    fn check_figures(&self) {
        let (queue, model) = (&self.bench.queue, &self.model);
        let figures = queue.figures();
        let bytes = |wanted: &dyn Fn(&&Kept) -> bool| -> u64 {
            model.messages.iter().filter(wanted).map(|kept| kept.size).sum()
        };
        let out = |acks: bool| move |kept: &&Kept| matches!(kept.place, Place::Out { no_ack, .. } if no_ack != acks);
        assert_eq!((figures.unacked_bytes, figures.held_bytes), (bytes(&out(true)), bytes(&out(false))));
        let in_memory = |kept: &&Kept| {
            queue.lanes.get(Position(kept.position)).is_some_and(|entry| entry.message.is_some())
        };
        let count = model.messages.iter().filter(in_memory).count() as u64;
        assert_eq!((figures.in_memory, figures.in_memory_bytes), (count, bytes(&in_memory)));
        let stored = model.messages.iter().filter(|kept| kept.stored).count() as u64;
        assert_eq!(figures.persistent, stored);
        assert_eq!((figures.dead, figures.depth), (queue.deaths.dead(), queue.depth()));
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
        assert!(matches!(self.bench.queue.get(false, self.now), Get::Empty));
        assert_eq!((self.bench.queue.absent(), self.bench.queue.plan_load()), (0, None));
        assert!(!self.bench.queue.has_dead() && self.bench.queue.take_events().is_empty());
    }
}

/// `PROPTEST_CASES` may ask for more.
fn config() -> ProptestConfig {
    let more = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = more.unwrap_or(80);
    ProptestConfig { cases, failure_persistence: None, max_shrink_time: 30_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_queue_does_what_its_model_does(
        (traits, settings) in setup(),
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut run = Run::new(traits, settings);
        for step in steps {
            run.step(step);
        }
        run.close();
    }
}
