use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::field::TableBuilder;
use crate::protocol::field::tests::any_table;

/// All fourteen properties, written by hand.
const ALL: &[u8] = b"\xFF\xFC\x01a\x01b\0\0\0\x03\x01kV\x02\x09\x01c\x01d\x0260\x01e\
    \0\0\0\0\0\0\x01\0\x01f\x01g\x01h\x01i";

fn error(raw: &[u8]) -> String {
    let error = Properties::parse(raw).expect_err("malformed");
    assert_eq!(error.code, ReplyCode::FrameError);
    error.text.into_owned()
}

#[test]
fn all_properties_are_found() {
    let all = Properties::parse(ALL).expect("valid");
    let headers = TableBuilder::new().value("k", crate::protocol::field::Value::Void).finish();
    assert_eq!(all.flags(), 0xFFFC);
    assert_eq!(all.content_type(), Some(&b"a"[..]));
    assert_eq!(all.content_encoding(), Some(&b"b"[..]));
    assert_eq!(all.headers(), Some(headers.as_ref()));
    assert_eq!(all.delivery_mode(), Some(2));
    assert_eq!(all.priority(), Some(9));
    assert_eq!(all.correlation_id(), Some(&b"c"[..]));
    assert_eq!(all.reply_to(), Some(&b"d"[..]));
    assert_eq!(all.expiration(), Some(&b"60"[..]));
    assert_eq!(all.message_id(), Some(&b"e"[..]));
    assert_eq!(all.timestamp(), Some(256));
    assert_eq!(all.kind(), Some(&b"f"[..]));
    assert_eq!(all.user_id(), Some(&b"g"[..]));
    assert_eq!(all.app_id(), Some(&b"h"[..]));
    assert_eq!(all.cluster_id(), Some(&b"i"[..]));
    assert_eq!(PropertiesBuilder::from_properties(all).finish(), ALL);
}

#[test]
fn absent_properties_are_none() {
    let few = Properties::parse(b"\x10\x40\x02\0\0\0\0\0\0\0\x01").expect("valid");
    assert!(few.has(FLAG_DELIVERY_MODE) && !few.has(FLAG_HEADERS));
    assert_eq!((few.delivery_mode(), few.timestamp()), (Some(2), Some(1)));
    assert_eq!((few.headers(), few.content_type(), few.cluster_id()), (None, None, None));
    assert_eq!(Properties::default(), Properties::parse(&[0, 0]).expect("valid"));
    assert_eq!(Properties::EMPTY.priority(), None);
}

#[test]
fn w93_announced_properties_must_be_there() {
    for cut in 2..ALL.len() {
        assert_eq!(error(&ALL[..cut]), "cannot decode content properties: a property is cut short");
    }
    assert_eq!(error(b""), "cannot decode content properties: no flags");
    assert_eq!(error(b"\0"), "cannot decode content properties: no flags");
}

#[test]
fn w94_nothing_follows_the_last_property() {
    assert_eq!(error(b"\x10\0\x02\0"), "cannot decode content properties: bytes after the last property");
}

#[test]
fn w95_flags_without_a_property_are_refused() {
    assert_eq!(error(b"\0\x01\0\0"), "cannot decode content properties: unknown flags");
    assert_eq!(error(b"\0\x02"), "cannot decode content properties: unknown flags");
}

#[test]
fn w96_headers_must_be_a_table() {
    assert_eq!(error(b"\x20\0\0\0\0\x03\x01kZ"), "cannot decode content properties: unknown field tag 90");
    assert_eq!(error(b"\x20\0\0\0\0\x02\x01k"), "cannot decode content properties: field table is cut short");
    assert_eq!(error(b"\x20\0\0\0\0\x09\x01kV"), "cannot decode content properties: a property is cut short");
}

#[test]
fn w97_w98_w102_any_number_is_kept() {
    let raw = b"\x18\x40\x4D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    let properties = Properties::parse(raw).expect("valid");
    assert_eq!(properties.delivery_mode(), Some(77));
    assert_eq!(properties.priority(), Some(255));
    assert_eq!(properties.timestamp(), Some(u64::MAX));
    assert_eq!(properties.raw(), raw);
}

#[test]
fn strings_need_not_be_text() {
    let properties = Properties::parse(b"\x04\0\x02\xFF\xFE").expect("valid");
    assert_eq!(properties.correlation_id(), Some(&b"\xFF\xFE"[..]));
    assert_eq!(format!("{properties:?}"), r#"Properties { correlation_id: "\xff\xfe" }"#);
}

#[test]
fn a_builder_changes_what_it_is_told_and_keeps_the_rest() {
    let headers = TableBuilder::new().int32("n", 1).finish();
    let mut builder = PropertiesBuilder::from_properties(Properties::parse(ALL).expect("valid"));
    let raw = builder.set_headers(Some(&headers)).clear_expiration().set_reply_to("other").finish();
    let changed = Properties::parse(&raw).expect("valid");
    assert_eq!(changed.headers(), Some(headers.as_ref()));
    assert_eq!((changed.expiration(), changed.has(FLAG_EXPIRATION)), (None, false));
    assert_eq!(changed.reply_to(), Some(&b"other"[..]));
    assert_eq!((changed.priority(), changed.cluster_id()), (Some(9), Some(&b"i"[..])));

    let raw = PropertiesBuilder::from_properties(changed).set_headers(None).finish();
    assert_eq!(Properties::parse(&raw).expect("valid").headers(), None);
    let raw = PropertiesBuilder::from_properties(changed).clear(u16::MAX).finish();
    assert_eq!(raw, Properties::EMPTY.raw());
}

#[test]
fn a_builder_cuts_long_strings() {
    let raw = PropertiesBuilder::new().set_kind("é".repeat(200)).set_app_id([0xFF; 300]).finish();
    let properties = Properties::parse(&raw).expect("valid");
    assert_eq!(properties.kind().map(<[u8]>::len), Some(254));
    assert_eq!(properties.app_id().map(<[u8]>::len), Some(255));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn built_properties_survive_the_wire(
        texts in vec(vec(any::<u8>(), 0..20), 10),
        headers in any_table(),
        (mode, priority, seconds) in any::<(u8, u8, u64)>(),
        cleared in any::<u16>(),
    ) {
        let mut builder = PropertiesBuilder::new();
        builder
            .set_content_type(&texts[0])
            .set_content_encoding(&texts[1])
            .set_headers(Some(&headers))
            .set_delivery_mode(mode)
            .set_priority(priority)
            .set_correlation_id(&texts[2])
            .set_reply_to(&texts[3])
            .set_expiration(&texts[4])
            .set_message_id(&texts[5])
            .set_timestamp(seconds)
            .set_kind(&texts[6])
            .set_user_id(&texts[7])
            .set_app_id(&texts[8])
            .set_cluster_id(&texts[9])
            .clear(cleared);
        let raw = builder.finish();
        let properties = Properties::parse(&raw).expect("what was built");
        let kept = |flag: u16| cleared & flag == 0;
        prop_assert_eq!(properties.flags(), !cleared & 0xFFFC);
        prop_assert_eq!(properties.headers(), kept(FLAG_HEADERS).then_some(headers.as_ref()));
        prop_assert_eq!(properties.delivery_mode(), kept(FLAG_DELIVERY_MODE).then_some(mode));
        prop_assert_eq!(properties.timestamp(), kept(FLAG_TIMESTAMP).then_some(seconds));
        prop_assert_eq!(properties.message_id(), kept(FLAG_MESSAGE_ID).then_some(&texts[5][..]));
        prop_assert_eq!(properties.cluster_id(), kept(FLAG_CLUSTER_ID).then_some(&texts[9][..]));
        prop_assert_eq!(PropertiesBuilder::from_properties(properties).finish(), raw);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..60), flags in any::<u16>()) {
        for raw in [&bytes[..], &[&(flags & 0xFFFC).to_be_bytes()[..], &bytes].concat()] {
            let _ = Properties::parse(raw);
            let assumed = Properties::assume_valid(raw);
            let _ = (format!("{assumed:?}"), assumed.timestamp(), assumed.headers());
            let _ = PropertiesBuilder::from_properties(assumed).finish();
        }
    }
}
