//! `leveret storage verify` and `leveret storage repair` as an operator runs them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::broker::vhost::QueueDeclare;
use leveret::ids::ConnectionId;
use leveret::message::{Body, MessageBuilder};
use leveret::protocol::properties::{Properties, PropertiesBuilder};
use leveret::storage::disk::RealDisk;
use leveret::storage::options::JournalOptions;
use tempfile::TempDir;

/// A directory with twenty messages in a queue, each in a group of its own.
fn data() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("data");
    let disk = RealDisk::open(&path).expect("a directory");
    let broker = Broker::open(BrokerOptions::default(), Arc::new(disk), JournalOptions::default(), |_| {});
    let broker = broker.expect("a broker");
    let user = broker.users.login("guest", b"guest", true).expect("a login");
    let vhost = broker.open_vhost("/", &user).expect("a vhost");
    let declare = QueueDeclare { name: "orders", durable: true, ..Default::default() };
    let declared = vhost.declare_queue(declare, ConnectionId(1)).expect("a queue");
    assert!(broker.journal.wait_durable(declared.gate.durable));
    let cell = vhost.find_queue("orders", ConnectionId(1)).expect("a queue");
    for number in 0..20 {
        let raw = PropertiesBuilder::new().set_delivery_mode(2).set_timestamp(number).finish();
        let properties = Properties::parse(&raw).expect("properties");
        let message = MessageBuilder::default().build("", "orders", properties, Body::Owned(vec![b'x'; 500]));
        let lsn = cell.publish(std::iter::once(message)).expect("a queue").safe;
        assert!(broker.journal.wait_durable(lsn));
    }
    broker.journal.close();
    (home, path)
}

/// Runs the program: exit code, standard output and standard error.
fn run(home: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let output = command(home).args(arguments).output().expect("the program runs");
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn command(home: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.env_clear().env("TMPDIR", home.path()).current_dir(home.path()).stdin(Stdio::null());
    command.env("LEVERET_HTTP_LISTEN", "127.0.0.1:0").env("LEVERET_PROMETHEUS_LISTEN", "127.0.0.1:0");
    command
}

/// A running broker; it ends with this.
struct Daemon(Child);

impl Daemon {
    fn start(home: &TempDir) -> Self {
        let mut command = command(home);
        let child = command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn();
        let mut daemon = Self(child.expect("the program starts"));
        let stderr = BufReader::new(daemon.0.stderr.take().expect("a pipe"));
        let mut seen = Vec::new();
        let ready = stderr.lines().map_while(Result::ok).any(|line| {
            seen.push(line.clone());
            line.contains(" ready")
        });
        assert!(ready, "{seen:?}");
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    // A running broker's socket is no file.
    let entries = entries.map(|entry| entry.expect("an entry"));
    let mut files: Vec<_> = entries
        .filter(|entry| entry.file_type().expect("a kind").is_file())
        .map(|entry| {
            let content = std::fs::read(entry.path()).expect("a file");
            (entry.file_name().into_string().expect("UTF-8"), content)
        })
        .collect();
    files.sort();
    files
}

/// Flips a bit of the journal at the place that `find` finds in it.
fn flip(data: &Path, find: impl Fn(&[u8]) -> Option<usize>) {
    let path = data.join("journal-00000001");
    let mut content = std::fs::read(&path).expect("the journal");
    let at = find(&content).expect("a place");
    content[at] ^= 4;
    std::fs::write(&path, content).expect("written");
}

/// Where the group with this number begins.
fn group(content: &[u8], number: usize) -> Option<usize> {
    let mut all = content.chunks(64).enumerate().filter(|(_, piece)| piece.starts_with(b"LGRP"));
    all.nth(number).map(|(at, _)| at * 64)
}

#[test]
fn a_sound_directory_is_left_as_it_is() {
    let (home, data) = data();
    let before = files(&data);
    let (code, stdout, stderr) = run(&home, &["storage", "verify"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("data directory ") && lines[0].ends_with("data"), "{stdout}");
    assert!(lines.iter().any(|line| line.starts_with("journal-00000001: number 1, ")), "{stdout}");
    let total = "total: 1 vhost, 0 exchanges, 1 queue, 0 bindings, 20 messages";
    assert_eq!(lines[lines.len() - 2..], [total, "sound"]);
    assert!(files(&data) == before, "something changed");
    std::fs::remove_file(data.join("lock")).expect("removed");
    assert_eq!(run(&home, &["storage", "verify"]).0, 0);
    assert!(!data.join("lock").exists(), "a lock file was made");
    let (code, stdout, _) = run(&home, &["storage", "repair"]);
    assert!(code == 0 && stdout.ends_with("sound\nthere is nothing to repair\n"), "{stdout}");
    assert_eq!(files(&data).len(), before.len());
}

#[test]
fn the_directory_comes_from_the_flag_or_the_configuration() {
    let (home, data) = data();
    std::fs::rename(&data, home.path().join("elsewhere")).expect("renamed");
    std::fs::write(home.path().join("a.toml"), "[storage]\ndata_dir = \"elsewhere\"\n").expect("a file");
    for place in [&["--data-dir", "elsewhere"][..], &["--config", "a.toml"]] {
        let (code, stdout, _) = run(&home, &[&["storage", "verify"], place].concat());
        assert!(code == 0 && stdout.contains(" 20 messages\n"), "{stdout}");
    }
}

#[test]
fn what_cannot_be_looked_at_is_another_exit_code() {
    let (home, data) = data();
    for command in ["verify", "repair"] {
        let (code, stdout, stderr) = run(&home, &["storage", command, "--data-dir", "none"]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(stderr.starts_with("leveret: cannot read the data in none: "), "{stderr}");
    }
    assert!(!home.path().join("none").exists());
    let (code, _, stderr) = run(&home, &["storage", "verify", "--what"]);
    assert!(code == 2 && stderr.contains("--what"), "{stderr}");
    let (code, _, stderr) = run(&home, &["storage"]);
    assert!(code == 2 && stderr.contains("verify"), "{stderr}");
    let daemon = Daemon::start(&home);
    // The reserve is made some time after the start.
    let names = || files(&data).into_iter().map(|(name, _)| name).filter(|name| name != "reserve").collect();
    let before: Vec<String> = names();
    for command in ["verify", "repair"] {
        let (code, stdout, stderr) = run(&home, &["storage", command]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        let pid = format!("(pid {})", daemon.0.id());
        assert!(stderr.contains("is in use by another process") && stderr.contains(&pid), "{stderr}");
    }
    assert_eq!(names(), before);
}

#[test]
fn a_damaged_message_is_told_and_dropped() {
    let (home, data) = data();
    // Group 0 declares the queue.
    flip(&data, |content| group(content, 4).map(|at| at + 300));
    let before = files(&data);
    let (code, stdout, stderr) = run(&home, &["storage", "verify"]);
    assert_eq!((code, stderr.as_str()), (1, ""));
    assert!(stdout.contains("problem: journal-00000001 at offset "), "{stdout}");
    assert!(
        stdout.contains("  affects: queue \"orders\" in vhost \"/\": the message at position 3\n"),
        "{stdout}"
    );
    assert!(stdout.ends_with(" 19 messages; 1 message more damaged\ndamaged: 1 problem\n"), "{stdout}");
    let (code, stdout, stderr) = run(&home, &["storage", "repair"]);
    assert_eq!(code, 2);
    assert!(stdout.ends_with("a repair drops:\n  queue \"orders\" in vhost \"/\": 1 message\n"), "{stdout}");
    assert!(stderr.contains("is not repaired: nobody said yes"), "{stderr}");
    assert!(
        files(&data)
            .iter()
            .filter(|(name, _)| name != "lock")
            .eq(before.iter().filter(|(name, _)| name != "lock"))
    );
    repair_and_start(&home, &data, 19);
}

#[test]
fn a_damaged_group_is_told_and_dropped() {
    let (home, data) = data();
    flip(&data, |content| group(content, 4).map(|at| at + 65));
    let (code, stdout, _) = run(&home, &["storage", "verify"]);
    assert_eq!(code, 1);
    assert!(stdout.contains(": records that were durable are damaged here\n"), "{stdout}");
    assert!(stdout.contains("  affects: 1 record: definitions, messages or acknowledgements"), "{stdout}");
    let output = command(&home).args(["--listen", "127.0.0.1:0"]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1), "a broker starts on it");
    repair_and_start(&home, &data, 19);
}

fn repair_and_start(home: &TempDir, data: &Path, messages: u64) {
    let damaged = files(data).into_iter().find(|(name, _)| name == "journal-00000001").expect("the journal");
    let (code, stdout, stderr) = run(home, &["storage", "repair", "--yes"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let kept = "journal-00000001: kept as damaged-journal-00000001\n";
    assert!(stdout.ends_with(&format!("{kept}repaired: {messages} messages kept\n")), "{stdout}");
    let aside = files(data).into_iter().find(|(name, _)| name == "damaged-journal-00000001").expect("kept");
    assert!(aside.1 == damaged.1, "it was changed");
    drop(Daemon::start(home));
    let (code, stdout, _) = run(home, &["storage", "verify"]);
    assert!(code == 0 && stdout.contains(&format!(", {messages} messages\nsound\n")), "{stdout}");
    assert!(stdout.contains("damaged-journal-00000001: kept by a repair\n"), "{stdout}");
}
