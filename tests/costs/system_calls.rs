//! System calls of the program, counted by strace: each load runs once and twice, and the difference counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use leveret::protocol::properties::PropertiesBuilder;

use crate::paths::{BATCH, Content, delivery, publishes};
use crate::program::Program;
use crate::wire_client::WireClient;

/// Calls by name.
type Calls = BTreeMap<String, i64>;

/// Whether processes may be traced here.
fn is_possible() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-D", "-f", "-c", "-qq", "-U", "calls,name", "-o", "/dev/null", "true"]);
    let possible = probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !possible {
        println!("SKIPPED: strace is not installed, or not allowed to trace");
    }
    possible
}

/// What the program calls from its start to its end while `load` is done so many times.
fn calls(times: usize, load: &mut impl FnMut(&str, usize)) -> Calls {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let summary = directory.path().join("calls");
    let program = Program::start_counted(&summary);
    load(&program.address, times);
    program.stop();
    read(&summary)
}

/// The summary, once strace has written it.
fn read(summary: &Path) -> Calls {
    for _ in 0..6000 {
        let text = std::fs::read_to_string(summary).unwrap_or_default();
        if text.lines().last().is_some_and(|line| line.ends_with("total")) {
            let lines = text.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
            return lines
                .filter_map(|(calls, name)| Some((name.trim().to_owned(), calls.parse().ok()?)))
                .filter(|(name, _)| name != "total")
                .collect();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("strace writes no summary");
}

/// Calls for each of `units`, of which a load of `times` has `times * units`.
fn cost(name: &str, times: usize, units: usize, mut load: impl FnMut(&str, usize)) -> f64 {
    let once = calls(times, &mut load);
    let mut twice = calls(2 * times, &mut load);
    for (name, calls) in once {
        *twice.entry(name).or_default() -= calls;
    }
    let units = (times * units) as f64;
    let each = twice.values().sum::<i64>() as f64 / units;
    let mut parts: Vec<_> = twice.into_iter().filter(|(_, calls)| *calls as f64 > units / 1000.0).collect();
    parts.sort_by_key(|(_, calls)| -calls);
    let parts: Vec<_> =
        parts.into_iter().map(|(name, calls)| format!("{name} {:.3}", calls as f64 / units)).collect();
    println!("system calls, {name}: {each:.3} ({})", parts.join(", "));
    each
}

/// A publisher and a consumer of one queue.
fn pair(address: &str) -> (WireClient, WireClient) {
    let (publisher, mut consumer) = (WireClient::connect(address), WireClient::connect(address));
    consumer.declare("q");
    consumer.consume("q");
    (publisher, consumer)
}

#[test]
fn a_busy_publisher_and_consumer() {
    if !is_possible() {
        return;
    }
    let content = Content::plain("");
    let batch = publishes(&content, &["q".to_owned()]);
    let deliveries = BATCH * delivery(&content, "q").len();
    let each = cost("direct 16, a thousand at a time, for each message", 20, BATCH, |address, times| {
        let (mut publisher, mut consumer) = pair(address);
        for _ in 0..times {
            publisher.write(&batch);
            consumer.skip(deliveries);
        }
    });
    assert!(each < 0.03, "{each} system calls for a message");
}

#[test]
fn one_message_at_a_time() {
    if !is_possible() {
        return;
    }
    let content = Content::plain("");
    let batch = publishes(&content, &["q".to_owned()]);
    let (one, each) = (&batch[..batch.len() / BATCH], delivery(&content, "q").len());
    let each = cost("direct 16, one at a time", 1000, 1, |address, times| {
        let (mut publisher, mut consumer) = pair(address);
        for _ in 0..times {
            publisher.write(one);
            consumer.skip(each);
        }
    });
    assert!(each < 6.0, "{each} system calls for a message");
}

#[test]
fn one_persistent_message_at_a_time() {
    if !is_possible() {
        return;
    }
    let properties = PropertiesBuilder::new().set_delivery_mode(2).finish();
    let content = Content { size: 1024, properties: &properties, exchange: "" };
    let batch = publishes(&content, &["q".to_owned()]);
    let one = &batch[..batch.len() / BATCH];
    let each = cost("persistent 1024 with confirm, one at a time", 300, 1, |address, times| {
        let mut publisher = WireClient::connect(address);
        publisher.declare("q");
        publisher.select();
        for number in 1..=times {
            publisher.write(one);
            publisher.wait_for_confirm(number as u64);
        }
    });
    assert!(each < 20.0, "{each} system calls for a message");
}
