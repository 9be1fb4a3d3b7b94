//! Sends batches of messages along one way through a broker in process, a given number of them, for tools that count what
//! was executed. `benches/instructions.sh` runs it under callgrind.

#![allow(clippy::expect_used, clippy::panic, reason = "where the set-up fails there is nothing to count")]

mod client;
#[path = "client/paths.rs"]
mod paths;

use std::process::ExitCode;

use paths::Path;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A way of messages, by name.
struct Way {
    name: &'static str,
    /// What is counted on it.
    unit: &'static str,
    make: fn() -> Path,
}

const WAYS: [Way; 8] = [
    Way { name: "direct_16", unit: "message", make: || Path::direct(16) },
    Way { name: "direct_1024", unit: "message", make: || Path::direct(1024) },
    Way { name: "confirmed", unit: "message", make: Path::confirmed },
    Way { name: "acknowledged", unit: "message", make: Path::acknowledged },
    Way { name: "fanout_10", unit: "delivery", make: Path::fanout },
    Way { name: "topic_1_key", unit: "message", make: || Path::topic(1) },
    Way { name: "topic_100_keys", unit: "message", make: || Path::topic(100) },
    Way { name: "persistent_1024", unit: "message", make: Path::persistent },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => WAYS.iter().for_each(|way| println!("{} {}", way.name, way.unit)),
        [name, batches] => {
            let way = WAYS.iter().find(|way| way.name == name);
            let (Some(way), Ok(batches)) = (way, batches.parse()) else {
                return usage();
            };
            let mut path = (way.make)();
            // Buffers have their size then, and routes are known.
            for _ in 0..2 {
                assert_eq!(path.run(), path.deliveries(), "deliveries that a batch brings");
            }
            println!("{}", send(&mut path, batches));
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

/// A function of its own in what a profiler tells.
#[inline(never)]
fn send(path: &mut Path, batches: usize) -> usize {
    (0..batches).map(|_| path.run()).sum()
}

fn usage() -> ExitCode {
    eprintln!("usage: instructions list | instructions WAY BATCHES");
    ExitCode::from(2)
}
