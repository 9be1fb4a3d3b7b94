//! Leveret, an AMQP 0-9-1 message broker.
//!
//! The crate is layered; `docs/architecture.md` draws it and `tests/layers.rs` holds it. Everything below `server`
//! is plain synchronous code: bytes, events and time go in, bytes and effects come out.

pub mod broker;
pub mod channel;
pub mod cli;
pub mod config;
pub mod deaths;
pub mod identity;
pub mod ids;
pub mod lock;
pub mod management;
pub mod message;
pub mod output;
pub mod pattern;
pub mod perf;
pub mod protocol;
pub mod queue;
pub mod routing;
pub mod server;
pub mod session;
pub mod storage;
pub mod throttle;
pub mod time;
pub mod workers;
