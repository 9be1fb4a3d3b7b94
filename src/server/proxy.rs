//! Reading the header of the PROXY protocol, and what it makes of a peer.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::protocol::proxy::{Client, Progress, parse};
use crate::session::Peer;

/// Reads a header and nothing behind it. `None` if the proxy closed the connection before it said anything.
///
/// # Errors
/// If it is no header, and those of the stream.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Client>> {
    let mut header = Vec::new();
    loop {
        let more = match parse(&header).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))? {
            Progress::Whole(client) => return Ok(Some(client)),
            Progress::Needs(more) => more,
        };
        let had = header.len();
        header.resize(had + more, 0);
        let read = stream.read(&mut header[had..]).await?;
        header.truncate(had + read);
        if read == 0 {
            return if had == 0 { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// The client as the proxy tells of it. Nobody is on this machine because a proxy elsewhere says so: both have to be.
pub(super) fn reveal(peer: &mut Peer, client: Client) {
    match client {
        Client::Itself => {}
        Client::At(address) => {
            let is_loopback = peer.is_loopback && address.ip().to_canonical().is_loopback();
            (peer.address, peer.is_loopback) = (address.to_string(), is_loopback);
            peer.remote = Some(address);
        }
        Client::Unknown => {
            (peer.address, peer.is_loopback) = (format!("unknown, by {}", peer.address), false);
            peer.remote = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::proxy::LONGEST_V2;
    use crate::server::stream::pieces::{Pieces, at_once};

    #[test]
    fn nobody_is_local_by_the_word_of_a_proxy_elsewhere() {
        let revealed = |proxy: &str, client| {
            let mut peer = Peer::from(proxy.parse::<SocketAddr>().unwrap());
            reveal(&mut peer, client);
            (peer.address, peer.is_loopback)
        };
        let at = |address: &str| Client::At(address.parse().unwrap());
        let (here, there) = ("127.0.0.1:9", "192.0.2.1:9");
        assert_eq!(revealed(there, at("127.0.0.1:1")), ("127.0.0.1:1".to_owned(), false));
        assert_eq!(revealed(there, at("[::1]:1")), ("[::1]:1".to_owned(), false));
        assert_eq!(revealed(here, at("203.0.113.9:1")), ("203.0.113.9:1".to_owned(), false));
        assert!(revealed(here, at("[::ffff:127.0.0.1]:1")).1);
        assert_eq!(revealed(here, Client::Unknown), ("unknown, by 127.0.0.1:9".to_owned(), false));
        assert_eq!(revealed(here, Client::Itself), (here.to_owned(), true));
        assert_eq!(revealed(there, Client::Itself), (there.to_owned(), false));
    }

    #[test]
    fn a_header_is_read_and_nothing_behind_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut stream = &b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\nAMQP"[..];
            assert_eq!(read(&mut stream).await.unwrap(), Some(Client::At("203.0.113.9:1".parse().unwrap())));
            assert_eq!(stream, b"AMQP");
            assert_eq!(read(&mut &b""[..]).await.unwrap(), None);
            assert_eq!(read(&mut &b"PROXY"[..]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(read(&mut &b"AMQP\0\0\x09\x01"[..]).await.unwrap_err().kind(), ErrorKind::InvalidData);
        });
    }

    /// Headers with something wrong in them, or nothing, and what may come behind them.
    fn headers() -> impl Strategy<Value = Vec<u8>> {
        let v2 = |length: u16| {
            let fixed = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &length.to_be_bytes()].concat();
            [fixed, vec![7; usize::from(length)]].concat()
        };
        let whole = prop_oneof![
            Just(b"PROXY TCP4 203.0.113.9 10.0.0.1 40000 5672\r\n".to_vec()),
            (0..300_usize)
                .prop_map(|length| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length)).into_bytes()),
            (0..5000_u16).prop_map(v2),
            proptest::collection::vec(any::<u8>(), 0..100),
        ];
        let change = proptest::option::of((any::<proptest::sample::Index>(), any::<u8>()));
        (whole, change, proptest::collection::vec(any::<u8>(), 0..100)).prop_map(
            |(mut header, change, rest)| {
                if let Some((at, byte)) = change
                    && !header.is_empty()
                {
                    let at = at.index(header.len());
                    header[at] = byte;
                }
                [header, rest].concat()
            },
        )
    }

    proptest! {
        #[test]
        fn no_header_does_harm_however_it_is_cut(
            bytes in headers(), pieces in proptest::collection::vec(1..1000_usize, 1..6), ones in any::<bool>(),
        ) {
            let heard = |pieces: &[usize]| {
                let mut client = Pieces::new(&bytes, pieces);
                let heard = at_once(read(&mut client)).map_err(|error| error.to_string());
                (heard, client.read)
            };
            let whole = heard(&[bytes.len().max(1)]);
            let cut = heard(&if ones { vec![1] } else { pieces });
            prop_assert!(whole.1.max(cut.1) <= LONGEST_V2);
            prop_assert_eq!(&whole.0, &cut.0);
            if whole.0.is_ok() {
                prop_assert_eq!(whole.1, cut.1, "nothing behind the header is taken");
            }
        }
    }
}
