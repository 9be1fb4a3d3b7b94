//! Load for any AMQP 0-9-1 broker, and what it costs: the engine of `leveret perf`.
//!
//! Made to cost less than any broker. What is published is encoded once and written from one large buffer; what is
//! delivered is found by the headers of its frames and read no further. A thread for each connection, and std sockets.
//!
//! - [`url`], [`tls`], [`wire`], [`input`]: a way to a broker, and reading from it;
//! - [`load`], [`fields`], [`topology`]: what is to be sent through which queues;
//! - [`frames`], [`window`], [`pace`]: what a publisher sends, how much at once, and when;
//! - [`publisher`], [`consumer`]: one connection each; [`run`] starts, watches and ends them;
//! - [`crew`]: threads that do the same side by side, for what is no stream of messages;
//! - [`throughput`], [`latency`], [`relay`], [`sync`], [`connections`], [`churn`], [`queues`], [`backlog`], [`soak`]: the
//!   commands, each with a plan and a report;
//! - [`compare`], [`floor`]: what was found of one broker beside another, or beside the relay;
//! - [`clock`], [`percentiles`], [`process`]: what is measured.

pub mod backlog;
pub mod churn;
pub mod clock;
pub mod compare;
pub mod connections;
pub mod consumer;
pub mod counters;
pub mod crew;
pub mod error;
#[cfg(test)]
mod fake;
pub mod fields;
pub mod floor;
pub mod frames;
pub mod input;
pub mod latency;
pub mod load;
pub mod pace;
pub mod percentiles;
pub mod process;
pub mod publisher;
pub mod queues;
pub mod relay;
pub mod run;
pub mod soak;
pub mod sync;
pub mod throughput;
pub mod tls;
pub mod topology;
pub mod url;
pub mod window;
pub mod wire;
