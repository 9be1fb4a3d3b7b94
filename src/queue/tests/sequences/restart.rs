//! What befalls storage in the middle of a sequence: the queue is made again of what is stored, or some of that cannot
//! be read.

use super::*;
use crate::ids::Location;
use crate::queue::log::StoredMessage;

impl Run {
    /// The broker starts anew. What is not stored is gone, and so are all consumers.
    pub(super) fn restart(&mut self) {
        let content = self.stored_content();
        let dead: BTreeSet<u64> = content.messages.iter().map(|message| message.position.0).collect();
        let rules = self.model.rules.clone();
        self.bench = Bench::with(0);
        self.bench.queue = Queue::restored(self.traits, content);
        self.bench.queue.keep(2000);
        self.bench.queue.set_rules(rules);
        self.model.restart(|position| dead.contains(&position));
        (self.pending, self.ids, self.seen) = (None, Vec::new(), Vec::new());
        self.look_at_marks();
        self.touch();
        self.quiet = false;
    }

    fn stored_content(&self) -> Restored {
        let queue = &self.bench.queue;
        let mut messages = Vec::new();
        for (position, entry) in queue.lanes.entries().filter(|(_, entry)| entry.is_stored()) {
            if matches!(entry.place.location(), Location::Segment { .. }) {
                continue;
            }
            let address = entry.address().unwrap();
            let (body_len, stored_len) = (entry.body_len() as u32, entry.stored_len() as u32);
            messages.push(StoredMessage { position, address, stored_len, body_len });
        }
        let mut runs: Vec<_> = queue.runs().filter(|run| !run.transient).cloned().collect();
        for run in &mut runs {
            // After a purge it is an estimate.
            run.bytes = run.live.iter().map(|position| self.model.find(position).unwrap().size).sum();
        }
        Restored { messages: messages.into_iter().collect(), runs, marks: queue.marks() }
    }

    /// A lane goes on behind its mark, and what is before it may have been delivered: at least what was is flagged.
    fn look_at_marks(&mut self) {
        for LaneState { number, delivered, next } in self.bench.queue.marks().lanes {
            assert!(delivered <= next);
            self.model.go_on(number, next.0);
        }
        for kept in &mut self.model.messages {
            let lane = self.bench.queue.lanes.of(Position(kept.position)).unwrap();
            let flagged = kept.position < lane.flagged_below.0;
            assert!(flagged || !kept.redelivered, "{} was delivered", kept.position);
            kept.redelivered = flagged;
        }
    }

    fn is_there(&self, position: u64) -> bool {
        let queue = &self.bench.queue;
        queue.lanes.get(Position(position)).is_some() || queue.runs().any(|run| run.live.contains(position))
    }

    /// One that is not in memory is damaged where it is.
    pub(super) fn damage(&mut self, which: usize) {
        self.look_away();
        let positions: Vec<u64> = self.model.away.keys().copied().collect();
        let Some(&position) = positions.get(which % positions.len().max(1)) else { return };
        let place = self.bench.queue.lanes.get(Position(position)).map(|entry| entry.place);
        self.store.damage(Position(position), place);
    }

    /// So many messages were damaged: the queue has them no more.
    pub(super) fn look_at_damaged(&mut self, damaged: u64) {
        let positions: Vec<u64> = self.model.messages.iter().map(|kept| kept.position).collect();
        let is_lost = |&position: &u64| self.store.is_damaged(Position(position)) && !self.is_there(position);
        let lost: Vec<u64> = positions.into_iter().filter(is_lost).collect();
        assert_eq!(lost.len() as u64, damaged);
        for position in lost {
            self.stored.remove(&position);
            self.model.lose(position);
        }
    }

    /// Messages that had died before a restart are dead once they are read.
    pub(super) fn look_at_doomed(&mut self) {
        let waits =
            |position| self.bench.queue.lanes.get(Position(position)).is_none() && self.is_there(position);
        let doomed = self.model.messages.iter().filter(|kept| kept.doom.is_some());
        let read: Vec<u64> = doomed.map(|kept| kept.position).filter(|&position| !waits(position)).collect();
        read.into_iter().for_each(|position| self.model.meet_doom(position));
    }
}
