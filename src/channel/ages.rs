//! How long a channel's deliveries have been out, roughly: by a few moments at which the tag that was next is known,
//! and nothing for each delivery.

use std::collections::VecDeque;

use crate::time::Moment;

/// Most moments that are kept; then those go that lie close together for their age. Half as many are enough for a day
/// of looks every 50 milliseconds.
const MAX_MARKS: usize = 256;

/// The part of an age by which it may be wrong.
const PRECISION: u32 = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Ages {
    /// Moments, each with the delivery tag that was to be given next. Both rise.
    marks: VecDeque<(Moment, u64)>,
}

impl Ages {
    /// Notes that `next` is the tag to be given next. `oldest` is the lowest one outstanding: of what is settled no age
    /// is asked.
    pub fn mark(&mut self, now: Moment, next: u64, oldest: Option<u64>) {
        let Some(oldest) = oldest else {
            self.marks = VecDeque::new();
            return;
        };
        while self.marks.front().is_some_and(|(_, tag)| *tag <= oldest) {
            self.marks.pop_front();
        }
        if self.marks.back().is_some_and(|(_, tag)| *tag == next) {
            return;
        }
        if self.marks.len() >= MAX_MARKS {
            self.thin(now);
        }
        self.marks.push_back((now, next));
    }

    /// Takes out each mark whose neighbours are close enough to each other.
    fn thin(&mut self, now: Moment) {
        let marks = std::mem::take(&mut self.marks);
        let mut rest = marks.into_iter().peekable();
        self.marks.extend(rest.next());
        while let Some(mark) = rest.next() {
            let close = match (self.marks.back(), rest.peek()) {
                (Some((before, _)), Some((after, _))) => {
                    after.since(*before) <= now.since(*after) / PRECISION
                }
                _ => false,
            };
            if !close {
                self.marks.push_back(mark);
            }
        }
        if self.marks.len() >= MAX_MARKS {
            self.marks.pop_front();
        }
    }

    /// All tags below have been out since `then` or longer.
    #[must_use]
    pub fn out_since(&self, then: Moment) -> u64 {
        let after = self.marks.partition_point(|(moment, _)| *moment <= then);
        after.checked_sub(1).and_then(|at| self.marks.get(at)).map_or(0, |(_, tag)| *tag)
    }

    /// A moment at which `tag` was out already, near to when it was given. `None` if it was given since the last mark.
    #[must_use]
    pub fn of(&self, tag: u64) -> Option<Moment> {
        let at = self.marks.partition_point(|(_, next)| *next <= tag);
        self.marks.get(at).map(|(moment, _)| *moment)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_is_the_age_of_what_was_given_before_it() {
        let mut ages = Ages::default();
        ages.mark(Moment(10), 3, Some(1));
        ages.mark(Moment(20), 3, Some(1));
        ages.mark(Moment(30), 5, Some(2));
        assert_eq!(
            [1, 2, 3, 4, 5].map(|tag| ages.of(tag).map(|m| m.0)),
            [Some(10), Some(10), Some(30), Some(30), None]
        );
        assert_eq!([9, 10, 29, 30].map(|then| ages.out_since(Moment(then))), [0, 3, 3, 5]);
        ages.mark(Moment(40), 6, Some(3));
        assert_eq!((ages.marks.len(), ages.of(1)), (2, Some(Moment(30))), "settled ones are not asked for");
        ages.mark(Moment(50), 6, None);
        assert_eq!((ages.marks.len(), ages.out_since(Moment(50))), (0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) })]

        #[test]
        fn marks_are_few_never_too_early_and_not_much_too_late(steps in 1..20_000_u64, rate in 1..5_u64) {
            let mut ages = Ages::default();
            // Each step gives `rate` tags and then marks; the first tag stays out.
            for step in 1..=steps {
                ages.mark(Moment(step * 100), 1 + step * rate, Some(1));
                prop_assert!(ages.marks.len() <= MAX_MARKS);
            }
            let now = steps * 100;
            for step in 1..=steps {
                let (given, tag) = (step * 100, step * rate);
                let known = ages.of(tag).expect("all are marked").0;
                prop_assert!(known >= given);
                prop_assert!(known - given <= (now - given) / u64::from(PRECISION) + 100, "{known} for {given} at {now}");
                prop_assert!(ages.out_since(Moment(known)) > tag);
            }
        }
    }
}
