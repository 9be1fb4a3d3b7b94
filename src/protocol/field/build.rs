//! Tables and arrays that own their bytes, and the builders that make them.

use std::fmt;

use super::{ArrayRef, MAX_DEPTH, TableRef, Value, scan};
use crate::protocol::wire::{put_long_str, put_short_str};

/// A valid table that owns its bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Table(Box<[u8]>);

impl Table {
    /// Copies a table's bytes.
    pub(super) fn copy_of(table: TableRef<'_>) -> Self {
        Self(table.as_bytes().into())
    }

    /// The table to read from.
    #[inline]
    pub fn as_ref(&self) -> TableRef<'_> {
        TableRef::assume_valid(&self.0)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A valid array that owns its bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Array(Box<[u8]>);

impl Array {
    /// The array to read from.
    pub fn as_ref(&self) -> ArrayRef<'_> {
        ArrayRef(&self.0)
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// Makes a [`Table`] entry by entry; the calls can be chained.
///
/// What the wire cannot carry is fitted in: a key over 255 bytes is cut on a character boundary,
/// and a nested value that would make the table deeper than [`MAX_DEPTH`] is written as void. Keys
/// are not compared: of two equal ones the first is the one read.
#[derive(Clone, Debug, Default)]
pub struct TableBuilder(Vec<u8>);

impl TableBuilder {
    /// A builder of an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds any value.
    pub fn value(&mut self, key: &str, value: Value<'_>) -> &mut Self {
        put_short_str(&mut self.0, key);
        put_value(&mut self.0, value);
        self
    }

    /// Adds a truth value.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.value(key, Value::Bool(value))
    }

    /// Adds a signed integer of 32 bits.
    pub fn int32(&mut self, key: &str, value: i32) -> &mut Self {
        self.value(key, Value::I32(value))
    }

    /// Adds a signed integer of 64 bits.
    pub fn int64(&mut self, key: &str, value: i64) -> &mut Self {
        self.value(key, Value::I64(value))
    }

    /// Adds a string.
    pub fn long_str(&mut self, key: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.value(key, Value::LongStr(value.as_ref()))
    }

    /// Adds a point in time, in seconds since 1970 UTC.
    pub fn timestamp(&mut self, key: &str, value: u64) -> &mut Self {
        self.value(key, Value::Timestamp(value))
    }

    /// Adds a nested table.
    pub fn table(&mut self, key: &str, value: TableRef<'_>) -> &mut Self {
        self.value(key, Value::Table(value))
    }

    /// Adds an array.
    pub fn array(&mut self, key: &str, value: ArrayRef<'_>) -> &mut Self {
        self.value(key, Value::Array(value))
    }

    /// The table; the builder is empty again.
    pub fn finish(&mut self) -> Table {
        Table(std::mem::take(&mut self.0).into())
    }
}

/// Makes an [`Array`] value by value; the calls can be chained. Nested values are fitted in as by
/// [`TableBuilder`].
#[derive(Clone, Debug, Default)]
pub struct ArrayBuilder(Vec<u8>);

impl ArrayBuilder {
    /// A builder of an empty array.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds any value.
    pub fn value(&mut self, value: Value<'_>) -> &mut Self {
        put_value(&mut self.0, value);
        self
    }

    /// Adds a string.
    pub fn long_str(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        self.value(Value::LongStr(value.as_ref()))
    }

    /// Adds a table.
    pub fn table(&mut self, value: TableRef<'_>) -> &mut Self {
        self.value(Value::Table(value))
    }

    /// The array; the builder is empty again.
    pub fn finish(&mut self) -> Array {
        Array(std::mem::take(&mut self.0).into())
    }
}

/// Appends a tag and its value.
fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Bool(flag) => put_fixed(out, b't', [u8::from(flag)]),
        Value::I8(n) => put_fixed(out, b'b', n.to_be_bytes()),
        Value::U8(n) => put_fixed(out, b'B', n.to_be_bytes()),
        Value::I16(n) => put_fixed(out, b's', n.to_be_bytes()),
        Value::U16(n) => put_fixed(out, b'u', n.to_be_bytes()),
        Value::I32(n) => put_fixed(out, b'I', n.to_be_bytes()),
        Value::U32(n) => put_fixed(out, b'i', n.to_be_bytes()),
        Value::I64(n) => put_fixed(out, b'l', n.to_be_bytes()),
        Value::F32(x) => put_fixed(out, b'f', x.to_be_bytes()),
        Value::F64(x) => put_fixed(out, b'd', x.to_be_bytes()),
        Value::Decimal { scale, value } => {
            put_fixed(out, b'D', [scale]);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::LongStr(text) => put_sized(out, b'S', text),
        Value::Array(array) if scan::depth_of(array.0, false) < MAX_DEPTH => put_sized(out, b'A', array.0),
        Value::Timestamp(seconds) => put_fixed(out, b'T', seconds.to_be_bytes()),
        Value::Table(table) if scan::depth_of(table.0, true) < MAX_DEPTH => put_sized(out, b'F', table.0),
        Value::Bytes(bytes) => put_sized(out, b'x', bytes),
        Value::Void | Value::Array(_) | Value::Table(_) => out.push(b'V'),
    }
}

fn put_fixed<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: [u8; N]) {
    out.push(tag);
    out.extend_from_slice(&bytes);
}

fn put_sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_long_str(out, bytes);
}
