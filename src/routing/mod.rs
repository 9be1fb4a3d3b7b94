//! Exchanges and their bindings: from (exchange, routing key, headers) to queues.
//!
//! A [`Router`] holds one vhost's exchanges and bindings and nothing else. It is plain data: the caller owns the lock,
//! checks permissions and names, writes the journal and knows the queues; here a queue is only a small copyable id.
//! The default exchange is not in it, since its bindings are the queue names themselves.
//!
//! Names, routing keys and topic words are looked up once on their way in; inside, exchanges, trie nodes and words
//! are numbers.

mod binding;
mod direct;
mod exchange;
mod headers;
mod index;
#[cfg(test)]
mod model;
mod reach;
mod router;
mod slab;
mod targets;
mod topic;

pub use binding::{BindError, BindingSpec, Destination, End, Listed, Removed};
pub use exchange::{ExchangeKind, ExchangeSpec};
pub use index::check_arguments;
pub use reach::Scratch;
pub use router::Router;
