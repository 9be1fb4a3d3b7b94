//! The header of the PROXY protocol, versions 1 and 2, with which a proxy says who its client is. The rules are those of
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! [`parse`] is given only bytes of the header: it tells how many more there are at least, so that a reader never takes
//! any of what follows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1 in bytes. The protocol's own longest has 107.
pub const LONGEST_V1: usize = 256;

/// The longest header of version 2 in bytes, with what a proxy adds for others.
pub const LONGEST_V2: usize = 4096;

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// The part of a version 2 header that is always there: signature, version and command, family, length.
const FIXED: usize = 16;

/// The shortest header of version 1.
const SHORTEST_V1: usize = b"PROXY UNKNOWN\r\n".len();

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least so many more bytes belong to it.
    Needs(usize),
    /// It is whole.
    Whole(Client),
}

/// Whom a proxy speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// For itself: it looks whether the server is there.
    Itself,
    /// For this one.
    At(SocketAddr),
    /// For somebody without an address: the proxy does not know it, or it is a Unix socket's.
    Unknown,
}

/// A header that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The bytes are something else.
    #[error("there is no PROXY protocol header")]
    NoHeader,
    /// Longer than [`LONGEST_V1`] or [`LONGEST_V2`].
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// Not as version 1 has it.
    #[error("the PROXY protocol header of version 1 is malformed")]
    MalformedV1,
    /// Not as version 2 has it.
    #[error("the PROXY protocol header of version 2 is malformed")]
    MalformedV2,
    /// It is for datagrams, and this is a stream.
    #[error("the PROXY protocol header is for a datagram")]
    Datagram,
}

/// Looks at the bytes of a header that have come.
///
/// # Errors
/// As soon as no further byte could make a header of them.
pub fn parse(input: &[u8]) -> Result<Progress, ProxyError> {
    let begins = |with: &[u8]| input.iter().zip(with).all(|(one, other)| one == other);
    if begins(WORD) {
        parse_v1(input)
    } else if begins(&SIGNATURE) {
        parse_v2(input)
    } else {
        Err(ProxyError::NoHeader)
    }
}

fn parse_v1(input: &[u8]) -> Result<Progress, ProxyError> {
    if input.len() < SHORTEST_V1 {
        return Ok(Progress::Needs(SHORTEST_V1 - input.len()));
    }
    let Some(line) = input.strip_suffix(b"\r\n") else {
        if input.len() >= LONGEST_V1 {
            return Err(ProxyError::TooLong);
        }
        // Something before the end is no line that goes on.
        let rest = input.strip_suffix(b"\r").unwrap_or(input);
        if rest.contains(&b'\r') || rest.contains(&b'\n') {
            return Err(ProxyError::MalformedV1);
        }
        return Ok(Progress::Needs(if rest.len() < input.len() {
            1
        } else {
            2.min(LONGEST_V1 - input.len())
        }));
    };
    let line = std::str::from_utf8(&line[WORD.len()..]).map_err(|_| ProxyError::MalformedV1)?;
    client_of(line).map(Progress::Whole).ok_or(ProxyError::MalformedV1)
}

/// The client of a version 1 header, from what follows the first word.
fn client_of(line: &str) -> Option<Client> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What follows is for nobody.
        return Some(Client::Unknown);
    }
    let address = |word: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let source = address(words.next()?)?;
    address(words.next()?)?;
    let port = port(words.next()?)?;
    self::port(words.next()?)?;
    words.next().is_none().then_some(Client::At(SocketAddr::new(source, port)))
}

fn port(word: &str) -> Option<u16> {
    // `parse` would take a sign.
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

fn parse_v2(input: &[u8]) -> Result<Progress, ProxyError> {
    let Some((fixed, rest)) = input.split_first_chunk::<FIXED>() else {
        return Ok(Progress::Needs(FIXED - input.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > LONGEST_V2 {
        return Err(ProxyError::TooLong);
    }
    let client = match (command, family) {
        (0x20, _) => Known::Client(Client::Itself),
        (0x21, 0x00) => Known::Client(Client::Unknown),
        // Two addresses, two ports.
        (0x21, 0x11) => Known::Address(12),
        (0x21, 0x21) => Known::Address(36),
        // Two paths.
        (0x21, 0x31) if length >= 216 => Known::Client(Client::Unknown),
        (0x21, 0x12 | 0x22 | 0x32) => return Err(ProxyError::Datagram),
        _ => return Err(ProxyError::MalformedV2),
    };
    if matches!(client, Known::Address(least) if length < least) {
        return Err(ProxyError::MalformedV2);
    }
    if rest.len() < length {
        return Ok(Progress::Needs(length - rest.len()));
    }
    match client {
        Known::Client(client) => Ok(Progress::Whole(client)),
        Known::Address(_) => source_v2(family, rest).map(Progress::Whole).ok_or(ProxyError::MalformedV2),
    }
}

/// What the fixed part of a version 2 header tells about the client.
enum Known {
    /// All there is.
    Client(Client),
    /// Addresses follow, in so many bytes.
    Address(usize),
}

/// The source among the addresses of a version 2 header; what follows them is for others.
fn source_v2(family: u8, rest: &[u8]) -> Option<Client> {
    let (address, port) = if family == 0x11 {
        let address: [u8; 4] = *rest.first_chunk()?;
        (IpAddr::from(address), rest.get(8..10)?)
    } else {
        let address: [u8; 16] = *rest.first_chunk()?;
        (IpAddr::from(address), rest.get(32..34)?)
    };
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(Client::At(SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a header as a connection does, from bytes that go on behind it.
    fn read(stream: &[u8]) -> Result<(Client, usize), ProxyError> {
        let mut taken = 0;
        loop {
            match parse(&stream[..taken])? {
                Progress::Whole(client) => return Ok((client, taken)),
                Progress::Needs(more) => {
                    assert!(more > 0);
                    taken = (taken + more).min(stream.len());
                    assert!(taken < stream.len(), "it would wait");
                }
            }
        }
    }

    fn at(text: &str) -> Client {
        Client::At(text.parse().unwrap())
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, payload].concat()
    }

    #[test]
    fn version_1_is_a_line() {
        for (line, client) in [
            ("PROXY TCP4 203.0.113.9 10.0.0.1 40000 5672\r\n", at("203.0.113.9:40000")),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 0 65535\r\n", at("1.1.1.1:0")),
            ("PROXY TCP6 2001:db8::9 ::1 1 2\r\n", at("[2001:db8::9]:1")),
            ("PROXY UNKNOWN\r\n", Client::Unknown),
            ("PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n", Client::Unknown),
            ("PROXY UNKNOWN anything at all\r\n", Client::Unknown),
        ] {
            let stream = [line.as_bytes(), b"AMQP\0\0\x09\x01"].concat();
            assert_eq!(read(&stream), Ok((client, line.len())), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_of_version_1_is_refused() {
        for line in [
            "PROXY TCP4 203.0.113.9 10.0.0.1 40000\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 40000 5672 \r\n",
            "PROXY TCP4  203.0.113.9 10.0.0.1 40000 5672\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 +4000 5672\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 65536 5672\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1  5672\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 203.0.113 10.0.0.1 1 2\r\n",
            "PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9 \u{e9} 1 2\r\n",
            "PROXY TCP4 203.0.113.9\n10.0.0.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9\r10.0.0.1 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
        ] {
            let stream = [line.as_bytes(), &[b'x'; 300]].concat();
            assert_eq!(read(&stream), Err(ProxyError::MalformedV1), "{line}");
        }
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 400][..]].concat();
        assert_eq!(read(&endless), Err(ProxyError::TooLong));
        for other in ["AMQP\0\0\x09\x01", "PROXIES", "proxy TCP4", "\r\n\r\n\0\r\nQUIT\r", "\x16\x03\x01"] {
            assert_eq!(parse(other.as_bytes()), Err(ProxyError::NoHeader), "{other:?}");
        }
        assert_eq!(parse(b""), Ok(Progress::Needs(SHORTEST_V1)));
    }

    #[test]
    fn version_2_has_addresses_and_more() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x9c, 0x40, 0x16, 0x28];
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        v6[15] = 9;
        v6[33] = 7;
        let more = [&v4[..], &[0x02, 0, 3, b'h', b'a', b'r']].concat();
        for (header, client) in [
            (v2(0x21, 0x11, &v4), at("203.0.113.9:40000")),
            (v2(0x21, 0x11, &more), at("203.0.113.9:40000")),
            (v2(0x21, 0x11, &[&v4[..], &[0; 4068]].concat()), at("203.0.113.9:40000")),
            (v2(0x21, 0x21, &v6), at("[2001::9]:7")),
            (v2(0x21, 0x31, &[b'/'; 216]), Client::Unknown),
            (v2(0x21, 0x00, &[]), Client::Unknown),
            (v2(0x21, 0x00, &[1, 2, 3]), Client::Unknown),
            (v2(0x20, 0x00, &[]), Client::Itself),
            (v2(0x20, 0x11, &v4), Client::Itself),
            (v2(0x20, 0xff, &[9]), Client::Itself),
        ] {
            let stream = [&header[..], b"AMQP\0\0\x09\x01"].concat();
            assert_eq!(read(&stream), Ok((client, header.len())), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_of_version_2_is_refused() {
        for (header, error) in [
            (v2(0x21, 0x11, &[0; 11]), ProxyError::MalformedV2),
            (v2(0x21, 0x21, &[0; 35]), ProxyError::MalformedV2),
            (v2(0x21, 0x31, &[0; 215]), ProxyError::MalformedV2),
            (v2(0x21, 0x41, &[0; 40]), ProxyError::MalformedV2),
            (v2(0x22, 0x11, &[0; 12]), ProxyError::MalformedV2),
            (v2(0x11, 0x11, &[0; 12]), ProxyError::MalformedV2),
            (v2(0x21, 0x12, &[0; 12]), ProxyError::Datagram),
            (v2(0x21, 0x11, &[0; 4081]), ProxyError::TooLong),
            (v2(0x20, 0x00, &[0; 65535]), ProxyError::TooLong),
        ] {
            // Nothing beyond the fixed part is needed to know.
            assert_eq!(parse(&header[..FIXED]), Err(error), "{header:?}");
        }
    }

    /// Bytes that look like a header for a while.
    fn likely() -> impl Strategy<Value = Vec<u8>> {
        let begin = prop_oneof![
            Just(b"PROXY ".to_vec()),
            Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
            Just([&SIGNATURE[..], &[0x21, 0x11, 0, 12]].concat()),
            Just(SIGNATURE.to_vec()),
            Just(Vec::new()),
        ];
        (begin, proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(begin, rest)| [begin, rest].concat())
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm_and_what_is_needed_never_passes_the_bound(bytes in likely()) {
            for end in 0..=bytes.len() {
                if let Ok(Progress::Needs(more)) = parse(&bytes[..end]) {
                    let longest = if bytes.starts_with(b"PROXY") { LONGEST_V1 } else { LONGEST_V2 };
                    prop_assert!(more > 0 && end + more <= longest);
                }
            }
        }

        #[test]
        fn any_client_is_read_back_and_nothing_behind_it(
            v4 in any::<(Ipv4Addr, Ipv4Addr)>(), v6 in any::<(Ipv6Addr, Ipv6Addr)>(), ports in any::<(u16, u16)>(),
            tail in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let ports_v2 = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
            let four = SocketAddr::new(v4.0.into(), ports.0);
            let six = SocketAddr::new(v6.0.into(), ports.0);
            let headers = [
                (format!("PROXY TCP4 {} {} {} {}\r\n", v4.0, v4.1, ports.0, ports.1).into_bytes(), four),
                (format!("PROXY TCP6 {} {} {} {}\r\n", v6.0, v6.1, ports.0, ports.1).into_bytes(), six),
                (v2(0x21, 0x11, &[&v4.0.octets()[..], &v4.1.octets(), &ports_v2].concat()), four),
                (v2(0x21, 0x21, &[&v6.0.octets()[..], &v6.1.octets(), &ports_v2].concat()), six),
            ];
            for (header, address) in headers {
                let stream = [&header[..], &tail].concat();
                prop_assert_eq!(read(&stream), Ok((Client::At(address), header.len())));
            }
        }
    }
}
