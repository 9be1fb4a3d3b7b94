//! What messages, connections and queues cost, in numbers that do not depend on the machine: allocations, system calls,
//! bytes. Every test prints what it found (`cargo test --test costs -- --nocapture`) and fails beyond a bound.
//!
//! Allocations are counted for the thread that makes them, in the sizes that were asked for.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

#[path = "costs/allocations.rs"]
mod allocations;
#[path = "../benches/client/mod.rs"]
mod client;
#[path = "costs/disk.rs"]
mod disk;
#[path = "costs/memory.rs"]
mod memory;
#[path = "../benches/client/paths.rs"]
mod paths;
#[path = "costs/program.rs"]
mod program;
#[path = "costs/resident.rs"]
mod resident;
#[path = "costs/sockets.rs"]
mod sockets;
#[path = "costs/system_calls.rs"]
mod system_calls;
#[path = "costs/wire_client.rs"]
mod wire_client;
