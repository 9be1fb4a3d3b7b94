//! The word by which a binding between two ends is told from others: RabbitMQ's `properties_key`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::protocol::field::TableRef;

/// Bytes of the hash of arguments.
const HASH: usize = 4;

/// The routing key as forms have it, and a hash of the arguments if there are some. It stays the same as long as the binding
/// does, and is `~` for one that has neither.
pub(crate) fn properties_key(key: &str, arguments: TableRef<'_>) -> String {
    let key = encoded(key, true);
    match (key.is_empty(), arguments.is_empty()) {
        (true, true) => "~".to_owned(),
        (false, true) => key,
        (_, false) => {
            let hash = Sha256::digest(arguments.as_bytes());
            format!("{key}~{}", BASE64_URL_SAFE_NO_PAD.encode(&hash[..HASH]))
        }
    }
}

/// The same word of what a client has put into a path for it. Some send the routing key as it is, and RabbitMQ reads it
/// whatever of it is escaped.
pub(crate) fn as_written(given: &str) -> String {
    match given.split_once('~') {
        Some(("", "")) => given.to_owned(),
        Some((key, hash)) => format!("{}~{hash}", rewritten(key)),
        None => rewritten(given),
    }
}

/// A key escaped as in `properties_key`, however much of it was.
fn rewritten(key: &str) -> String {
    encoded(&decoded(key), true)
}

/// A text of a form. What is no escape stands for itself.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, escape(after)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// The byte whose two hexadecimal digits are at the front.
fn escape(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..2)?).ok()?;
    if digits.starts_with('+') { None } else { u8::from_str_radix(digits, 16).ok() }
}

/// A name as a path has it.
pub(crate) fn escaped(name: &str) -> String {
    encoded(name, false)
}

fn encoded(text: &str, in_form: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            // In a form it would be taken for what comes before a hash.
            b'~' if in_form => out.push_str("%7E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            b' ' if in_form => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::field::TableBuilder;

    #[test]
    fn keys_are_as_in_rabbitmq() {
        for (key, expected) in
            [("", "~"), ("k", "k"), ("a b/c~", "a+b%2Fc%7E"), ("#.*", "%23.%2A"), ("+", "%2B")]
        {
            assert_eq!(properties_key(key, TableRef::EMPTY), expected);
        }
        let arguments = TableBuilder::new().long_str("x-match", "all").finish();
        let with = properties_key("a b/c~", arguments.as_ref());
        let (key, hash) = with.split_once('~').unwrap();
        assert_eq!((key, hash.len()), ("a+b%2Fc%7E", 6));
        assert_eq!(properties_key("", arguments.as_ref()), format!("~{hash}"));
    }

    #[test]
    fn keys_are_read_however_they_are_escaped() {
        for (given, expected) in [
            ("a.*", "a.%2A"),
            ("a.%2A", "a.%2A"),
            ("%61.%2a", "a.%2A"),
            ("a b", "a+b"),
            ("a+b", "a+b"),
            ("%", "%25"),
            ("%+1", "%25+1"),
            ("%ff", "%25ff"),
            ("~", "~"),
            ("#~Ab_-9", "%23~Ab_-9"),
            ("~Ab_-9", "~Ab_-9"),
        ] {
            assert_eq!(as_written(given), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_written_as_it_is(key in ".{0,8}", with_arguments: bool) {
            let arguments = TableBuilder::new().bool("a", true).finish();
            let arguments = if with_arguments { arguments.as_ref() } else { TableRef::EMPTY };
            let written = properties_key(&key, arguments);
            prop_assert_eq!(as_written(&written), written);
        }

        #[test]
        fn a_key_names_one_binding(one in ".{0,8}", other in ".{0,8}") {
            let arguments = TableBuilder::new().bool("a", true).finish();
            let plain = [&one, &other].map(|key| properties_key(key, TableRef::EMPTY));
            prop_assert_eq!(plain[0] == plain[1], one == other);
            prop_assert_ne!(&plain[0], &properties_key(&one, arguments.as_ref()));
            prop_assert!(plain[0].bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
        }

        #[test]
        fn what_is_escaped_is_read_back(name in ".{0,20}") {
            let path = escaped(&name);
            prop_assert!(!path.contains(['/', ' ', '+', '?', '#']));
            let uri: axum::http::Uri = format!("/?x={path}").parse().unwrap();
            let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap().0;
            prop_assert_eq!(&read[0].1, &name);
        }
    }
}
