//! Tags of users: what they may do beside using vhosts. Those that nobody here knows are kept, as in RabbitMQ.

use std::fmt;

/// Most tags of a user, as in RabbitMQ.
pub const MOST_TAGS: usize = 32;

/// The longest tag in bytes.
const LONGEST: usize = 255;

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// May do everything.
    Administrator,
    /// May see everything.
    Monitoring,
    /// May set policies and parameters of vhosts.
    Policymaker,
    /// May use the management API.
    Management,
    /// May publish with any user's name as `user_id`.
    Impersonator,
    /// Means something to others.
    Other(String),
}

/// Why tags are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// There are too many.
    #[error("a user may have at most {MOST_TAGS} tags")]
    TooMany,
    /// One is no tag.
    #[error("a tag should be 1 to {LONGEST} bytes of text without commas, spaces or control characters")]
    Malformed,
}

impl Tag {
    const KNOWN: [Self; 5] =
        [Self::Administrator, Self::Monitoring, Self::Policymaker, Self::Management, Self::Impersonator];

    /// The tag of this name.
    ///
    /// # Errors
    /// If it cannot be one.
    pub fn parse(name: &str) -> Result<Self, TagError> {
        let is_wrong = |c: char| c == ',' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > LONGEST || name.chars().any(is_wrong) {
            return Err(TagError::Malformed);
        }
        let known = Self::KNOWN.into_iter().find(|tag| tag.name() == name);
        Ok(known.unwrap_or_else(|| Self::Other(name.to_owned())))
    }

    /// The name, as it is written.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Administrator => "administrator",
            Self::Monitoring => "monitoring",
            Self::Policymaker => "policymaker",
            Self::Management => "management",
            Self::Impersonator => "impersonator",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The tags of a user, each once, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<Tag>);

impl Tags {
    /// Tags by their names.
    ///
    /// # Errors
    /// If there are too many, or one is no tag.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, TagError> {
        let mut tags = Self::default();
        for name in names {
            let tag = Tag::parse(name)?;
            if !tags.has(&tag) {
                tags.0.push(tag);
            }
        }
        if tags.0.len() > MOST_TAGS { Err(TagError::TooMany) } else { Ok(tags) }
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(&self, tag: &Tag) -> bool {
        self.0.contains(tag)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tags_and_others_keep_their_names() {
        let names = ["administrator", "monitoring", "policymaker", "management", "impersonator", "ops-1"];
        let tags = Tags::parse(names).unwrap();
        assert!(tags.iter().map(Tag::name).eq(names));
        assert!(tags.has(&Tag::Administrator) && tags.has(&Tag::Other("ops-1".to_owned())));
        assert!(!Tags::default().has(&Tag::Monitoring));
        let twice = Tags::parse(["a", "b", "a"]).unwrap();
        assert_eq!(twice.iter().count(), 2);
    }

    #[test]
    fn too_many_and_malformed_ones_are_refused() {
        let names: Vec<String> = (0..=MOST_TAGS).map(|number| format!("t{number}")).collect();
        let all = || names.iter().map(String::as_str);
        assert!(Tags::parse(all().take(MOST_TAGS)).is_ok());
        assert_eq!(Tags::parse(all()), Err(TagError::TooMany));
        for name in ["", "a b", "a,b", "a\n", &"x".repeat(256)] {
            assert_eq!(Tag::parse(name), Err(TagError::Malformed), "{name:?}");
        }
    }
}
