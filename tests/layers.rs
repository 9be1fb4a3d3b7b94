//! Holds the layers of the crate: reads every path under `src/` and fails on an import that goes up or sideways, on a
//! clock, thread or IO where there must be none, on file access and tokio outside their places, and on files and
//! functions that have grown too large.
//!
//! Tests inside `src/` may import what they like; sizes count for them too. What the rules say is at the top; the
//! last test makes sure that each of them bites.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

#[path = "layers/code.rs"]
mod code;

use std::collections::BTreeSet;
use std::path::Path;

use code::{Named, functions, paths, without_tests, without_text};

/// The modules of the crate with their layer and, within it, their step. A module uses only modules of a lower layer,
/// or of the same layer and a lower step: in layer 0 `protocol` < `output` < `message`, and the program uses `cli`.
const LAYERS: &[(&str, (u8, u8))] = &[
    ("ids", (0, 0)),
    ("lock", (0, 0)),
    ("pattern", (0, 0)),
    ("protocol", (0, 0)),
    ("time", (0, 0)),
    ("output", (0, 1)),
    ("throttle", (0, 1)),
    ("message", (0, 2)),
    ("deaths", (0, 3)),
    ("channel", (1, 0)),
    ("identity", (1, 0)),
    ("queue", (1, 0)),
    ("routing", (1, 0)),
    ("workers", (2, 0)),
    ("storage", (2, 1)),
    ("broker", (3, 0)),
    ("session", (4, 0)),
    ("management", (5, 0)),
    ("perf", (5, 0)),
    ("server", (5, 0)),
    ("config", (6, 0)),
    ("cli", (7, 0)),
    ("main", (7, 1)),
];

/// Paths that layers 0 and 1 may not use: the clock, threads, IO.
const IMPURE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["Instant", "now"],
    &["SystemTime", "now"],
];

/// What of it is pure after all: plain values, and a question about the thread that asks.
const PURE: &[&[&str]] = &[
    &["std", "io", "IoSlice"],
    &["std", "net", "IpAddr"],
    &["std", "net", "Ipv4Addr"],
    &["std", "net", "Ipv6Addr"],
    &["std", "net", "SocketAddr"],
    &["std", "thread", "panicking"],
];

/// Ways to the file system.
const FILES: &[&[&str]] = &[
    &["std", "fs"],
    &["tokio", "fs"],
    &["rustix", "fs"],
    &["File", "open"],
    &["File", "create"],
    &["File", "options"],
    &["OpenOptions", "new"],
];

/// Where files may be opened: the broker's data only by `storage/disk.rs`; configuration and log by their owners; the
/// kernel's account of a process by the watcher of memory in `server` and by `perf`. The control socket is a name in a directory, and
/// has an owner, but is no file of a disk; so is the Unix socket of clients. Certificates and keys are read by their owner too.
const MAY_OPEN_FILES: &[&str] = &[
    "storage/disk.rs",
    "config/",
    "cli/",
    "server/memory.rs",
    "management/control_socket.rs",
    "perf/process.rs",
    "server/tls/files.rs",
    "server/unix.rs",
];

const FIRST_LAYER_WITH_TOKIO: u8 = 5;
const MAX_FILE_LINES: usize = 700;
const MAX_FUNCTION_LINES: usize = 80;

/// A file by its path under `src/`.
struct Source {
    path: String,
    text: String,
}

/// The modules a file is: `queue/consumers.rs` is `queue`, `consumers`.
fn modules_of(path: &str) -> Vec<&str> {
    let path = path.trim_end_matches(".rs");
    path.split('/').filter(|part| *part != "mod").collect()
}

/// The module at the crate's root that a path leads to, if it leads there at all.
fn root_module<'a>(named: &'a Named, own: &[&str]) -> Option<&'a str> {
    let segments = &named.segments;
    let supers = segments.iter().take_while(|segment| *segment == "super").count();
    let target = match segments.first()?.as_str() {
        "crate" | "leveret" => segments.get(1)?,
        "super" if supers >= own.len() => segments.get(supers)?,
        _ => return None,
    };
    // An inline module inside a file may climb as far without leaving it.
    (supers == 0 || layer_of(target).is_some()).then_some(target.as_str())
}

fn layer_of(module: &str) -> Option<(u8, u8)> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn check_path(path: &str, own: &[&str], layer: (u8, u8), named: &Named) -> Option<String> {
    let told = named.segments.join("::");
    if let Some(target) = root_module(named, own).filter(|target| *target != own[0]) {
        match layer_of(target) {
            None => return Some(format!("{told}: no layer is known for '{target}'")),
            Some(other) if other >= layer => {
                let message =
                    format!("{told}: {} is in layer {}, {target} in layer {}", own[0], layer.0, other.0);
                return Some(message);
            }
            Some(_) => {}
        }
    }
    if layer.0 <= 1 && named.has_any(IMPURE) && !named.has_any(PURE) {
        return Some(format!("{told}: no clock, thread or IO in layer {}", layer.0));
    }
    let may_open = MAY_OPEN_FILES.iter().any(|place| path.starts_with(place));
    if named.has_any(FILES) && !may_open {
        return Some(format!("{told}: files are opened elsewhere"));
    }
    let is_tokio = matches!(named.segments[0].as_str(), "tokio" | "tokio_util");
    (is_tokio && layer.0 < FIRST_LAYER_WITH_TOKIO).then(|| format!("{told}: no tokio in layer {}", layer.0))
}

/// Files that are tests altogether: called so, or declared as modules for tests only.
fn test_files(sources: &[Source]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for Source { path, text } in sources {
        let stem = path.trim_end_matches("mod.rs").trim_end_matches(".rs").trim_end_matches('/');
        for module in without_tests(&without_text(text)).1 {
            files.insert(format!("{stem}/{module}.rs"));
            files.insert(format!("{stem}/{module}/"));
        }
    }
    files
}

/// Everything in `sources` that breaks a rule, as `path:line: what`.
fn breaches(sources: &[Source]) -> Vec<String> {
    let tests = test_files(sources);
    let mut found = Vec::new();
    for Source { path, text } in sources {
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            found.push(format!("{path}: {lines} lines"));
        }
        let code = without_text(text);
        for (name, line, len) in functions(&code) {
            if len > MAX_FUNCTION_LINES {
                found.push(format!("{path}:{line}: fn {name} has {len} lines"));
            }
        }
        let is_test = path.ends_with("/tests.rs")
            || path.contains("/tests/")
            || tests.iter().any(|test| path == test || (test.ends_with('/') && path.starts_with(test)));
        let own = modules_of(path);
        if is_test || own == ["lib"] {
            continue;
        }
        let Some(layer) = layer_of(own[0]) else {
            found.push(format!("{path}: no layer is known for '{}'", own[0]));
            continue;
        };
        let (code, _) = without_tests(&code);
        for named in paths(&code) {
            if let Some(what) = check_path(path, &own, layer, &named) {
                found.push(format!("{path}:{}: {what}", named.line));
            }
        }
    }
    found
}

fn read_sources(directory: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("a type").is_dir() {
            read_sources(&entry.path(), &format!("{path}/"), sources);
        } else if name.ends_with(".rs") {
            sources.push(Source { path, text: std::fs::read_to_string(entry.path()).expect("a text") });
        }
    }
}

#[test]
fn the_crate_keeps_its_layers() {
    let mut sources = Vec::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    assert!(sources.len() > 50, "the sources were found");
    let found = breaches(&sources);
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

fn one(path: &str, text: &str) -> Vec<String> {
    breaches(&[Source { path: path.to_owned(), text: text.to_owned() }])
}

#[test]
fn each_rule_bites() {
    let offenders = [
        ("queue/mod.rs", "use crate::broker::users::Users;", "broker in layer 3"),
        ("queue/mod.rs", "fn f() { let x = crate::storage::journal::Journal::new(); }", "storage in layer 2"),
        ("queue/mod.rs", "use crate::{ids::Lsn, routing::Router};", "routing in layer 1"),
        ("queue/mod.rs", "use super::session;", "session in layer 4"),
        ("broker/vhost/queues.rs", "use super::super::super::server::clock;", "server in layer 5"),
        ("routing/topic.rs", "pub(in crate::channel) fn f() {}", "channel in layer 1"),
        ("protocol/frame.rs", "use crate::output::Output;", "output in layer 0"),
        ("output.rs", "use crate::message::Message;", "message in layer 0"),
        ("ids.rs", "use crate::time::Now;", "time in layer 0"),
        ("server/mod.rs", "use crate::management::Api;", "management in layer 5"),
        ("config/mod.rs", "use crate::cli::Failure;", "cli in layer 7"),
        ("broker/mod.rs", "use crate::helpers::join;", "no layer is known for 'helpers'"),
        ("helpers.rs", "", "no layer is known for 'helpers'"),
        ("queue/mod.rs", "fn f() { Instant::now(); }", "no clock"),
        ("queue/mod.rs", "fn f() { std::time::SystemTime::now(); }", "no clock"),
        ("queue/mod.rs", "use std::time::{Duration, Instant};", "no clock"),
        ("lock.rs", "fn f() { std::thread::spawn(|| {}); }", "no clock, thread"),
        ("output.rs", "use std::io::{self, IoSlice};", "or IO"),
        ("message.rs", "use std::{fmt, net::TcpStream};", "or IO"),
        ("broker/mod.rs", "use std::fs;", "files are opened elsewhere"),
        ("broker/mod.rs", "use std::{fs::File, sync::Arc};", "files are opened elsewhere"),
        ("storage/journal.rs", "fn f() { File::open(path); }", "files are opened elsewhere"),
        ("server/listener.rs", "fn f() { tokio::fs::read(path); }", "files are opened elsewhere"),
        ("session/mod.rs", "use tokio::sync::Notify;", "no tokio"),
        ("broker/mod.rs", "#[tokio::main] fn f() {}", "no tokio"),
        ("storage/mod.rs", "use tokio_util::sync::CancellationToken;", "no tokio"),
        ("time.rs", "#[cfg(not(test))] use std::time::Instant;", "no clock"),
        ("time.rs", "#[cfg(test)]\nmod tests { const A: char = '}'; }\nuse std::time::Instant;", "time.rs:3"),
    ];
    for (path, text, expected) in offenders {
        let found = one(path, text);
        assert!(found.len() == 1 && found[0].contains(expected), "{path}: {text}\ngives {found:?}");
    }
    let long = format!("fn long() {{\n{}}}\n", "    f();\n".repeat(MAX_FUNCTION_LINES - 1));
    assert_eq!(one("queue/mod.rs", &long), ["queue/mod.rs:1: fn long has 81 lines"]);
    assert_eq!(one("queue/tests.rs", &long).len(), 1, "size counts for tests too");
    assert_eq!(one("queue/mod.rs", &"\n".repeat(MAX_FILE_LINES + 1)), ["queue/mod.rs: 701 lines"]);
}

#[test]
fn what_is_allowed_passes() {
    let fine = [
        ("message.rs", "use crate::{output::Output, protocol::content};"),
        ("queue/mod.rs", "use crate::queue::arguments; use super::message::Message; use self::ready::Ready;"),
        ("queue/entries.rs", "use super::{Queue, message}; mod inner { use super::super::Queue; }"),
        ("output.rs", "use std::io::IoSlice; use std::net::{IpAddr, SocketAddr};"),
        ("lock.rs", "fn f() -> bool { std::thread::panicking() }"),
        (
            "broker/mod.rs",
            "use std::time::Duration; /* use std::fs; */ // crate::server\nconst A: &str = \"crate::cli\";",
        ),
        (
            "queue/mod.rs",
            "/// [`f`](crate::broker::Broker)\nconst A: &str = r#\"\"std::fs::\"#; const B: char = '\"';",
        ),
        (
            "queue/mod.rs",
            "#[cfg(test)]\nuse std::fs;\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n use crate::cli; }",
        ),
        ("lock.rs", "#[cfg(all(test, debug_assertions))] mod tests { use std::thread::spawn; }"),
        ("queue/tests.rs", "use crate::session::Session; use std::thread;"),
        ("routing/router/tests/sequences.rs", "use std::io::Read;"),
        ("storage/disk.rs", "use std::fs::File;"),
        ("config/file.rs", "use std::fs; fn f() { fs::read(path); }"),
        ("server/clock.rs", "use std::time::Instant; use tokio::time; use crate::session::Session;"),
        ("main.rs", "fn main() { leveret::cli::run() }"),
        ("lib.rs", "pub mod broker; pub mod cli;"),
    ];
    for (path, text) in fine {
        assert_eq!(one(path, text), [""; 0], "{path}: {text}");
    }
    let declared = Source { path: "routing/mod.rs".to_owned(), text: "#[cfg(test)]\nmod model;".to_owned() };
    let model = Source { path: "routing/model.rs".to_owned(), text: "use std::fs;".to_owned() };
    assert_eq!(breaches(&[declared, model]), [""; 0], "declared for tests only");
}
