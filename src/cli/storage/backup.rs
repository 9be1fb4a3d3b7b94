//! `leveret storage backup`: asks the broker that runs on a data directory for a copy of it, or makes one itself if
//! none does.

use std::io::{self, BufRead as _, BufReader, ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::server::control::{self, LONGEST_REQUEST, PROGRESS};
use crate::storage::backup::{Report, Watch, copy_directory};
use crate::storage::disk::RealDisk;

/// How long a broker may be silent. It tells how far it is more often than that.
const SILENCE: Duration = Duration::from_secs(30);

/// Copies `data_dir` to the directory `target`, and says so on standard output.
pub(super) fn backup(data_dir: &Path, target: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Backup { path: data_dir.to_path_buf(), error };
    let target = std::path::absolute(target).map_err(failed)?;
    let mut meter = Meter::new();
    let report = match control::connect(data_dir) {
        Ok(stream) => ask(stream, &target, &mut meter),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            copy(data_dir, &target, &mut meter)
        }
        Err(error) => Err(error),
    };
    meter.end();
    let Report { files, bytes } = report.map_err(failed)?;
    print(&format!("{}: a copy of {files} files, {bytes} bytes\n", target.display()))
}

/// Has the running broker make the copy.
fn ask(mut stream: UnixStream, target: &Path, meter: &mut Meter) -> io::Result<Report> {
    stream.set_read_timeout(Some(SILENCE))?;
    let request = [b"backup ", target.as_os_str().as_bytes(), b"\n"].concat();
    let lines = request.iter().filter(|byte| **byte == b'\n').count();
    if lines > 1 || request.len() > LONGEST_REQUEST {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the path is too long or has a line feed in it"));
    }
    stream.write_all(&request)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::other("the broker does not answer"),
            _ => error,
        })?;
        match line.split_once(' ') {
            Some(("progress", numbers)) => meter.show(pair(numbers)?),
            Some(("ok", numbers)) => {
                let (files, bytes) = pair(numbers)?;
                return Ok(Report { files: usize::try_from(files).unwrap_or(usize::MAX), bytes });
            }
            Some(("error", text)) => return Err(io::Error::other(text.to_owned())),
            _ => return Err(not_understood()),
        }
    }
    Err(io::Error::other("the broker has ended the conversation; what it copied is not complete"))
}

fn pair(numbers: &str) -> io::Result<(u64, u64)> {
    let pair = numbers.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.ok_or_else(not_understood)
}

fn not_understood() -> io::Error {
    io::Error::other("the broker's answer is not understood; is it of another version?")
}

/// Makes the copy of a directory that no broker uses.
fn copy(data_dir: &Path, target: &Path, meter: &mut Meter) -> io::Result<Report> {
    let source = RealDisk::open_as_is(data_dir)?;
    let watch = Watch::default();
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        let (source, watch) = (&source, &watch);
        let work = scope.spawn(move || {
            let target = RealDisk::open_empty(target, data_dir);
            sender.send(target.and_then(|target| copy_directory(source, &target, watch)))
        });
        loop {
            match receiver.recv_timeout(PROGRESS) {
                Ok(done) => return done,
                Err(RecvTimeoutError::Timeout) => meter.show(watch.progress()),
                Err(RecvTimeoutError::Disconnected) => {
                    // It is told on standard error by the thread itself.
                    let _ = work.join();
                    return Err(io::Error::other("a panic"));
                }
            }
        }
    })
}

/// Shows on a terminal how far the copy is.
struct Meter {
    on_terminal: bool,
    shown: bool,
}

impl Meter {
    fn new() -> Self {
        Self { on_terminal: io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, (done, of): (u64, u64)) {
        if self.on_terminal && of > 0 {
            self.shown = true;
            let percent = (done.saturating_mul(100) / of).min(100);
            let _ = write!(io::stderr(), "\r{percent} % of {} MiB ", of >> 20);
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
