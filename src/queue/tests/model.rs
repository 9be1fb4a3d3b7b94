//! The rules of a queue written down a second time, as plainly as possible: one list of messages, searched from its
//! beginning whenever something is asked.

use std::collections::BTreeMap;

use super::Pushed;
use super::steps::Timing;
use crate::deaths::Reason;
use crate::ids::Position;
use crate::message::{Message, Returns};
use crate::queue::arguments::QueueKind;
use crate::queue::rules::{Overflow, Rules, Traits};
use crate::queue::{ConsumerSpec, Depth, Event, Settle};

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Ready,
    /// With a consumer, or with nobody's consumer after a get.
    Out {
        taker: Option<usize>,
        no_ack: bool,
    },
    Dead,
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) position: u64,
    pub(super) message: Message,
    pub(super) size: u64,
    pub(super) stored: bool,
    published: u64,
    lifetime: Option<u64>,
    pub(super) place: Place,
    pub(super) redelivered: bool,
    pub(super) returns: Returns,
    /// It had died for this before a restart, and counts as ready until it is read.
    pub(super) doom: Option<Reason>,
}

/// A consumer and its connection.
#[derive(Clone, Debug)]
pub(super) struct Taker {
    pub(super) spec: ConsumerSpec,
    pub(super) active: bool,
    /// Its connection said full and has not called back.
    pub(super) parked: bool,
    pub(super) cancelled: bool,
    /// When it began to wait for its turn.
    since: u64,
    pub(super) room: usize,
    pub(super) closed: bool,
    pub(super) notified: bool,
}

/// What a get finds: position, redelivered, how many are left, and what it tells of its returns.
pub(super) type Taken = (u64, bool, u64, Returns);

#[derive(Debug, Default)]
pub(super) struct Model {
    traits: Traits,
    pub(super) rules: Rules,
    /// In the order of delivery.
    pub(super) messages: Vec<Kept>,
    /// All there ever were; a number is never used again.
    pub(super) takers: Vec<Taker>,
    /// Ready messages that are not in memory, and whether the queue knows how long they are.
    pub(super) away: BTreeMap<u64, bool>,
    /// First to die first: those that are to be moved.
    pub(super) dead: Vec<(u64, Reason)>,
    /// Those that nobody took.
    pub(super) stuck: Vec<(u64, Reason)>,
    /// What the journal has to be told.
    pub(super) events: Vec<Event>,
    /// How many were published, and how many have left.
    pub(super) published: usize,
    pub(super) left: usize,
    /// By lane.
    next: BTreeMap<u8, u64>,
    /// The one that is served where only one is.
    single: Option<usize>,
    used_at: u64,
    /// Bytes of lost messages that the queue counts until nothing is ready, for it never knew how long they were.
    ghosts: u64,
    requeued: bool,
    time: u64,
}

impl Model {
    pub(super) fn new(traits: Traits, rules: Rules) -> Self {
        Self { traits, rules, ..Self::default() }
    }

    /// The position that the next message of a priority gets.
    pub(super) fn next_position(&self, priority: Option<u8>) -> u64 {
        let lane = self.lane(priority);
        u64::from(lane) << 56 | self.next.get(&lane).copied().unwrap_or_default()
    }

    fn lane(&self, priority: Option<u8>) -> u8 {
        match (self.traits.kind, self.traits.max_priority) {
            (QueueKind::Classic, max) => max - priority.unwrap_or(0).min(max),
            (QueueKind::Quorum, _) => 31 - priority.unwrap_or(4).min(31),
        }
    }

    pub(super) fn publish(&mut self, message: Message, timing: &Timing, stored: bool) -> u64 {
        let position = self.next_position(timing.priority);
        *self.next.entry(self.lane(timing.priority)).or_default() += 1;
        self.published += 1;
        let kept = Kept {
            position,
            size: message.body_len(),
            published: message.published_at(),
            message,
            stored,
            lifetime: timing.lifetime,
            place: Place::Ready,
            redelivered: false,
            returns: Returns::default(),
            doom: None,
        };
        let at = self.messages.partition_point(|other| other.position < position);
        self.messages.insert(at, kept);
        position
    }

    pub(super) fn find(&self, position: u64) -> Option<&Kept> {
        self.messages.iter().find(|kept| kept.position == position)
    }

    fn first_at(&self) -> Option<usize> {
        self.messages.iter().position(|kept| kept.place == Place::Ready)
    }

    pub(super) fn first_ready(&self) -> Option<&Kept> {
        self.first_at().map(|at| &self.messages[at])
    }

    /// When a message is over its time.
    pub(super) fn deadline(&self, kept: &Kept) -> Option<u64> {
        let lifetime = match (kept.lifetime, self.rules.message_ttl) {
            (Some(own), Some(all)) => own.min(all),
            (own, all) => own.or(all)?,
        };
        Some(kept.published.saturating_add(lifetime))
    }

    /// The deadline of the next message, if that is in memory.
    pub(super) fn front_deadline(&self) -> Option<u64> {
        let first = self.first_ready().filter(|first| !self.away.contains_key(&first.position))?;
        self.deadline(first)
    }

    /// Whether so many more are too many.
    fn is_over(&self, messages: u64, bytes: u64) -> bool {
        let depth = self.depth();
        let stays = self.rules.dead_letters.as_ref().is_some_and(|letters| letters.at_least_once);
        let dead = self.messages.iter().filter(|kept| stays && kept.place == Place::Dead);
        let (count, size) = dead.fold((0, 0), |(count, size), kept| (count + 1, size + kept.size));
        self.rules.max_length.is_some_and(|max| depth.ready + count + messages > max)
            || self.rules.max_length_bytes.is_some_and(|max| depth.ready_bytes + size + bytes > max)
    }

    pub(super) fn refuses(&self, messages: u64, bytes: u64) -> bool {
        self.rules.overflow != Overflow::DropHead && self.is_over(messages, bytes)
    }

    /// Whether there are ready ones to be dropped.
    pub(super) fn has_surplus(&self) -> bool {
        self.rules.overflow == Overflow::DropHead && self.is_over(0, 0) && self.first_at().is_some()
    }

    /// A message is not ready any more.
    fn lay_ghosts(&mut self) {
        if self.first_at().is_none() {
            self.ghosts = 0;
        }
    }

    fn remove(&mut self, at: usize) -> Kept {
        self.left += 1;
        self.messages.remove(at)
    }

    fn die(&mut self, at: usize, reason: Reason) {
        let kept = &mut self.messages[at];
        (kept.doom, kept.returns) = (None, Returns::default());
        let (position, stored) = (kept.position, kept.stored);
        let goes_on = self.rules.dead_letters.is_some();
        if goes_on {
            self.messages[at].place = Place::Dead;
            self.dead.push((position, reason));
        } else {
            self.remove(at);
        }
        self.lay_ghosts();
        if stored {
            let position = Position(position);
            self.events.push(if goes_on { Event::Dead(position, reason) } else { Event::Removed(position) });
        }
    }

    /// Drops from the front what has no room and then what is over its time, as far as that can be told.
    fn drop_surplus(&mut self, now: u64) {
        while self.has_surplus()
            && let Some(at) = self.first_at()
        {
            if self.away.get(&self.messages[at].position) == Some(&false) {
                return;
            }
            self.die(at, Reason::MaxLen);
        }
        while self.front_deadline().is_some_and(|deadline| deadline <= now)
            && let Some(at) = self.first_at()
        {
            self.die(at, Reason::Expired);
        }
    }

    /// Moves a dead letter. Tells whether it was stored.
    pub(super) fn bury(&mut self, position: u64) -> bool {
        self.dead.retain(|(dead, _)| *dead != position);
        let at = self.messages.iter().position(|kept| kept.position == position).unwrap();
        assert_eq!(self.messages[at].place, Place::Dead);
        self.remove(at).stored
    }

    /// Nobody took a dead letter.
    pub(super) fn set_aside(&mut self, position: u64) {
        self.stuck.extend(self.dead.extract_if(.., |(dead, _)| *dead == position));
    }

    /// What nobody took comes last.
    pub(super) fn try_stuck_again(&mut self) {
        self.dead.append(&mut self.stuck);
    }

    /// Nothing in it if the queue is empty, and `None` if the next message has to be read first.
    pub(super) fn get(&mut self, no_ack: bool, now: u64) -> Option<Option<Taken>> {
        self.used_at = now;
        self.drop_surplus(now);
        let Some(at) = self.first_at() else { return Some(None) };
        let kept = &mut self.messages[at];
        if self.away.contains_key(&kept.position) {
            return None;
        }
        kept.place = Place::Out { taker: None, no_ack };
        let (position, redelivered, returns) = (kept.position, kept.redelivered, kept.returns);
        self.lay_ghosts();
        self.drop_surplus(now);
        Some(Some((position, redelivered, self.depth().ready, returns)))
    }

    pub(super) fn present(&self) -> usize {
        self.takers.iter().filter(|taker| !taker.cancelled).count()
    }

    /// Adds a consumer if exclusive use allows it.
    pub(super) fn consume(&mut self, spec: ConsumerSpec, room: usize) -> Option<usize> {
        let taken = self.takers.iter().any(|taker| !taker.cancelled && taker.spec.exclusive);
        if taken || (spec.exclusive && (self.present() > 0 || self.traits.single_active)) {
            return None;
        }
        self.change(|model| {
            model.takers.push(Taker {
                spec,
                active: false,
                parked: false,
                cancelled: false,
                since: 0,
                room,
                closed: false,
                notified: false,
            });
        });
        Some(self.takers.len() - 1)
    }

    pub(super) fn cancel(&mut self, number: usize) {
        self.change(|model| model.takers[number].cancelled = true);
    }

    /// How many a consumer has to acknowledge.
    pub(super) fn unacked(&self, taker: usize) -> usize {
        let place = Place::Out { taker: Some(taker), no_ack: false };
        self.messages.iter().filter(|kept| kept.place == place).count()
    }

    /// The consumer with the highest priority, and among equals the oldest.
    fn best(&self) -> Option<usize> {
        let present = (0..self.takers.len()).rev().filter(|&number| !self.takers[number].cancelled);
        present.max_by_key(|&number| self.takers[number].spec.priority)
    }

    /// Whether the only one that is served is to give way to one with a higher priority.
    fn yields(&self, single: usize) -> bool {
        let higher = |best: usize| self.takers[best].spec.priority > self.takers[single].spec.priority;
        self.traits.kind == QueueKind::Quorum && self.best().is_some_and(higher)
    }

    fn elect(&mut self) {
        let goes = |single: usize| {
            self.takers[single].cancelled || (self.yields(single) && self.unacked(single) == 0)
        };
        self.single = self.single.filter(|&single| !goes(single)).or_else(|| self.best());
    }

    /// Whether the queue may offer a message to a consumer.
    pub(super) fn eligible(&self, number: usize) -> bool {
        let taker = &self.takers[number];
        if !taker.active || taker.parked || taker.cancelled {
            return false;
        }
        if self.traits.single_active && (self.single != Some(number) || self.yields(number)) {
            return false;
        }
        let prefetch = usize::from(taker.spec.prefetch);
        taker.spec.no_ack || prefetch == 0 || self.unacked(number) < prefetch
    }

    /// Changes something about consumers. One that can take messages now and could not before waits from now on.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let before: Vec<bool> = (0..self.takers.len()).map(|number| self.eligible(number)).collect();
        change(self);
        self.elect();
        for number in 0..self.takers.len() {
            if !before.get(number).is_some_and(|before| *before) && self.eligible(number) {
                self.time += 1;
                self.takers[number].since = self.time;
            }
        }
    }

    pub(super) fn set_active(&mut self, number: usize, active: bool) {
        self.change(|model| model.takers[number].active = active);
    }

    pub(super) fn resume(&mut self, number: usize) {
        self.change(|model| model.takers[number].parked = false);
    }

    /// Whose turn it is: of those with the highest priority, the one that has waited longest.
    pub(super) fn turn(&self) -> Option<usize> {
        let eligible = (0..self.takers.len()).filter(|&number| self.eligible(number));
        eligible.min_by_key(|&number| {
            let taker = &self.takers[number];
            (-i64::from(taker.spec.priority), taker.since)
        })
    }

    /// Delivers all that can be, and gives what each connection sees, in order. Then drops what has no room or is over
    /// its time. What came back to a classic queue has to find room first.
    pub(super) fn deliver(&mut self, now: u64) -> Vec<Pushed> {
        let mut pushed = Vec::new();
        if std::mem::take(&mut self.requeued)
            && (self.rules.max_length.is_some() || self.rules.max_length_bytes.is_some())
        {
            self.drop_surplus(now);
        }
        loop {
            self.hand_out(now, &mut pushed);
            let left = self.left + self.dead.len();
            self.drop_surplus(now);
            if self.left + self.dead.len() == left {
                return pushed;
            }
        }
    }

    fn hand_out(&mut self, now: u64, pushed: &mut Vec<Pushed>) {
        while let Some(number) = self.turn() {
            let Some(at) = self.first_at() else { break };
            let kept = &self.messages[at];
            if self.away.contains_key(&kept.position) {
                break;
            }
            if self.deadline(kept).is_some_and(|deadline| deadline < now) {
                self.die(at, Reason::Expired);
                continue;
            }
            self.time += 1;
            let taker = &mut self.takers[number];
            if taker.closed {
                taker.active = false;
                continue;
            }
            if taker.room == 0 {
                taker.parked = true;
                continue;
            }
            taker.room -= 1;
            taker.since = self.time;
            let wake = !std::mem::replace(&mut taker.notified, true);
            let no_ack = taker.spec.no_ack;
            let kept = &mut self.messages[at];
            kept.place = Place::Out { taker: Some(number), no_ack };
            let &mut Kept { position, redelivered, returns, .. } = kept;
            self.lay_ghosts();
            pushed.push(Pushed { link: number, position, redelivered, wake, returns });
        }
    }

    /// Settles what of `positions` is out, and gives what left the queue by it, with whether that is stored.
    pub(super) fn settle(
        &mut self,
        taker: Option<usize>,
        positions: &[u64],
        how: Settle,
    ) -> Vec<(u64, bool)> {
        let mut removed = Vec::new();
        let mut settle = |model: &mut Self| {
            for &position in positions {
                let is_out =
                    |kept: &Kept| kept.position == position && matches!(kept.place, Place::Out { .. });
                let Some(at) = model.messages.iter().position(is_out) else { continue };
                match how {
                    Settle::Reject if model.rules.dead_letters.is_some() => model.die(at, Reason::Rejected),
                    Settle::Ack | Settle::Reject => {
                        let kept = model.remove(at);
                        removed.push((position, kept.stored));
                    }
                    Settle::Requeue | Settle::Fail => model.come_back(at, how == Settle::Fail),
                    Settle::Unsent => model.messages[at].place = Place::Ready,
                }
            }
        };
        match taker {
            Some(_) => self.change(settle),
            None => settle(self),
        }
        removed
    }

    /// A quorum queue counts, and allows only so many failures.
    fn come_back(&mut self, at: usize, failed: bool) {
        let kept = &mut self.messages[at];
        kept.redelivered = true;
        if self.traits.kind == QueueKind::Quorum {
            kept.returns.all += 1;
            kept.returns.failed += u32::from(failed);
            if failed && self.rules.delivery_limit.is_some_and(|limit| kept.returns.failed > limit) {
                return self.die(at, Reason::DeliveryLimit);
            }
            if failed && kept.stored {
                self.events.push(Event::Returned(Position(kept.position), kept.returns.failed));
            }
        }
        kept.place = Place::Ready;
        self.requeued |= self.traits.kind == QueueKind::Classic;
    }

    /// Drops what is ready, and gives it.
    pub(super) fn purge(&mut self) -> Vec<u64> {
        let ready = |kept: &mut Kept| kept.place == Place::Ready;
        let purged: Vec<u64> = self.messages.extract_if(.., ready).map(|kept| kept.position).collect();
        self.left += purged.len();
        self.ghosts = 0;
        purged
    }

    /// Forgets what is not stored, and who had what. Dead letters that are still in the journal, as `in_journal` tells,
    /// are known as such at once.
    pub(super) fn restart(&mut self, in_journal: impl Fn(u64) -> bool) {
        self.dead.splice(0..0, self.stuck.drain(..));
        let stored = std::mem::take(&mut self.messages).into_iter().filter(|kept| kept.stored);
        self.messages = stored.collect();
        self.left = self.published - self.messages.len();
        for kept in &mut self.messages {
            kept.returns.all = kept.returns.failed;
            match kept.place {
                Place::Ready => {}
                Place::Out { .. } => (kept.place, kept.redelivered) = (Place::Ready, true),
                Place::Dead if in_journal(kept.position) => {}
                Place::Dead => {
                    let (_, reason) = self.dead.iter().find(|(dead, _)| *dead == kept.position).unwrap();
                    (kept.place, kept.doom) = (Place::Ready, Some(*reason));
                }
            }
        }
        let is_dead = |kept: &Kept, dead| kept.position == dead && kept.place == Place::Dead;
        self.dead.retain(|(dead, _)| self.messages.iter().any(|kept| is_dead(kept, *dead)));
        self.ghosts = 0;
        (self.takers, self.single, self.requeued) = (Vec::new(), None, false);
    }

    /// A message cannot be read.
    pub(super) fn lose(&mut self, position: u64) {
        self.dead.retain(|(dead, _)| *dead != position);
        self.stuck.retain(|(dead, _)| *dead != position);
        let at = self.messages.iter().position(|kept| kept.position == position).unwrap();
        let kept = self.remove(at);
        if kept.place == Place::Ready && self.away.get(&position) == Some(&false) {
            self.ghosts += kept.size;
        }
        self.lay_ghosts();
    }

    /// A doomed message was read.
    pub(super) fn meet_doom(&mut self, position: u64) {
        let at = self.messages.iter().position(|kept| kept.position == position).unwrap();
        self.die(at, self.messages[at].doom.unwrap());
    }

    /// A lane has its next message at `position`.
    pub(super) fn go_on(&mut self, lane: u8, position: u64) {
        let before = self.next.insert(lane, position & ((1 << 56) - 1)).unwrap_or_default();
        assert!(self.next[&lane] >= before, "positions are never given again");
    }

    pub(super) fn touch(&mut self, now: u64) {
        self.used_at = now;
    }

    /// When it is over its own time, which it is not while it has consumers.
    pub(super) fn expires_at(&self) -> Option<u64> {
        let expires = self.rules.expires.filter(|_| self.present() == 0)?;
        Some(self.used_at + expires)
    }

    pub(super) fn depth(&self) -> Depth {
        let mut depth = Depth { ready_bytes: self.ghosts, ..Depth::default() };
        for kept in &self.messages {
            match kept.place {
                Place::Ready => {
                    depth.ready += 1;
                    depth.ready_bytes += kept.size;
                }
                Place::Out { no_ack: false, .. } => depth.unacked += 1,
                Place::Out { no_ack: true, .. } => depth.held += 1,
                Place::Dead => {}
            }
        }
        depth
    }

    /// What has to be settled in the name of a consumer, or with `None` of gets and of consumers that are gone.
    pub(super) fn outstanding(&self, owner: Option<usize>) -> Vec<u64> {
        let owned = |kept: &&Kept| match kept.place {
            Place::Out { taker, .. } => taker.filter(|&number| !self.takers[number].cancelled) == owner,
            Place::Ready | Place::Dead => false,
        };
        self.messages.iter().filter(owned).map(|kept| kept.position).collect()
    }
}
