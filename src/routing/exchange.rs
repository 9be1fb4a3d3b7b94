//! What an exchange is: its type and its declaration.

use crate::protocol::field::Table;

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExchangeKind {
    /// The binding key equals the routing key, byte by byte.
    Direct,
    /// Every binding.
    Fanout,
    /// The binding key is a pattern of words: `*` is one word, `#` any number of words.
    Topic,
    /// The binding's arguments are conditions on the message's headers.
    Headers,
}

impl ExchangeKind {
    /// The type of this name as it stands in `exchange.declare`, or `None` for one we do not have.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "fanout" => Some(Self::Fanout),
            "topic" => Some(Self::Topic),
            "headers" => Some(Self::Headers),
            _ => None,
        }
    }

    /// The name of this type on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// An exchange as it was declared.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeSpec {
    /// Unique in its vhost, never empty.
    pub name: String,
    /// The type.
    pub kind: ExchangeKind,
    /// Whether it outlives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding as source, once it has had one.
    pub auto_delete: bool,
    /// Whether clients may not publish to it. The caller refuses that; bindings lead to it as to any other.
    pub internal: bool,
    /// The arguments as declared, for listings and for a later declaration to compare with.
    pub arguments: Table,
    /// The exchange that gets what no binding of this one matches. It need not exist.
    pub alternate: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_belong_to_each_other() {
        for kind in [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic, ExchangeKind::Headers] {
            assert_eq!(ExchangeKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(ExchangeKind::parse("Direct"), None);
        assert_eq!(ExchangeKind::parse(""), None);
    }
}
