//! The program itself as another process, under strace or not.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker. Dropping it kills the process.
pub struct Program {
    /// `host:port` of the AMQP listener.
    pub address: String,
    child: Child,
    directory: TempDir,
}

impl Program {
    /// Starts it on a data directory of its own.
    pub fn start() -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_leveret")))
    }

    /// Starts it with its system calls counted; `summary` is written when it has ended.
    pub fn start_counted(summary: &Path) -> Self {
        let mut command = Command::new("strace");
        // -D: the broker is our own child, so that signals are its own.
        command.args(["-D", "-f", "-c", "-qq", "-U", "calls,name", "-o"]).arg(summary);
        command.arg(env!("CARGO_BIN_EXE_leveret"));
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Every LEVERET_* variable is a setting to the broker, also those that are meant for the tests.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LEVERET_")) {
            command.env_remove(name);
        }
        command
            .env("LEVERET_HTTP_LISTEN", "127.0.0.1:0")
            .env("LEVERET_PROMETHEUS_LISTEN", "127.0.0.1:0")
            .args(["--listen", "127.0.0.1:0", "--log-format", "json", "--data-dir"])
            .arg(directory.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, found) = channel();
        std::thread::spawn(move || {
            // To its end, or the broker would block on a full pipe.
            for line in log.lines().map_while(Result::ok) {
                // Whoever waits for it may have given up.
                let _ = sender.send(line);
            }
        });
        let mut program = Self { address: String::new(), child, directory };
        let mut log = String::new();
        while !log.contains(r#""message":"ready""#) {
            let line = found.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("not ready after\n{log}"));
            if line.contains(r#""protocol":"amqp""#)
                && let Some((_, rest)) = line.split_once(r#""address":""#)
            {
                program.address = rest.split('"').next().unwrap_or_default().to_owned();
            }
            log.push_str(&line);
            log.push('\n');
        }
        program
    }

    /// Resident memory in bytes, without pages of files.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Ends it, and gives back its directory.
    pub fn stop(mut self) -> TempDir {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the process is there");
        assert!(self.child.wait().expect("a child").success(), "the broker's end");
        std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a temporary directory"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
