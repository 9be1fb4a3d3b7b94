//! WebSockets against tungstenite's client, and frames against their plain meaning.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error, Message};

use super::incoming::Refusal;
use super::upgrade::{Origins, Upgraded, Visit, accept};
use super::*;
use crate::server::stream::pieces::{Pieces, at_once};

/// A frame as a client sends it.
fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The payload of frames that come in pieces of these lengths, over and over.
fn taken(bytes: &[u8], pieces: &[usize]) -> (Incoming, Result<Vec<u8>, Refusal>) {
    let (mut incoming, mut payload, mut at) = (Incoming::default(), Vec::new(), 0);
    for &piece in pieces.iter().cycle() {
        if at == bytes.len() {
            break;
        }
        let end = (at + piece).min(bytes.len());
        let mut piece = bytes[at..end].to_vec();
        let result = incoming.take(&mut piece);
        // Of headers and control frames: 14 and 125 bytes.
        assert!(incoming.kept() <= 139, "it keeps {}", incoming.kept());
        match result {
            Ok(kept) => payload.extend_from_slice(&piece[..kept]),
            Err(refusal) => return (incoming, Err(refusal)),
        }
        at = end;
    }
    (incoming, Ok(payload))
}

/// A frame of a message: its payload, its mask, and whether a ping comes before it.
type Part = (Vec<u8>, [u8; 4], bool);

/// Messages, each of some frames, with a ping before some of these.
fn messages() -> impl Strategy<Value = Vec<Vec<Part>>> {
    let length = prop_oneof![4 => 0..130_usize, 1 => 65_530..65_540_usize];
    let payload = (length, any::<u8>()).prop_map(|(length, first)| {
        (0..length).map(|at| first.wrapping_add(at.to_le_bytes()[0])).collect::<Vec<_>>()
    });
    let frame = (payload, any::<[u8; 4]>(), any::<bool>());
    proptest::collection::vec(proptest::collection::vec(frame, 1..4), 0..4)
}

/// Frames of all kinds, and among them bytes that are none.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first =
        prop_oneof![3 => Just(0x82), 1 => Just(0x02), 1 => Just(0x80), 3 => 0x88..0x8b_u8, 1 => any::<u8>()];
    let payload = proptest::collection::vec(any::<u8>(), 0..150);
    let whole =
        (first, any::<[u8; 4]>(), payload).prop_map(|(first, mask, payload)| frame(first, mask, &payload));
    let none = proptest::collection::vec(any::<u8>(), 0..40);
    let one = prop_oneof![6 => whole, 1 => none];
    proptest::collection::vec(one, 0..6).prop_map(|all| all.concat())
}

/// Requests with something wrong in them, or nothing, and what may come behind them.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("Origin: https://example.org\r\n".to_owned()),
        Just("Via: 1.1 proxy\r\n".to_owned()),
        Just("Sec-WebSocket-Protocol: amqp\r\n".to_owned()),
        "[ -~]{0,40}\r\n",
        (0..20_000_usize).prop_map(|length| format!("Cookie: {}\r\n", "x".repeat(length))),
    ];
    let request = proptest::collection::vec(line, 0..3).prop_map(|lines| request(&lines.concat()));
    let change = proptest::option::of((any::<proptest::sample::Index>(), any::<u8>()));
    let changed = (request, change).prop_map(|(mut request, change)| {
        if let Some((at, byte)) = change {
            let at = at.index(request.len());
            request[at] = byte;
        }
        request
    });
    let bytes = proptest::collection::vec(any::<u8>(), 0..100);
    let first = prop_oneof![4 => changed, 1 => bytes];
    (first, frames()).prop_map(|(first, rest)| [first, rest].concat())
}

/// Who a client is, and the payload of its frames, or what is wrong with them.
type Frames = (Visit, Result<Vec<u8>, String>);

/// What becomes of a client with these bytes: what its request came to, and the first bytes of what it was told.
fn met(bytes: &[u8], pieces: &[usize]) -> (Result<Frames, String>, String) {
    let mut client = Pieces::new(bytes, pieces);
    let accepted = at_once(accept(&mut client, &Origins::default()));
    let result = accepted.map_err(|error| error.to_string()).map(|Upgraded { mut stream, visit }| {
        let mut payload = Vec::new();
        // What was read along with a mistake does not count.
        let ended = at_once(stream.read_to_end(&mut payload)).map_err(|error| error.to_string());
        (visit, ended.map(|_| payload))
    });
    if result.is_err() {
        assert!(client.read <= 16 * 1024, "{} bytes were taken", client.read);
    }
    (result, String::from_utf8_lossy(&client.sent).lines().next().unwrap_or_default().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn messages_are_joined_however_they_are_cut(
        messages in messages(), pieces in proptest::collection::vec(1..5000_usize, 1..6), ones in any::<bool>(),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            for (at, (payload, mask, is_after_ping)) in message.iter().enumerate() {
                if *is_after_ping {
                    bytes.extend(frame(0x89, *mask, b"hare"));
                    bytes.extend(frame(0x8a, *mask, b"pong"));
                }
                let opcode = if at == 0 { 0x02 } else { 0x00 };
                let last = if at + 1 == message.len() { 0x80 } else { 0x00 };
                bytes.extend(frame(opcode | last, *mask, payload));
                expected.extend_from_slice(payload);
            }
        }
        let pieces = if ones { vec![1, 2] } else { pieces };
        let (incoming, payload) = taken(&bytes, &pieces);
        prop_assert_eq!(payload, Ok(expected));
        let was_pinged = messages.iter().flatten().any(|(_, _, is_after_ping)| *is_after_ping);
        prop_assert_eq!(incoming.said, was_pinged.then(|| Said::Ping(b"hare".to_vec())));
    }

    #[test]
    fn no_frames_do_harm_however_they_are_cut(
        bytes in frames(), pieces in proptest::collection::vec(1..50_usize, 1..6),
    ) {
        let (one, whole) = taken(&bytes, &[bytes.len().max(1)]);
        let (other, cut) = taken(&bytes, &pieces);
        prop_assert_eq!(whole, cut);
        prop_assert_eq!((one.said, one.is_closed), (other.said, other.is_closed));
    }

    #[test]
    fn no_request_does_harm_however_it_is_cut(
        bytes in requests(), pieces in proptest::collection::vec(1..3000_usize, 1..6), ones in any::<bool>(),
    ) {
        let pieces = if ones { vec![1] } else { pieces };
        prop_assert_eq!(met(&bytes, &[bytes.len().max(1)]), met(&bytes, &pieces));
    }
}

#[test]
fn what_a_client_must_not_send_is_refused() {
    let mask = [1, 2, 3, 4];
    let unmasked = [0x82, 0x01, b'x'].to_vec();
    let long = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &mask].concat();
    for (bytes, code, why) in [
        (frame(0x81, mask, b"text"), CloseCode::Unsupported, "text"),
        (frame(0x01, mask, b"text"), CloseCode::Unsupported, "text"),
        (unmasked, CloseCode::Protocol, "not masked"),
        (frame(0xc2, mask, b""), CloseCode::Protocol, "reserved bit"),
        (frame(0x83, mask, b""), CloseCode::Protocol, "opcode"),
        (frame(0x8b, mask, b""), CloseCode::Protocol, "opcode"),
        (frame(0x80, mask, b""), CloseCode::Protocol, "none to go on with"),
        ([frame(0x02, mask, b""), frame(0x82, mask, b"")].concat(), CloseCode::Protocol, "within another"),
        (frame(0x09, mask, b""), CloseCode::Protocol, "control"),
        (frame(0x89, mask, &[0; 126]), CloseCode::Protocol, "control"),
        (frame(0x88, mask, &[3]), CloseCode::Protocol, "half"),
        (frame(0x88, mask, &1005_u16.to_be_bytes()), CloseCode::Protocol, "must not be sent"),
        (long, CloseCode::Protocol, "longer"),
    ] {
        let refusal = taken(&bytes, &[1000]).1.unwrap_err();
        assert!(refusal.code == code && refusal.why.contains(why), "{bytes:?}: {refusal:?}");
    }
}

#[test]
fn after_goodbye_nothing_counts() {
    let bytes =
        [frame(0x82, [0; 4], b"last"), frame(0x88, [7; 4], &[0x03, 0xe9, b'b']), frame(0x81, [0; 4], b"x")];
    let (incoming, payload) = taken(&bytes.concat(), &[3]);
    assert_eq!(payload, Ok(b"last".to_vec()));
    assert_eq!((incoming.is_closed, incoming.said), (true, Some(Said::Close(Some(CloseCode::Away)))));
}

/// A server that accepts one connection, and a client in a thread of its own.
fn meet<T: Send + 'static>(
    client: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
    server: impl AsyncFnOnce(TcpStream),
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::thread::spawn(move || {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            client(stream)
        });
        let (stream, _) = listener.accept().await.unwrap();
        server(stream).await;
        client.join().unwrap()
    })
}

fn opened(stream: std::net::TcpStream) -> tungstenite::WebSocket<std::net::TcpStream> {
    tungstenite::client::client("ws://leveret/any/path?at=all", stream).unwrap().0
}

#[test]
fn bytes_go_both_ways_and_pings_are_answered() {
    const SIZE: usize = 3_000_000;
    let pattern = || (0..SIZE).map(|at| u8::try_from(at % 251).unwrap());
    let client = move |stream| {
        let mut socket = opened(stream);
        socket.send(Message::Ping(vec![7; 125].into())).unwrap();
        for message in pattern().collect::<Vec<_>>().chunks(70_001) {
            socket.send(Message::binary(message.to_vec())).unwrap();
        }
        let (mut received, mut pongs) = (Vec::new(), 0);
        loop {
            match socket.read() {
                Ok(Message::Binary(bytes)) => received.extend_from_slice(&bytes),
                Ok(Message::Pong(bytes)) => pongs += usize::from(bytes == vec![7; 125]),
                Ok(Message::Close(frame)) => assert_eq!(frame.unwrap().code, CloseCode::Normal),
                Err(Error::ConnectionClosed) => break,
                other => panic!("{other:?}"),
            }
        }
        (received == pattern().collect::<Vec<_>>(), pongs)
    };
    let server = async |stream| {
        let Upgraded { stream, visit } = accept(stream, &Origins::default()).await.unwrap();
        assert_eq!(visit, Visit::default());
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut buffer = vec![0; 10_007];
        let mut echoed = 0;
        while echoed < SIZE {
            let read = reader.read(&mut buffer).await.unwrap();
            assert!(read > 0);
            writer.write_all(&buffer[..read]).await.unwrap();
            echoed += read;
        }
        writer.shutdown().await.unwrap();
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0, "goodbye was answered");
    };
    assert_eq!(meet(client, server), (true, 1));
}

#[test]
fn a_text_message_is_told_1003_and_goodbye_is_answered() {
    let client = |stream| {
        let mut socket = opened(stream);
        socket.send(Message::text("AMQP")).unwrap();
        match socket.read() {
            Ok(Message::Close(Some(frame))) => frame.code,
            other => panic!("{other:?}"),
        }
    };
    let server = async |stream| {
        let mut stream = accept(stream, &Origins::default()).await.unwrap().stream;
        let error = stream.read_u8().await.unwrap_err();
        assert!(error.to_string().contains("text"), "{error}");
    };
    assert_eq!(meet(client, server), CloseCode::Unsupported);

    let client = |stream| {
        let mut socket = opened(stream);
        let goodbye = CloseFrame { code: CloseCode::Away, reason: "tab closed".into() };
        socket.close(Some(goodbye)).unwrap();
        match socket.read() {
            Ok(Message::Close(Some(frame))) => frame.code,
            other => panic!("{other:?}"),
        }
    };
    let server = async |stream| {
        let mut stream = accept(stream, &Origins::default()).await.unwrap().stream;
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
        let refused = stream.write_all(b"x").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
    };
    assert_eq!(meet(client, server), CloseCode::Away);
}

/// What is answered to a request, and what became of it.
fn answer(request: &[u8], origins: Origins) -> (String, Result<Visit, String>) {
    let request = request.to_vec();
    let (sender, result) = std::sync::mpsc::channel();
    let client = move |mut stream: std::net::TcpStream| {
        stream.write_all(&request).unwrap();
        let mut answer = String::new();
        // The answer may be followed by a reset, if more was sent than was read.
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte) {
            answer.push(char::from(byte[0]));
        }
        answer
    };
    let server = async |stream| {
        let accepted = accept(stream, &origins).await;
        let told = accepted.map(|accepted| accepted.visit).map_err(|error| error.to_string());
        sender.send(told).unwrap();
    };
    (meet(client, server), result.recv().unwrap())
}

fn request(more: &str) -> Vec<u8> {
    let usual = "GET / HTTP/1.1\r\nHost: leveret\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    format!("{usual}{more}\r\n").into_bytes()
}

#[test]
fn an_upgrade_is_answered_with_the_subprotocol_and_others_with_a_reason() {
    let (told, result) = answer(&request("Sec-WebSocket-Protocol: mqtt, amqp\r\n"), Origins::default());
    assert!(told.starts_with("HTTP/1.1 101 "), "{told}");
    assert!(told.to_lowercase().contains("sec-websocket-protocol: amqp\r\n"), "{told}");
    assert_eq!(result, Ok(Visit::default()));

    let page = request("Origin: https://example.org\r\n");
    let (told, result) = answer(&page, Origins::default());
    assert!(told.starts_with("HTTP/1.1 101 ") && !told.to_lowercase().contains("protocol:"), "{told}");
    assert_eq!(result, Ok(Visit { is_foreign_page: true, is_proxied: false }));
    for header in ["forwarded: for=192.0.2.1", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: ::1", "Via: 1.1 p"] {
        let (_, result) = answer(&request(&format!("{header}\r\n")), Origins::default());
        assert_eq!(result, Ok(Visit { is_foreign_page: false, is_proxied: true }), "{header}");
    }
    let (told, _) = answer(&page, Origins(vec!["https://other.example".to_owned()]));
    assert!(told.starts_with("HTTP/1.1 403 "), "{told}");

    let endless = [b"GET / HTTP/1.1\r\nCookie: ", &[b'x'; 17_000][..]].concat();
    for (request, status) in [
        (
            &b"GET / HTTP/1.1\r\nHost: leveret\r\n\r\n"[..],
            "426 Upgrade Required\r\nConnection: Upgrade, close",
        ),
        (b"GET / HTTP/1.0\r\n\r\n", "400 Bad Request\r\nConnection: close"),
        (b"POST / HTTP/1.1\r\nHost: leveret\r\n\r\n", "400"),
        (b"AMQP\0\0\x09\x01", "400"),
        (b"\x16\x03\x01\x02\0", "400"),
        (b"hello\r\n\r\n", "400"),
        (&endless, "431"),
    ] {
        let (told, result) = answer(request, Origins::default());
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{told}");
        assert!(result.is_err());
    }
}

#[test]
fn what_comes_right_behind_the_request_counts() {
    let client = |mut stream: std::net::TcpStream| {
        stream.write_all(&[request(""), frame(0x82, [9; 4], b"early bird")].concat()).unwrap();
        let mut socket =
            tungstenite::WebSocket::from_raw_socket(stream, Role::Client, None::<WebSocketConfig>);
        socket.get_mut().read_exact(&mut [0; 12]).unwrap();
    };
    let server = async |stream| {
        let mut stream = accept(stream, &Origins::default()).await.unwrap().stream;
        let mut bytes = [0; 10];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"early bird");
    };
    meet(client, server);
}
