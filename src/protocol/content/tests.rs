use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::frame::{Next, next_frame};

const LIMIT: u64 = 16 * 1024 * 1024;

/// A header payload of class `basic` without properties.
fn header(size: u64) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend_from_slice(&size.to_be_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload
}

fn begun() -> Assembler<&'static str> {
    let mut assembler = Assembler::new();
    assembler.begin("publish");
    assembler
}

/// After a header that announced `size` bytes.
fn with_header(size: u64) -> Assembler<&'static str> {
    let mut assembler = begun();
    assert_eq!(assembler.header(&header(size), LIMIT), Ok(None));
    assembler
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T, AmqpError>, code: u16, method: MethodId, text: &str) {
    let error = result.expect_err("a refusal");
    assert_eq!((error.code.code(), error.method, &*error.text), (code, method, text));
}

const METHOD_DUE: &str = "expected method frame, got non method frame instead";
const HEADER_DUE: &str = "expected content header for class 60, got non content header frame instead";
const BODY_DUE: &str = "expected content body, got non content body frame instead";

#[test]
fn content_is_put_together() {
    let mut assembler = begun();
    assert!(!assembler.expects_method());
    let payload = [&header(5)[..12], b"\x10\0\x02"].concat();
    assert_eq!(assembler.header(&payload, LIMIT), Ok(None));
    assert_eq!(assembler.body(b"he"), Ok(None));
    assert!(!assembler.expects_method());
    let content = assembler.body(b"llo").expect("legal").expect("complete");
    assert_eq!((content.method, &content.body[..]), ("publish", &b"hello"[..]));
    assert_eq!(content.header().body_size, 5);
    assert_eq!(content.header().properties.delivery_mode(), Some(2));
    assert!(assembler.expects_method());
}

#[test]
fn an_empty_body_is_complete_at_the_header() {
    let mut assembler = begun();
    let content = assembler.header(&header(0), 0).expect("legal").expect("complete");
    assert!(content.body.is_empty() && assembler.expects_method());
}

#[test]
fn w80_an_absurd_size_breaks_the_frame() {
    let mut assembler = begun();
    let text = "content header announces 9223372036854775808 octets, more than 536870912";
    assert_error(assembler.header(&header(1 << 63), u64::MAX), 501, PUBLISH, text);
    let mut assembler = begun();
    assert_eq!(assembler.header(&header(BODY_SIZE_MAX), u64::MAX), Ok(None));
}

#[test]
fn w81_a_message_over_the_limit_closes_the_channel_at_the_header() {
    let mut assembler = begun();
    let text = "message size 1001 is larger than configured max size 1000";
    let result = assembler.header(&header(1001), 1000);
    assert!(!result.as_ref().expect_err("a refusal").closes_connection());
    assert_error(result, 406, PUBLISH, text);
    assert!(assembler.expects_method());
    assert_eq!(begun().header(&header(1000), 1000), Ok(None));
}

#[test]
fn w82_an_announced_size_takes_no_memory() {
    let assembler = with_header(LIMIT);
    let Due::Body { content, .. } = &assembler.due else { panic!("a body is due") };
    assert_eq!(content.body.capacity(), 0);
}

#[test]
fn memory_grows_with_what_has_come() {
    let mut assembler = with_header(LIMIT);
    let mut come = 0;
    for _ in 0..40 {
        assert_eq!(assembler.body(&[7; 1000]), Ok(None));
        come += 1000;
        let Due::Body { content, .. } = &assembler.due else { panic!("a body is due") };
        assert!(content.body.capacity() <= 2 * come, "{} for {come}", content.body.capacity());
    }
    let mut assembler = with_header(1001);
    assert_eq!(assembler.body(&[7; 1000]), Ok(None));
    let content = assembler.body(&[7]).expect("legal").expect("complete");
    assert_eq!(content.body.capacity(), 1001);
}

#[test]
fn w83_a_body_longer_than_announced() {
    let text = "content body frame exceeds remaining content size";
    assert_error(with_header(3).body(b"four"), 501, PUBLISH, text);
    let mut assembler = with_header(3);
    assert_eq!(assembler.body(b"ab"), Ok(None));
    assert_error(assembler.body(b"cd"), 501, PUBLISH, text);
}

#[test]
fn w84_content_without_a_method() {
    assert_error(Assembler::<()>::new().header(&header(1), LIMIT), 505, MethodId::NONE, METHOD_DUE);
    assert_error(Assembler::<()>::new().body(b"x"), 505, MethodId::NONE, METHOD_DUE);
}

#[test]
fn w85_w86_a_method_or_body_where_a_header_is_due() {
    assert_error(Err::<(), _>(begun().unexpected_method()), 505, PUBLISH, HEADER_DUE);
    assert_error(begun().body(b"x"), 505, PUBLISH, HEADER_DUE);
}

#[test]
fn w87_a_method_or_header_where_a_body_is_due() {
    assert_error(Err::<(), _>(with_header(3).unexpected_method()), 505, PUBLISH, BODY_DUE);
    assert_error(with_header(3).header(&header(3), LIMIT), 505, PUBLISH, BODY_DUE);
}

#[test]
fn w88_a_header_of_another_class() {
    let mut payload = header(1);
    payload[1] = 50;
    let text = "expected content header for class 60, got one for class 50 instead";
    assert_error(begun().header(&payload, LIMIT), 505, PUBLISH, text);
}

#[test]
fn w89_a_header_with_weight() {
    let mut payload = header(1);
    payload[3] = 1;
    assert_error(begun().header(&payload, LIMIT), 505, PUBLISH, "content header with weight 1");
}

#[test]
fn w90_a_body_frame_after_an_empty_body() {
    let mut assembler = begun();
    assert!(matches!(assembler.header(&header(0), LIMIT), Ok(Some(_))));
    assert_error(assembler.body(b""), 505, MethodId::NONE, METHOD_DUE);
}

#[test]
fn w91_empty_body_frames_are_accepted_up_to_a_thousand_in_a_row() {
    let mut assembler = with_header(2);
    for _ in 0..2 {
        for _ in 0..1000 {
            assert_eq!(assembler.body(b""), Ok(None));
        }
        if let Some(content) = assembler.body(b"x").expect("legal") {
            assert_eq!(content.body, b"xx");
        }
    }
    let mut assembler = with_header(2);
    for _ in 0..1000 {
        assert_eq!(assembler.body(b""), Ok(None));
    }
    assert_error(assembler.body(b""), 501, PUBLISH, "too many empty content body frames");
}

#[test]
fn w92_a_header_cut_short() {
    for len in 0..14 {
        let text = format!("content header of {len} octets is too short");
        assert_error(begun().header(&header(1)[..len], LIMIT), 501, PUBLISH, &text);
    }
}

#[test]
fn w93_malformed_properties_name_the_publish() {
    let payload = [&header(1)[..12], b"\x10\0"].concat();
    let text = "cannot decode content properties: a property is cut short";
    assert_error(begun().header(&payload, LIMIT), 501, PUBLISH, text);
}

#[test]
fn abandoned_content_leaves_nothing() {
    let mut assembler = with_header(3);
    assembler.abandon();
    assert!(assembler.expects_method());
    assert_error(assembler.body(b"abc"), 505, MethodId::NONE, METHOD_DUE);
}

#[test]
fn a_header_frame_has_golden_bytes() {
    let mut out = Vec::new();
    write_header(&mut out, 1, 5, b"\x10\0\x02");
    assert_eq!(out, b"\x02\0\x01\0\0\0\x0F\0\x3C\0\0\0\0\0\0\0\0\0\x05\x10\0\x02\xCE");
    let header = ContentHeader::parse(&out[7..22], PUBLISH).expect("valid");
    assert_eq!(ContentHeader::assume_valid(&out[7..22]), header);
}

#[test]
fn a_body_is_split_by_the_frame_size() {
    let mut out = Vec::new();
    write_body(&mut out, 1, b"abcde", 10);
    assert_eq!(out, b"\x03\0\x01\0\0\0\x02ab\xCE\x03\0\x01\0\0\0\x02cd\xCE\x03\0\x01\0\0\0\x01e\xCE");
    out.clear();
    write_body(&mut out, 1, b"abcde", 0);
    assert_eq!(out, b"\x03\0\x01\0\0\0\x05abcde\xCE");
    out.clear();
    write_body(&mut out, 1, b"", 10);
    assert!(out.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_body_survives_any_frame_size(body in vec(any::<u8>(), 0..300), frame_max in 0u32..200) {
        let mut out = Vec::new();
        write_header(&mut out, 9, body.len() as u64, &[0, 0]);
        write_body(&mut out, 9, &body, frame_max);
        let mut assembler = begun();
        let mut complete = None;
        let mut rest = &out[..];
        while let Ok(Next::Frame(frame)) = next_frame(rest, u32::MAX) {
            prop_assert!(complete.is_none());
            complete = match frame.kind {
                FrameKind::Header => assembler.header(frame.payload, LIMIT),
                _ => assembler.body(frame.payload),
            }
            .expect("legal");
            rest = &rest[frame.wire_len()..];
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(complete.map(|content| content.body), Some(body));
    }

    #[test]
    fn arbitrary_headers_do_not_panic(
        payload in vec(any::<u8>(), 0..60),
        size in any::<u64>(),
        flags in any::<u16>(),
    ) {
        let _ = ContentHeader::parse(&payload, PUBLISH);
        let _ = ContentHeader::assume_valid(&payload);
        let mut header = header(size >> (flags % 64));
        header.truncate(12);
        header.extend_from_slice(&(flags & 0xFFFC).to_be_bytes());
        header.extend_from_slice(&payload);
        let mut assembler = begun();
        let _ = assembler.header(&header, size);
        let _ = assembler.body(&payload);
    }
}
