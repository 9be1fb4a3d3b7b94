//! The past of a few numbers, in steps that get coarser with age.
//!
//! A history is told the numbers at ticks, and need not be told while nothing changes: what it was not told of is
//! filled in when it is told again, or asked. So an idle object costs nothing.

use std::collections::VecDeque;

/// Rows that room is made for at once: most objects are gone, or idle again, before there are many.
const ROWS_AT_ONCE: usize = 16;

/// How a number is kept in a row. A step has at most as much as fits; what is more is cut off.
pub trait Cell: Copy + std::fmt::Debug {
    /// Packs a number.
    fn pack(n: u64) -> Self;
    /// The number that was packed.
    fn unpack(self) -> u64;
}

impl Cell for u64 {
    fn pack(n: u64) -> Self {
        n
    }

    fn unpack(self) -> u64 {
        self
    }
}

/// For what happens to messages: half the memory, and more than four billion in one step there are not.
impl Cell for u32 {
    fn pack(n: u64) -> Self {
        Self::try_from(n).unwrap_or(Self::MAX)
    }

    fn unpack(self) -> u64 {
        u64::from(self)
    }
}

/// How far back a history goes, and in which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Ticks from one row to the next.
    pub every: u32,
    /// Rows that are kept.
    pub rows: u32,
}

impl Step {
    /// How far back it goes, in ticks.
    pub(super) const fn reach(self) -> u64 {
        self.every as u64 * self.rows as u64
    }
}

/// Rows of one step, oldest first. The last one ends at the last multiple of the step's ticks that was reached.
#[derive(Clone, Debug)]
struct Tier<T, const N: usize> {
    step: Step,
    rows: VecDeque<[T; N]>,
    /// What came since the last row.
    gathered: [T; N],
}

impl<T: Cell, const N: usize> Tier<T, N> {
    fn push(&mut self, row: [T; N]) {
        if self.rows.len() >= self.step.rows as usize {
            self.rows.pop_front();
        }
        if self.rows.len() == self.rows.capacity() {
            let left = self.step.rows as usize - self.rows.len();
            self.rows.reserve_exact(left.min(ROWS_AT_ONCE));
        }
        self.rows.push_back(row);
    }

    /// Nothing came from the tick `from` on up to `to`.
    fn rest(&mut self, from: u64, to: u64, counters: usize) {
        let every = u64::from(self.step.every);
        // More would be pushed out again.
        let passed = (to / every - from / every).min(u64::from(self.step.rows) + 1);
        for _ in 0..passed {
            let row = self.gathered;
            self.gathered[..counters].fill(T::pack(0));
            self.push(row);
        }
    }
}

/// See the module. The first `counters` of the `N` numbers only grow, and rows have by how much; the others go up and
/// down, and rows have what they were at the end.
#[derive(Clone, Debug)]
pub struct History<T, const N: usize> {
    counters: usize,
    /// When it began.
    begin: u64,
    /// When it was told last.
    tick: u64,
    /// What it was told.
    last: [u64; N],
    /// By how much the counters had grown then.
    grown: [T; N],
    tiers: Box<[Tier<T, N>]>,
}

/// What is asked of a history, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The tick until which it goes: now.
    pub now: u64,
    /// How far back it goes.
    pub age: u64,
    /// Ticks from one sample to the next; at least 1.
    pub step: u64,
}

impl<T: Cell, const N: usize> History<T, N> {
    /// A history that begins at `tick`, with counters that are zero then.
    #[must_use]
    pub fn new(counters: usize, tick: u64, steps: &[Step]) -> Self {
        let tier = |step: &Step| Tier { step: *step, rows: VecDeque::new(), gathered: [T::pack(0); N] };
        let tiers = steps.iter().map(tier).collect();
        Self { counters, begin: tick, tick, last: [0; N], grown: [T::pack(0); N], tiers }
    }

    /// Begins with counters that are not zero: what they have counted so far is of no account.
    #[must_use]
    pub fn starting_at(mut self, numbers: [u64; N]) -> Self {
        self.last = numbers;
        let counters = self.counters;
        for tier in &mut self.tiers {
            for (gathered, number) in tier.gathered.iter_mut().zip(numbers).skip(counters) {
                *gathered = T::pack(number);
            }
        }
        self
    }

    /// The numbers at `tick`. Earlier ones than it was told before are passed over.
    pub fn tell(&mut self, tick: u64, numbers: [u64; N]) {
        if tick <= self.tick {
            return;
        }
        let counters = self.counters;
        for (at, (number, last)) in numbers.into_iter().zip(self.last).enumerate() {
            self.grown[at] = T::pack(if at < counters { number.saturating_sub(last) } else { number });
        }
        for tier in &mut self.tiers {
            tier.rest(self.tick, tick - 1, counters);
            for (at, grown) in self.grown.iter().enumerate() {
                let before = if at < counters { tier.gathered[at].unpack() } else { 0 };
                tier.gathered[at] = T::pack(before.saturating_add(grown.unpack()));
            }
            if tick.is_multiple_of(u64::from(tier.step.every)) {
                let row = tier.gathered;
                tier.gathered[..counters].fill(T::pack(0));
                tier.push(row);
            }
        }
        (self.tick, self.last) = (tick, numbers);
    }

    /// What it was told last.
    #[must_use]
    pub fn last(&self) -> &[u64; N] {
        &self.last
    }

    /// Forgets what was up to `tick`. Counters go on.
    pub fn forget(&mut self, tick: u64) {
        let steps: Vec<Step> = self.tiers.iter().map(|tier| tier.step).collect();
        *self = Self::new(self.counters, tick.max(self.tick), &steps).starting_at(self.last);
    }

    /// The tick at which it was told last, if all that it can answer of `now` is that nothing changed since.
    pub(super) fn flat_since(&self, now: u64) -> Option<u64> {
        let passed = |tier: &Tier<T, N>| self.tick + tier.step.reach() + u64::from(tier.step.every) <= now;
        self.tiers.iter().all(passed).then_some(self.tick)
    }

    /// By how much the counter `at` grew in the tick `now`, or in a later one that is just being told.
    #[must_use]
    pub fn grown(&self, at: usize, now: u64) -> u64 {
        if self.tick >= now && at < self.counters { self.grown[at].unpack() } else { 0 }
    }

    /// What the number `at` was: samples with their ticks, newest first. They reach back as far as the span says and the
    /// history goes. Between two rows a counter is taken to have grown evenly.
    #[must_use]
    pub fn samples(&self, at: usize, span: Span) -> Vec<(u64, u64)> {
        let Some(tier) = self.tier_for(span.age) else { return Vec::new() };
        let points = self.points(tier, at, span.now);
        let is_counter = at < self.counters;
        let step = span.step.max(1);
        let mut samples = Vec::new();
        let mut pairs = points.windows(2);
        let mut pair = pairs.next();
        let mut tick = span.now;
        loop {
            while let Some(&[_, (older, _)]) = pair
                && tick < older
            {
                pair = pairs.next();
            }
            let Some(&[newer, older]) = pair else { break };
            samples.push((
                tick,
                if is_counter { between(older, newer, tick) } else { at_or_before(older, newer, tick) },
            ));
            if tick < step || span.now - tick + step > span.age {
                break;
            }
            tick -= step;
        }
        samples
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let rows: usize = self.tiers.iter().map(|tier| tier.rows.capacity() * size_of::<[T; N]>()).sum();
        size_of::<Self>() + size_of_val(&*self.tiers) + rows
    }

    /// The finest rows that go back so far.
    fn tier_for(&self, age: u64) -> Option<&Tier<T, N>> {
        self.tiers.iter().find(|tier| tier.step.reach() >= age).or(self.tiers.last())
    }

    /// What is known for certain of one number: ticks and values, newest first.
    fn points(&self, tier: &Tier<T, N>, at: usize, now: u64) -> Vec<(u64, u64)> {
        let every = u64::from(tier.step.every);
        let mut points = vec![(now.max(self.tick), self.last[at]), (self.tick, self.last[at])];
        let mut end = self.tick / every * every;
        if at >= self.counters {
            for row in tier.rows.iter().rev() {
                points.push((end, row[at].unpack()));
                end = end.saturating_sub(every);
            }
            return points;
        }
        let mut value = self.last[at];
        if end < self.tick {
            value = value.saturating_sub(tier.gathered[at].unpack());
            points.push((end.max(self.begin), value));
        }
        for row in tier.rows.iter().rev() {
            value = value.saturating_sub(row[at].unpack());
            end = end.saturating_sub(every);
            points.push((end.max(self.begin), value));
        }
        points
    }
}

fn between((older, before): (u64, u64), (newer, after): (u64, u64), tick: u64) -> u64 {
    if newer == older {
        return after;
    }
    let grown = u128::from(after.saturating_sub(before));
    let share = grown * u128::from(tick - older) / u128::from(newer - older);
    before + u64::try_from(share).unwrap_or(u64::MAX)
}

fn at_or_before((_, before): (u64, u64), (newer, after): (u64, u64), tick: u64) -> u64 {
    if tick >= newer { after } else { before }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEPS: [Step; 2] = [Step { every: 1, rows: 5 }, Step { every: 4, rows: 6 }];

    fn span(now: u64, age: u64, step: u64) -> Span {
        Span { now, age, step }
    }

    #[test]
    fn samples_are_what_was_told() {
        let mut history: History<u32, 2> = History::new(1, 10, &STEPS);
        for (tick, count, depth) in [(11, 5, 3), (12, 9, 1), (14, 10, 8)] {
            history.tell(tick, [count, depth]);
        }
        assert_eq!(history.samples(0, span(14, 4, 1)), [(14, 10), (13, 9), (12, 9), (11, 5), (10, 0)]);
        assert_eq!(history.samples(1, span(14, 3, 1)), [(14, 8), (13, 1), (12, 1), (11, 3)]);
        assert_eq!(history.samples(0, span(15, 2, 2)), [(15, 10), (13, 9)], "nothing came since");
        assert_eq!((history.grown(0, 14), history.grown(0, 15), history.grown(1, 14)), (1, 0, 0));
    }

    #[test]
    fn a_counter_that_is_less_than_before_has_not_grown() {
        let mut history: History<u64, 1> = History::new(1, 0, &STEPS);
        history.tell(1, [100]);
        history.tell(2, [7]);
        assert_eq!(history.grown(0, 2), 0);
        history.tell(3, [9]);
        assert_eq!(history.grown(0, 3), 2);
    }

    #[test]
    fn what_was_counted_before_it_began_is_of_no_account() {
        let mut history = History::<u64, 2>::new(1, 3, &STEPS).starting_at([100, 5]);
        history.tell(4, [101, 6]);
        assert_eq!(history.grown(0, 4), 1);
        assert_eq!(history.samples(0, span(4, 1, 1)), [(4, 101), (3, 100)]);
    }

    proptest! {
        /// Told at some of the ticks: at every tick that the rows reach it answers what was so, and between the rows of
        /// a coarser step something between.
        #[test]
        fn the_past_is_kept(steps in prop::collection::vec((1_u64..12, 0_u64..1000, 0_u64..50), 1..60), age in 0_u64..30) {
            let mut history: History<u32, 2> = History::new(1, 0, &STEPS);
            let mut truth = vec![(0_u64, 0_u64)];
            let (mut tick, mut count) = (0, 0);
            for (gap, grown, depth) in steps {
                let last = truth[truth.len() - 1];
                truth.resize((tick + gap) as usize, last);
                (tick, count) = (tick + gap, count + grown);
                truth.push((count, depth));
                history.tell(tick, [count, depth]);
            }
            let now = tick + age / 10;
            truth.resize(now as usize + 1, truth[truth.len() - 1]);
            let counts = history.samples(0, span(now, age, 1));
            let expected = (age.min(now) + 1).min(counts.len() as u64);
            prop_assert_eq!(counts.len() as u64, expected);
            // All of it, unless it goes back further than the rows.
            prop_assert!(counts.len() as u64 > age.min(now).min(19), "{} of {}", counts.len(), age);
            for (at, count) in &counts {
                let at = *at as usize;
                if age <= 5 {
                    prop_assert_eq!(*count, truth[at].0);
                } else {
                    let (from, to) = (at / 4 * 4, (at / 4 * 4 + 4).min(now as usize));
                    prop_assert!((truth[from].0..=truth[to].0).contains(count), "{} at {}", count, at);
                }
            }
            if age <= 5 {
                for (at, depth) in history.samples(1, span(now, age.min(4), 1)) {
                    prop_assert_eq!(depth, truth[at as usize].1, "at {}", at);
                }
            }
            let is_falling = counts.windows(2).all(|pair| pair[0].1 >= pair[1].1 && pair[0].0 == pair[1].0 + 1);
            prop_assert!(is_falling, "{counts:?}");
        }
    }
}
