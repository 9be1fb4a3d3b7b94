//! What bodies of requests say, key by key, with RabbitMQ's words for what is wrong.

use serde_json::{Map, Value};

use crate::management::error::ApiError;

/// The longest name that AMQP can carry, in bytes.
const LONGEST_NAME: usize = 255;

/// The JSON object of a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// The object in a body. None at all, and null, are an empty one, as in RabbitMQ.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(Value::Null) => Ok(Self::default()),
            Ok(Value::String(_)) => Err(ApiError::bad(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
            )),
            _ => Err(ApiError::bad("not_json")),
        }
    }

    /// What stands under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// What stands under a key.
    ///
    /// # Errors
    /// If nothing does.
    pub(crate) fn required(&self, key: &str) -> Result<&Value, ApiError> {
        self.get(key).ok_or_else(|| missing(key))
    }

    /// The text under a key.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn text(&self, key: &str) -> Result<&str, ApiError> {
        self.required(key)?.as_str().ok_or_else(|| ApiError::bad(format!("{key} should be a string")))
    }

    /// The text under a key, if there is something.
    ///
    /// # Errors
    /// If it is no text.
    pub(crate) fn optional_text(&self, key: &str) -> Result<Option<&str>, ApiError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(key).map(Some),
        }
    }

    /// Whether it is so, if it is said. A word may say it.
    ///
    /// # Errors
    /// If it says neither yes nor no.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(word)) if word == "true" => Ok(Some(true)),
            Some(Value::String(word)) if word == "false" => Ok(Some(false)),
            Some(other) => Err(ApiError::bad(format!("not_boolean: {other}"))),
        }
    }

    /// An integer, which may be written as a string of digits.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn integer(&self, key: &str) -> Result<i64, ApiError> {
        let value = self.required(key)?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        number.ok_or_else(|| ApiError::bad(format!("not_integer: {value}")))
    }

    /// An object under a key. Nothing, null and an empty list are an empty one, as in RabbitMQ.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn object(&self, key: &str) -> Result<Map<String, Value>, ApiError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(Value::Array(list)) if list.is_empty() => Ok(Map::new()),
            Some(_) => Err(ApiError::bad(format!("{key} should be an object"))),
        }
    }

    /// Words under a key, as a list or with commas between them. `None` if nothing is there.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn words(&self, key: &str) -> Result<Option<Vec<String>>, ApiError> {
        let wrong = || ApiError::bad(format!("{key} should be a list of strings, or a string with commas"));
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Ok(Some(words.map(str::to_owned).collect()))
            }
            Some(Value::Array(list)) => {
                let words = list.iter().map(|word| word.as_str().map(str::to_owned).ok_or_else(wrong));
                words.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong()),
        }
    }
}

/// A key that has to be there is not.
pub(crate) fn missing(key: &str) -> ApiError {
    ApiError::bad(format!("[{{key_missing,{key}}}]"))
}

/// Looks whether AMQP can carry a name.
///
/// # Errors
/// If it is too long, in RabbitMQ's words.
pub(crate) fn check_length(what: &str, name: &str) -> Result<(), ApiError> {
    if name.len() <= LONGEST_NAME {
        return Ok(());
    }
    let length = name.len();
    Err(ApiError::bad(format!("{what} should be less than {LONGEST_NAME} bytes, actually was {length}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::of_body(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_body_is_an_object_or_nothing() {
        assert_eq!((object(""), object("null"), object("{}")), <(Object, Object, Object)>::default());
        for wrong in ["[]", "{bad", "1", "{\"a\": 1} x"] {
            assert_eq!(Object::of_body(wrong.as_bytes()), Err(ApiError::bad("not_json")), "{wrong}");
        }
        assert_eq!(Object::of_body(b"{\"a\": \"\xff\"}"), Err(ApiError::bad("not_json")));
        let Err(ApiError::Bad(why)) = Object::of_body(br#""{}""#) else { panic!() };
        assert!(why.contains("doubly-JSON-encoded"), "{why}");
    }

    #[test]
    fn flags_and_numbers_may_be_words() {
        let body = object(r#"{"a": true, "b": "false", "c": "maybe", "d": "12", "e": 1.5, "f": null}"#);
        assert_eq!((body.flag("a"), body.flag("b")), (Ok(Some(true)), Ok(Some(false))));
        assert_eq!((body.flag("none"), body.flag("f")), (Ok(None), Ok(None)));
        assert_eq!(body.flag("c"), Err(ApiError::bad("not_boolean: \"maybe\"")));
        assert_eq!((body.integer("d"), body.integer("e").is_err()), (Ok(12), true));
        assert_eq!(body.integer("none"), Err(ApiError::bad("[{key_missing,none}]")));
    }

    #[test]
    fn words_are_a_list_or_have_commas() {
        let body = object(r#"{"a": "x, y,,z ", "b": ["x", "y z"], "c": [1], "d": ""}"#);
        let words = |key: &str| body.words(key).map(|words| words.unwrap_or_default().join("|"));
        assert_eq!((words("a"), words("b")), (Ok("x|y|z".to_owned()), Ok("x|y z".to_owned())));
        assert_eq!((words("d"), body.words("none")), (Ok(String::new()), Ok(None)));
        assert!(body.words("c").is_err());
    }

    #[test]
    fn an_empty_list_is_an_empty_object() {
        let body = object(r#"{"a": [], "b": {"x": 1}, "c": [1], "d": "x"}"#);
        assert_eq!((body.object("a"), body.object("none")), (Ok(Map::new()), Ok(Map::new())));
        assert_eq!(body.object("b").unwrap().len(), 1);
        assert!(body.object("c").is_err() && body.object("d").is_err());
    }

    #[test]
    fn names_have_a_bound() {
        assert_eq!(check_length("queue", &"q".repeat(255)), Ok(()));
        let told = check_length("queue", &"q".repeat(256)).unwrap_err();
        assert_eq!(told.to_string(), "queue should be less than 255 bytes, actually was 256");
    }
}
