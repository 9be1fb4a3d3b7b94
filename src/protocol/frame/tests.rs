use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(kind: FrameKind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin_frame(&mut out, kind, channel);
    out.extend_from_slice(payload);
    end_frame(&mut out, start);
    out
}

fn error(input: &[u8]) -> (u16, String) {
    let error = next_frame(input, 131_072).expect_err("a broken frame");
    assert!(error.closes_connection());
    (error.code.code(), error.text.into_owned())
}

#[test]
fn frames_have_the_bytes_of_the_specification() {
    assert_eq!(frame(FrameKind::Body, 258, b"abc"), b"\x03\x01\x02\0\0\0\x03abc\xCE");
    assert_eq!(frame(FrameKind::Method, 1, &[0, 90, 0, 10]), b"\x01\0\x01\0\0\0\x04\0\x5A\0\x0A\xCE");
    assert_eq!(frame(FrameKind::Heartbeat, 0, b""), HEARTBEAT);
    assert_eq!(HEARTBEAT, *b"\x08\0\0\0\0\0\0\xCE");
}

#[test]
fn a_frame_can_be_appended_to_others() {
    let mut out = HEARTBEAT.to_vec();
    out.extend(frame(FrameKind::Body, 7, b"xy"));
    let Ok(Next::Frame(first)) = next_frame(&out, u32::MAX) else { panic!("a whole frame") };
    assert_eq!((first.kind, first.wire_len()), (FrameKind::Heartbeat, 8));
    let second = next_frame(&out[8..], u32::MAX);
    assert_eq!(second, Ok(Next::Frame(Frame { kind: FrameKind::Body, channel: 7, payload: b"xy" })));
}

#[test]
fn w50_wrong_end_octet() {
    let mut input = frame(FrameKind::Body, 1, b"abc");
    *input.last_mut().expect("an end octet") = 0xCD;
    let text = "type 3, all octets = <<97,98,99>>: {invalid_frame_end_marker,205}".to_owned();
    assert_eq!(error(&input), (501, text));
}

#[test]
fn w51_unknown_type_from_the_first_byte() {
    for kind in [0, 4, 5, 6, 7, 9, 65, 255] {
        let text = format!("type {kind}, all octets = <<>>: unknown_frame");
        assert_eq!(error(&[kind]), (501, text.clone()));
        assert_eq!(error(&[kind, 0, 1, 255, 255, 255, 255]), (501, text));
    }
}

#[test]
fn w52_w53_w54_size_is_judged_by_the_header_alone() {
    let header = |size: u32| [&[3, 0, 1][..], &size.to_be_bytes()].concat();
    assert_eq!(next_frame(&header(131_072), 131_072), Ok(Next::Incomplete { needed: 131_080 }));
    let text = "type 3, all octets = <<>>: {frame_too_large,131073,131072}".to_owned();
    assert_eq!(error(&header(131_073)), (501, text));
    assert_eq!(error(&header(u32::MAX)).0, 501);
    let needed = u32::MAX as usize + FRAME_OVERHEAD;
    assert_eq!(next_frame(&header(u32::MAX), u32::MAX), Ok(Next::Incomplete { needed }));
}

#[test]
fn w55_method_frame_without_ids() {
    for len in 0..4 {
        assert_eq!(error(&[1, 0, 1, 0, 0, 0, len]).0, 501);
    }
}

#[test]
fn w56_w57_heartbeats_are_empty_and_on_channel_0() {
    assert_eq!(error(&[8, 0, 1, 0, 0, 0, 0]).0, 505);
    assert_eq!(error(&[8, 0, 0, 0, 0, 0, 1]).0, 501);
}

#[test]
fn w58_w59_content_on_channel_0() {
    assert_eq!(error(&[2, 0, 0, 0, 0, 0, 14]).0, 505);
    assert_eq!(error(&[3, 0, 0, 0, 0, 0, 1]).0, 505);
}

#[test]
fn errors_show_the_beginning_of_a_long_payload() {
    let mut input = frame(FrameKind::Body, 1, &[7; 17]);
    *input.last_mut().expect("an end octet") = 0;
    assert!(error(&input).1.starts_with("type 3, first 16 octets = <<7,7,7,"));
}

/// A frame's kind, channel and payload.
type Owned = (FrameKind, u16, Vec<u8>);

/// All frames of an input that comes in parts, and the error that ended it.
fn frames_of(parts: &[&[u8]], max: u32) -> (Vec<Owned>, Option<AmqpError>) {
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        loop {
            match next_frame(&buffer, max) {
                Ok(Next::Frame(frame)) => {
                    frames.push((frame.kind, frame.channel, frame.payload.to_vec()));
                    let len = frame.wire_len();
                    buffer.drain(..len);
                }
                Ok(Next::Incomplete { needed }) => {
                    assert!(needed > buffer.len(), "more bytes must be wanted");
                    break;
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn any_frame() -> impl Strategy<Value = Owned> {
    prop_oneof![
        (Just(FrameKind::Method), any::<u16>(), vec(any::<u8>(), 4..40)),
        (Just(FrameKind::Header), 1..=u16::MAX, vec(any::<u8>(), 0..40)),
        (Just(FrameKind::Body), 1..=u16::MAX, vec(any::<u8>(), 0..40)),
        Just((FrameKind::Heartbeat, 0, Vec::new())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_split_gives_the_same_frames(
        frames in vec(any_frame(), 0..8),
        mut cuts in vec(any::<prop::sample::Index>(), 0..12),
        tail in vec(any::<u8>(), 0..10),
    ) {
        let mut input = Vec::new();
        for (kind, channel, payload) in &frames {
            input.extend(frame(*kind, *channel, payload));
        }
        let (whole, error) = frames_of(&[&input], 64);
        prop_assert_eq!(&whole, &frames);
        prop_assert_eq!(error, None);

        input.extend(tail);
        let whole = frames_of(&[&input], 64);
        cuts.sort_by_key(|cut| cut.index(input.len() + 1));
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in cuts {
            let to = cut.index(input.len() + 1);
            parts.push(&input[from..to]);
            from = to;
        }
        parts.push(&input[from..]);
        prop_assert_eq!(&frames_of(&parts, 64), &whole);
        let octets: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&frames_of(&octets, 64), &whole);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        kind in prop::sample::select(vec![1u8, 2, 3, 8, 4]),
        bytes in vec(prop_oneof![Just(0u8), any::<u8>()], 0..60),
        max in any::<u32>(),
    ) {
        let _ = next_frame(&bytes, max);
        let _ = next_frame(&[&[kind], &bytes[..]].concat(), u32::MAX);
    }
}
