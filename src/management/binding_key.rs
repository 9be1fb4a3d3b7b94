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
    let key = encoded(key, true).replace('~', "%7E");
    match (key.is_empty(), arguments.is_empty()) {
        (true, true) => "~".to_owned(),
        (false, true) => key,
        (_, false) => {
            let hash = Sha256::digest(arguments.as_bytes());
            format!("{key}~{}", BASE64_URL_SAFE_NO_PAD.encode(&hash[..HASH]))
        }
    }
}

/// A name as a path has it.
pub(crate) fn escaped(name: &str) -> String {
    encoded(name, false)
}

fn encoded(text: &str, in_form: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
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

    proptest! {
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
