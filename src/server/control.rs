//! The control socket: how a command reaches the broker that runs on a data directory.
//!
//! A client sends one line and gets lines back, and the last one says how it went:
//!
//! ```text
//! backup /absolute/path        progress <bytes copied> <bytes in all>
//!                              ok <files> <bytes>
//!                              error <text>
//! ctl <JSON of a request>      ok <JSON of the answer>
//!                              error <text>
//!                              refused <exit code> <text>
//! ```
//!
//! A path is the bytes up to the line feed. Progress comes every now and then as a sign of life. A client that goes
//! away ends what it asked for. There is nothing to log in to: whoever may open the socket may read the data too.

pub mod identity;
pub mod permissions;
mod socket;
pub mod steer;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

pub use self::socket::connect;
use self::steer::Steer;
use crate::broker::Broker;
use crate::storage::backup::{Report, Watch};
use crate::storage::disk::RealDisk;

/// The longest request, with its line feed.
pub const LONGEST_REQUEST: usize = 64 * 1024;

/// How often progress is told.
pub const PROGRESS: Duration = Duration::from_millis(500);

/// How long a client may take for its request, and for taking a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clients at a time; more are turned away.
const MOST_CLIENTS: usize = 4;

/// How long accepting pauses when the process is out of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long what is under way may hold up the end of the server.
const LAST_WORK: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Control {
    listener: UnixListener,
    name: socket::Name,
    commands: Arc<Commands>,
}

/// What clients may ask for.
struct Commands {
    broker: Arc<Broker>,
    data_dir: PathBuf,
}

impl Control {
    /// Listens in the data directory, which is locked.
    pub(super) fn bind(broker: Arc<Broker>, data_dir: &Path) -> io::Result<Self> {
        let (listener, name) = socket::bind(data_dir)?;
        let commands = Arc::new(Commands { broker, data_dir: data_dir.to_path_buf() });
        Ok(Self { listener, name, commands })
    }

    /// Serves until `stop`, and takes the name away.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { listener, name, commands } = self;
        let clients = TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) if clients.len() < MOST_CLIENTS => {
                    clients.spawn(commands.clone().serve(stream, stop.clone()));
                }
                Ok(_) => tracing::warn!("too many clients of the control socket; one was turned away"),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a client of the control socket");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        drop(name);
        drop(listener);
        clients.close();
        clients.wait().await;
    }
}

impl Commands {
    /// Serves one client, which has one request.
    async fn serve(self: Arc<Self>, mut stream: UnixStream, stop: CancellationToken) {
        let request = match stop.run_until_cancelled(timeout(PATIENCE, read_request(&mut stream))).await {
            Some(Ok(Ok(request))) => request,
            Some(Ok(Err(error))) => {
                send(&mut stream, &failure(&error)).await;
                return;
            }
            // It says nothing, or there is no time any more.
            Some(Err(_)) | None => return,
        };
        let answer = match request {
            Request::Backup(path) => {
                let made = self.backup(path, &mut stream, &stop).await;
                made.map(|Report { files, bytes }| format!("ok {files} {bytes}\n"))
            }
            Request::Steer(steer) => {
                let answer = self.steer(steer).await;
                Ok(answer.map_or_else(|error| refusal(&error), |answer| format!("ok {answer}\n")))
            }
        };
        let line = answer.unwrap_or_else(|error| failure(&error));
        send(&mut stream, &line).await;
    }

    async fn steer(&self, steer: Steer) -> io::Result<serde_json::Value> {
        let broker = self.broker.clone();
        let work = tokio::task::spawn_blocking(move || steer.carry_out(&broker));
        work.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    async fn backup(
        &self,
        path: PathBuf,
        stream: &mut UnixStream,
        stop: &CancellationToken,
    ) -> io::Result<Report> {
        tracing::info!(path = ?path, "a backup begins");
        let watch = Arc::new(Watch::default());
        let work = {
            let (broker, data_dir) = (self.broker.clone(), self.data_dir.clone());
            let (path, watch) = (path.clone(), watch.clone());
            tokio::task::spawn_blocking(move || {
                let target = RealDisk::open_empty(&path, &data_dir)?;
                broker.backup(&target, &watch)
            })
        };
        let done = accompany(work, &watch, stream, stop).await;
        match &done {
            Ok(Report { files, bytes }) => {
                tracing::info!(path = ?path, files, bytes, "a backup is complete");
            }
            Err(error) => tracing::warn!(path = ?path, %error, "a backup failed"),
        }
        done
    }
}

/// Tells a client how far its work is until it is done. Stops the work if the client goes, or at `stop`.
async fn accompany(
    mut work: JoinHandle<io::Result<Report>>,
    watch: &Watch,
    stream: &mut UnixStream,
    stop: &CancellationToken,
) -> io::Result<Report> {
    let mut is_there = true;
    loop {
        match stop.run_until_cancelled(timeout(PROGRESS, &mut work)).await {
            Some(Ok(done)) => return joined(done),
            Some(Err(_)) => {
                let (done, of) = watch.progress();
                is_there = is_there && send(stream, &format!("progress {done} {of}\n")).await;
                if !is_there {
                    watch.stop();
                }
            }
            None => {
                watch.stop();
                // A disk that hangs does not hold up the end.
                return match timeout(LAST_WORK, &mut work).await {
                    Ok(done) => joined(done),
                    Err(_) => Err(io::Error::other("the broker is stopping")),
                };
            }
        }
    }
}

fn joined(done: Result<io::Result<Report>, JoinError>) -> io::Result<Report> {
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What a client asks for.
#[derive(Debug, PartialEq)]
enum Request {
    /// A copy of the data directory in this place.
    Backup(PathBuf),
    /// Something is set or asked.
    Steer(Steer),
}

/// Reads one line.
async fn read_request(stream: &mut UnixStream) -> io::Result<Request> {
    // There may be a password in it.
    let mut line = Zeroizing::new(vec![0; LONGEST_REQUEST]);
    let mut filled = 0;
    loop {
        if let Some(end) = line[..filled].iter().position(|byte| *byte == b'\n') {
            return parse(&line[..end]);
        }
        if filled == line.len() {
            return Err(told("the request is too long"));
        }
        match stream.read(&mut line[filled..]).await? {
            0 => return Err(told("the request is not complete")),
            read => filled += read,
        }
    }
}

fn parse(line: &[u8]) -> io::Result<Request> {
    if let Some(json) = line.strip_prefix(b"ctl ") {
        let steer = serde_json::from_slice(json);
        return steer.map(Request::Steer).map_err(|error| told(&format!("not understood: {error}")));
    }
    let path = line.strip_prefix(b"backup ").map(|path| Path::new(OsStr::from_bytes(path)));
    let path = path.filter(|path| path.is_absolute()).ok_or_else(|| told("unknown request"))?;
    Ok(Request::Backup(path.to_path_buf()))
}

fn told(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

/// The last line after a failure.
fn failure(error: &io::Error) -> String {
    format!("error {}\n", one_line(error))
}

/// The last line after a failure of something that is set or asked: with the exit code that RabbitMQ's tool has for it,
/// unless it is what was asked for that is wrong.
fn refusal(error: &io::Error) -> String {
    let code = match error.kind() {
        ErrorKind::InvalidInput => return failure(error),
        // There is no such user.
        ErrorKind::NotFound => 67,
        // It is there already, or something has failed.
        _ => 70,
    };
    format!("refused {code} {}\n", one_line(error))
}

fn one_line(error: &io::Error) -> String {
    error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns whether the client has taken it.
async fn send(stream: &mut UnixStream, line: &str) -> bool {
    matches!(timeout(PATIENCE, stream.write_all(line.as_bytes())).await, Ok(Ok(())))
}
