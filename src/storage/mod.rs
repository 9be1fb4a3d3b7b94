//! What outlives the process: the journal on disk, and how it is read again.

pub mod catalogue;
mod codec;
pub mod disk;
mod file;
mod group;
pub mod image;
pub mod journal;
pub mod options;
pub mod record;
mod recovery;
pub mod room;
pub mod segment;
pub mod simulated_disk;
#[cfg(test)]
mod tests;
mod writer;
