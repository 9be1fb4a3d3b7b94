//! Two brokers side by side: runs in turn, and the medians of what they gave.
//!
//! A machine is not equally fast at all times. Runs in turn see the same of that, and the order of the two changes from
//! round to round, so that none of them always comes after the other.

use serde::Serialize;

use super::error::PerfError;
use super::run::Control;
use super::wire::Target;

/// Something that can be measured of one broker after the other.
pub trait Measurement: Clone + Serialize {
    /// What is found.
    type Report: Report;
    /// How it is told to be going.
    type Progress;

    /// The same for a broker whose process has this pid.
    #[must_use]
    fn with_pid(&self, pid: Option<u32>) -> Self;

    /// Measures.
    ///
    /// # Errors
    ///
    /// If what is asked for cannot be done, the broker refuses, or a connection fails.
    fn measure(
        &self,
        target: &Target,
        control: &mut Control<'_, Self::Progress>,
    ) -> Result<Self::Report, PerfError>;
}

/// What was found, with numbers that can be compared.
pub trait Report: Serialize {
    /// The names of the numbers and the numbers, those in the same order in every report of this kind; None for what was not
    /// measured.
    fn figures(&self) -> Vec<(&'static str, Option<f64>)>;

    /// What did not go as it should, a sentence each: numbers beside it say less, or something else.
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That of `--url`.
    First,
    /// That of `--compare`.
    Second,
}

/// What was found of two brokers.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison<R> {
    /// Rounds that were made, each with a run of both.
    pub rounds: usize,
    /// The medians.
    pub compared: Vec<Compared>,
    /// All runs of the first.
    pub first: Vec<R>,
    /// All runs of the second.
    pub second: Vec<R>,
}

/// One number of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub figure: &'static str,
    /// The median of the first's runs.
    pub first: Option<f64>,
    /// The median of the second's runs.
    pub second: Option<f64>,
    /// The first by the second.
    pub ratio: Option<f64>,
}

/// Has so many rounds run. When `is_stopped` says so, those that are whole are the result.
///
/// # Errors
///
/// The first failure of a run; or if it was stopped before a round was over.
pub fn alternate<R: Report>(
    rounds: usize,
    is_stopped: impl Fn() -> bool,
    mut run: impl FnMut(usize, Side) -> Result<R, PerfError>,
) -> Result<Comparison<R>, PerfError> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let order = if round % 2 == 0 { [Side::First, Side::Second] } else { [Side::Second, Side::First] };
        let mut pair = (None, None);
        for side in order {
            let report = run(round, side)?;
            match side {
                Side::First => pair.0 = Some(report),
                Side::Second => pair.1 = Some(report),
            }
            if is_stopped() {
                break;
            }
        }
        // A run that was cut short says less than the others.
        if is_stopped() {
            break;
        }
        first.extend(pair.0);
        second.extend(pair.1);
    }
    if first.is_empty() {
        return Err(PerfError::Interrupted);
    }
    let figures = |reports: &[R]| reports.iter().map(Report::figures).collect::<Vec<_>>();
    let compared = compared(&figures(&first), &figures(&second));
    Ok(Comparison { rounds: first.len(), compared, first, second })
}

type Figures = Vec<(&'static str, Option<f64>)>;

fn compared(first: &[Figures], second: &[Figures]) -> Vec<Compared> {
    let names = first.first().into_iter().flatten().map(|(name, _)| *name).enumerate();
    names
        .map(|(at, figure)| {
            let median_of = |runs: &[Figures]| {
                median(runs.iter().filter_map(|figures| figures.get(at).and_then(|(_, value)| *value)))
            };
            let (first, second) = (median_of(first), median_of(second));
            let ratio =
                first.zip(second).filter(|(_, second)| *second != 0.0).map(|(one, other)| one / other);
            Compared { figure, first, second, ratio }
        })
        .collect()
}

/// The one in the middle; the mean of both if two are there. None without numbers.
fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let upper = *numbers.get(middle)?;
    if numbers.len() % 2 == 1 {
        return Some(upper);
    }
    Some((numbers.get(middle - 1)? + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Number(Option<f64>);

    impl Report for Number {
        fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
            vec![("number", self.0), ("none", None)]
        }
    }

    #[test]
    fn medians_are_in_the_middle() {
        let of = |numbers: &[f64]| median(numbers.iter().copied());
        assert_eq!(
            [of(&[]), of(&[3.0]), of(&[1.0, 9.0, 2.0]), of(&[4.0, 1.0])],
            [None, Some(3.0), Some(2.0), Some(2.5)]
        );
    }

    #[test]
    fn runs_take_turns_and_the_order_changes() {
        let mut order = Vec::new();
        let compared = alternate(
            3,
            || false,
            |round, side| {
                order.push(side);
                Ok(Number(Some(if side == Side::First { round as f64 } else { 4.0 })))
            },
        );
        use Side::{First, Second};
        let compared = compared.expect("rounds");
        assert_eq!(order, [First, Second, Second, First, First, Second]);
        let number = Compared { figure: "number", first: Some(1.0), second: Some(4.0), ratio: Some(0.25) };
        let none = Compared { figure: "none", first: None, second: None, ratio: None };
        assert_eq!((compared.rounds, compared.compared), (3, vec![number, none]));
    }

    #[test]
    fn a_round_that_was_cut_short_does_not_count() {
        let runs = std::cell::Cell::new(0);
        let run = |_, _| {
            runs.set(runs.get() + 1);
            Ok(Number(None))
        };
        let compared = alternate(5, || runs.get() == 3, run).expect("a round");
        assert_eq!((runs.get(), compared.rounds, compared.second.len()), (3, 1, 1));
        runs.set(2);
        assert!(matches!(alternate(5, || runs.get() == 3, run), Err(PerfError::Interrupted)));
    }
}
