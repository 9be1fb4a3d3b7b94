//! Definitions: users, vhosts and all that is declared in them as one document, as RabbitMQ and LavinMQ export it.
//!
//! A [`Document`] is read and looked at by itself first ([`parse`]). [`Broker::import`](crate::broker::Broker::import) then
//! compares it with what is there, while all of that is held still. Either nothing is wrong, and everything changes in
//! one batch of the journal; or all that is wrong is told, and nothing changes. An import adds and overwrites, and deletes
//! nothing.

mod apply;
mod arguments;
mod document;
mod export;
mod item;
mod plan;
mod reading;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;

pub use apply::ImportOptions;
pub use arguments::{table_of, value_of};
pub use document::{Document, parse, parse_value};
pub use export::{COMPATIBLE_VERSION, ExportOptions};
pub use report::{Count, Report};

/// What a document is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole broker: items say which vhost they are in.
    Whole,
    /// One vhost, which has to be there. What items say of a vhost does not count, and users are left out.
    VHost(String),
}

/// Something that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: such as "queues[3] 'orders' in vhost '/'".
    pub place: String,
    /// What. It has nothing of passwords and their hashes.
    pub text: String,
}

impl Problem {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: item::visible(&text.into()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}
