//! What the broker changes in the properties of a message that is published. Most messages pass as they came.

use crate::protocol::field::{TableBuilder, TableRef};
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// The time in milliseconds since 1970.
const TIME: &str = "timestamp_in_ms";

/// Who took the message.
const NODE: &str = "x-routed-by";

/// What the broker adds to messages that are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    /// Nothing.
    #[default]
    Off,
    /// What the publisher did not say.
    Keep,
    /// What it is, whatever the publisher said.
    Overwrite,
}

impl Stamp {
    /// Whether the broker writes something that is there already, or not.
    #[must_use]
    pub fn writes(self, is_there: bool) -> bool {
        match self {
            Self::Off => false,
            Self::Keep => !is_there,
            Self::Overwrite => true,
        }
    }
}

/// What every message gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The time, as a header and a property.
    pub time: Stamp,
    /// The name of the node, as a header.
    pub node: Stamp,
}

impl Stamps {
    /// Whether there is something.
    #[must_use]
    pub fn are_any(self) -> bool {
        self != Self::default()
    }
}

/// The changes one publish asks for.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<'a> {
    /// The name of the reply queue that takes the place of the one all requesters use.
    pub reply_to: Option<&'a str>,
    /// What is to be stamped.
    pub stamps: Stamps,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// The name that stands for this node.
    pub node: &'a str,
}

impl Rewrite<'_> {
    /// The changed properties; `None` if nothing changes.
    #[must_use]
    pub fn apply(self, properties: Properties<'_>) -> Option<Vec<u8>> {
        let headers = properties.headers().unwrap_or(TableRef::EMPTY);
        let has = |key| headers.get(key).is_some();
        let Stamps { time, node } = self.stamps;
        let (new_time, new_node) = (time.writes(has(TIME)), node.writes(has(NODE)));
        let new_timestamp = time.writes(properties.timestamp().is_some());
        if !(new_time || new_node || new_timestamp) && self.reply_to.is_none() {
            return None;
        }
        let mut builder = PropertiesBuilder::from_properties(properties);
        if new_time || new_node {
            let mut table = TableBuilder::new();
            let goes = |key| (new_time && key == TIME) || (new_node && key == NODE);
            for (key, value) in headers.iter().filter(|(key, _)| !goes(*key)) {
                table.value(key, value);
            }
            if new_time {
                table.int64(TIME, i64::try_from(self.unix_ms).unwrap_or(i64::MAX));
            }
            if new_node {
                table.long_str(NODE, self.node);
            }
            builder.set_headers(Some(&table.finish()));
        }
        if new_timestamp {
            builder.set_timestamp(self.unix_ms / 1000);
        }
        if let Some(name) = self.reply_to {
            builder.set_reply_to(name);
        }
        Some(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(stamp: Stamp, raw: &[u8]) -> Option<Vec<u8>> {
        let stamps = Stamps { time: stamp, node: stamp };
        let rewrite = Rewrite { reply_to: None, stamps, unix_ms: 1_700_000_000_123, node: "here" };
        rewrite.apply(Properties::parse(raw).unwrap())
    }

    fn message(time: bool, node: bool, timestamp: bool) -> Vec<u8> {
        let mut table = TableBuilder::new();
        if time {
            table.long_str(TIME, "then");
        }
        table.bool("a", true);
        if node {
            table.long_str(NODE, "there");
        }
        let mut builder = PropertiesBuilder::new();
        builder.set_headers(Some(&table.finish())).set_priority(1);
        if timestamp {
            builder.set_timestamp(5);
        }
        builder.finish()
    }

    #[test]
    fn what_is_stamped_depends_on_what_is_there() {
        let now = r#"("timestamp_in_ms", I64(1700000000123))"#;
        for bits in 0..8 {
            let (time, node, timestamp) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            let raw = message(time, node, timestamp);
            assert_eq!(rewritten(Stamp::Off, &raw), None);
            for stamp in [Stamp::Keep, Stamp::Overwrite] {
                let new = rewritten(stamp, &raw);
                if (stamp, bits) == (Stamp::Keep, 7) {
                    assert_eq!(new, None, "all is there");
                    continue;
                }
                let new = new.unwrap();
                let properties = Properties::parse(&new).unwrap();
                let headers: Vec<_> = properties.headers().unwrap().iter().collect();
                let keys: Vec<&str> = headers.iter().map(|(key, _)| *key).collect();
                assert_eq!((keys.len(), properties.priority()), (3, Some(1)), "{keys:?}");
                let written = |is_there: bool| stamp == Stamp::Overwrite || !is_there;
                let text = format!("{headers:?}");
                assert_eq!(text.contains(now), written(time), "{text}");
                let node_is = properties.headers().unwrap().get(NODE).and_then(|value| value.as_str());
                assert_eq!(node_is, Some(if written(node) { "here" } else { "there" }));
                let seconds = if written(timestamp) { 1_700_000_000 } else { 5 };
                assert_eq!(properties.timestamp(), Some(seconds));
            }
        }
    }

    #[test]
    fn a_message_without_properties_is_stamped_too() {
        let new = rewritten(Stamp::Keep, &[0, 0]).unwrap();
        let properties = Properties::parse(&new).unwrap();
        assert_eq!(properties.headers().unwrap().iter().count(), 2);
        assert_eq!(rewritten(Stamp::Off, &[0, 0]), None);
    }
}
