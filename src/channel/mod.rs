//! The bookkeeping of one channel, pure: what is unacked, which confirms are due, which replies wait.

pub mod ages;
pub mod confirms;
pub mod gates;
pub mod unacked;
