//! Passwords in addresses, which not everybody may read who may see the address.
//!
//! Who changes a value sends back what they were shown. So a [mask](MASK) stands for the password that was there, where the
//! rest of the address is the same, and nowhere else: else it would be sent to another host, or lost.

use serde_json::Value;

/// What stands in the place of a password.
const MASK: &str = "***";

/// A value with the passwords of all addresses in it masked, of lists and objects too.
#[must_use]
pub fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => masked_address(text).unwrap_or_else(|| text.clone()).into(),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), masked(value))).collect(),
        other => other.clone(),
    }
}

/// A mask stands where no password is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password in {0} is masked, and no parameter has this address: give the password itself")]
pub struct Masked(String);

/// A value with passwords in the places of masks: those of what was there `before`, if the address was the same under the same
/// keys.
///
/// # Errors
/// If there is no such address, or several with different passwords.
pub fn unmasked(value: &Value, before: Option<&Value>) -> Result<Value, Masked> {
    match value {
        Value::String(text) if is_masked(text) => {
            let known = before.into_iter().flat_map(|before| match before {
                Value::Array(items) => items.as_slice(),
                other => std::slice::from_ref(other),
            });
            let mut same = known.filter(|known| masked(known) == *value);
            let first = same.next().ok_or_else(|| Masked(text.clone()))?;
            if same.all(|other| other == first) { Ok(first.clone()) } else { Err(Masked(text.clone())) }
        }
        Value::Array(items) => items.iter().map(|item| unmasked(item, before)).collect(),
        Value::Object(object) => {
            let entry = |(key, value): (&String, &Value)| {
                let before = before.and_then(|before| before.get(key));
                Ok((key.clone(), unmasked(value, before)?))
            };
            object.iter().map(entry).collect()
        }
        other => Ok(other.clone()),
    }
}

/// Whether an address has a mask for its password.
fn is_masked(text: &str) -> bool {
    masked_address(text).is_some_and(|masked| masked == text)
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
    fn a_mask_stands_for_the_password_that_was_there() {
        let before =
            json!({"src-uri": ["amqp://a:b@c", "amqp://d:e@f"], "dest-uri": "amqp://g:h@i", "ack": 1});
        assert_eq!(unmasked(&masked(&before), Some(&before)), Ok(before.clone()));
        let changed = json!({"src-uri": "amqp://d:***@f", "dest-uri": ["amqp://g:new@i"], "ack": 2});
        let kept = json!({"src-uri": "amqp://d:e@f", "dest-uri": ["amqp://g:new@i"], "ack": 2});
        assert_eq!(unmasked(&changed, Some(&before)), Ok(kept));
        for wrong in [
            json!({"src-uri": "amqp://a:***@evil"}),
            json!({"src-uri": "amqp://g:***@i"}),
            json!({"other-uri": "amqp://a:***@c"}),
            json!("amqp://a:***@c"),
        ] {
            assert!(unmasked(&wrong, Some(&before)).is_err(), "{wrong}");
            assert!(unmasked(&wrong, None).is_err());
        }
        let two = json!(["amqp://a:b@c", "amqp://a:x@c"]);
        assert!(unmasked(&masked(&two), Some(&two)).is_err(), "which of them is not known");
        let plain = json!({"uri": "amqp://a@c", "text": "***", "n": null});
        assert_eq!(unmasked(&plain, None), Ok(plain));
    }

    #[test]
    fn addresses_are_found_wherever_they_are() {
        let value = json!({"src-uri": ["amqp://a:b@c", "amqp://"], "x": {"uri": "amqp://a:b@c"}, "ack": 1});
        let shown =
            json!({"src-uri": ["amqp://a:***@c", "amqp://"], "x": {"uri": "amqp://a:***@c"}, "ack": 1});
        assert_eq!(masked(&value), shown);
    }
}
