//! Field tables and arrays as validated bytes.
//!
//! A table stays the bytes it came as: it is checked once, whole, by a loop with a bounded stack,
//! and then read by walking those bytes. There is no tree, so nothing here recurses, neither when
//! a value is parsed nor when it is dropped, printed or compared. Nesting is limited to
//! [`MAX_DEPTH`].
//!
//! Tags are RabbitMQ's: `t b B s u I i l L f d D S A T F V x`.

mod build;
mod scan;
mod show;
#[cfg(test)]
pub(super) mod tests;

use thiserror::Error;

pub use self::build::{Array, ArrayBuilder, Table, TableBuilder};
use self::scan::{Entry, Scanner};
use super::reply::{AmqpError, ReplyCode};
use super::wire::Truncated;

/// How many tables and arrays may be open inside each other, the outermost table included.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are no field table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// A key, a value or a nested length reaches past the end of its container.
    #[error("field table is cut short")]
    Truncated,
    /// A key is not UTF-8.
    #[error("field table key is not UTF-8")]
    KeyNotUtf8,
    /// A value's type tag is none of the known ones.
    #[error("unknown field tag {0}")]
    UnknownTag(u8),
    /// Tables and arrays are nested deeper than [`MAX_DEPTH`].
    #[error("field table is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

impl From<Truncated> for FieldError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl From<FieldError> for AmqpError {
    /// Always 501: in method arguments and in content properties alike, the frame is broken.
    fn from(error: FieldError) -> Self {
        Self::new(ReplyCode::FrameError, error.to_string())
    }
}

/// A valid table's body, without its four bytes of length.
///
/// Equal when the bytes are; see [`Value::equivalent`] for equality of meaning.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TableRef<'a>(&'a [u8]);

impl<'a> TableRef<'a> {
    /// The table without entries.
    pub const EMPTY: TableRef<'static> = TableRef(&[]);

    /// Checks a table's body whole, nested values included. Never allocates.
    ///
    /// # Errors
    ///
    /// See [`FieldError`]; the first fault in the order of the bytes.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, FieldError> {
        let mut rest = body;
        while !rest.is_empty() {
            scan::read_key(&mut rest)?;
            match scan::read_value(&mut rest)? {
                Value::Table(nested) => scan::check_nested(nested.0, true)?,
                Value::Array(nested) => scan::check_nested(nested.0, false)?,
                _ => {}
            }
        }
        Ok(TableRef(body))
    }

    /// A body that [`TableRef::parse`] has accepted before. Of other bytes the walks show the part
    /// before the first fault; they never panic.
    #[inline]
    pub(super) fn assume_valid(body: &'a [u8]) -> Self {
        TableRef(body)
    }

    /// The encoded entries.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The entries in their order, duplicate keys included.
    pub fn iter(self) -> TableIter<'a> {
        TableIter(self.0)
    }

    /// The value of the first entry with this key.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.iter().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// A copy that owns its bytes.
    pub fn to_table(self) -> Table {
        Table::copy_of(self)
    }
}

/// Entries of a [`TableRef`].
#[derive(Clone)]
pub struct TableIter<'a>(&'a [u8]);

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = scan::read_key(&mut self.0).ok()?;
        let value = scan::read_value(&mut self.0).ok()?;
        Some((key, value))
    }
}

/// A valid array's body, without its four bytes of length. Equal when the bytes are.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ArrayRef<'a>(&'a [u8]);

impl<'a> ArrayRef<'a> {
    /// The array without values.
    pub const EMPTY: ArrayRef<'static> = ArrayRef(&[]);

    /// The encoded values.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is no value.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The values in their order.
    pub fn iter(self) -> ArrayIter<'a> {
        ArrayIter(self.0)
    }
}

/// Values of an [`ArrayRef`].
#[derive(Clone)]
pub struct ArrayIter<'a>(&'a [u8]);

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        scan::read_value(&mut self.0).ok()
    }
}

/// One value of a table or array, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`, and `L` of some clients; written as `l`.
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Digits after the point, any octet.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// `S`: text by custom, but any bytes.
    LongStr(&'a [u8]),
    /// `A`
    Array(ArrayRef<'a>),
    /// `T`: seconds since 1970 UTC by custom, but any number.
    Timestamp(u64),
    /// `F`
    Table(TableRef<'a>),
    /// `V`
    Void,
    /// `x`
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number, if it is an integer of any width. Timestamps and decimals are not.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Value::I8(n) => Some(n.into()),
            Value::U8(n) => Some(n.into()),
            Value::I16(n) => Some(n.into()),
            Value::U16(n) => Some(n.into()),
            Value::I32(n) => Some(n.into()),
            Value::U32(n) => Some(n.into()),
            Value::I64(n) => Some(n),
            _ => None,
        }
    }

    /// The text, if it is a long string of UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Value::LongStr(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// RabbitMQ's word for the type, as error texts about arguments use it.
    pub fn type_name(self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::I8(_) => "byte",
            Value::U8(_) => "unsignedbyte",
            Value::I16(_) => "short",
            Value::U16(_) => "unsignedshort",
            Value::I32(_) => "signedint",
            Value::U32(_) => "unsignedint",
            Value::I64(_) => "long",
            Value::F32(_) => "float",
            Value::F64(_) => "double",
            Value::Decimal { .. } => "decimal",
            Value::LongStr(_) => "longstr",
            Value::Array(_) => "array",
            Value::Timestamp(_) => "timestamp",
            Value::Table(_) => "table",
            Value::Void => "void",
            Value::Bytes(_) => "binary",
        }
    }

    /// Whether both mean the same in a re-declaration: integers by their number whatever the
    /// width, everything else by type and value. Tables and arrays have the same entries in the
    /// same order.
    pub fn equivalent(self, other: Value<'_>) -> bool {
        match (self, other) {
            (Value::Table(a), Value::Table(b)) => a.0 == b.0 || same_entries(a.0, b.0, true),
            (Value::Array(a), Value::Array(b)) => a.0 == b.0 || same_entries(a.0, b.0, false),
            _ => same_leaf(self, other),
        }
    }
}

fn same_entries(a: &[u8], b: &[u8], table: bool) -> bool {
    let (mut a, mut b) = (Scanner::new(a, table), Scanner::new(b, table));
    loop {
        let same = match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(Entry::Leaf { key: k1, value: v1 }), Some(Entry::Leaf { key: k2, value: v2 })) => {
                k1 == k2 && same_leaf(v1, v2)
            }
            (Some(one), Some(two)) => one == two,
            _ => false,
        };
        if !same {
            return false;
        }
    }
}

fn same_leaf(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        // Not a number is the same as itself here: an argument that did not change is equivalent.
        (Value::F32(x), Value::F32(y)) => x == y || x.to_bits() == y.to_bits(),
        (Value::F64(x), Value::F64(y)) => x == y || x.to_bits() == y.to_bits(),
        _ => match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => x == y,
            _ => a == b,
        },
    }
}
