//! What outlives the process. Today everything lives in memory and the journal numbers what is to be kept.

pub mod disk;
pub mod journal;
pub mod record;
pub mod simulated_disk;
