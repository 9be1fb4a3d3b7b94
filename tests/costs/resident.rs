//! Resident memory of the program, which is what an operator sees: loosely bounded, for an allocator keeps what it likes.

use leveret::protocol::properties::PropertiesBuilder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::paths::{BATCH, Content, publishes};
use crate::program::Program;
use crate::wire_client::WireClient;

/// Of each half.
const CONNECTIONS: usize = 4000;

/// How many files this process may still open, as many as are allowed.
fn files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised fewer have to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX).saturating_sub(200)
}

#[test]
fn an_idle_program() {
    let program = Program::start();
    let resident = program.resident();
    println!("resident, idle: {} KiB", resident / 1024);
    assert!(resident < 48 << 20, "{resident} bytes");
    program.stop();
}

/// The first connections get what the start gave back, so that more and more is looked at.
#[test]
fn idle_connections() {
    let connections = CONNECTIONS.min(files() / 2);
    let program = Program::start();
    let connect = |count| (0..count).map(|_| WireClient::connect(&program.address)).collect::<Vec<_>>();
    let _some = connect(connections);
    let before = program.resident();
    let _more = connect(connections);
    let after = program.resident();
    let each = after.saturating_sub(before) / connections as u64;
    println!(
        "resident, {} idle connections with a channel: {} KiB, {each} bytes for each of the second half",
        2 * connections,
        after / 1024
    );
    assert!(each < 8 * 1024, "{each} bytes");
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
    assert!(resident < 96 << 20, "{resident} bytes");
}
