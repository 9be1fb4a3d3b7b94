//! Patterns of scopes: text in which `*` stands for any run of characters, also for none.

/// A pattern with its variables filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wildcard {
    /// The texts between the wildcards; one more than there are wildcards.
    texts: Vec<Vec<u8>>,
}

impl Wildcard {
    /// A pattern of the texts between its wildcards.
    pub(super) fn new(texts: Vec<Vec<u8>>) -> Self {
        Self { texts }
    }

    /// Whether the whole of `subject` is like this. Takes time in proportion to both at the most.
    pub(super) fn matches(&self, subject: &str) -> bool {
        let subject = subject.as_bytes();
        let Some((first, others)) = self.texts.split_first() else { return false };
        let Some((last, middle)) = others.split_last() else { return subject == first };
        let Some(mut rest) = subject.strip_prefix(first.as_slice()) else { return false };
        for text in middle {
            let Some(at) = find(rest, text) else { return false };
            rest = &rest[at + text.len()..];
        }
        rest.ends_with(last)
    }
}

/// Where `text` first is in `bytes`. An empty one is everywhere.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    bytes.windows(text.len()).position(|window| window == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wildcard(pattern: &str) -> Wildcard {
        Wildcard::new(pattern.split('*').map(|text| text.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_wildcard_stands_for_any_run() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("sos*", "sos", true),
            ("sos*", "so", false),
            ("*a", "aa", true),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("A", "a", false),
        ];
        for (pattern, subject, is_match) in cases {
            assert_eq!(wildcard(pattern).matches(subject), is_match, "{pattern} {subject}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_regular_expression(pattern in "[ab*]{0,6}", subject in "[ab]{0,8}") {
            let expression = format!("^{}$", pattern.replace('*', ".*"));
            let expected = crate::pattern::Pattern::new(&expression).unwrap().is_in(&subject);
            prop_assert_eq!(wildcard(&pattern).matches(&subject), expected);
        }
    }
}
