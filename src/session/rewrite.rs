//! What the broker changes in the properties of a message that is published. Most messages pass as they came.

use crate::protocol::field::{TableBuilder, TableRef};
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// The changes one publish asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rewrite<'a> {
    /// The name of the reply queue that takes the place of the one all requesters use.
    pub(super) reply_to: Option<&'a str>,
}

impl Rewrite<'_> {
    /// The changed properties; `None` if nothing changes.
    pub(super) fn apply(self, properties: Properties<'_>) -> Option<Vec<u8>> {
        let headers = properties.headers().unwrap_or(TableRef::EMPTY);
        // Its receivers are not to be seen.
        let has_bcc = headers.get("BCC").is_some();
        if !has_bcc && self.reply_to.is_none() {
            return None;
        }
        let mut builder = PropertiesBuilder::from_properties(properties);
        if has_bcc {
            let mut table = TableBuilder::new();
            for (key, value) in headers.iter().filter(|(key, _)| *key != "BCC") {
                table.value(key, value);
            }
            builder.set_headers(Some(&table.finish()));
        }
        if let Some(name) = self.reply_to {
            builder.set_reply_to(name);
        }
        Some(builder.finish())
    }
}
