//! The account of one publisher's messages: which were sent, confirmed and received. It knows all from the first that is not
//! settled on, so that its size is bounded by how many may be under way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How many lost messages are remembered, in case they come after all.
const REMEMBERED: usize = 100_000;

/// What is known of a message that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Sent, and nothing was heard of it.
    Sent,
    /// The broker has promised to deliver it.
    Confirmed,
    /// It was refused, or the connection ended before a confirm: it may come or not.
    Doubtful,
    /// It has come, or is given up.
    Settled,
}

/// What it means that a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was due.
    First,
    /// It was here before, and the broker says so.
    Again,
    /// It was here before, and the broker does not say so.
    Duplicate,
    /// It was given up as lost.
    Late,
    /// It was never sent.
    Unknown,
}

/// The account.
#[derive(Debug)]
pub struct Ledger {
    /// All messages before are settled.
    low: u64,
    states: VecDeque<State>,
    limit: usize,
    highest: Option<u64>,
    received_at: Duration,
    stuck: Stuck,
    lost: BTreeSet<u64>,
}

/// Since when the first message that is not settled is the same.
#[derive(Clone, Copy, Debug, Default)]
struct Stuck {
    low: u64,
    /// The end of what was sent then.
    until: u64,
    since: Duration,
}

impl Ledger {
    /// For so many messages under way at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            low: 0,
            states: VecDeque::new(),
            limit,
            highest: None,
            received_at: Duration::ZERO,
            stuck: Stuck::default(),
            lost: BTreeSet::new(),
        }
    }

    /// How many messages may be sent now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.states.len())
    }

    /// The number of the message that is sent next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.low + self.states.len() as u64
    }

    /// Messages that are confirmed and have not come.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.states.iter().filter(|state| **state == State::Confirmed).count()
    }

    /// Notes the next so many as sent.
    pub fn send(&mut self, count: usize) {
        self.states.extend(std::iter::repeat_n(State::Sent, count));
    }

    /// Notes that the broker has promised to deliver a message.
    pub fn confirm(&mut self, sequence: u64) {
        self.change(sequence, State::Confirmed);
    }

    /// Notes that the broker has refused a message.
    pub fn refuse(&mut self, sequence: u64) {
        self.change(sequence, State::Doubtful);
    }

    /// Notes that the connection has ended: what became of messages without a confirm is not known. How many these are.
    pub fn doubt_unconfirmed(&mut self) -> u64 {
        let unconfirmed = self.states.iter_mut().filter(|state| **state == State::Sent);
        unconfirmed.map(|state| *state = State::Doubtful).count() as u64
    }

    fn change(&mut self, sequence: u64, to: State) {
        if let Some(state) = self.state(sequence)
            && *state == State::Sent
        {
            *state = to;
        }
    }

    fn state(&mut self, sequence: u64) -> Option<&mut State> {
        let at = usize::try_from(sequence.checked_sub(self.low)?).ok()?;
        self.states.get_mut(at)
    }

    /// Notes that a message has come.
    pub fn receive(&mut self, sequence: u64, redelivered: bool, now: Duration) -> Receipt {
        if sequence >= self.next() {
            return Receipt::Unknown;
        }
        self.received_at = now;
        self.highest = self.highest.max(Some(sequence));
        if let Some(state) = self.state(sequence)
            && *state != State::Settled
        {
            *state = State::Settled;
            self.advance();
            return Receipt::First;
        }
        match redelivered {
            _ if self.lost.remove(&sequence) => Receipt::Late,
            true => Receipt::Again,
            false => Receipt::Duplicate,
        }
    }

    fn advance(&mut self) {
        while self.states.front() == Some(&State::Settled) {
            self.states.pop_front();
            self.low += 1;
        }
    }

    /// Gives up what has not come for long: messages that were sent when the first of them began to be waited for, if later
    /// ones have come or none at all. `is_consuming` if there was somebody for them to come to since the last call. Returns
    /// those that were confirmed.
    pub fn sweep(&mut self, now: Duration, patience: Duration, is_consuming: bool) -> Vec<u64> {
        let (low, until) = (self.low, self.next());
        if self.states.is_empty() || self.stuck.low != low || self.stuck.until == low || !is_consuming {
            self.stuck = Stuck { low, until, since: now };
        }
        if now < self.stuck.since + patience {
            return Vec::new();
        }
        let is_silent = now >= self.received_at + patience;
        let later = self.highest.map_or(low, |highest| highest.max(low));
        let end = if is_silent { self.stuck.until } else { self.stuck.until.min(later) };
        let lost = self.give_up(end);
        self.stuck = Stuck { low: self.low, until: self.next(), since: now };
        lost
    }

    /// At the end of the run: all that were confirmed and have not come.
    pub fn finish(&mut self) -> Vec<u64> {
        self.give_up(self.next())
    }

    fn give_up(&mut self, end: u64) -> Vec<u64> {
        let mut lost = Vec::new();
        for (state, sequence) in self.states.iter_mut().zip(self.low..end) {
            match state {
                State::Confirmed => lost.push(sequence),
                State::Doubtful => {}
                State::Sent | State::Settled => continue,
            }
            *state = State::Settled;
        }
        let room = REMEMBERED.saturating_sub(self.lost.len());
        self.lost.extend(lost.iter().take(room));
        self.advance();
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// So many messages, sent and confirmed.
    fn ledger(count: usize) -> Ledger {
        let mut ledger = Ledger::new(100);
        ledger.send(count);
        (0..count as u64).for_each(|sequence| ledger.confirm(sequence));
        ledger
    }

    #[test]
    fn what_comes_once_is_settled_and_what_comes_twice_is_told() {
        let mut ledger = ledger(3);
        assert_eq!((ledger.room(), ledger.next(), ledger.outstanding()), (97, 3, 3));
        let mut receive = |sequence, redelivered| ledger.receive(sequence, redelivered, at(1));
        assert_eq!([receive(0, false), receive(2, false)], [Receipt::First; 2]);
        assert_eq!([receive(0, false), receive(2, false)], [Receipt::Duplicate; 2]);
        assert_eq!([receive(0, true), receive(2, true)], [Receipt::Again; 2]);
        assert_eq!([receive(3, false), receive(1, true)], [Receipt::Unknown, Receipt::First]);
        assert_eq!((ledger.room(), ledger.outstanding(), ledger.finish()), (100, 0, vec![]));
    }

    #[test]
    fn a_gap_is_lost_when_it_is_not_filled_in_time() {
        let mut ledger = ledger(5);
        assert!(ledger.sweep(at(0), PATIENCE, true).is_empty());
        for sequence in [0, 2, 3] {
            ledger.receive(sequence, false, at(1));
        }
        assert!(ledger.sweep(at(2), PATIENCE, true).is_empty());
        ledger.receive(0, true, at(30));
        assert!(ledger.sweep(at(31), PATIENCE, true).is_empty());
        assert_eq!(ledger.sweep(at(32), PATIENCE, true), [1], "4 may still come");
        assert_eq!(ledger.receive(1, false, at(33)), Receipt::Late);
        assert_eq!(ledger.receive(1, false, at(33)), Receipt::Duplicate);
        assert_eq!(ledger.finish(), [4]);
    }

    #[test]
    fn all_are_lost_when_nothing_comes_though_it_could() {
        let mut ledger = ledger(2);
        assert!(ledger.sweep(at(0), PATIENCE, false).is_empty());
        assert!(ledger.sweep(at(100), PATIENCE, false).is_empty(), "nobody was there");
        ledger.send(1);
        ledger.confirm(2);
        assert!(ledger.sweep(at(129), PATIENCE, true).is_empty());
        assert_eq!(ledger.sweep(at(130), PATIENCE, true), [0, 1], "the third came later");
        assert_eq!(ledger.finish(), [2]);
    }

    #[test]
    fn what_was_not_confirmed_is_never_lost() {
        let mut ledger = Ledger::new(10);
        ledger.send(6);
        ledger.confirm(0);
        ledger.refuse(1);
        assert_eq!(ledger.receive(2, false, at(0)), Receipt::First);
        ledger.confirm(2);
        assert_eq!(ledger.doubt_unconfirmed(), 3);
        ledger.confirm(3);
        assert_eq!(ledger.receive(4, false, at(0)), Receipt::First, "it may come");
        ledger.send(1);
        assert_eq!((ledger.room(), ledger.finish()), (3, vec![0]));
        assert_eq!((ledger.next(), ledger.room()), (7, 9), "the last is under way");
    }
}
