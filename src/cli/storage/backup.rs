//! `leveret storage backup`: asks the broker that runs on a data directory for a copy of it, or makes one itself if
//! none does.

use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use hyper::Method;

use crate::cli::client::{CallError, Client, Question, Target, Upload, path};
use crate::cli::failure::Failure;
use crate::cli::meter::Meter;
use crate::cli::print;
use crate::management::PROGRESS;
use crate::storage::backup::{Report, Watch, copy_directory};
use crate::storage::disk::RealDisk;

/// How long a broker may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// Copies `data_dir` to the directory `target`, and says so on standard output.
pub(super) fn backup(data_dir: &Path, target: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Backup { path: data_dir.to_path_buf(), error };
    let target = std::path::absolute(target).map_err(failed)?;
    let mut meter = Meter::new(false);
    let report = match ask(data_dir, &target, &mut meter) {
        Ok(report) => report,
        Err(CallError::Unreachable(error))
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            copy(data_dir, &target, &mut meter)
        }
        Err(CallError::Broken) => {
            Err(io::Error::other("the broker has ended the conversation; what it copied is not complete"))
        }
        Err(error) => Err(io::Error::other(error)),
    };
    meter.end();
    let Report { files, bytes } = report.map_err(failed)?;
    print(&format!("{}: a copy of {files} files, {bytes} bytes\n", target.display()))
}

fn show(meter: &mut Meter, done: u64, of: u64) {
    meter.show(done, of, &format!("{} MiB", of >> 20));
}

/// Has the running broker make the copy.
fn ask(data_dir: &Path, target: &Path, meter: &mut Meter) -> Result<io::Result<Report>, CallError> {
    let client =
        Client::new(Target::Local(data_dir.to_path_buf()), PATIENCE).map_err(CallError::Unreachable)?;
    let body = Upload::new(target.as_os_str().as_bytes().to_vec());
    let question = Question { body, ..Question::new(Method::POST, path(&["backup"])) };
    let last = client.follow(question, |line| {
        if let (Some(done), Some(of)) = (line["done"].as_u64(), line["of"].as_u64()) {
            show(meter, done, of);
        }
    })?;
    let last = match last {
        Ok(last) => last,
        Err(answer) => return Ok(Err(io::Error::other(answer.reason()))),
    };
    let number = |key: &str| last["ok"][key].as_u64();
    Ok(match (number("files"), number("bytes"), last["error"].as_str()) {
        (Some(files), Some(bytes), _) => {
            Ok(Report { files: usize::try_from(files).unwrap_or(usize::MAX), bytes })
        }
        (_, _, Some(text)) => Err(io::Error::other(text.to_owned())),
        _ => Err(io::Error::other("the broker's answer is not understood; is it of another version?")),
    })
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
                Err(RecvTimeoutError::Timeout) => {
                    let (done, of) = watch.progress();
                    show(meter, done, of);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // It is told on standard error by the thread itself.
                    let _ = work.join();
                    return Err(io::Error::other("a panic"));
                }
            }
        }
    })
}
