//! What outlives the process: the journal on disk, and how it is read again.

mod append;
pub mod backup;
mod base;
pub mod bodies;
pub mod catalogue;
mod codec;
pub mod disk;
mod enqueues;
mod file;
mod files;
mod group;
pub mod image;
pub mod item;
pub mod journal;
pub mod meters;
pub mod options;
mod pacing;
mod progress;
pub mod record;
mod recovery;
pub mod repair;
pub mod room;
pub mod segment;
pub mod segments;
pub mod simulated_disk;
#[cfg(test)]
mod tests;
pub mod verify;
mod walk;
mod writer;
