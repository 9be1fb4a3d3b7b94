//! The Unix socket that clients of the same machine may connect to: its path made and taken away.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

/// A Unix socket that is listened on.
#[derive(Debug)]
pub(super) struct UnixSocket {
    pub(super) listener: UnixListener,
    pub(super) path: SocketPath,
}

/// The path of a socket of this process. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    /// Device and inode: what is there later may be somebody else's.
    file: (u64, u64),
}

impl SocketPath {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // The next broker replaces what is left.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Listens at `path` with the permissions `mode`. A socket that is there and that nobody listens on is replaced.
///
/// # Errors
/// If somebody listens there, if something else is there, and as the operating system has it; the path is named.
pub(super) fn bind(path: &Path, mode: u32, backlog: u32) -> io::Result<UnixSocket> {
    listen(path, mode, backlog).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on the Unix socket {}: {error}", path.display()))
    })
}

fn listen(path: &Path, mode: u32, backlog: u32) -> io::Result<UnixSocket> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let path = SocketPath { path: path.to_path_buf(), file: identity(path)? };
    // Before that nobody can connect, because it does not listen.
    std::fs::set_permissions(&path.path, Permissions::from_mode(mode))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
    Ok(UnixSocket { listener: UnixListener::from_std(listener)?, path })
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "something is there that is no socket"));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// How a client is shown in logs.
pub(super) fn shown(stream: &UnixStream) -> String {
    match stream.peer_cred() {
        Ok(peer) => match peer.pid() {
            Some(pid) => format!("unix:uid={},pid={pid}", peer.uid()),
            None => format!("unix:uid={}", peer.uid()),
        },
        Err(_) => "unix".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("amqp");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = bind(&path, 0o600, 8).unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        let told = bind(&path, 0o600, 8).unwrap_err();
        assert_eq!(told.kind(), ErrorKind::AddrInUse);
        assert!(told.to_string().contains("somebody listens there"), "{told}");
        drop(first);
        assert!(!path.exists());

        std::fs::write(&path, "mine").unwrap();
        assert_eq!(bind(&path, 0o600, 8).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn what_is_somebody_elses_by_then_stays() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("amqp");
        let first = bind(&path, 0o660, 8).unwrap();
        std::fs::rename(&path, directory.path().join("moved")).unwrap();
        let second = bind(&path, 0o660, 8).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
