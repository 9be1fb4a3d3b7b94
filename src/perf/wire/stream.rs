//! The socket, with or without TLS, and how it waits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{PATIENCE, Target, connect};
use crate::perf::error::PerfError;

/// A socket to a broker.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How long reads and writes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Not at all; see [`Stream::ready`].
    Never,
    /// Reads and writes up to this long.
    AtMost(Duration),
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read, or an end.
    pub read: bool,
    /// Something can be written.
    pub write: bool,
}

impl Stream {
    /// Connects; with TLS the handshake is done. Reads and writes wait for [`PATIENCE`].
    pub(super) fn connect(target: &Target) -> Result<Self, PerfError> {
        let url = &target.url;
        let failed = |error| PerfError::Connect { address: url.address(), error };
        let socket = connect(&url.host, url.port).map_err(failed)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        if !url.is_tls {
            return Ok(Self::Plain(socket));
        }
        let wrong = |text: String| PerfError::Tls { address: url.address(), text };
        let config = target.tls.clone().ok_or_else(|| wrong("not set up".to_owned()))?;
        let name = ServerName::try_from(url.host.clone()).map_err(|error| wrong(error.to_string()))?;
        let client = ClientConnection::new(config, name).map_err(|error| wrong(error.to_string()))?;
        let mut stream = StreamOwned::new(client, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Self::Tls(Box::new(stream)))
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Whether it is within TLS. Then what is read may lie in the client already when the socket has nothing, and what is
    /// written may lie there still until it is flushed.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Sets how long reads and writes wait.
    ///
    /// # Errors
    ///
    /// If the socket does not take it.
    pub fn wait(&self, waiting: Waiting) -> io::Result<()> {
        let socket = self.socket();
        match waiting {
            Waiting::Never => socket.set_nonblocking(true),
            Waiting::AtMost(time) => {
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(time))?;
                socket.set_write_timeout(Some(time))
            }
        }
    }

    /// Waits until there is something to read or, if `write`, something can be written, or the time is over.
    ///
    /// # Errors
    ///
    /// If the operating system does not wait.
    pub fn ready(&self, write: bool, time: Duration) -> io::Result<Ready> {
        let wanted = if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut polled = [PollFd::new(self.socket(), wanted)];
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        match poll(&mut polled, Some(&time)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let events = polled[0].revents();
        // A failed socket is ready for everything: the next call tells what is wrong.
        let failed = events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        Ok(Ready {
            read: failed || events.contains(PollFlags::IN),
            write: failed || events.contains(PollFlags::OUT),
        })
    }

    /// Writes what can be written without waiting; 0 if nothing can.
    ///
    /// # Errors
    ///
    /// If the socket fails.
    pub fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            return match self.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                other => other,
            };
        }
    }

    /// Whether everything that was written has gone to the socket, which does not wait.
    ///
    /// # Errors
    ///
    /// If the socket fails.
    pub fn flush_some(&mut self) -> io::Result<bool> {
        match self.flush() {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
