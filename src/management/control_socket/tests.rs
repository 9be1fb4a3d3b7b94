//! The control socket as a client sees it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::broker::Broker;
use crate::broker::options::BrokerOptions;
use crate::management::Management;
use crate::management::options::ManagementOptions;
use crate::storage::options::JournalOptions;
use crate::storage::simulated_disk::SimulatedDisk;
use crate::time::{Moment, Now};

fn options(listen: Vec<SocketAddr>) -> ManagementOptions {
    ManagementOptions { listen, path_prefix: "/prefix".to_owned(), ..ManagementOptions::of_nobody() }
}

fn now() -> Now {
    Now { moment: Moment(0), unix_ms: 1_700_000_000_000 }
}

/// A control socket in a directory, and a broker whose data are elsewhere.
struct Running {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    stop: CancellationToken,
    running: JoinHandle<()>,
    address: String,
}

impl Running {
    fn start_in(below: &str, listen: Vec<SocketAddr>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join(below);
        std::fs::create_dir_all(&data_dir).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let disk = Arc::new(SimulatedDisk::new(1));
        let broker = Broker::open(BrokerOptions::default(), disk, JournalOptions::default(), |_| {}).unwrap();
        let stop = CancellationToken::new();
        let _inside = runtime.enter();
        let mut management = Management::bind(options(listen), broker, None, now).unwrap();
        management.listen_locally(&data_dir);
        let address = management.addresses().first().map_or_else(String::new, |(_, address)| address.clone());
        let running = runtime.spawn(management.run(stop.clone()));
        Self { directory, runtime, stop, running, address }
    }

    fn start() -> Self {
        Self::start_in("data", Vec::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Status and body of what is answered.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        ask(connect(&self.path("data")).unwrap(), method, path, body)
    }

    fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.runtime.block_on(self.running).unwrap();
        self.directory
    }
}

fn ask(
    mut stream: impl std::io::Read + std::io::Write,
    method: &str,
    path: &str,
    body: &[u8],
) -> (u16, String) {
    let len = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: {len}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_backup_is_made_and_refused() {
    let running = Running::start();
    let backup = |path: &Path| running.ask("POST", "/api/backup", path.as_os_str().as_bytes());
    let (status, text) = backup(&running.path("copy"));
    let files = std::fs::read_dir(running.path("copy")).unwrap().count();
    assert_eq!(status, 200);
    assert!(text.lines().last().unwrap().contains(&format!("\"files\":{files}")), "{text}");
    std::fs::write(running.path("copy/file"), "").unwrap();
    for (path, why) in [
        (running.path("data/copy"), " is in "),
        (running.path("copy"), "is not empty"),
        (PathBuf::from("copy"), "an absolute path"),
        (PathBuf::new(), "an absolute path"),
    ] {
        let (status, text) = backup(&path);
        assert!(status == 400 && text.contains(why), "{status} {text}");
    }
    running.stop();
}

#[test]
fn who_comes_by_it_needs_no_password_and_may_do_everything() {
    let running = Running::start_in("data", vec![SocketAddr::from(([127, 0, 0, 1], 0))]);
    let (status, text) = running.ask("GET", "/api/whoami", b"");
    assert!(status == 200 && text.contains("administrator"), "{text}");
    let tcp = || std::net::TcpStream::connect(&running.address).unwrap();
    assert_eq!(ask(tcp(), "GET", "/prefix/api/whoami", b"").0, 401);
    assert_eq!(ask(tcp(), "POST", "/prefix/api/backup", b"/x").0, 401);
    running.stop();
}

#[test]
fn silent_clients_do_not_hold_up_the_end() {
    let running = Running::start();
    let silent: Vec<_> = (0..3).map(|_| connect(&running.path("data")).unwrap()).collect();
    let mut half = connect(&running.path("data")).unwrap();
    half.write_all(b"GET /api/who").unwrap();
    running.stop();
    drop(silent);
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_at_the_end() {
    let running = Running::start();
    let path = running.path("data/control");
    let metadata = std::fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    let directory = running.stop();
    assert!(std::fs::symlink_metadata(&path).is_err());
    assert_eq!(connect(&directory.path().join("data")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn one_that_was_left_is_replaced_and_something_else_is_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(connect(directory.path()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let bound = bind(directory.path()).unwrap();
    connect(directory.path()).unwrap();
    drop(bound);
    std::fs::write(&path, "mine").unwrap();
    assert_eq!(bind(directory.path()).err().unwrap().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_may_have_a_longer_path_than_a_socket() {
    let below = ["a"; 3].map(|part| part.repeat(80)).join("/");
    let running = Running::start_in(&below, Vec::new());
    let stream = connect(&running.path(&below)).unwrap();
    assert_eq!(ask(stream, "GET", "/api/whoami", b"").0, 200);
    assert!(running.path(&below).join("control").exists());
    running.stop();
}
