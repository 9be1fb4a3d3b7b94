//! A restart in the middle of a sequence: the queue is made again of what storage has of it.

use super::*;
use crate::ids::Location;

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
            let place = crate::ids::Place::journal(entry.address().unwrap());
            let (body_len, stored_len) = (entry.body_len(), entry.stored_len());
            messages.push(RestoredMessage { position, place, body_len, stored_len });
        }
        let mut runs: Vec<_> = queue.stored_runs().filter(|run| !run.transient).collect();
        for run in &mut runs {
            // After a purge it is an estimate.
            run.bytes = run.live.iter().map(|position| self.model.find(position).unwrap().size).sum();
        }
        Restored { messages, runs, marks: queue.marks() }
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

    /// Messages that had died before a restart are dead once they are read.
    pub(super) fn look_at_doomed(&mut self) {
        let queue = &self.bench.queue;
        let waits = |position| {
            queue.lanes.get(Position(position)).is_none()
                && queue.runs().any(|run| run.live.contains(position))
        };
        let doomed = self.model.messages.iter().filter(|kept| kept.doom.is_some());
        let read: Vec<u64> = doomed.map(|kept| kept.position).filter(|&position| !waits(position)).collect();
        read.into_iter().for_each(|position| self.model.meet_doom(position));
    }
}
