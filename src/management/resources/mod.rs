//! What there is, a file for each kind of thing.

pub(super) mod about;
pub(super) mod bindings;
pub(super) mod channels;
pub(super) mod closing;
pub(super) mod connections;
pub(super) mod consumers;
pub(super) mod exchange_views;
pub(super) mod exchanges;
pub(super) mod features;
pub(super) mod get;
pub(super) mod health;
pub(super) mod limits;
pub(super) mod nodes;
pub(super) mod overview;
pub(super) mod parameters;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod publish;
pub(super) mod queue_views;
pub(super) mod queues;
pub(super) mod upkeep;
pub(super) mod users;
mod vhost_statistics;
pub(super) mod vhosts;
pub(super) mod whoami;
