//! Dead letters: from the queue a message died in to those that its dead-letter exchange leads to. And what else the
//! agenda asks for.
//!
//! Each slice is one batch of the journal under the locks of all its queues: enqueued there and removed here, or
//! neither. Nothing recurses: a letter that dies again in its new queue is that queue's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use super::{RouteScratch, VHost};
use crate::broker::queue_cell::{Letters, QueueCell, wake};
use crate::deaths::{self, Death, Reason};
use crate::ids::{Position, QueueId};
use crate::message::{Marks, Message, MessageBuilder};
use crate::protocol::properties::Properties;
use crate::queue::rules::DeadLetters;
use crate::storage::room::Room;

/// Slices that one caller moves before it goes on with its own work.
const SLICES: usize = 16;

/// Queues that are looked at in one call.
const LOOKS: usize = 256;

/// A message that leaves its queue for others.
struct Letter {
    /// Where it is in its queue; `None` if it was refused there.
    position: Option<Position>,
    /// Why it died; `None` if it goes nowhere since its queue has no dead-letter exchange any more.
    reason: Option<Reason>,
    message: Message,
    targets: Vec<Arc<QueueCell>>,
}

/// Counts a letter that goes to a dead-letter exchange.
fn count(gone: &mut Vec<(Reason, u64)>, reason: Reason) {
    match gone.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, count)) => *count += 1,
        None => gone.push((reason, 1)),
    }
}

/// Finds where letters go. Those that follow each other often go the same way.
struct Postman<'a> {
    vhost: &'a VHost,
    rules: &'a DeadLetters,
    source: &'a str,
    now: u64,
    builder: MessageBuilder,
    scratch: RouteScratch,
    /// The last key and where it led to, whatever the headers.
    known: Option<(String, Vec<Arc<QueueCell>>)>,
    /// A letter was left out for a queue it came from.
    cycle: bool,
}

impl Postman<'_> {
    fn letter(&mut self, position: Option<Position>, reason: Reason, message: &Message) -> Letter {
        let death = Death { queue: self.source, reason, unix_ms: self.now };
        let raw = deaths::properties_after(message, death);
        let key = self.rules.routing_key.as_deref();
        let before = message.marks();
        let marks = Marks { has_died: true, own_key_only: before.own_key_only || key.is_some(), ..before };
        let letter = self.builder.build_marked(
            &self.rules.exchange,
            key.unwrap_or_else(|| message.routing_key()),
            Properties::assume_valid(&raw),
            message.body_to_share(),
            marks,
        );
        let mut targets = self.targets(&letter);
        let before = targets.len();
        targets.retain(|cell| !deaths::is_cycle(&letter, reason, &cell.spec.name));
        self.cycle |= targets.len() < before;
        Letter { position, reason: Some(reason), message: letter, targets }
    }

    fn targets(&mut self, letter: &Message) -> Vec<Arc<QueueCell>> {
        let keys = deaths::routing_keys(letter);
        if let Some((key, targets)) = &self.known
            && keys == [key]
        {
            return targets.clone();
        }
        let headers = Properties::assume_valid(letter.raw_properties()).headers();
        let (targets, holds) =
            self.vhost.letter_route(&self.rules.exchange, &keys, headers, &mut self.scratch);
        if let ([key], true) = (&keys[..], holds) {
            self.known = Some(((*key).to_owned(), targets.clone()));
        }
        targets
    }
}

impl VHost {
    /// Whether there are dead letters to move now. Like publishers they wait while the disk alarm is on: a letter is a
    /// new message, and what room is left is for what consumers settle.
    #[inline]
    #[must_use]
    pub fn has_letters(&self) -> bool {
        self.agenda.has_letters() && !self.shared.bodies.journal.room().is_some_and(Room::is_alarmed)
    }

    /// Moves dead letters: all there are, or as many as one caller should. The rest is left to the agenda's task.
    pub fn move_letters(&self) {
        for _ in 0..SLICES {
            if !self.has_letters() {
                return;
            }
            let Some(cell) = self.agenda.take_letters() else { return };
            self.move_slice(&cell);
        }
        if self.has_letters() {
            self.agenda.wake();
        }
    }

    fn move_slice(&self, source: &Arc<QueueCell>) {
        let Some(Letters { rules, dead, refused }) = source.begin_move() else { return };
        let now = self.agenda.now();
        let mut cycle = false;
        let letters = match &rules {
            Some(rules) => {
                let mut builder = MessageBuilder::default();
                builder.set_time(now);
                let mut postman = Postman {
                    vhost: self,
                    rules,
                    source: &source.spec.name,
                    now,
                    builder,
                    scratch: RouteScratch::default(),
                    known: None,
                    cycle: false,
                };
                let mut letters: Vec<Letter> = dead
                    .iter()
                    .map(|dead| postman.letter(Some(dead.position), dead.reason, &dead.message))
                    .collect();
                letters.extend(refused.iter().map(|refused| postman.letter(None, Reason::MaxLen, refused)));
                cycle = postman.cycle;
                letters
            }
            // There is no such exchange any more: what is dead is dropped.
            None => {
                let drop =
                    |position, message| Letter { position, reason: None, message, targets: Vec::new() };
                dead.into_iter().map(|dead| drop(Some(dead.position), dead.message)).collect()
            }
        };
        let at_least_once = rules.as_ref().is_some_and(|rules| rules.at_least_once);
        self.carry(source, &letters, now, at_least_once);
        if cycle && source.is_first_cycle() {
            let (queue, vhost) = (&source.spec.name, &self.name);
            tracing::warn!(?queue, ?vhost, "dead letters are dropped that would go round in a cycle");
        }
    }

    /// Puts letters of `now` where they go and takes them from where they are, in one step.
    fn carry(&self, source: &Arc<QueueCell>, letters: &[Letter], now: u64, at_least_once: bool) {
        let mut cells: BTreeMap<QueueId, &Arc<QueueCell>> = BTreeMap::from([(source.id, source)]);
        cells.extend(letters.iter().flat_map(|letter| &letter.targets).map(|cell| (cell.id, cell)));
        let cells: Vec<&Arc<QueueCell>> = cells.into_values().collect();
        let at = |cell: &QueueCell| cells.binary_search_by_key(&cell.id, |other| other.id).ok();
        let (mut wakes, mut gone) = (Vec::new(), Vec::new());
        {
            // Rising ids: the order in which everyone who holds several queues takes them.
            let mut states: Vec<_> = cells.iter().map(|cell| cell.lock_also()).collect();
            self.shared.bodies.journal.append(|batch| {
                for Letter { position, reason, message, targets } in letters {
                    let places: Vec<usize> =
                        targets.iter().filter_map(|cell| at(cell)).filter(|&at| !states[at].gone).collect();
                    let mut has_room = |&at: &usize| cells[at].has_room(&mut states[at], message, &mut wakes);
                    let waits = at_least_once && (places.is_empty() || !places.iter().all(&mut has_room));
                    // One that was refused is not in its queue.
                    let here = position.zip(at(source)).filter(|(_, at)| !states[*at].gone);
                    if waits && position.is_some() {
                        if let Some((position, at)) = here {
                            source.set_aside(&mut states[at], position);
                        }
                        continue;
                    }
                    if let Some(reason) = *reason {
                        count(&mut gone, reason);
                    }
                    for at in places {
                        cells[at].take_letter(&mut states[at], message, batch, &mut wakes);
                    }
                    if let Some((position, at)) = here {
                        source.bury(&mut states[at], position, batch);
                    }
                }
            });
            if let Some(at) = at(source) {
                source.end_move(&mut states[at]);
            }
            for (cell, state) in cells.iter().zip(&mut states) {
                cell.deliver_at(state, &mut wakes, now);
            }
        }
        for (reason, number) in gone {
            self.totals.count_dead(reason, at_least_once, number);
        }
        wake(wakes);
    }

    /// Names the task that calls [`look_at_due`](Self::look_at_due).
    pub fn register_agenda(&self, waker: &Waker) {
        self.agenda.register(waker);
    }

    /// Has the task look again: the disk alarm is over.
    pub(in crate::broker) fn wake_agenda(&self) {
        self.agenda.wake();
    }

    /// Does what is due now: drops what is over its time, deletes queues that are, and moves dead letters. Returns how
    /// many milliseconds the next thing is away, if anything is known; 0 if there is more to do at once.
    pub fn look_at_due(&self) -> Option<u64> {
        let due = self.agenda.take_due(self.agenda.now(), LOOKS);
        for cell in &due {
            if cell.look() {
                self.delete_expired(cell, self.agenda.now());
            }
        }
        self.move_letters();
        if due.len() == LOOKS || self.has_letters() {
            return Some(0);
        }
        self.agenda.next_at().map(|at| at.saturating_sub(self.agenda.now()))
    }
}
