//! What there is, a file for each kind of thing.

pub(super) mod vhosts;
pub(super) mod whoami;
