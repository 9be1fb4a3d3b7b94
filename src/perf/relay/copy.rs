//! The relay itself: the first connection goes in, the second out.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::perf::input::READ_SIZE;

/// How long to wait for a connection: whoever started the relay may be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens on a free port of this machine, says which by `tell`, and copies what the first connection sends to the second
/// until it ends.
///
/// # Errors
///
/// If nobody connects, or a socket fails.
pub fn serve(tell: impl FnOnce(std::net::SocketAddr) -> io::Result<()>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    tell(listener.local_addr()?)?;
    let (mut from, mut to) = (accept(&listener)?, accept(&listener)?);
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let time = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    if poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&time))? == 0 {
        return Err(ErrorKind::TimedOut.into());
    }
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let (tell, told) = mpsc::sync_channel(1);
        let relay = thread::spawn(move || serve(|address| tell.send(address).map_err(io::Error::other)));
        let address = told.recv().expect("an address");
        let mut sender = TcpStream::connect(address).expect("a relay");
        let mut receiver = TcpStream::connect(address).expect("a relay");
        let bytes: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
        let sent = bytes.clone();
        let sending = thread::spawn(move || sender.write_all(&sent));
        let mut came = Vec::new();
        receiver.read_to_end(&mut came).expect("all of it");
        assert!(came == bytes, "{} of {} bytes", came.len(), bytes.len());
        sending.join().expect("a thread").expect("sent");
        relay.join().expect("a thread").expect("it ends with its sender");
    }
}
