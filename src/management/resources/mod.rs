//! What there is, a file for each kind of thing.

pub(super) mod bindings;
pub(super) mod closing;
pub(super) mod exchanges;
pub(super) mod features;
pub(super) mod get;
pub(super) mod limits;
pub(super) mod parameters;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod publish;
pub(super) mod queues;
pub(super) mod upkeep;
pub(super) mod users;
pub(super) mod vhosts;
pub(super) mod whoami;
