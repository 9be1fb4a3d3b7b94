//! Properties and arguments as they are written on a command line.

use crate::protocol::field::{Table, TableBuilder};
use crate::protocol::properties::PropertiesBuilder;

/// What a property that goes into the headers begins with.
const HEADER: &str = "headers.";

/// A table of `key=value` pairs: numbers and `true` and `false` as such, everything else as text.
#[must_use]
pub fn table(pairs: &[(String, String)]) -> Table {
    let mut table = TableBuilder::new();
    for (key, value) in pairs {
        match (value.as_str(), value.parse()) {
            (_, Ok(number)) => table.int64(key, number),
            ("true", _) => table.bool(key, true),
            ("false", _) => table.bool(key, false),
            (text, _) => table.long_str(key, text),
        };
    }
    table.finish()
}

/// The encoded properties of a message: `name=value` pairs by the names of AMQP, with `-` or `_`, and headers as
/// `headers.key=value`. `more` headers come behind those.
///
/// # Errors
///
/// A name that there is not, or a value it cannot have.
pub fn properties(
    pairs: &[(String, String)],
    persistent: bool,
    more: &[(String, String)],
) -> Result<Vec<u8>, String> {
    let mut built = PropertiesBuilder::new();
    let mut headers = Vec::new();
    if persistent {
        built.set_delivery_mode(2);
    }
    for (name, value) in pairs {
        if let Some(key) = name.strip_prefix(HEADER).filter(|key| !key.is_empty()) {
            headers.push((key.to_owned(), value.clone()));
            continue;
        }
        if value.len() > usize::from(u8::MAX) {
            return Err(format!("the property {name} is longer than 255 bytes"));
        }
        let wrong = || format!("the property {name} should be a number, not '{value}'");
        match name.replace('-', "_").as_str() {
            "content_type" => built.set_content_type(value),
            "content_encoding" => built.set_content_encoding(value),
            "priority" => built.set_priority(value.parse().map_err(|_| wrong())?),
            "correlation_id" => built.set_correlation_id(value),
            "reply_to" => built.set_reply_to(value),
            "expiration" => built.set_expiration(value),
            "message_id" => built.set_message_id(value),
            "timestamp" => built.set_timestamp(value.parse().map_err(|_| wrong())?),
            "type" => built.set_kind(value),
            "user_id" => built.set_user_id(value),
            "app_id" => built.set_app_id(value),
            "delivery_mode" => return Err("the delivery mode is set by --persistent".to_owned()),
            _ => {
                return Err(format!(
                    "there is no property {name}; there are content_type, content_encoding, priority, correlation_id, \
                     reply_to, expiration, message_id, timestamp, type, user_id, app_id and headers.KEY"
                ));
            }
        };
    }
    headers.extend_from_slice(more);
    if !headers.is_empty() {
        built.set_headers(Some(&table(&headers)));
    }
    Ok(built.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::field::Value;
    use crate::protocol::properties::Properties;

    fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        texts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_have_the_types_they_look_like() {
        let table = table(&pairs(&[("a", "-5"), ("b", "true"), ("c", "quorum"), ("d", "")]));
        let values: Vec<_> = table.as_ref().iter().collect();
        let expected = [
            ("a", Value::I64(-5)),
            ("b", Value::Bool(true)),
            ("c", Value::LongStr(b"quorum")),
            ("d", Value::LongStr(b"")),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn properties_go_to_their_places() {
        let given =
            pairs(&[("content-type", "text/plain"), ("type", "t"), ("priority", "7"), ("headers.x", "1")]);
        let raw = properties(&given, true, &pairs(&[("y", "z")])).expect("properties");
        let properties = Properties::parse(&raw).expect("valid");
        assert_eq!(properties.content_type(), Some(&b"text/plain"[..]));
        assert_eq!((properties.kind(), properties.priority()), (Some(&b"t"[..]), Some(7)));
        assert_eq!(properties.delivery_mode(), Some(2));
        let headers = properties.headers().expect("headers");
        assert_eq!(headers.get("x").and_then(Value::as_int), Some(1));
        assert_eq!(headers.get("y").and_then(Value::as_str), Some("z"));
        assert_eq!(super::properties(&[], false, &[]), Ok(vec![0, 0]));
    }

    #[test]
    fn what_there_is_not_is_refused() {
        for (name, value, what) in [
            ("colour", "red", "no property colour"),
            ("priority", "high", "number"),
            ("delivery_mode", "2", "--persistent"),
            ("headers.", "2", "no property headers."),
        ] {
            let error = properties(&pairs(&[(name, value)]), false, &[]).expect_err(name);
            assert!(error.contains(what), "{name}: {error}");
        }
        assert!(properties(&pairs(&[("app_id", &"x".repeat(256))]), false, &[]).is_err());
    }
}
