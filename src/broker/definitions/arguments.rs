//! Arguments of queues, exchanges and bindings as JSON, and back. Integers stay integers and floats stay floats, where 64 bits
//! suffice: longer integers are floats once the JSON is read, and nothing tells them from other floats.

use serde_json::{Map, Number, Value as Json};

use crate::protocol::field::{ArrayBuilder, ArrayRef, MAX_DEPTH, Table, TableBuilder, TableRef, Value};

/// The longest key of a table in bytes.
const LONGEST_KEY: usize = 255;

/// A table of what stands in JSON: integers become `long`, floats `double`, strings `longstr`, null `void`.
///
/// # Errors
/// What cannot be in a table: an integer of 64 bits over the largest signed one, a key over 255 bytes, and what is nested
/// too deep.
pub fn table_of(object: &Map<String, Json>) -> Result<Table, String> {
    table(object, 1)
}

fn table(object: &Map<String, Json>, depth: usize) -> Result<Table, String> {
    check_depth(depth)?;
    let mut builder = TableBuilder::new();
    for (key, json) in object {
        if key.len() > LONGEST_KEY {
            return Err(format!("an argument's name is longer than {LONGEST_KEY} bytes"));
        }
        match json {
            Json::Array(items) => builder.array(key, array(items, depth + 1)?.as_ref()),
            Json::Object(object) => builder.table(key, table(object, depth + 1)?.as_ref()),
            leaf => builder.value(key, of_leaf(key, leaf)?),
        };
    }
    Ok(builder.finish())
}

fn array(items: &[Json], depth: usize) -> Result<crate::protocol::field::Array, String> {
    check_depth(depth)?;
    let mut builder = ArrayBuilder::new();
    for json in items {
        match json {
            Json::Array(items) => builder.value(Value::Array(array(items, depth + 1)?.as_ref())),
            Json::Object(object) => builder.table(table(object, depth + 1)?.as_ref()),
            leaf => builder.value(of_leaf("a list", leaf)?),
        };
    }
    Ok(builder.finish())
}

fn check_depth(depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        Err(format!("arguments are nested deeper than {MAX_DEPTH} levels"))
    } else {
        Ok(())
    }
}

/// A value that has no others in it.
fn of_leaf<'a>(place: &str, json: &'a Json) -> Result<Value<'a>, String> {
    Ok(match json {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(text) => Value::LongStr(text.as_bytes()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::I64(integer),
            (None, Some(float)) if !number.is_u64() => Value::F64(float),
            _ => return Err(format!("{number} of {place} is too large a number for an argument")),
        },
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Void,
    })
}

/// A table as JSON. Bytes that are no text become text as good as they can; numbers that JSON does not have, null.
#[must_use]
pub fn value_of(table: TableRef<'_>) -> Map<String, Json> {
    table.iter().map(|(key, value)| (key.to_owned(), json_of(value))).collect()
}

fn json_of(value: Value<'_>) -> Json {
    let float = |number: f64| Number::from_f64(number).map_or(Json::Null, Json::Number);
    match value {
        Value::Bool(flag) => flag.into(),
        Value::F32(number) => float(number.into()),
        Value::F64(number) => float(number),
        Value::Decimal { scale, value } => float(f64::from(value) / 10_f64.powi(scale.into())),
        Value::LongStr(text) | Value::Bytes(text) => String::from_utf8_lossy(text).into(),
        Value::Timestamp(seconds) => seconds.into(),
        Value::Table(table) => Json::Object(value_of(table)),
        Value::Array(array) => list_of(array),
        Value::Void => Json::Null,
        integer => integer.as_int().map_or(Json::Null, Json::from),
    }
}

fn list_of(array: ArrayRef<'_>) -> Json {
    Json::Array(array.iter().map(json_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(number: &str) -> Result<String, String> {
        let object: Map<String, Json> = serde_json::from_str(&format!("{{\"x\": {number}}}")).unwrap();
        table_of(&object).map(|table| value_of(table.as_ref())["x"].to_string())
    }

    #[test]
    fn integers_stay_so_within_64_bits_and_are_refused_where_they_would_not() {
        for number in ["0", "9223372036854775807", "-9223372036854775808", "1.0", "-0.5", "1e+20"] {
            assert_eq!(read_back(number).as_deref(), Ok(number));
        }
        for number in ["9223372036854775808", "18446744073709551615"] {
            assert!(read_back(number).unwrap_err().contains("too large a number"), "{number}");
        }
    }

    #[test]
    fn longer_integers_are_read_as_floats() {
        assert_eq!(read_back("18446744073709551616"), read_back("18446744073709551616.0"));
        assert_eq!(read_back("-9223372036854775809"), read_back("-9223372036854775809.0"));
    }
}
