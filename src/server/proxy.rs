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

    use super::*;

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
}
