//! Tables, arrays and values as people read them.

use std::fmt;

use super::scan::{Entry, Scanner};
use super::{ArrayRef, TableRef, Value};

impl fmt::Debug for TableRef<'_> {
    /// `{key: value, nested: {key: value}}`, all levels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_nested(f, self.0, true)
    }
}

impl fmt::Debug for ArrayRef<'_> {
    /// `[value, value]`, all levels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_nested(f, self.0, false)
    }
}

impl fmt::Display for Value<'_> {
    /// As error texts name a value: strings bare, with bytes that are no UTF-8 replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::LongStr(text) | Value::Bytes(text) => f.write_str(&String::from_utf8_lossy(text)),
            Value::Table(table) => write_nested(f, table.0, true),
            Value::Array(array) => write_nested(f, array.0, false),
            Value::Void => f.write_str("undefined"),
            leaf => write_leaf(f, leaf),
        }
    }
}

fn write_nested(f: &mut fmt::Formatter<'_>, body: &[u8], table: bool) -> fmt::Result {
    f.write_str(opening(table))?;
    let mut first = true;
    for entry in Scanner::new(body, table) {
        let key = match entry {
            Entry::Leaf { key, .. } | Entry::Open { key, .. } => key,
            Entry::Close { table } => {
                f.write_str(closing(table))?;
                first = false;
                continue;
            }
        };
        if !first {
            f.write_str(", ")?;
        }
        if let Some(key) = key {
            write!(f, "{}: ", key.escape_debug())?;
        }
        if let Entry::Open { table, .. } = entry {
            f.write_str(opening(table))?;
        }
        if let Entry::Leaf { value, .. } = entry {
            write_leaf(f, value)?;
        }
        first = matches!(entry, Entry::Open { .. });
    }
    f.write_str(closing(table))
}

/// Strings quoted and escaped, so that no value can forge the text around it.
fn write_leaf(f: &mut fmt::Formatter<'_>, value: Value<'_>) -> fmt::Result {
    match value {
        Value::Bool(flag) => write!(f, "{flag}"),
        Value::I8(n) => write!(f, "{n}"),
        Value::U8(n) => write!(f, "{n}"),
        Value::I16(n) => write!(f, "{n}"),
        Value::U16(n) => write!(f, "{n}"),
        Value::I32(n) => write!(f, "{n}"),
        Value::U32(n) => write!(f, "{n}"),
        Value::I64(n) => write!(f, "{n}"),
        Value::F32(x) => write!(f, "{x}"),
        Value::F64(x) => write!(f, "{x}"),
        Value::Decimal { scale, value } => write!(f, "{value}e-{scale}"),
        Value::Timestamp(seconds) => write!(f, "{seconds}"),
        Value::LongStr(text) => match std::str::from_utf8(text) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "\"{}\"", text.escape_ascii()),
        },
        Value::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
        Value::Void => f.write_str("void"),
        // The scanner opens these instead of handing them out.
        Value::Table(_) | Value::Array(_) => Ok(()),
    }
}

fn opening(table: bool) -> &'static str {
    if table { "{" } else { "[" }
}

fn closing(table: bool) -> &'static str {
    if table { "}" } else { "]" }
}
