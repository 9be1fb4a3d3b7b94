//! Where the past of an object's numbers is found.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::ids::{ConnectionId, QueueId};
use crate::management::statistics::{NoPast, Past};

/// An object whose numbers are followed.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    /// The node itself.
    Node,
    /// Messages of all vhosts together.
    Everything,
    /// Messages of these vhosts together.
    VHosts(&'a [Arc<VHost>]),
    /// A vhost.
    VHost(&'a VHost),
    /// A queue of a vhost.
    Queue(&'a VHost, QueueId),
    /// An exchange of a vhost.
    Exchange(&'a VHost, &'a str),
    /// A connection.
    Connection(ConnectionId),
    /// A channel of a connection.
    Channel(ConnectionId, u16),
}

/// The past of an object.
pub(crate) fn past_of(_broker: &Broker, _of: Of<'_>) -> Box<dyn Past> {
    Box::new(NoPast)
}
