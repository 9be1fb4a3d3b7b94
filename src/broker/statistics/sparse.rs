//! The history of something that may be idle for long: there is one only while it says more than that nothing changed.

use super::history::{Cell, History, Step};
use super::measure::{Kind, Measure, Moments, Range, Rates, Trend};

/// See the module. What is not in it is flat.
#[derive(Debug)]
pub(in crate::broker) struct SparseHistory<T, const N: usize> {
    /// The tick since when the numbers are known, before there is a history; `None` until the first sample.
    begin: Option<u64>,
    /// What the numbers are while there is no history; `None` if all are zero.
    resting: Option<Box<[u64; N]>>,
    history: Option<Box<History<T, N>>>,
}

impl<T, const N: usize> Default for SparseHistory<T, N> {
    fn default() -> Self {
        Self { begin: None, resting: None, history: None }
    }
}

impl<T: Cell, const N: usize> SparseHistory<T, N> {
    /// The numbers at `tick`, of something of this kind. What was there at the first sample and is not counted came from
    /// before a restart.
    pub(in crate::broker) fn tell(&mut self, kind: &Kind<N>, tick: u64, numbers: [u64; N], steps: &[Step]) {
        if let Some(history) = &mut self.history {
            history.tell(tick, numbers);
            return;
        }
        let resting = self.resting();
        let has_changed = match self.begin {
            Some(_) => numbers != resting,
            None => numbers[..kind.counters].iter().any(|number| *number > 0),
        };
        let begin = *self.begin.get_or_insert(tick.saturating_sub(1));
        if has_changed {
            let mut history = kind.history(begin, steps).starting_at(resting);
            history.tell(tick, numbers);
            (self.history, self.resting) = (Some(Box::new(history)), None);
        } else if numbers != resting {
            self.resting = Some(Box::new(numbers));
        }
    }

    /// Lets go of what is flat by now.
    pub(in crate::broker) fn drop_flat(&mut self, now: u64) {
        if let Some(tick) = self.history.as_ref().and_then(|history| history.flat_since(now)) {
            self.rest(tick);
        }
    }

    /// Forgets what was up to `tick`. Counters go on.
    pub(in crate::broker) fn forget(&mut self, tick: u64) {
        if self.begin.is_some() {
            self.rest(tick);
        }
    }

    fn rest(&mut self, tick: u64) {
        self.begin = Some(tick);
        if let Some(history) = self.history.take() {
            self.resting = Some(Box::new(*history.last()));
        }
    }

    fn resting(&self) -> [u64; N] {
        self.resting.as_deref().copied().unwrap_or([0; N])
    }

    /// By how much the counter `at` grew in the tick `now`.
    pub(in crate::broker) fn grown(&self, at: usize, now: u64) -> u64 {
        self.history.as_ref().map_or(0, |history| history.grown(at, now))
    }

    /// See [`Kind::rates`].
    pub(in crate::broker) fn rates(&self, kind: &Kind<N>, at: Moments) -> Rates {
        kind.rates(self.history.as_deref(), at)
    }

    /// See [`Kind::trend`]. `None` also before the first sample.
    pub(in crate::broker) fn trend(
        &self,
        kind: &Kind<N>,
        at: Moments,
        (measure, range): (Measure, Range),
        steps: &[Step],
    ) -> Option<Trend> {
        if self.history.is_some() {
            return kind.trend(self.history.as_deref(), at, measure, range);
        }
        let longest = steps.last()?;
        // As far back as a history would go.
        let begin = self.begin?.max(at.tick.saturating_sub(longest.reach()));
        let flat = kind.history::<T>(begin, std::slice::from_ref(longest)).starting_at(self.resting());
        kind.trend(Some(&flat), at, measure, range)
    }

    /// Whether there is a history.
    #[cfg(test)]
    pub(in crate::broker) fn is_kept(&self) -> bool {
        self.history.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 2] = [Step { every: 1, rows: 5 }, Step { every: 4, rows: 6 }];

    /// A counter, and a number that goes up and down.
    const KIND: Kind<2> = Kind { measures: [Measure::Publish, Measure::Ready], counters: 1 };

    fn trend(history: &SparseHistory<u32, 2>, tick: u64, measure: Measure) -> Vec<u64> {
        let at = Moments { tick, unix_ms: tick * 1000, elapsed_ms: 1000, interval_ms: 1000 };
        let trend = history.trend(&KIND, at, (measure, Range { age: 4, step: 1 }), &STEPS);
        trend.unwrap_or_default().samples.iter().map(|sample| sample.value).collect()
    }

    #[test]
    fn what_never_changed_is_flat_and_has_no_history() {
        let mut history = SparseHistory::<u32, 2>::default();
        assert_eq!(trend(&history, 1, Measure::Ready), [0; 0], "before the first sample");
        // They were there before a restart.
        history.tell(&KIND, 3, [0, 7], &STEPS);
        history.tell(&KIND, 5, [0, 7], &STEPS);
        assert!(!history.is_kept());
        assert_eq!(trend(&history, 5, Measure::Ready), [7, 7, 7, 7]);
        assert_eq!(trend(&history, 9, Measure::Publish), [0; 5]);
        history.tell(&KIND, 10, [0, 4], &STEPS);
        assert!(history.is_kept());
        assert_eq!(trend(&history, 10, Measure::Ready), [4, 7, 7, 7, 7]);
    }

    #[test]
    fn what_has_become_flat_is_let_go_of_and_goes_on_where_it_was() {
        let mut history = SparseHistory::<u32, 2>::default();
        history.tell(&KIND, 1, [100, 3], &STEPS);
        assert!(history.is_kept(), "something was counted");
        assert_eq!(history.grown(0, 1), 100);
        let reach = 4 * 6;
        history.drop_flat(1 + reach);
        assert!(history.is_kept(), "not all of it is flat");
        let now = 1 + reach + 5;
        history.drop_flat(now);
        assert!(!history.is_kept());
        assert_eq!(
            (trend(&history, now, Measure::Publish), trend(&history, now, Measure::Ready)),
            ([100; 5].into(), [3; 5].into())
        );
        history.tell(&KIND, now + 1, [101, 3], &STEPS);
        assert_eq!(
            (history.grown(0, now + 1), trend(&history, now + 1, Measure::Publish)),
            (1, vec![101, 100, 100, 100, 100])
        );
        history.forget(now + 1);
        assert_eq!((history.grown(0, now + 1), trend(&history, now + 1, Measure::Publish)), (0, vec![101]));
        assert_eq!(history.rates(&KIND, Moments::default()), Rates::default());
    }
}
