//! The control socket: how commands reach the broker that runs on a data directory. It speaks HTTP, and asks nobody for
//! a password: whoever may open it may read the data too. This file is about its name: made, reached and removed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// The name of the socket.
const NAME: &str = "control";

/// The longest path that every system takes in the address of a socket.
const LONGEST: usize = 100;

/// Connections that may wait.
const BACKLOG: i32 = 16;

/// The socket's name in its directory. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct Name {
    directory: File,
}

impl Drop for Name {
    fn drop(&mut self) {
        // The next broker replaces what is left.
        let _ = rustix::fs::unlinkat(&self.directory, NAME, AtFlags::empty());
    }
}

/// Listens in a data directory that this process has locked, so that a socket which is there is stale. Only the owner
/// may connect.
pub(super) fn bind(data_dir: &Path) -> io::Result<(UnixListener, Name)> {
    let directory = open(data_dir)?;
    remove_stale(&directory)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path(&directory, data_dir))?)?;
    let name = Name { directory };
    // Before that nobody can connect, because it does not listen.
    rustix::fs::chmodat(&name.directory, NAME, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
    Ok((UnixListener::from_std(listener)?, name))
}

/// Connects to the broker that runs on a data directory.
///
/// # Errors
/// [`ErrorKind::NotFound`] or [`ErrorKind::ConnectionRefused`] if none does, or it takes no commands.
pub fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    let directory = open(data_dir)?;
    UnixStream::connect(path(&directory, data_dir))
}

fn open(data_dir: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(data_dir, flags, Mode::empty())?.into())
}

/// A path to the socket that is short enough. On Linux a directory that is open has a short one.
fn path(directory: &File, data_dir: &Path) -> PathBuf {
    let path = data_dir.join(NAME);
    if path.as_os_str().len() <= LONGEST {
        return path;
    }
    PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()))
}

fn remove_stale(directory: &File) -> io::Result<()> {
    match rustix::fs::statat(directory, NAME, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => {
            Ok(rustix::fs::unlinkat(directory, NAME, AtFlags::empty())?)
        }
        Ok(_) => {
            let told = format!("something called {NAME} is in the data directory, and is no socket");
            Err(io::Error::new(ErrorKind::AlreadyExists, told))
        }
    }
}

#[cfg(test)]
mod tests;
