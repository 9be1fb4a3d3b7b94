//! The part of a request's address behind the question mark.

use axum::extract::Query as Parsed;
use axum::http::Uri;

use crate::management::error::ApiError;

/// The words of a query, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Of an address.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let parsed = Parsed::<Vec<(String, String)>>::try_from_uri(uri);
        parsed.map(|Parsed(words)| Self(words)).map_err(|error| ApiError::bad(error.to_string()))
    }

    /// The first value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it says `true`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

#[cfg(test)]
impl From<&str> for Query {
    fn from(text: &str) -> Self {
        Self::of(&format!("/?{text}").parse().unwrap()).unwrap()
    }
}
