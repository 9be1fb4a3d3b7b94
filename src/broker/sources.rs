//! How many connections are in their handshake from each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ids::ConnectionId;

/// The part of an IPv6 address that tells networks apart: 64 bits. Who has one address of such a network has them all.
const NETWORK: u128 = !0 << 64;

/// Where a connection comes from, as far as limits tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address of IPv4.
    Address(Ipv4Addr),
    /// A network of IPv6.
    Network(Ipv6Addr),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        // An IPv4 client of an IPv6 socket has a mapped address.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Address(address),
            IpAddr::V6(address) => Self::Network(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
        }
    }
}

/// See the module. No more is kept than there are handshakes.
#[derive(Debug, Default)]
pub(super) struct Sources {
    counts: HashMap<Source, u32>,
    of: HashMap<ConnectionId, Source>,
}

impl Sources {
    /// How many there are from there.
    pub(super) fn count(&self, source: Source) -> u32 {
        self.counts.get(&source).copied().unwrap_or(0)
    }

    /// A connection that is not among them is in its handshake.
    pub(super) fn add(&mut self, id: ConnectionId, source: Source) {
        if self.of.insert(id, source).is_none() {
            *self.counts.entry(source).or_insert(0) += 1;
        }
    }

    /// A connection has ended its handshake, one way or another.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(source) = self.of.remove(&id) else { return };
        if let Some(count) = self.counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_address_or_a_network_is_one_source() {
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::9"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
    }

    #[test]
    fn they_are_counted_each_once_and_forgotten() {
        let mut sources = Sources::default();
        let (one, other) = (source("192.0.2.1"), source("192.0.2.2"));
        sources.add(ConnectionId(1), one);
        sources.add(ConnectionId(1), one);
        sources.add(ConnectionId(2), one);
        sources.add(ConnectionId(3), other);
        assert_eq!((sources.count(one), sources.count(other)), (2, 1));
        sources.remove(ConnectionId(1));
        sources.remove(ConnectionId(1));
        assert_eq!((sources.count(one), sources.count(other)), (1, 1));
        sources.remove(ConnectionId(2));
        sources.remove(ConnectionId(3));
        assert!(sources.counts.is_empty() && sources.of.is_empty());
    }
}
