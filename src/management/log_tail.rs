//! The end of the log, in memory: what administrators see of it without a way to the file.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tracing::Level;

/// How many lines are kept.
const MOST_LINES: usize = 1000;

/// How many bytes of text they have together.
const MOST_BYTES: usize = 1 << 20;

/// How many one has; the rest of it is cut off. A panic's way is long.
pub const LONGEST_LINE: usize = 16 << 10;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// How severe.
    pub level: Level,
    /// The part of the program that says it.
    pub target: &'static str,
    /// The message and its fields, without control characters.
    pub text: String,
}

impl Line {
    fn bytes(&self) -> usize {
        self.target.len() + self.text.len()
    }
}

/// The last lines of the log, with numbers that only grow, also over restarts.
pub struct LogTail {
    kept: Mutex<Kept>,
}

struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the first one that is kept, or of the next one if there is none.
    first: u64,
}

/// What is new in the log.
pub(crate) struct News {
    /// The lines with their numbers.
    pub(crate) lines: Vec<(u64, Line)>,
    /// The number of the last line there was, for the next question.
    pub(crate) last: u64,
    /// Whether there were lines before these, after the one that was named, that are not kept any more.
    pub(crate) is_gap: bool,
}

impl LogTail {
    /// An empty one whose first line has this number. A start should give a larger one than all lines had before it: the
    /// microseconds since 1970, for instance.
    #[must_use]
    pub fn starting_at(first: u64) -> Self {
        Self { kept: Mutex::new(Kept { lines: VecDeque::new(), bytes: 0, first: first.max(1) }) }
    }

    /// Adds a line. The oldest ones go if there are too many.
    pub fn push(&self, line: Line) {
        let mut kept = self.kept.lock();
        kept.bytes += line.bytes();
        kept.lines.push_back(line);
        while kept.lines.len() > MOST_LINES || kept.bytes > MOST_BYTES {
            let Some(gone) = kept.lines.pop_front() else { break };
            kept.bytes -= gone.bytes();
            kept.first += 1;
        }
    }

    /// The lines after the one of this number; all that are kept after number 0, and after one that there was not yet.
    pub(crate) fn after(&self, number: u64) -> News {
        let kept = self.kept.lock();
        let last = kept.first + kept.lines.len() as u64 - 1;
        let is_strange = number > last;
        let from = if is_strange { kept.first } else { kept.first.max(number + 1) };
        let known = usize::try_from(from - kept.first).unwrap_or(usize::MAX);
        let lines = (from..).zip(kept.lines.iter().skip(known).cloned()).collect();
        News { lines, last, is_gap: is_strange || (number > 0 && number + 1 < kept.first) }
    }
}

#[cfg(test)]
impl LogTail {
    /// What the lines say.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.kept.lock().lines.iter().map(|line| line.text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { unix_ms: 7, level: Level::INFO, target: "test", text: text.to_owned() }
    }

    fn told(tail: &LogTail, after: u64) -> (Vec<(u64, String)>, u64, bool) {
        let News { lines, last, is_gap } = tail.after(after);
        (lines.into_iter().map(|(number, line)| (number, line.text)).collect(), last, is_gap)
    }

    #[test]
    fn what_is_new_is_told_once() {
        let tail = LogTail::starting_at(10);
        assert_eq!(told(&tail, 0), (vec![], 9, false));
        tail.push(line("a"));
        tail.push(line("b"));
        assert_eq!(told(&tail, 0), (vec![(10, "a".to_owned()), (11, "b".to_owned())], 11, false));
        assert_eq!(told(&tail, 9).0.len(), 2);
        assert_eq!(told(&tail, 10), (vec![(11, "b".to_owned())], 11, false));
        assert_eq!(told(&tail, 11), (vec![], 11, false));
    }

    #[test]
    fn a_gap_is_told() {
        let tail = LogTail::starting_at(10);
        tail.push(line("a"));
        assert_eq!(told(&tail, 8), (vec![(10, "a".to_owned())], 10, true), "from before a restart");
        assert_eq!(told(&tail, 11), (vec![(10, "a".to_owned())], 10, true), "from a clock that was ahead");
        assert_eq!(told(&tail, u64::MAX).0.len(), 1);
    }

    #[test]
    fn it_has_bounds() {
        let tail = LogTail::starting_at(1);
        for _ in 0..MOST_LINES + 5 {
            tail.push(line("x"));
        }
        let (lines, last, is_gap) = told(&tail, 3);
        assert_eq!((lines.len(), lines[0].0, last, is_gap), (MOST_LINES, 6, MOST_LINES as u64 + 5, true));
        let long = "x".repeat(LONGEST_LINE);
        for _ in 0..2 * MOST_BYTES / LONGEST_LINE {
            tail.push(line(&long));
        }
        let kept = tail.kept.lock();
        let sum: usize = kept.lines.iter().map(Line::bytes).sum();
        assert_eq!(sum, kept.bytes);
        assert!(sum <= MOST_BYTES && sum + 2 * LONGEST_LINE > MOST_BYTES, "{sum}");
    }
}
