//! A channel's replies in order, each behind the gate that says when it may leave.
//!
//! A reply to a definition change waits until the journal is durable up to the change; a reply after acks until
//! they are written. Later replies of the channel queue behind it while input goes on, so pipelining works.

use std::collections::VecDeque;

use crate::ids::{Lsn, Progress};

/// What the journal must have reached before a reply leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Survives a kill of the process up to here.
    pub written: Lsn,
    /// Survives a power cut up to here.
    pub durable: Lsn,
}

impl Gate {
    /// A gate that is always open.
    pub const OPEN: Self = Self { written: Lsn::ZERO, durable: Lsn::ZERO };

    /// Opens when the journal is durable up to `lsn`.
    #[must_use]
    pub const fn durable(lsn: Lsn) -> Self {
        Self { written: Lsn::ZERO, durable: lsn }
    }

    /// Opens when the journal is written up to `lsn`.
    #[must_use]
    pub const fn written(lsn: Lsn) -> Self {
        Self { written: lsn, durable: Lsn::ZERO }
    }

    /// Opens when both are open.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { written: self.written.max(other.written), durable: self.durable.max(other.durable) }
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(self, progress: Progress) -> bool {
        self.written <= progress.written && self.durable <= progress.durable
    }
}

/// Replies that wait, oldest first.
#[derive(Debug)]
pub struct GateLine<R> {
    waiting: VecDeque<(Gate, R)>,
}

impl<R> Default for GateLine<R> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<R> GateLine<R> {
    /// Whether a reply behind `gate` may leave at once: its gate is open and none waits before it.
    #[must_use]
    pub fn passes(&self, gate: Gate, progress: Progress) -> bool {
        self.waiting.is_empty() && gate.is_open(progress)
    }

    /// Queues a reply.
    pub fn push(&mut self, gate: Gate, reply: R) {
        self.waiting.push_back((gate, reply));
    }

    /// The next reply that may leave.
    pub fn pop(&mut self, progress: Progress) -> Option<R> {
        let (gate, _) = self.waiting.front()?;
        if !gate.is_open(progress) {
            return None;
        }
        self.waiting.pop_front().map(|(_, reply)| reply)
    }

    /// The gate of the oldest reply.
    #[must_use]
    pub fn waits_for(&self) -> Option<Gate> {
        self.waiting.front().map(|(gate, _)| *gate)
    }

    /// Whether any reply that waits is one of these.
    pub fn any(&self, is_it: impl Fn(&R) -> bool) -> bool {
        self.waiting.iter().any(|(_, reply)| is_it(reply))
    }

    /// How many replies wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_never_overtakes_one_that_waits() {
        let mut line = GateLine::default();
        let at = |written, durable| Progress { written: Lsn(written), durable: Lsn(durable) };
        assert!(line.passes(Gate::OPEN, at(0, 0)));
        line.push(Gate::durable(Lsn(5)), "declare-ok");
        assert!(!line.passes(Gate::OPEN, at(9, 4)));
        line.push(Gate::OPEN, "qos-ok");
        line.push(Gate::written(Lsn(7)), "get-ok");
        assert_eq!(line.pop(at(9, 4)), None);
        assert_eq!(line.waits_for(), Some(Gate::durable(Lsn(5))));
        assert_eq!(line.pop(at(6, 5)), Some("declare-ok"));
        assert_eq!(line.pop(at(6, 5)), Some("qos-ok"));
        assert_eq!(line.pop(at(6, 5)), None);
        assert_eq!(line.pop(at(7, 5)), Some("get-ok"));
        assert!(line.is_empty());
    }

    #[test]
    fn gates_add_up() {
        let gate = Gate::durable(Lsn(3)).and(Gate::written(Lsn(8))).and(Gate::OPEN);
        assert!(!gate.is_open(Progress { written: Lsn(8), durable: Lsn(2) }));
        assert!(!gate.is_open(Progress { written: Lsn(7), durable: Lsn(3) }));
        assert!(gate.is_open(Progress { written: Lsn(8), durable: Lsn(3) }));
    }
}
