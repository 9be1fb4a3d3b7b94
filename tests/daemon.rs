//! The program as its users run it: flags, environment, files, signals, exit codes.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![allow(clippy::disallowed_methods, reason = "deadlines of a test are in real time")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program without any variable of whoever runs the tests.
fn leveret(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.env_clear().env("TMPDIR", directory).current_dir(directory).stdin(Stdio::null());
    // Its usual port may be another test's.
    command.env("LEVERET_HTTP_LISTEN", "127.0.0.1:0").env("LEVERET_PROMETHEUS_LISTEN", "127.0.0.1:0");
    command
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn output(command: &mut Command) -> (ExitStatus, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status, text(stdout), text(stderr))
}

/// The value of `key` in what `--print-config` prints, without the origin.
fn printed(command: &mut Command, section: &str, key: &str) -> String {
    let (status, stdout, stderr) = output(command.arg("--print-config"));
    assert!(status.success(), "{stderr}");
    let mut lines = stdout.lines().skip_while(|line| *line != format!("[{section}]"));
    let line = lines.find_map(|line| line.strip_prefix(&format!("{key} = "))).expect("the key is printed");
    line.split(" # ").next().expect("a value").to_owned()
}

/// A running broker on a free port.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    fn start(command: &mut Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut daemon = Self { child, lines, port: 0 };
        let listening = daemon.wait_for("listening");
        assert!(
            listening.contains("protocol=\"amqp\"") || listening.contains("\"protocol\":\"amqp\""),
            "{listening}"
        );
        let (_, port) = listening.split_once("127.0.0.1:").expect("an address");
        let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
        daemon.port = digits.parse().expect("a port");
        daemon.wait_for("ready");
        daemon
    }

    /// The next line of the log with `text` in it.
    fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push_str(&format!("{line}\n")),
                Err(_) => panic!("no line with {text:?} after\n{seen}"),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }

    /// The exit code.
    fn wait(mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().expect("an exit code, no signal");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the process does not end");
    }

    /// A client that says hello, reads the answer and then nothing more.
    fn client(&self) -> TcpStream {
        use std::io::Write as _;
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        client.write_all(b"AMQP\x00\x00\x09\x01").expect("written");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut start = [0; 7];
        client.read_exact(&mut start).expect("connection.start");
        client
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The process may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_version_names_commit_and_compiler() {
    let home = directory();
    let (status, stdout, _) = output(leveret(home.path()).arg("--version"));
    assert!(status.success());
    assert!(stdout.starts_with(concat!("leveret ", env!("CARGO_PKG_VERSION"), " (commit ")), "{stdout}");
    assert!(stdout.contains("rustc 1."), "{stdout}");
}

#[test]
fn an_unknown_key_is_one_clear_line() {
    let home = directory();
    std::fs::write(home.path().join("a.toml"), "[amqp]\nhartbeat = 30\n").expect("a file");
    for arguments in [&["--config", "a.toml"][..], &["check", "--config", "a.toml"]] {
        let (status, stdout, stderr) = output(leveret(home.path()).args(arguments));
        assert_eq!(status.code(), Some(1));
        assert_eq!(stdout, "");
        assert_eq!(
            stderr,
            "leveret: a.toml:2: unknown key `amqp.hartbeat`; the nearest valid key is `amqp.heartbeat`\n"
        );
    }
}

#[test]
fn an_unknown_variable_is_one_clear_line() {
    let home = directory();
    let (status, _, stderr) = output(leveret(home.path()).env("LEVERET_LOG_LEVELL", "debug"));
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        stderr,
        "leveret: unknown variable LEVERET_LOG_LEVELL; the nearest valid one is LEVERET_LOG_LEVEL\n"
    );
}

#[test]
fn check_says_what_it_thinks() {
    let home = directory();
    std::fs::write(home.path().join("good.toml"), "[amqp]\nheartbeat = 30\n").expect("a file");
    std::fs::write(home.path().join("bad.toml"), "[amqp]\nheartbeat = \"often\"\n").expect("a file");
    let (status, stdout, stderr) = output(leveret(home.path()).args(["check", "--config", "good.toml"]));
    assert!(status.success(), "{stderr}");
    assert_eq!(stdout, "good.toml: valid\n");
    let (status, _, stderr) = output(leveret(home.path()).args(["check", "--config", "bad.toml"]));
    assert_eq!(status.code(), Some(1));
    assert!(stderr.starts_with("leveret: bad.toml:2: `amqp.heartbeat`: expected whole seconds"), "{stderr}");
    let (status, _, stderr) = output(leveret(home.path()).args(["check", "--config", "none.toml"]));
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("cannot read the configuration file none.toml"), "{stderr}");
    // Nothing was started, so nothing was created.
    assert_eq!(files_in(home.path()).len(), 2);
}

#[test]
fn the_printed_configuration_masks_secrets_and_reads_back() {
    let home = directory();
    let secret = ["--set", "auth.default_pass=hush", "--set", "auth.users.alice.password=hush"];
    let (status, first, _) = output(leveret(home.path()).args(secret).arg("--print-config"));
    assert!(status.success());
    assert!(!first.contains("hush") && first.contains("default_pass = \"***\""), "{first}");
    std::fs::write(home.path().join("again.toml"), &first).expect("a file");
    let (status, second, stderr) =
        output(leveret(home.path()).args(["--config", "again.toml", "--print-config"]));
    assert!(status.success(), "{stderr}");
    let bare = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap_or(line).to_owned()).collect()
    };
    assert_eq!(bare(&first), bare(&second));
}

#[test]
fn flags_beat_environment_beats_file() {
    let home = directory();
    std::fs::write(home.path().join("a.toml"), "[amqp]\nheartbeat = 1\n").expect("a file");
    let heartbeat = |command: &mut Command| printed(command, "amqp", "heartbeat");
    assert_eq!(heartbeat(&mut leveret(home.path())), "60");
    let with_file = || {
        let mut command = leveret(home.path());
        command.args(["--config", "a.toml"]);
        command
    };
    assert_eq!(heartbeat(&mut with_file()), "1");
    assert_eq!(heartbeat(with_file().env("LEVERET_AMQP_HEARTBEAT", "2")), "2");
    let all = || {
        let mut command = with_file();
        command.env("LEVERET_AMQP_HEARTBEAT", "2").args(["--set", "amqp.heartbeat=3"]);
        command
    };
    assert_eq!(heartbeat(&mut all()), "3");
    assert_eq!(
        printed(leveret(home.path()).env("RABBITMQ_NODE_PORT", "7"), "listen", "amqp"),
        "[\"127.0.0.1:7\"]"
    );
}

#[test]
fn a_term_signal_ends_it_well() {
    let home = directory();
    let daemon = Daemon::start(&mut leveret(home.path()));
    drop(daemon.client());
    let data = home.path().join("data");
    let mode = std::os::unix::fs::PermissionsExt::mode(&data.metadata().expect("the data").permissions());
    assert_eq!(mode & 0o777, 0o700);
    daemon.signal(Signal::TERM);
    daemon.wait_for("stopping");
    daemon.wait_for("stopped");
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn an_ephemeral_broker_leaves_nothing_behind() {
    let home = directory();
    let daemon = Daemon::start(leveret(home.path()).arg("--ephemeral"));
    let inside = files_in(home.path());
    assert_eq!(inside.len(), 1, "a temporary directory and no ./data: {inside:?}");
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait(), 0);
    assert_eq!(files_in(home.path()), Vec::<PathBuf>::new());
}

#[test]
fn an_ephemeral_broker_that_cannot_start_leaves_nothing_behind_either() {
    let home = directory();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (status, ..) = output(leveret(home.path()).args(["--ephemeral", "--listen", &address]));
    assert_eq!(status.code(), Some(1));
    assert_eq!(files_in(home.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let home = directory();
        let daemon = Daemon::start(leveret(home.path()).args(["--ephemeral", "--set", "shutdown.grace=1h"]));
        // A client that never answers connection.close, so that the first signal alone would take an hour.
        let client = logged_in(&daemon);
        daemon.signal(Signal::TERM);
        daemon.wait_for("stopping");
        daemon.signal(signal);
        assert_eq!(daemon.wait(), code);
        assert_eq!(files_in(home.path()), Vec::<PathBuf>::new());
        drop(client);
    }
}

/// A client that went through the handshake and reads nothing more.
fn logged_in(daemon: &Daemon) -> TcpStream {
    use std::io::Write as _;
    let mut client = daemon.client();
    // The payload of connection.start, whose length is in the header that was read, may stay unread: what follows
    // is sent without looking at the answers.
    let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0, 5];
    start_ok.extend(b"PLAIN");
    start_ok.extend([0, 0, 0, 12]);
    start_ok.extend(b"\0guest\0guest");
    start_ok.extend(b"\x05en_US");
    let tune_ok = [0, 10, 0, 31, 7, 0xff, 0, 2, 0, 0, 0, 0];
    let open = [0, 10, 0, 40, 1, b'/', 0, 0];
    for payload in [&start_ok[..], &tune_ok, &open] {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let frame = [&[1, 0, 0], &length[..], payload, &[0xce]].concat();
        client.write_all(&frame).expect("written");
    }
    // connection.open-ok ends with its own frame: method 10, 41, an empty short string, the frame end.
    let mut seen = Vec::new();
    while !seen.ends_with(&[0, 10, 0, 41, 0, 0xce]) {
        let mut chunk = [0; 1024];
        let length = client.read(&mut chunk).expect("an answer");
        assert!(length > 0, "closed during the handshake: {seen:?}");
        seen.extend(&chunk[..length]);
    }
    client
}

#[test]
fn a_hangup_reads_the_level_and_opens_the_log_anew() {
    let home = directory();
    let (config, log, old) =
        (home.path().join("a.toml"), home.path().join("leveret.log"), home.path().join("old.log"));
    let text = |level: &str, heartbeat: u32| {
        format!(
            "[log]\nlevel = \"{level}\"\nformat = \"json\"\nfile = \"leveret.log\"\n[amqp]\nheartbeat = {heartbeat}\n"
        )
    };
    std::fs::write(&config, text("info", 60)).expect("a file");
    let child = leveret(home.path())
        .args(["--config", "a.toml", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (_, lines) = channel();
    let daemon = Daemon { child, lines, port: 0 };
    wait_for_text(&log, "\"message\":\"ready\"");

    std::fs::rename(&log, &old).expect("moved");
    std::fs::write(&config, text("warn", 30) + "[server]\nworkers = 1\n").expect("a file");
    daemon.signal(Signal::HUP);
    let text_now = wait_for_text(&log, "server.workers");
    assert!(text_now.contains("needs a restart"), "{text_now}");
    assert!(!text_now.contains("INFO"), "the new level counts: {text_now}");
    let text_before = std::fs::read_to_string(&old).expect("the old log");
    assert!(text_before.contains("\"message\":\"listening\""), "{text_before}");

    std::fs::write(&config, "nonsense\n").expect("a file");
    daemon.signal(Signal::HUP);
    let text_now = wait_for_text(&log, "not valid");
    assert!(text_now.contains("a.toml:1: "), "{text_now}");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 0);
}

fn wait_for_text(path: &Path, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = std::fs::read_to_string(path).unwrap_or_default();
        if now.contains(text) {
            return now;
        }
        assert!(Instant::now() < deadline, "no {text:?} in {now}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let home = directory();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (status, _, stderr) =
        output(leveret(home.path()).args(["--listen", &address, "--log-level", "error"]));
    assert_eq!(status.code(), Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let start = format!("leveret: cannot listen on {address}: ");
    assert!(stderr.starts_with(&start) && stderr.contains("in use"), "{stderr}");
}

#[test]
fn json_goes_to_the_console_as_well() {
    let home = directory();
    let daemon = Daemon::start(leveret(home.path()).args(["serve", "--log-format", "json"]));
    daemon.signal(Signal::TERM);
    let line = daemon.wait_for("stopped");
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    assert_eq!(daemon.wait(), 0);
}
