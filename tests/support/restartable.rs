//! A broker with data on disk that can be killed and started again on the same port.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const POLLS: u32 = 3000;

/// A broker; it ends with this, whoever started it.
pub struct Restartable {
    pub address: String,
    home: tempfile::TempDir,
    /// The process that was started first, to be waited for.
    first: Child,
}

impl Restartable {
    /// Starts it and waits until it takes connections.
    pub fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let mut command = Command::new("sh");
        command.arg("-c").arg(Self::command_for(&address, &home)).stdin(Stdio::null()).stderr(Stdio::null());
        let broker = Self { first: command.spawn().expect("the broker starts"), address, home };
        broker.wait_until_it_listens();
        broker
    }

    /// What starts it, for `sh -c`; it writes its pid to [`Restartable::pid_file`] before.
    pub fn command(&self) -> String {
        Self::command_for(&self.address, &self.home)
    }

    fn command_for(address: &str, home: &tempfile::TempDir) -> String {
        let (program, home) = (env!("CARGO_BIN_EXE_leveret"), home.path().display());
        // In the order of a shell: the pid stays the same when the broker takes the shell's place.
        format!(
            "echo $$ >{home}/pid; export LEVERET_HTTP_LISTEN=127.0.0.1:0 LEVERET_PROMETHEUS_LISTEN=127.0.0.1:0; \
             exec {program} --data-dir {home}/data --listen {address} --log-level off"
        )
    }

    pub fn pid_file(&self) -> PathBuf {
        self.home.path().join("pid")
    }

    /// Kills it as a crash would, and starts it again.
    pub fn crash(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
        let mut command = Command::new("sh");
        command.arg("-c").arg(self.command()).stdin(Stdio::null()).stderr(Stdio::null());
        self.first = command.spawn().expect("the broker starts");
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&self) {
        for _ in 0..POLLS {
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        panic!("the broker does not listen on {}", self.address);
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.pid_file()).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}
