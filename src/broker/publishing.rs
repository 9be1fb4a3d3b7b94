//! What holds for the properties of every message that is published, whichever way it comes.

use crate::protocol::field::{TableRef, Value};
use crate::protocol::properties::Properties;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::queue::arguments::MAX_MILLISECONDS;

/// The expiration property is a whole number of milliseconds in decimal; RabbitMQ takes a plus sign. The words of the
/// refusal are RabbitMQ's.
///
/// # Errors
/// 406 if it is something else.
pub fn check_expiration(properties: Properties<'_>) -> Result<(), AmqpError> {
    let Some(text) = properties.expiration() else { return Ok(()) };
    let digits = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    let end = digits.iter().position(|digit| !digit.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let is_negative = text.first() == Some(&b'-');
    let number = String::from_utf8_lossy(digits);
    let why = if digits.is_empty() {
        "no_integer".to_owned()
    } else if !rest.is_empty() {
        format!("{{leftover_string,{:?}}}", String::from_utf8_lossy(rest))
    } else if is_negative {
        format!("{{value_negative,-{}}}", number.trim_start_matches('0'))
    } else if number.parse::<i64>().is_ok_and(|ms| ms <= MAX_MILLISECONDS) {
        return Ok(());
    } else {
        // Too many digits for a number are too large a number.
        format!("{{value_too_large,{}}}", number.trim_start_matches('0'))
    };
    let text = format!("invalid expiration '{}': {why}", String::from_utf8_lossy(text));
    Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
}

/// The further routing keys that the headers CC and BCC ask for. Members that are not strings are passed over.
///
/// # Errors
/// 406 if one of the two is no list.
pub fn sender_selected(headers: Option<TableRef<'_>>) -> Result<Vec<&str>, AmqpError> {
    let mut keys = Vec::new();
    let Some(headers) = headers else { return Ok(keys) };
    for name in ["CC", "BCC"] {
        match headers.get(name) {
            None => {}
            Some(Value::Array(array)) => keys.extend(array.iter().filter_map(Value::as_str)),
            Some(other) => {
                let kind = other.type_name();
                let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
                return Err(AmqpError::new(ReplyCode::PreconditionFailed, text));
            }
        }
    }
    keys.retain(|key| key.len() <= usize::from(u8::MAX));
    Ok(keys)
}
