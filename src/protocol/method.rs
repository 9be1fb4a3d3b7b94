//! Methods: every class of AMQP 0-9-1 with RabbitMQ's extensions.
//!
//! Each class has a module with one declaration of its methods, as the specification lists them;
//! structs, ids, names, decoding, encoding and `Debug` all come from it (see `method/declare.rs`).
//! Decoded methods borrow from the frame. Whether a method may come now, and from this side, is
//! not decided here.

#[macro_use]
mod declare;
mod codec;
#[cfg(test)]
mod tests;

pub mod access;
pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod exchange;
pub mod queue;
pub mod tx;

use std::fmt;

use super::frame::{FrameKind, begin_frame, end_frame};
use super::reply::{AmqpError, MethodId, ReplyCode};

/// What every method struct has: its ids, its name and how its arguments are written.
pub trait Args {
    /// Class and method id.
    const ID: MethodId;
    /// The name people know, `queue.declare`.
    const NAME: &'static str;

    /// Appends the arguments, without the ids. A short string over 255 bytes is cut on a character
    /// boundary; names are checked where they enter, so that never happens to one.
    fn encode_args(&self, out: &mut Vec<u8>);
}

/// Appends a whole method frame.
#[inline]
pub fn write_method<M: Args>(out: &mut Vec<u8>, channel: u16, method: &M) {
    let start = begin_frame(out, FrameKind::Method, channel);
    put_id(out, M::ID);
    method.encode_args(out);
    end_frame(out, start);
}

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident $(<$lt:lifetime>)? = $class:ident,)*) => {
        /// Any method, grouped by class.
        #[derive(Clone, Copy, PartialEq)]
        pub enum Method<'a> {
            $($(#[$doc])* $variant($class::Method $(<$lt>)?),)*
        }

        impl<'a> Method<'a> {
            /// Decodes a method frame's payload, which must be one method to its last byte.
            ///
            /// # Errors
            ///
            /// 540 for an unknown class or method; 501 for arguments that are cut short, followed
            /// by more bytes, or hold a malformed table or a short string that is not UTF-8. The
            /// error names the method.
            #[inline]
            pub fn decode(payload: &'a [u8]) -> Result<Self, AmqpError> {
                let &[c1, c0, m1, m0, ref args @ ..] = payload else {
                    return Err(AmqpError::new(ReplyCode::FrameError, "method frame without ids"));
                };
                let id = MethodId::new(u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0]));
                match id.class {
                    $($class::CLASS => Ok(Self::$variant($class::Method::decode(id.method, args)?)),)*
                    _ => Err(codec::unknown_method(id)),
                }
            }

            /// Class and method id.
            pub fn id(&self) -> MethodId {
                match self {
                    $(Self::$variant(method) => method.id(),)*
                }
            }

            /// The name people know, `queue.declare`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(method) => method.name(),)*
                }
            }

            /// Appends ids and arguments: a method frame's payload.
            pub fn encode(&self, out: &mut Vec<u8>) {
                put_id(out, self.id());
                match self {
                    $(Self::$variant(method) => method.encode_args(out),)*
                }
            }
        }

        impl fmt::Debug for Method<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(method) => method.fmt(f),)*
                }
            }
        }

        #[cfg(test)]
        impl<'a> Method<'a> {
            /// One of every method there is, with arguments from `source`.
            pub(super) fn samples(source: &mut tests::Source<'a>) -> Vec<Self> {
                let mut all = Vec::new();
                $(all.extend($class::Method::samples(source).into_iter().map(Self::$variant));)*
                all
            }
        }
    };
}

classes! {
    /// Class 10: the connection itself, on channel 0.
    Connection<'a> = connection,
    /// Class 20: opening, closing and pausing channels.
    Channel<'a> = channel,
    /// Class 30: realms of protocol 0-8, kept for old clients.
    Access<'a> = access,
    /// Class 40: exchanges and the bindings between them.
    Exchange<'a> = exchange,
    /// Class 50: queues and their bindings.
    Queue<'a> = queue,
    /// Class 60: messages and consumers.
    Basic<'a> = basic,
    /// Class 85: publisher confirms.
    Confirm = confirm,
    /// Class 90: transactions.
    Tx = tx,
}

#[inline]
fn put_id(out: &mut Vec<u8>, id: MethodId) {
    let ([c1, c0], [m1, m0]) = (id.class.to_be_bytes(), id.method.to_be_bytes());
    out.extend_from_slice(&[c1, c0, m1, m0]);
}
