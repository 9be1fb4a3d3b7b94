//! Passwords in addresses, which not everybody may read who may see the address.

use serde_json::Value;

/// What stands in the place of a password.
const MASK: &str = "***";

/// A value with the passwords of all addresses in it masked, of lists and objects too.
pub(crate) fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => masked_address(text).unwrap_or_else(|| text.clone()).into(),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), masked(value))).collect(),
        other => other.clone(),
    }
}

/// An address without its password, if it has one: `amqp://user:***@host/vhost`.
fn masked_address(text: &str) -> Option<String> {
    let begin = text.find("://")? + "://".len();
    let rest = &text[begin..];
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    // What is not written as it has to be may hide a password behind one of these: then rather too much is masked.
    let end = authority.rfind('@').or_else(|| rest.rfind('@'))?;
    let colon = rest[..end].find(':')?;
    Some(format!("{}:{MASK}{}", &text[..begin + colon], &rest[end..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_are_masked_and_nothing_else() {
        for (address, shown) in [
            ("amqp://user:secret@host:5672/vhost", Some("amqp://user:***@host:5672/vhost")),
            ("amqps://u:se%40cret@host?cacertfile=/a", Some("amqps://u:***@host?cacertfile=/a")),
            ("amqp://u:se:cr@et@host", Some("amqp://u:***@host")),
            ("amqp://u:se/cret@host/v", Some("amqp://u:***@host/v")),
            ("amqp://:secret@host", Some("amqp://:***@host")),
            ("amqp://u:p@a:1?x=y@z", Some("amqp://u:***@a:1?x=y@z")),
            ("amqp://user@host:5672", None),
            ("amqp://host:5672/a", None),
            ("amqp://", None),
            ("user:secret", None),
        ] {
            assert_eq!(masked_address(address).as_deref(), shown, "{address}");
        }
    }

    #[test]
    fn addresses_are_found_wherever_they_are() {
        let value = json!({"src-uri": ["amqp://a:b@c", "amqp://"], "x": {"uri": "amqp://a:b@c"}, "ack": 1});
        let shown =
            json!({"src-uri": ["amqp://a:***@c", "amqp://"], "x": {"uri": "amqp://a:***@c"}, "ack": 1});
        assert_eq!(masked(&value), shown);
    }
}
