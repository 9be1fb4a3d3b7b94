//! Regular expressions from users: of policies and permissions. A name matches if the expression is found anywhere in it,
//! as in RabbitMQ, and no expression takes more than its share of time and memory.

use fancy_regex::{Regex, RegexBuilder};

/// Steps that a pattern with look-around may take for a name, which has at most 255 bytes; one without takes a number
/// in proportion to the name.
const MOST_STEPS: usize = 20_000;

/// Bytes that a compiled pattern may take.
const LARGEST: usize = 1 << 20;

/// The longest pattern, in bytes.
pub const LONGEST: usize = 1024;

/// A text as a pattern that is found where the text itself is, also as members of a class.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is longer than [`LONGEST`].
    #[error("a pattern has at most {LONGEST} bytes")]
    TooLong,
    /// It is no regular expression, or too large a one.
    #[error("the pattern \"{pattern}\" is not valid: {why}")]
    Invalid {
        /// The text.
        pattern: String,
        /// What is wrong.
        why: String,
    },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.len() > LONGEST {
            return Err(PatternError::TooLong);
        }
        let mut builder = RegexBuilder::new(pattern);
        builder.backtrack_limit(MOST_STEPS).delegate_size_limit(LARGEST);
        let invalid = |error| PatternError::Invalid { pattern: pattern.to_owned(), why: format!("{error}") };
        builder.build().map(Self).map_err(invalid)
    }

    /// Whether it is found in `name`. One that cannot decide within its steps is not.
    #[must_use]
    pub fn is_in(&self, name: &str) -> bool {
        self.0.is_match(name).unwrap_or(false)
    }

    /// The text it was made from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_looked_for_anywhere_and_may_look_around() {
        let found = |pattern: &str, name: &str| Pattern::new(pattern).unwrap().is_in(name);
        assert!(found("b", "abc") && !found("^b", "abc") && found("", "abc"));
        assert!(found("^(?!amq\\.)", "a") && !found("^(?!amq\\.)", "amq.direct"));
    }

    #[test]
    fn one_that_takes_too_long_matches_nothing() {
        let name = "a".repeat(60);
        assert!(!Pattern::new("(?=(a+)+$)(a|aa)+(?<!a)$").unwrap().is_in(&name));
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(Pattern::new(&"a".repeat(1025)), Err(PatternError::TooLong));
        let error = Pattern::new("(").unwrap_err().to_string();
        assert!(error.starts_with("the pattern \"(\" is not valid: "), "{error}");
    }
}
