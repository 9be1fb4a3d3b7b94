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
    /// A message's place in its queue, and its address there for life. The highest eight bits are its lane, by which
    /// higher priorities come first; within a lane positions are dense.
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

/// Bits of a position below its lane.
const LANE_SHIFT: u32 = 56;

impl Position {
    /// The first position of a lane.
    #[must_use]
    pub const fn first_of(lane: u8) -> Self {
        Self((lane as u64) << LANE_SHIFT)
    }

    /// The lane it belongs to.
    #[must_use]
    pub const fn lane(self) -> u8 {
        (self.0 >> LANE_SHIFT) as u8
    }

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

/// Where a stored message lies, so that it can be read again: in the journal, by its body address, or in a segment
/// file. One word, because every queued message has one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u64);

/// What a [`Place`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The message is not stored, or only the message itself knows where.
    Unknown,
    /// In the journal.
    Journal {
        /// Its body address.
        address: u64,
    },
    /// In a segment file.
    Segment {
        /// The file's number.
        number: u64,
        /// Where in the file the message's item begins.
        offset: u64,
    },
}

/// Bits of the offset in a segment's place; the two highest bits tell the kind.
const OFFSET_BITS: u32 = 34;
const NUMBER_BITS: u32 = 28;
const KIND_SHIFT: u32 = OFFSET_BITS + NUMBER_BITS;

impl Place {
    /// Not stored, or not known.
    pub const UNKNOWN: Self = Self(0);

    /// In the journal at `address`. [`UNKNOWN`](Self::UNKNOWN) for zero, or beyond the 2^62 bytes that no journal reaches.
    #[must_use]
    pub const fn journal(address: u64) -> Self {
        if address == 0 || address >> KIND_SHIFT != 0 {
            Self::UNKNOWN
        } else {
            Self(1 << KIND_SHIFT | address)
        }
    }

    /// In segment file `number` at `offset`; `None` if it is past the 2^28th file or 16 GiB in one.
    #[must_use]
    pub const fn segment(number: u64, offset: u64) -> Option<Self> {
        if number >> NUMBER_BITS != 0 || offset >> OFFSET_BITS != 0 {
            return None;
        }
        Some(Self(2 << KIND_SHIFT | number << OFFSET_BITS | offset))
    }

    /// What it says.
    #[must_use]
    pub const fn location(self) -> Location {
        let rest = self.0 & ((1 << KIND_SHIFT) - 1);
        match self.0 >> KIND_SHIFT {
            1 => Location::Journal { address: rest },
            2 => Location::Segment { number: rest >> OFFSET_BITS, offset: rest & ((1 << OFFSET_BITS) - 1) },
            _ => Location::Unknown,
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.location(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_what_it_was_made_of() {
        assert_eq!(Place::default().location(), Location::Unknown);
        assert_eq!(Place::journal(0).location(), Location::Unknown);
        for address in [1, 77, (1 << 62) - 1] {
            assert_eq!(Place::journal(address).location(), Location::Journal { address });
        }
        assert_eq!(Place::journal(1 << 62).location(), Location::Unknown);
        for (number, offset) in [(0, 0), (1, 4096), ((1 << 28) - 1, (1 << 34) - 1)] {
            let place = Place::segment(number, offset).unwrap();
            assert_eq!(place.location(), Location::Segment { number, offset });
        }
        assert_eq!(Place::segment(1 << 28, 0), None);
        assert_eq!(Place::segment(0, 1 << 34), None);
    }
}
