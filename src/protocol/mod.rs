//! The wire, pure: AMQP 0-9-1 frames, methods, field tables and content as values.
//!
//! Bytes go in, values borrowing from those bytes come out, and the other way round. Nothing here
//! reads a clock, does IO or knows a connection; the order of methods is the business of
//! `session`. Decoding never allocates, never recurses and never panics, whatever the bytes are:
//! every length a peer names is checked against the bytes that are there before it is used.
//!
//! - [`frame`]: the envelope around everything;
//! - [`method`]: classes and methods, from one declaration;
//! - [`field`]: tables, arrays and their values, kept as validated bytes;
//! - [`properties`] and [`content`]: a message's header and body;
//! - [`reply`]: reply codes and the error that carries one.

pub mod content;
pub mod field;
pub mod frame;
pub mod method;
pub mod properties;
pub mod proxy;
pub mod reply;
mod wire;

/// The eight bytes a client opens a connection with, and the broker's answer to any others.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";
