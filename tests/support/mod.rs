//! A broker for a client test: the one named by `LEVERET_TEST_URL`, or a private `leveret --ephemeral` on a free port.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(20);
const TEST_DEADLINE: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const KEPT_LOG_LINES: usize = 200;

type Log = Arc<Mutex<VecDeque<String>>>;

/// A running broker. Dropping it ends the process it started.
pub struct Broker {
    /// `host:port` of the AMQP listener.
    pub address: String,
    child: Option<Child>,
    log: Log,
}

impl Broker {
    fn start() -> Self {
        if let Ok(url) = std::env::var("LEVERET_TEST_URL") {
            let address = url
                .rsplit(['@', '/'])
                .find(|part| part.contains(':'))
                .expect("host:port in LEVERET_TEST_URL");
            return Self { address: address.to_owned(), child: None, log: Log::default() };
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        // Every LEVERET_* variable is a setting to the broker, also those that are meant for the tests.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LEVERET_"))
        {
            command.env_remove(name);
        }
        let mut child = command
            .env("LEVERET_HTTP_LISTEN", "127.0.0.1:0")
            .env("LEVERET_PROMETHEUS_LISTEN", "127.0.0.1:0")
            .args(["--ephemeral", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker's binary runs");
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut broker = Self { address: String::new(), child: Some(child), log: Log::default() };
        let (found, listening) = mpsc::sync_channel(1);
        let log = Arc::clone(&broker.log);
        thread::spawn(move || drain(stderr, &log, &found));
        match listening.recv_timeout(START_DEADLINE) {
            Ok(address) => broker.address = address,
            Err(_) => panic!("the broker does not listen; its log:\n{}", broker.log_text()),
        }
        broker
    }

    /// Asks the broker to end and checks that it does so without complaint.
    fn stop(mut self) {
        let Some(child) = self.child.take() else { return };
        let status = terminate(child);
        assert!(
            status.is_some_and(|status| status.success()),
            "the broker's end: {status:?}; its log:\n{}",
            self.log_text()
        );
    }

    fn log_text(&self) -> String {
        self.log.lock().map(|log| log.iter().map(|line| format!("{line}\n")).collect()).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Only a test that failed comes here with a child.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads the broker's log to its end, or the broker would block on a full pipe. Sends the listener's address once.
fn drain(stderr: ChildStderr, log: &Log, found: &mpsc::SyncSender<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(address) = listening_address(&line) {
            let _ = found.try_send(address.to_owned());
        }
        if let Ok(mut log) = log.lock() {
            if log.len() == KEPT_LOG_LINES {
                log.pop_front();
            }
            log.push_back(line);
        }
    }
}

/// The `address` of the JSON log line whose message is `listening`.
pub fn listening_address(line: &str) -> Option<&str> {
    line.contains(r#""message":"listening""#).then_some(())?;
    let (_, rest) = line.split_once(r#""address":""#)?;
    rest.split('"').next()
}

/// Sends SIGTERM and waits; `None` if the process had to be killed.
fn terminate(mut child: Child) -> Option<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM is delivered");
    for _ in 0..STOP_DEADLINE.as_millis() / POLL_INTERVAL.as_millis() {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return Some(status);
        }
        thread::sleep(POLL_INTERVAL);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Runs a test with a broker of its own on a runtime of its own. A test that hangs fails.
pub fn with_broker(test: impl AsyncFnOnce(&Broker)) {
    let broker = Broker::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(async { tokio::time::timeout(TEST_DEADLINE, test(&broker)).await });
    runtime.shutdown_background();
    assert!(ended.is_ok(), "not done after {TEST_DEADLINE:?}; the broker's log:\n{}", broker.log_text());
    broker.stop();
}

/// A name no other test uses, nor an earlier run against the same broker.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // A hasher of the standard library is seeded at random.
    let run = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("rust.{what}.{run:016x}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
