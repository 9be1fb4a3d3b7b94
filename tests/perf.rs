//! `leveret perf` as people run it, against the real broker: short runs that end by a number of messages, whose counts in
//! the JSON add up; and what it says when something is wrong.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leveret::perf::compare::Measurement as _;
use leveret::perf::connections::Plan;
use leveret::perf::crew::Tally;
use leveret::perf::run::Control;
use leveret::perf::url::Url;
use leveret::perf::wire::Target;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

#[allow(dead_code, reason = "these tests need no names of their own")]
mod support;

#[path = "support/restartable.rs"]
mod restartable;

/// Runs the program: exit code, standard output and standard error.
fn perf(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let output = command.arg("perf").args(arguments).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

/// A run that goes well; its JSON.
fn measured(arguments: &[&str]) -> Value {
    let (code, stdout, stderr) = perf(&[arguments, &["--json", "-"]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}: {stdout}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

fn number(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {json:#}"))
}

/// Runs a test on the broker, with its URL.
fn with_url(test: impl FnOnce(&str)) {
    support::with_broker(async |broker| test(&format!("amqp://{}/", broker.address)));
}

#[test]
fn every_exchange_type_moves_all_messages() {
    with_url(|url| {
        for (kind, copies, more) in [
            ("default", 1, vec![]),
            ("direct", 1, vec!["--bindings", "3"]),
            ("fanout", 2, vec![]),
            ("topic", 1, vec!["--bindings", "3"]),
            ("topic", 2, vec!["--routing-key", "a.b"]),
            ("headers", 1, vec!["--bindings", "3", "--properties", "headers.x=y"]),
        ] {
            let arguments = ["throughput", "--url", url, "--exchange-type", kind, "--messages", "300"];
            let connections = ["--publishers", "3", "--consumers", "2", "--queues", "2"];
            let json = measured(&[&arguments[..], &connections, &more].concat());
            let found = ["/published", "/total/published", "/consumed", "/total/expected", "/total/missing"];
            let found = found.map(|pointer| number(&json, pointer));
            assert_eq!(found, [900, 900, 900 * copies, 900 * copies, 0], "{kind} {more:?}");
            assert_eq!(json["parameters"]["exchange_type"], kind);
            assert_eq!(json["broker"]["product"], "Leveret");
            assert!(json["published_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{json:#}");
        }
    });
}

#[test]
fn confirms_acknowledgements_and_large_messages_add_up() {
    with_url(|url| {
        let arguments = ["throughput", "--url", url, "--messages", "100", "--size", "0,16,200000"];
        let reliable = ["--confirm", "7", "--ack", "3", "--prefetch", "10", "--persistent", "--durable"];
        let properties = ["--properties", "content-type=text/plain", "--queue-args", "x-queue-type=quorum"];
        let json = measured(&[&arguments[..], &reliable, &properties].concat());
        for (pointer, expected) in [
            ("/published", 100),
            ("/confirmed", 100),
            ("/nacked", 0),
            ("/consumed", 100),
            ("/total/unconfirmed", 0),
            ("/total/missing", 0),
            ("/parameters/confirm", 7),
            ("/parameters/sizes/2", 200_000),
        ] {
            assert_eq!(number(&json, pointer), expected, "{pointer}");
        }
    });
}

#[test]
fn refused_messages_are_counted_and_told() {
    with_url(|url| {
        let arguments =
            ["throughput", "--url", url, "--consumers", "0", "--confirm", "5", "--messages", "50"];
        let bound = ["--queue-args", "x-max-length=10", "--queue-args", "x-overflow=reject-publish"];
        let (code, stdout, stderr) = perf(&[&arguments[..], &bound, &["--json", "-"]].concat());
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("refused 40 messages"), "{stderr}");
        let json: Value = serde_json::from_str(&stdout).expect("JSON");
        let counts = ["/published", "/confirmed", "/nacked"].map(|pointer| number(&json, pointer));
        assert_eq!(counts, [50, 10, 40]);
    });
}

#[test]
fn a_run_that_is_over_by_time_has_drained_its_queue() {
    with_url(|url| {
        let times = ["--duration", "0.3", "--warmup", "0.1"];
        let json = measured(&[&["throughput", "--url", url, "--rate", "2000"], &times[..]].concat());
        let [published, consumed] = ["/total/published", "/total/consumed"].map(|at| number(&json, at));
        assert_eq!(published, consumed);
        assert!(number(&json, "/published") < published, "the warm-up does not count");
    });
}

#[test]
fn latency_has_a_time_for_every_message() {
    with_url(|url| {
        let arguments = ["latency", "--url", url, "--rate", "2000", "--messages", "200", "--confirm", "50"];
        let json = measured(&arguments);
        for times in ["/latency", "/confirm_latency"] {
            assert_eq!(number(&json, &format!("{times}/count")), 200);
            let of = ["min_us", "p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"];
            let of =
                of.map(|name| json.pointer(&format!("{times}/{name}")).and_then(Value::as_f64).expect(name));
            assert!(of[0] > 0.0 && of.is_sorted(), "{of:?}");
        }
        assert_eq!(number(&json, "/total/consumed"), 200);
        let (code, _, stderr) = perf(&["latency", "--url", url, "--size", "7"]);
        assert_eq!(code, 64, "{stderr}");
    });
}

#[test]
fn queues_are_removed_unless_they_are_to_be_kept() {
    with_url(|url| {
        let short = ["throughput", "--url", url, "--messages", "10"];
        let name = |json: &Value| json["names"]["queues"][0].as_str().expect("a name").to_owned();
        let gone = name(&measured(&short));
        let (code, _, stderr) = perf(&[&short[..], &["--queue", &gone]].concat());
        assert!(code == 1 && stderr.contains("NOT_FOUND"), "{code} {stderr}");

        let kept = name(&measured(&[&short[..], &["--keep", "--consumers", "0"]].concat()));
        let json = measured(&[&short[..], &["--queue", &kept]].concat());
        assert_eq!((name(&json), number(&json, "/total/published")), (kept.clone(), 10));
        // It had ten messages already; whoever named it keeps it.
        assert!(number(&json, "/total/consumed") >= 10);
        measured(&[&short[..], &["--queue", &kept]].concat());
    });
}

#[test]
fn the_cost_of_a_process_is_told() {
    with_url(|url| {
        // Any process will do, and this one is surely there.
        let pid = std::process::id().to_string();
        let json = measured(&["throughput", "--url", url, "--messages", "100", "--pid", &pid]);
        assert!(number(&json, "/broker_process/rss_bytes") > 0);
        assert!(number(&json, "/client_process/peak_rss_bytes") > 0);
        assert!(json["broker_process"]["cpu_seconds"].is_f64());
        let (code, _, stderr) = perf(&["throughput", "--url", url, "--pid", "4194305", "--messages", "1"]);
        assert!(code == 1 && stderr.contains("4194305"), "{code} {stderr}");
    });
}

#[test]
fn a_fanout_counts_each_delivery() {
    with_url(|url| {
        let arguments = ["fanout", "--url", url, "--publishers", "2", "--queues", "3", "--messages", "100"];
        let json = measured(&[&arguments[..], &["--confirm", "10", "--ack", "5"]].concat());
        let found = ["/published", "/confirmed", "/consumed", "/total/expected", "/total/missing"];
        assert_eq!(found.map(|pointer| number(&json, pointer)), [200, 200, 600, 600, 0]);
        assert_eq!((&json["command"], number(&json, "/parameters/consumers")), (&"fanout".into(), 3));
    });
}

#[test]
fn connections_are_opened_held_and_closed() {
    with_url(|url| {
        let pid = std::process::id().to_string();
        let arguments = ["connections", "--url", url, "--count", "30", "--threads", "3", "--hold", "0.1"];
        let json = measured(&[&arguments[..], &["--pid", &pid, "--settle", "0.1"]].concat());
        let found = ["/opened", "/base", "/open/count", "/lost"].map(|pointer| number(&json, pointer));
        assert_eq!(found, [30, 15, 15, 0]);
        assert!(
            json["bytes_per_connection"].is_f64() && json["opened_per_second"].as_f64() > Some(0.0),
            "{json:#}"
        );
        let json = measured(&["connections", "--url", url, "--count", "5", "--rate", "1000"]);
        assert_eq!((number(&json, "/opened"), number(&json, "/base")), (5, 0));
        let (code, _, stderr) = perf(&["connections", "--url", url, "--count", "4000000000"]);
        assert!(code == 64 && stderr.contains("file descriptors"), "{code} {stderr}");
    });
}

#[test]
fn connections_that_end_are_told() {
    let mut broker = restartable::Restartable::start();
    let url = Url::parse(&format!("amqp://{}/", broker.address)).expect("a URL");
    let (hold, settle) = (Duration::from_secs(3600), Duration::ZERO);
    let plan = Plan { count: 8, rate: None, threads: 3, hold, settle, pid: None };
    let stop = AtomicBool::new(false);
    let mut progress = |tally: &Tally| {
        if tally.what == "held" && !stop.load(Ordering::Relaxed) {
            broker.crash();
            stop.store(true, Ordering::Relaxed);
        }
    };
    let mut control = Control { stop: &stop, progress: &mut progress };
    let found = plan.measure(&Target { url, tls: None }, &mut control).expect("a result");
    assert_eq!((found.opened, found.lost, found.lost_because.is_some()), (8, 8, true));
}

#[test]
fn clients_come_and_go() {
    with_url(|url| {
        let arguments = ["churn", "--url", url, "--clients", "3", "--cycles", "20", "--duration", "60"];
        let json = measured(&[&arguments[..], &["--publish", "2"]].concat());
        let found = ["/cycles", "/cycle/count", "/connect/count"].map(|pointer| number(&json, pointer));
        assert_eq!(found, [20, 20, 20]);
        let (cycle, connect) = (&json["cycle"]["p50_us"], &json["connect"]["p50_us"]);
        assert!(cycle.as_f64() > connect.as_f64() && json["seconds"].as_f64() < Some(60.0), "{json:#}");
    });
}

#[test]
fn queues_are_made_and_deleted() {
    with_url(|url| {
        for more in [
            &["--depth", "1"][..],
            &["--depth", "7", "--transient"],
            &["--queue-args", "x-queue-type=quorum"],
        ] {
            let json = measured(&[&["queues", "--url", url, "--count", "20"], more].concat());
            for stage in ["declare", "bind", "publish", "delete"] {
                assert_eq!(number(&json, &format!("/{stage}/times/count")), 20, "{stage} {more:?}");
                assert!(json[stage]["per_second"].as_f64() > Some(0.0), "{json:#}");
            }
        }
        let wrong = ["queues", "--url", url, "--count", "20", "--queue-args", "x-queue-type=odd"];
        let (code, _, stderr) = perf(&wrong);
        assert!(code == 1 && stderr.contains("PRECONDITION_FAILED"), "{code} {stderr}");
    });
}

#[test]
fn a_backlog_survives_a_kill() {
    let broker = restartable::Restartable::start();
    let url = format!("amqp://{}/", broker.address);
    let (command, pid_file) = (broker.command(), broker.pid_file());
    let pid_file = pid_file.to_str().expect("UTF-8");
    let arguments = ["backlog", "--url", &url, "--messages", "2000", "--publishers", "2", "--consumers", "2"];
    let json = measured(&[&arguments[..], &["--pid-file", pid_file, "--restart", &command]].concat());
    let found = ["/fill/messages", "/drain/messages", "/missing"].map(|pointer| number(&json, pointer));
    assert_eq!(found, [2000, 2000, 0]);
    for memory in ["/fill/broker_process/rss_bytes", "/restart/rss_bytes", "/drain/broker_process/rss_bytes"]
    {
        assert!(number(&json, memory) > 0, "{memory}");
    }
    let times = ["connected_seconds", "first_message_seconds"].map(|name| json["restart"][name].as_f64());
    assert!(times[0] > Some(0.0) && times[0] <= times[1], "{times:?}");
    let fail = ["backlog", "--url", &url, "--messages", "10", "--pid-file", pid_file, "--restart", "exit 3"];
    let (code, _, stderr) = perf(&fail);
    assert!(code == 1 && stderr.contains("exit status: 3"), "{code} {stderr}");
    assert_eq!(perf(&["backlog", "--kill"]).0, 64);
}

#[test]
fn two_brokers_are_compared() {
    with_url(|url| {
        let pid = std::process::id().to_string();
        let both = ["--url", url, "--compare", url, "--rounds", "2", "--pid", &pid, "--compare-pid", &pid];
        for (command, figure, more) in [
            ("throughput", "consumed_per_second", ["--messages", "100"]),
            ("latency", "p50_us", ["--messages", "20"]),
            ("fanout", "consumed_per_second", ["--messages", "20"]),
            ("connections", "open_p99_us", ["--count", "4"]),
            ("churn", "cycles_per_second", ["--cycles", "4"]),
            ("queues", "bind_per_second", ["--count", "4"]),
        ] {
            let settle: &[&str] = if command == "connections" { &["--settle", "0"] } else { &[] };
            let json = measured(&[&[command], &both[..], &more, settle].concat());
            let runs = ["first", "second"].map(|side| json[side].as_array().map(Vec::len));
            assert_eq!((number(&json, "/rounds"), runs), (2, [Some(2), Some(2)]), "{command}");
            let compared = json["compared"].as_array().expect("figures");
            let compared = compared.iter().find(|compared| compared["figure"] == figure).expect(figure);
            let [first, second, ratio] =
                ["first", "second", "ratio"].map(|name| compared[name].as_f64().expect(name));
            assert!(first > 0.0 && (first / second - ratio).abs() < 1e-9, "{compared}");
        }
        let full = [
            ["--queue-args", "x-max-length=1"],
            ["--queue-args", "x-overflow=reject-publish"],
            ["--consumers", "0"],
            ["--confirm", "5"],
        ];
        let rounds = ["throughput", "--url", url, "--compare", url, "--rounds", "1", "--messages", "9"];
        let (code, _, stderr) = perf(&[&rounds[..], &full.concat()].concat());
        let told = ["first", "second"].map(|side| format!("round 1, {side}: the broker refused 8 messages"));
        assert!(code == 0 && told.iter().all(|told| stderr.contains(told)), "{code} {stderr}");
        let (code, _, stderr) = perf(&["throughput", "--url", url, "--rounds", "2"]);
        assert!(code == 64 && stderr.contains("--compare"), "{code} {stderr}");
    });
}

#[test]
fn the_relay_runs_beside_a_broker() {
    with_url(|url| {
        let json = measured(&["latency", "--url", url, "--rate", "500", "--duration", "0.3", "--relay"]);
        assert!(number(&json, "/relay/relayed") > 0);
        let multiple = json["relay"]["p50_multiple"].as_f64().expect("a multiple");
        let p50 = |pointer| json.pointer(pointer).and_then(Value::as_f64).expect("a time");
        assert!((multiple - p50("/latency/p50_us") / p50("/relay/latency/p50_us")).abs() < 1e-9);
        let json = measured(&["throughput", "--url", url, "--duration", "0.2", "--relay"]);
        assert!(number(&json, "/relay/relayed") > 0 && json["relay"]["cpu_multiple"].is_null());
        let (code, _, stderr) = perf(&["throughput", "--url", url, "--size", "1,2", "--relay"]);
        assert!(code == 64 && stderr.contains("one --size"), "{code} {stderr}");
    });
}

#[test]
fn the_relay_and_the_disk_are_measured() {
    let json = measured(&["relay", "--size", "16", "--duration", "0.2"]);
    assert!(number(&json, "/relayed") > 0);
    assert_eq!(json["latency"], Value::Null);
    let json = measured(&["relay", "--size", "16", "--duration", "0.2", "--rate", "1000"]);
    assert!(number(&json, "/latency/count") > 0);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("UTF-8");
    let json = measured(&["sync", "--dir", path, "--count", "15"]);
    assert_eq!(number(&json, "/sync/count"), 15);
    assert_eq!(dir.path().read_dir().expect("a directory").count(), 0);
}

/// A broker that listens within TLS, with its own authority; it ends with this.
struct TlsBroker {
    child: Child,
    address: String,
    home: tempfile::TempDir,
}

impl TlsBroker {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = |name: &str| home.path().join(name);
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::OrganizationName, "Leveret test authority");
        let key = KeyPair::generate().expect("a key");
        let ca = authority.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(authority, key);
        let server = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = server.signed_by(&key, &issuer).expect("a certificate");
        std::fs::write(path("ca.pem"), ca.pem()).expect("a file");
        std::fs::write(path("server.pem"), certificate.pem()).expect("a file");
        std::fs::write(path("server.key"), key.serialize_pem()).expect("a file");
        let owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path("server.key"), owner).expect("permissions");

        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.env("LEVERET_HTTP_LISTEN", "127.0.0.1:0").env("LEVERET_PROMETHEUS_LISTEN", "127.0.0.1:0");
        command.env("LEVERET_LISTEN_AMQPS", "127.0.0.1:0");
        command.env("LEVERET_TLS_CERT", path("server.pem")).env("LEVERET_TLS_KEY", path("server.key"));
        command.args(["--ephemeral", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let line = log.find(|line| line.contains(r#""protocol":"amqps""#)).expect("it listens");
        let (_, rest) = line.split_once(r#""address":""#).expect("an address");
        let address = rest.split('"').next().expect("an address").to_owned();
        // Else the broker would wait for somebody to read its log.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, address, home }
    }
}

impl Drop for TlsBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn brokers_within_tls_are_measured_if_they_are_trusted() {
    let broker = TlsBroker::start();
    let url = format!("amqps://{}/", broker.address);
    let ca = broker.home.path().join("ca.pem");
    let ca = ca.to_str().expect("UTF-8");
    let arguments = ["throughput", "--url", &url, "--messages", "200", "--confirm", "20", "--ack", "5"];
    for trust in [&["--ca", ca][..], &["--insecure"]] {
        let json = measured(&[&arguments[..], &["--size", "16,50000"], trust].concat());
        let counts = ["/published", "/confirmed", "/consumed"].map(|pointer| number(&json, pointer));
        assert_eq!(counts, [200, 200, 200]);
    }
    let free = measured(&["throughput", "--url", &url, "--messages", "20000", "--ca", ca]);
    assert_eq!(number(&free, "/consumed"), 20_000);
    let (code, _, stderr) = perf(&arguments);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("certificate") || stderr.contains("authorities"), "{stderr}");
}

#[test]
fn what_is_wrong_is_said() {
    with_url(|url| {
        let address = url.trim_start_matches("amqp://").trim_end_matches('/');
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let nobody = format!("amqp://{}/", closed.local_addr().expect("an address"));
        drop(closed);
        let wrong_password = format!("amqp://guest:wrong@{address}/");
        let wrong_vhost = format!("amqp://{address}/nowhere");
        let tls = format!("amqps://{address}/");
        let cases: [(&[&str], i32, &str); 14] = [
            (&["--url", &wrong_password], 1, "ACCESS_REFUSED"),
            (&["--url", &wrong_vhost], 1, "nowhere"),
            (&["--url", &nobody], 1, "refused"),
            (&["--url", &tls, "--insecure"], 1, "TLS"),
            (&["--url", url, "--queue", "missing"], 1, "NOT_FOUND - no queue 'missing'"),
            (&["--url", url, "--queue-args", "x-queue-type=odd"], 1, "PRECONDITION_FAILED"),
            (&["--url", url, "--insecure"], 64, "amqps"),
            (&["--url", "http://x"], 64, "scheme"),
            (&["--url", url, "--properties", "colour=red"], 64, "no property colour"),
            (&["--url", url, "--ack", "10", "--prefetch", "5"], 64, "--prefetch"),
            (&["--url", url, "--bindings", "2"], 64, "--bindings"),
            (&["--url", url, "--rate", "0"], 64, "rate"),
            (&["--url", url, "--publishers", "0"], 64, "--duration"),
            (&["--colour"], 64, "--colour"),
        ];
        for (arguments, expected, what) in cases {
            let (code, stdout, stderr) = perf(&[&["throughput", "--messages", "10"], arguments].concat());
            assert_eq!(code, expected, "{arguments:?}: {stderr}");
            assert!(stderr.contains(what), "{arguments:?}: {stderr}");
            assert_eq!(stdout, "", "{arguments:?}");
        }
        assert_eq!(perf(&[]).0, 64);
        assert_eq!(perf(&["throughput", "--help"]).0, 0);
    });
}
