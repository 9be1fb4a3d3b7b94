//! How arguments are read and written: the types of the specification, one method each, under the
//! names the declarations use.

use std::fmt;

use thiserror::Error;

use super::Args;
use crate::protocol::field::{FieldError, TableRef};
use crate::protocol::reply::{AmqpError, MethodId, ReplyCode};
use crate::protocol::wire::{self, Truncated};

/// Why arguments cannot be decoded.
#[derive(Clone, Copy, Debug, Error)]
pub(super) enum DecodeError {
    #[error("arguments are cut short")]
    Truncated,
    #[error("{0} bytes after the last argument")]
    Trailing(usize),
    #[error("Malformed UTF-8 in shortstr")]
    Utf8,
    #[error(transparent)]
    Field(FieldError),
}

impl From<Truncated> for DecodeError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// A method that can be read from its arguments.
pub(super) trait ReadArgs<'a>: Args + Sized {
    /// Reads the arguments in their order.
    fn read(input: &mut Decoder<'a>) -> Result<Self, DecodeError>;

    /// Reads the arguments, which must be all of `args`.
    #[inline]
    fn decode(args: &'a [u8]) -> Result<Self, AmqpError> {
        let mut input = Decoder::new(args);
        match Self::read(&mut input) {
            Ok(method) if input.rest.is_empty() => Ok(method),
            Ok(_) => Err(malformed(Self::ID, Self::NAME, DecodeError::Trailing(input.rest.len()))),
            Err(error) => Err(malformed(Self::ID, Self::NAME, error)),
        }
    }
}

#[cold]
fn malformed(id: MethodId, name: &str, error: DecodeError) -> AmqpError {
    AmqpError::new(ReplyCode::FrameError, format!("cannot decode {name}: {error}")).at(id)
}

/// The error for ids no class has.
#[cold]
pub(super) fn unknown_method(id: MethodId) -> AmqpError {
    AmqpError::new(ReplyCode::NotImplemented, format!("unknown method {id}")).at(id)
}

/// Reads arguments from the front. Bits that follow each other share an octet, lowest first.
pub(super) struct Decoder<'a> {
    rest: &'a [u8],
    /// The octet of the current run of bits, shifted so that the next bit is the lowest.
    bits: u8,
    bits_left: u8,
}

impl<'a> Decoder<'a> {
    #[inline]
    pub(super) fn new(args: &'a [u8]) -> Self {
        Self { rest: args, bits: 0, bits_left: 0 }
    }

    #[inline]
    pub(super) fn bit(&mut self) -> Result<bool, DecodeError> {
        if self.bits_left == 0 {
            self.bits = wire::take_octet(&mut self.rest)?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    #[inline]
    pub(super) fn octet(&mut self) -> Result<u8, DecodeError> {
        self.bits_left = 0;
        Ok(wire::take_octet(&mut self.rest)?)
    }

    #[inline]
    pub(super) fn short(&mut self) -> Result<u16, DecodeError> {
        self.bits_left = 0;
        Ok(u16::from_be_bytes(wire::take(&mut self.rest)?))
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<u32, DecodeError> {
        self.bits_left = 0;
        Ok(u32::from_be_bytes(wire::take(&mut self.rest)?))
    }

    #[inline]
    pub(super) fn longlong(&mut self) -> Result<u64, DecodeError> {
        self.bits_left = 0;
        Ok(u64::from_be_bytes(wire::take(&mut self.rest)?))
    }

    #[inline]
    pub(super) fn shortstr(&mut self) -> Result<&'a str, DecodeError> {
        self.bits_left = 0;
        std::str::from_utf8(wire::take_short_str(&mut self.rest)?).map_err(|_| DecodeError::Utf8)
    }

    #[inline]
    pub(super) fn longstr(&mut self) -> Result<&'a [u8], DecodeError> {
        self.bits_left = 0;
        Ok(wire::take_long_str(&mut self.rest)?)
    }

    #[inline]
    pub(super) fn secret(&mut self) -> Result<&'a [u8], DecodeError> {
        self.longstr()
    }

    #[inline]
    pub(super) fn table(&mut self) -> Result<TableRef<'a>, DecodeError> {
        TableRef::parse(self.longstr()?).map_err(DecodeError::Field)
    }
}

/// Appends arguments; the counterpart of [`Decoder`].
pub(super) struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    /// Bits not written yet, and how many.
    bits: u8,
    bit_count: u8,
}

impl<'o> Encoder<'o> {
    #[inline]
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, bits: 0, bit_count: 0 }
    }

    /// Writes the octet of a run of bits that has ended. Also due after the last argument.
    #[inline]
    pub(super) fn flush_bits(&mut self) {
        if self.bit_count > 0 {
            self.out.push(self.bits);
            (self.bits, self.bit_count) = (0, 0);
        }
    }

    #[inline]
    pub(super) fn bit(&mut self, value: bool) {
        if self.bit_count == 8 {
            self.flush_bits();
        }
        self.bits |= u8::from(value) << self.bit_count;
        self.bit_count += 1;
    }

    #[inline]
    pub(super) fn octet(&mut self, value: u8) {
        self.flush_bits();
        self.out.push(value);
    }

    #[inline]
    pub(super) fn short(&mut self, value: u16) {
        self.flush_bits();
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub(super) fn long(&mut self, value: u32) {
        self.flush_bits();
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub(super) fn longlong(&mut self, value: u64) {
        self.flush_bits();
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub(super) fn shortstr(&mut self, value: &str) {
        self.flush_bits();
        wire::put_short_str(self.out, value);
    }

    #[inline]
    pub(super) fn longstr(&mut self, value: &[u8]) {
        self.flush_bits();
        wire::put_long_str(self.out, value);
    }

    #[inline]
    pub(super) fn secret(&mut self, value: &[u8]) {
        self.longstr(value);
    }

    #[inline]
    pub(super) fn table(&mut self, value: TableRef<'_>) {
        self.longstr(value.as_bytes());
    }
}

/// How `Debug` shows an argument of bytes.
pub(super) enum Shown<'a> {
    /// As text, escaped.
    Text(&'a [u8]),
    /// Not at all: it may hold a password or a token.
    Secret,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Secret => f.write_str("<secret>"),
        }
    }
}
