//! Walks over encoded tables and arrays: one entry at a time, or all levels with a bounded stack.

use super::{ArrayRef, FieldError, MAX_DEPTH, TableRef, Value};
use crate::protocol::wire::{take, take_long_str, take_octet, take_short_str};

/// Takes a table entry's key.
#[inline]
pub(super) fn read_key<'a>(rest: &mut &'a [u8]) -> Result<&'a str, FieldError> {
    std::str::from_utf8(take_short_str(rest)?).map_err(|_| FieldError::KeyNotUtf8)
}

/// Takes a tag and its value. A table or array is taken whole; what is inside is not looked at.
#[inline]
pub(super) fn read_value<'a>(rest: &mut &'a [u8]) -> Result<Value<'a>, FieldError> {
    Ok(match take_octet(rest)? {
        b't' => Value::Bool(take_octet(rest)? != 0),
        b'b' => Value::I8(i8::from_be_bytes(take(rest)?)),
        b'B' => Value::U8(take_octet(rest)?),
        b's' => Value::I16(i16::from_be_bytes(take(rest)?)),
        b'u' => Value::U16(u16::from_be_bytes(take(rest)?)),
        b'I' => Value::I32(i32::from_be_bytes(take(rest)?)),
        b'i' => Value::U32(u32::from_be_bytes(take(rest)?)),
        b'l' | b'L' => Value::I64(i64::from_be_bytes(take(rest)?)),
        b'f' => Value::F32(f32::from_be_bytes(take(rest)?)),
        b'd' => Value::F64(f64::from_be_bytes(take(rest)?)),
        b'D' => {
            let [scale, v3, v2, v1, v0] = take(rest)?;
            Value::Decimal { scale, value: u32::from_be_bytes([v3, v2, v1, v0]) }
        }
        b'S' => Value::LongStr(take_long_str(rest)?),
        b'A' => Value::Array(ArrayRef(take_long_str(rest)?)),
        b'T' => Value::Timestamp(u64::from_be_bytes(take(rest)?)),
        b'F' => Value::Table(TableRef(take_long_str(rest)?)),
        b'V' => Value::Void,
        b'x' => Value::Bytes(take_long_str(rest)?),
        tag => return Err(FieldError::UnknownTag(tag)),
    })
}

/// Checks everything inside a table or array that is itself an entry of the outermost table.
pub(super) fn check_nested(body: &[u8], table: bool) -> Result<(), FieldError> {
    let mut scanner = Scanner { depth: 2, base: 2, ..Scanner::new(body, table) };
    while scanner.advance()?.is_some() {}
    Ok(())
}

/// How many levels of tables and arrays are open at the deepest place, this one included.
pub(super) fn depth_of(body: &[u8], table: bool) -> usize {
    let mut scanner = Scanner::new(body, table);
    let mut deepest = scanner.depth;
    while scanner.next().is_some() {
        deepest = deepest.max(scanner.depth);
    }
    deepest
}

/// What a [`Scanner`] meets. Keys are there inside tables only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Entry<'a> {
    /// A value that holds no others.
    Leaf { key: Option<&'a str>, value: Value<'a> },
    /// A nested table or array begins; its entries follow.
    Open { key: Option<&'a str>, table: bool },
    /// The nested table or array opened last ends.
    Close { table: bool },
}

/// Goes through all levels of a table or array in the order of the bytes.
pub(super) struct Scanner<'a> {
    /// The outermost body.
    body: &'a [u8],
    /// What is left of the innermost open container.
    rest: &'a [u8],
    /// Where the innermost open container ends in `body`.
    end: usize,
    /// Open containers, the outermost included; at most [`MAX_DEPTH`].
    depth: usize,
    /// Depth of the container the walk began with.
    base: usize,
    /// Where the containers around the innermost one end, by depth.
    outer_ends: [usize; MAX_DEPTH],
    /// One bit per open container, the innermost lowest: whether it is a table.
    tables: u64,
}

const _: () = assert!(MAX_DEPTH <= u64::BITS as usize, "one bit per level");

impl<'a> Scanner<'a> {
    /// Starts at the front of a table's or array's body.
    pub(super) fn new(body: &'a [u8], table: bool) -> Self {
        Self {
            body,
            rest: body,
            end: body.len(),
            depth: 1,
            base: 1,
            outer_ends: [0; MAX_DEPTH],
            tables: u64::from(table),
        }
    }

    /// The next entry, `None` at the end of the outermost container.
    pub(super) fn advance(&mut self) -> Result<Option<Entry<'a>>, FieldError> {
        let in_table = self.tables & 1 == 1;
        if self.rest.is_empty() {
            return Ok(self.close().then_some(Entry::Close { table: in_table }));
        }
        let key = if in_table { Some(read_key(&mut self.rest)?) } else { None };
        let (inner, table) = match read_value(&mut self.rest)? {
            Value::Table(nested) => (nested.as_bytes(), true),
            Value::Array(nested) => (nested.as_bytes(), false),
            value => return Ok(Some(Entry::Leaf { key, value })),
        };
        self.open(inner, table)?;
        Ok(Some(Entry::Open { key, table }))
    }

    /// Goes into a container that was just taken from `rest`.
    fn open(&mut self, inner: &'a [u8], table: bool) -> Result<(), FieldError> {
        if self.depth == MAX_DEPTH {
            return Err(FieldError::TooDeep);
        }
        self.outer_ends[self.depth] = self.end;
        self.end -= self.rest.len();
        self.rest = inner;
        self.tables = self.tables << 1 | u64::from(table);
        self.depth += 1;
        Ok(())
    }

    /// Goes back to the container around; false if there is none.
    fn close(&mut self) -> bool {
        if self.depth == self.base {
            return false;
        }
        self.depth -= 1;
        let outer = self.outer_ends[self.depth];
        self.rest = &self.body[self.end..outer];
        self.end = outer;
        self.tables >>= 1;
        true
    }
}

/// For bytes that are known to be valid: ends at the first fault.
impl<'a> Iterator for Scanner<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().ok().flatten()
    }
}
