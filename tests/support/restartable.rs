//! A broker with data on disk that can be killed and started again on the same port.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::listening_address;

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const POLLS: u32 = 3000;

/// A broker; it ends with this, whoever started it.
pub struct Restartable {
    pub address: String,
    home: tempfile::TempDir,
    /// The process that was started last by this, to be waited for.
    child: Child,
}

impl Restartable {
    /// Starts it and waits until it takes connections.
    pub fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let child = spawn(&command("127.0.0.1:0", &home));
        let mut broker = Self { child, address: String::new(), home };
        broker.address = broker.wait_until_it_listens(0);
        broker
    }

    /// What starts it, for `sh -c`; it writes its pid to [`Restartable::pid_file`] before.
    pub fn command(&self) -> String {
        command(&self.address, &self.home)
    }

    pub fn pid_file(&self) -> PathBuf {
        self.home.path().join("pid")
    }

    /// Kills it as a crash would, and starts it again.
    pub fn crash(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let starts = self.listened().len();
        self.child = spawn(&self.command());
        self.wait_until_it_listens(starts);
    }

    /// The addresses of all starts so far, as the log has them.
    fn listened(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        // A line that is not whole yet comes whole the next time.
        let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.filter_map(listening_address).map(str::to_owned).collect()
    }

    /// Waits for one more start than so many. A connection would be no proof: on the loopback one to a port where nobody
    /// listens can meet itself.
    fn wait_until_it_listens(&mut self, starts: usize) -> String {
        for _ in 0..POLLS {
            if let Some(address) = self.listened().into_iter().nth(starts) {
                return address;
            }
            assert!(self.child.try_wait().expect("a child").is_none(), "the broker has ended");
            thread::sleep(POLL_INTERVAL);
        }
        panic!("the broker does not listen");
    }
}

fn command(address: &str, home: &tempfile::TempDir) -> String {
    let (program, home) = (env!("CARGO_BIN_EXE_leveret"), home.path().display());
    // In the order of a shell: the pid stays the same when the broker takes the shell's place.
    format!(
        "echo $$ >{home}/pid; export LEVERET_HTTP_LISTEN=127.0.0.1:0 LEVERET_PROMETHEUS_LISTEN=127.0.0.1:0; \
         exec {program} --data-dir {home}/data --listen {address} --log-format json 2>>{home}/log"
    )
}

fn spawn(command: &str) -> Child {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).spawn().expect("the broker starts")
}

impl Drop for Restartable {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.pid_file()).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
