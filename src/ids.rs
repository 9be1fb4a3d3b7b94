//! Newtypes for the numbers that name things inside one broker.
//!
//! They exist so that a queue position cannot be handed to something that wants a delivery tag. But for consumers,
//! none is ever reused while the broker runs.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// One client connection, numbered from 1 in the order they were accepted.
    ConnectionId(u64)
);
id!(
    /// A queue. Unlike its name it is never given to another queue, also not after a delete and a new declare.
    QueueId(u64)
);
id!(
    /// A message's place in its queue, dense from 0 and its address there for life.
    Position(u64)
);
id!(
    /// A consumer within its queue. Given again once it is cancelled; what it left unsettled is then nobody's.
    ConsumerId(u32)
);
id!(
    /// A place in the journal. Larger means later; what a position promises is told by the journal's *written* and
    /// *durable* positions.
    Lsn(u64)
);

impl Lsn {
    /// Before everything: a gate at this position is always open.
    pub const ZERO: Self = Self(0);
}

impl Position {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// How far the journal has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Handed to the operating system up to here: survives a kill of the process.
    pub written: Lsn,
    /// On disk up to here: survives a power cut.
    pub durable: Lsn,
}
