//! The rules of a queue written down a second time, as plainly as possible: one list of messages, searched from its
//! beginning whenever something is asked.

use super::Pushed;
use crate::queue::{ConsumerSpec, Depth, Settle};

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Ready,
    /// With a consumer, or with nobody's consumer after a get.
    Out {
        taker: Option<usize>,
        no_ack: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) position: u64,
    pub(super) size: u64,
    pub(super) place: Place,
    pub(super) redelivered: bool,
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

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) messages: Vec<Kept>,
    /// All there ever were; a number is never used again.
    pub(super) takers: Vec<Taker>,
    pub(super) next: u64,
    time: u64,
}

impl Model {
    pub(super) fn publish(&mut self, size: u64) -> u64 {
        let position = self.next;
        self.next += 1;
        self.messages.push(Kept { position, size, place: Place::Ready, redelivered: false });
        position
    }

    pub(super) fn first_ready(&mut self) -> Option<&mut Kept> {
        self.messages.iter_mut().find(|kept| kept.place == Place::Ready)
    }

    /// Position, redelivered, and how many are left.
    pub(super) fn get(&mut self, no_ack: bool) -> Option<(u64, bool, u64)> {
        let kept = self.first_ready()?;
        kept.place = Place::Out { taker: None, no_ack };
        let (position, redelivered) = (kept.position, kept.redelivered);
        Some((position, redelivered, self.depth().ready))
    }

    pub(super) fn present(&self) -> usize {
        self.takers.iter().filter(|taker| !taker.cancelled).count()
    }

    /// Adds a consumer if exclusive use allows it.
    pub(super) fn consume(&mut self, spec: ConsumerSpec, room: usize) -> Option<usize> {
        let taken = self.takers.iter().any(|taker| !taker.cancelled && taker.spec.exclusive);
        if taken || (spec.exclusive && self.present() > 0) {
            return None;
        }
        self.takers.push(Taker {
            spec,
            active: false,
            parked: false,
            cancelled: false,
            since: 0,
            room,
            closed: false,
            notified: false,
        });
        Some(self.takers.len() - 1)
    }

    /// How many a consumer has to acknowledge.
    pub(super) fn unacked(&self, taker: usize) -> usize {
        let place = Place::Out { taker: Some(taker), no_ack: false };
        self.messages.iter().filter(|kept| kept.place == place).count()
    }

    /// Whether the queue may offer a message to a consumer.
    pub(super) fn eligible(&self, number: usize) -> bool {
        let taker = &self.takers[number];
        let prefetch = usize::from(taker.spec.prefetch);
        let has_credit = taker.spec.no_ack || prefetch == 0 || self.unacked(number) < prefetch;
        taker.active && !taker.parked && !taker.cancelled && has_credit
    }

    /// Changes something about a consumer. If it can take messages now and could not before, it waits from now on.
    pub(super) fn change(&mut self, number: usize, change: impl FnOnce(&mut Self)) {
        let before = self.eligible(number);
        change(self);
        if !before && self.eligible(number) {
            self.time += 1;
            self.takers[number].since = self.time;
        }
    }

    pub(super) fn set_active(&mut self, number: usize, active: bool) {
        self.change(number, |model| model.takers[number].active = active);
    }

    pub(super) fn resume(&mut self, number: usize) {
        self.change(number, |model| model.takers[number].parked = false);
    }

    /// Whose turn it is: of those with the highest priority, the one that has waited longest.
    pub(super) fn turn(&self) -> Option<usize> {
        let eligible = (0..self.takers.len()).filter(|&number| self.eligible(number));
        eligible.min_by_key(|&number| {
            let taker = &self.takers[number];
            (-i64::from(taker.spec.priority), taker.since)
        })
    }

    /// Delivers all that can be, and gives what each connection sees, in order.
    pub(super) fn deliver(&mut self) -> Vec<Pushed> {
        let mut pushed = Vec::new();
        while let Some(number) = self.turn() {
            if self.first_ready().is_none() {
                break;
            }
            self.time += 1;
            let time = self.time;
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
            taker.since = time;
            let wake = !std::mem::replace(&mut taker.notified, true);
            let no_ack = taker.spec.no_ack;
            let Some(kept) = self.first_ready() else { break };
            kept.place = Place::Out { taker: Some(number), no_ack };
            pushed.push(Pushed {
                link: number,
                position: kept.position,
                redelivered: kept.redelivered,
                wake,
            });
        }
        pushed
    }

    /// Settles what of `positions` is out, and gives what left the queue.
    pub(super) fn settle(&mut self, taker: Option<usize>, positions: &[u64], how: Settle) -> Vec<u64> {
        let mut removed = Vec::new();
        let mut settle = |model: &mut Self| {
            for &position in positions {
                let Some(at) = model.messages.iter().position(|kept| kept.position == position) else {
                    continue;
                };
                if model.messages[at].place == Place::Ready {
                    continue;
                }
                match how {
                    Settle::Ack | Settle::Reject => removed.push(model.messages.remove(at).position),
                    Settle::Requeue | Settle::Fail | Settle::Unsent => {
                        model.messages[at].place = Place::Ready;
                        model.messages[at].redelivered |= how != Settle::Unsent;
                    }
                }
            }
        };
        match taker {
            Some(number) => self.change(number, settle),
            None => settle(self),
        }
        removed
    }

    /// Drops what is ready, and gives it.
    pub(super) fn purge(&mut self) -> Vec<u64> {
        let ready = |kept: &mut Kept| kept.place == Place::Ready;
        self.messages.extract_if(.., ready).map(|kept| kept.position).collect()
    }

    pub(super) fn depth(&self) -> Depth {
        let mut depth = Depth::default();
        for kept in &self.messages {
            match kept.place {
                Place::Ready => {
                    depth.ready += 1;
                    depth.ready_bytes += kept.size;
                }
                Place::Out { no_ack: false, .. } => depth.unacked += 1,
                Place::Out { no_ack: true, .. } => depth.held += 1,
            }
        }
        depth
    }

    /// What has to be settled in the name of a consumer, or with `None` of gets and of consumers that are gone.
    pub(super) fn outstanding(&self, owner: Option<usize>) -> Vec<u64> {
        let owned = |kept: &&Kept| match kept.place {
            Place::Ready => false,
            Place::Out { taker, .. } => taker.filter(|&number| !self.takers[number].cancelled) == owner,
        };
        self.messages.iter().filter(owned).map(|kept| kept.position).collect()
    }
}
