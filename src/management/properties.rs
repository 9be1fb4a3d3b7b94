//! Properties of messages as JSON, and back.

use serde_json::{Map, Value};

use crate::broker::definitions::{table_of, value_of};
use crate::management::body::check_length;
use crate::management::error::ApiError;
use crate::protocol::properties::{Properties, PropertiesBuilder};

/// Most bytes of the properties of a message: what fits a frame of the size that is offered to clients.
const LARGEST: usize = 128 * 1024 - 20;

/// The properties that an object says, as AMQP has them. Keys that are none are passed over, as in RabbitMQ.
///
/// # Errors
/// What is wrong with one of them.
pub(crate) fn from_json(object: &Map<String, Value>) -> Result<Vec<u8>, ApiError> {
    let mut builder = PropertiesBuilder::new();
    let text = |key: &'static str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => check_length(key, text).map(|()| Some(text.as_str())),
        Some(_) => Err(ApiError::bad(format!("not_string: {key}"))),
    };
    let number = |key: &'static str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(number) => number.as_u64().map(Some).ok_or_else(|| ApiError::bad(format!("not_int: {key}"))),
    };
    let octet = |key: &'static str| {
        let octet = number(key)?.map(u8::try_from).transpose();
        octet.map_err(|_| ApiError::bad(format!("{key} should be at most 255")))
    };
    if let Some(text) = text("content_type")? {
        builder.set_content_type(text);
    }
    if let Some(text) = text("content_encoding")? {
        builder.set_content_encoding(text);
    }
    match object.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(headers)) => {
            builder.set_headers(Some(&table_of(headers).map_err(ApiError::bad)?));
        }
        // What an empty object is in RabbitMQ's answers.
        Some(Value::Array(list)) if list.is_empty() => {}
        Some(_) => return Err(ApiError::bad("headers should be an object")),
    }
    if let Some(mode) = octet("delivery_mode")? {
        builder.set_delivery_mode(mode);
    }
    if let Some(priority) = octet("priority")? {
        builder.set_priority(priority);
    }
    if let Some(text) = text("correlation_id")? {
        builder.set_correlation_id(text);
    }
    if let Some(text) = text("reply_to")? {
        builder.set_reply_to(text);
    }
    if let Some(text) = text("expiration")? {
        builder.set_expiration(text);
    }
    if let Some(text) = text("message_id")? {
        builder.set_message_id(text);
    }
    if let Some(seconds) = number("timestamp")? {
        builder.set_timestamp(seconds);
    }
    if let Some(text) = text("type")? {
        builder.set_kind(text);
    }
    if let Some(text) = text("user_id")? {
        builder.set_user_id(text);
    }
    if let Some(text) = text("app_id")? {
        builder.set_app_id(text);
    }
    if let Some(text) = text("cluster_id")? {
        builder.set_cluster_id(text);
    }
    let raw = builder.finish();
    if raw.len() > LARGEST {
        return Err(ApiError::bad(format!(
            "the properties have {} bytes; at most {LARGEST} can be sent",
            raw.len()
        )));
    }
    Ok(raw)
}

/// Those that are there, as an object; an empty list if there is none, as in RabbitMQ.
pub(crate) fn to_json(properties: Properties<'_>) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    let text = |text: Option<&[u8]>| text.map(|text| String::from_utf8_lossy(text).into());
    put("content_type", text(properties.content_type()));
    put("content_encoding", text(properties.content_encoding()));
    put("headers", properties.headers().map(|headers| Value::Object(value_of(headers))));
    put("delivery_mode", properties.delivery_mode().map(Value::from));
    put("priority", properties.priority().map(Value::from));
    put("correlation_id", text(properties.correlation_id()));
    put("reply_to", text(properties.reply_to()));
    put("expiration", text(properties.expiration()));
    put("message_id", text(properties.message_id()));
    put("timestamp", properties.timestamp().map(Value::from));
    put("type", text(properties.kind()));
    put("user_id", text(properties.user_id()));
    put("app_id", text(properties.app_id()));
    put("cluster_id", text(properties.cluster_id()));
    if object.is_empty() { Value::Array(Vec::new()) } else { Value::Object(object) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const TEXTS: [&str; 10] = [
        "content_type",
        "content_encoding",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "type",
        "user_id",
        "app_id",
        "cluster_id",
    ];

    fn round(value: &Value) -> Value {
        let raw = from_json(value.as_object().unwrap()).unwrap();
        to_json(Properties::parse(&raw).unwrap())
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_set_comes_back(
            texts in proptest::collection::vec(proptest::option::of(".{0,20}"), TEXTS.len()),
            headers in proptest::collection::btree_map(".{0,6}", any_json(), 0..4),
            mode: Option<u8>,
            priority: Option<u8>,
            timestamp: Option<u64>,
        ) {
            let mut object = Map::new();
            for (key, text) in TEXTS.iter().zip(&texts) {
                object.extend(text.iter().map(|text| ((*key).to_owned(), text.clone().into())));
            }
            object.insert("headers".to_owned(), Value::Object(headers.into_iter().collect()));
            for (key, number) in [
                ("delivery_mode", mode.map(u64::from)),
                ("priority", priority.map(u64::from)),
                ("timestamp", timestamp),
            ] {
                object.extend(number.map(|number| (key.to_owned(), number.into())));
            }
            let object = Value::Object(object);
            prop_assert_eq!(round(&object), object);
        }
    }

    #[test]
    fn nothing_is_an_empty_list() {
        assert_eq!(round(&json!({})), json!([]));
        assert_eq!(round(&json!({ "headers": [], "priority": null, "unknown": 1 })), json!([]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (wrong, told) in [
            (json!({ "priority": "1" }), "not_int: priority"),
            (json!({ "priority": 256 }), "priority should be at most 255"),
            (json!({ "delivery_mode": -1 }), "not_int: delivery_mode"),
            (json!({ "expiration": 1000 }), "not_string: expiration"),
            (json!({ "headers": 1 }), "headers should be an object"),
            (json!({ "type": "x".repeat(256) }), "type should be less than 255 bytes, actually was 256"),
            (json!({ "headers": { "a": "x".repeat(LARGEST) } }), "at most"),
        ] {
            let error = from_json(wrong.as_object().unwrap()).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
