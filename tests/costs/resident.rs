//! Resident memory of the program, which is what an operator sees: loosely bounded, for an allocator keeps what it likes.

use std::time::Duration;

use leveret::protocol::properties::PropertiesBuilder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::paths::{BATCH, Content, publishes};
use crate::program::Program;
use crate::wire_client::WireClient;

/// The most that an idle program takes, in bytes.
const IDLE: u64 = 20 << 20;
const CONNECTIONS: usize = 8000;

/// How many files this process may still open, as many as are allowed.
fn files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised fewer have to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX).saturating_sub(200)
}

/// Once what the start needed is given back.
#[test]
fn an_idle_program() {
    let program = Program::start();
    let mut resident = program.resident();
    for _ in 0..3000 {
        if resident < IDLE {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        resident = program.resident();
    }
    println!("resident, idle: {} KiB", resident / 1024);
    assert!(resident < IDLE, "{resident} bytes");
    program.stop();
}

/// Those get first what the start gave back, so that there are many.
#[test]
fn idle_connections() {
    let connections = CONNECTIONS.min(files());
    let program = Program::start();
    let _clients: Vec<_> = (0..connections).map(|_| WireClient::connect(&program.address)).collect();
    let resident = program.resident();
    let each = resident / connections as u64;
    println!(
        "resident, {connections} idle connections with a channel: {} KiB, {each} bytes for each with all else",
        resident / 1024
    );
    assert!(resident < IDLE + 6 * 1024 * connections as u64, "{resident} bytes");
}

#[test]
fn queued_messages() {
    const BATCHES: u64 = 500;
    let program = Program::start();
    let mut publisher = WireClient::connect(&program.address);
    publisher.declare("q");
    publisher.select();
    let properties = PropertiesBuilder::new().set_delivery_mode(2).finish();
    let content = Content { size: 128, properties: &properties, exchange: "" };
    let batch = publishes(&content, &["q".to_owned()]);
    for number in 1..=BATCHES {
        publisher.write(&batch);
        publisher.wait_for_confirm(number * BATCH as u64);
        if number % 100 == 0 {
            println!(
                "resident, {number} thousand persistent messages of 128 bytes: {} KiB",
                program.resident() / 1024
            );
        }
    }
    let resident = program.resident();
    assert!(resident < 64 << 20, "{resident} bytes");
}
