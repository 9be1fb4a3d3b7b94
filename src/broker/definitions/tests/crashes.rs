//! Imports on a disk: all of one survives or nothing, whenever the process or the machine ends.

use super::*;
use crate::storage::disk::Disk;
use crate::storage::options::JournalOptions;
use crate::storage::simulated_disk::{Crash, SimulatedDisk};

const FILE: u64 = 8 * 1024;

fn open(disk: &SimulatedDisk) -> Option<Arc<Broker>> {
    let options = BrokerOptions { users: Vec::new(), ..BrokerOptions::default() };
    let journal = JournalOptions { file_size: FILE, budget: 2 * FILE, ..JournalOptions::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Broker::open(options, disk, journal, |_| ()).ok()
}

/// More than a file of the journal is to have, in two vhosts, with a user.
fn document() -> Value {
    let queues: Vec<Value> = (0..300)
        .map(|number| {
            let vhost = if number % 2 == 0 { "/" } else { "new" };
            json!({ "name": format!("queue-{number}"), "vhost": vhost, "arguments": { "x-max-length": number } })
        })
        .collect();
    let policy = json!({ "vhost": "new", "name": "p", "pattern": "x", "definition": { "max-length": 3 } });
    json!({
        "users": [{ "name": "u", "password_hash": "", "tags": ["a"] }],
        "vhosts": [{ "name": "/", "description": "the first" }, { "name": "new" }],
        "permissions": [{ "user": "u", "vhost": "new", "configure": "", "write": "", "read": "a" }],
        "global_parameters": [{ "name": "cluster_name", "value": "c" }],
        "policies": [policy],
        "queues": queues,
        "bindings": [{ "source": "amq.topic", "vhost": "new", "destination": "queue-1", "destination_type": "queue" }],
    })
}

#[test]
fn a_crash_leaves_all_of_an_import_or_nothing() {
    let document = parse(document().to_string().as_bytes(), Scope::Whole).unwrap();
    let imported = |broker: &Broker| {
        let done = broker.import(&document, &ImportOptions::default());
        done.is_ok_and(|(_, gate)| broker.journal.wait_durable(gate.durable))
    };
    let whole = SimulatedDisk::new(1);
    let broker = open(&whole).unwrap();
    let before = export(&broker);
    assert!(broker.journal.wait_durable(broker.journal.end()));
    let first = whole.operations();
    assert!(imported(&broker));
    let after = export(&broker);
    assert_ne!(before, after);
    drop(broker);
    let (mut nothing, mut all) = (0, 0);
    for at in 1..=whole.operations() + 1 {
        let disk = SimulatedDisk::new(1);
        disk.crash_at(at);
        let is_durable = open(&disk).is_some_and(|broker| imported(&broker));
        for how in Crash::EACH.into_iter().chain([Crash::RandomSubset]) {
            let broker = open(&disk.after_crash(how)).unwrap_or_else(|| panic!("call {at}, {how:?}"));
            let found = export(&broker);
            if found == after {
                all += 1;
            } else {
                assert!(found == before && !is_durable, "call {at} of {first}, {how:?}");
                nothing += 1;
            }
        }
    }
    assert!(nothing > 0 && all > 0, "{nothing} and {all}");
}

#[test]
fn an_import_survives_checkpoints() {
    let disk = SimulatedDisk::new(2);
    let broker = open(&disk).unwrap();
    import(&broker, &serde_json::from_str(round_trips::V4_2).unwrap()).unwrap();
    let before = export(&broker);
    let id = broker.cluster_id().to_owned();
    let vhost = broker.vhost("tenant-a").unwrap();
    let cell = vhost.find_queue("fast", ME).unwrap();
    let oldest = broker.journal.oldest();
    while broker.journal.oldest() <= oldest + 3 {
        publish(&cell, 20);
        cell.purge();
        assert!(broker.journal.wait_durable(broker.journal.end()));
        while broker.checkpoint(true).unfinished {}
    }
    drop(broker);
    let broker = open(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    assert_eq!((export(&broker), broker.cluster_id()), (before, &*id));
    assert!(broker.vhost_metadata("tenant-a").unwrap().protected_from_deletion);
}

#[test]
fn what_is_transient_goes_with_the_process() {
    let disk = SimulatedDisk::new(3);
    let broker = open(&disk).unwrap();
    import(&broker, &serde_json::from_str(round_trips::V3_13).unwrap()).unwrap();
    assert!(broker.journal.wait_durable(broker.journal.end()));
    let mut expected = export(&broker);
    drop(broker);
    let broker = open(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    expected["queues"].as_array_mut().unwrap().retain(|queue| queue["durable"] == true);
    expected["bindings"].as_array_mut().unwrap().retain(|binding| binding["destination"] != "stats.now");
    assert_eq!(export(&broker), expected);
    assert_eq!(&*broker.cluster_name(), "orders-cluster");
}

/// `cargo test --release --lib definitions -- --ignored --nocapture` tells how long it takes.
#[test]
#[ignore = "it measures"]
#[allow(clippy::disallowed_methods, reason = "the clock is what this is about")]
fn a_hundred_thousand_queues() {
    let queues: Vec<Value> = (0..100_000)
        .map(|number| json!({ "name": format!("queue-{number}"), "vhost": "/", "arguments": { "x-max-length": 9 } }))
        .collect();
    let policy = json!({ "vhost": "/", "name": "p", "pattern": "9$", "definition": { "message-ttl": 3 } });
    let text = json!({ "queues": queues, "policies": [policy] }).to_string();
    let disk = SimulatedDisk::new(4);
    let broker = open(&disk).unwrap();
    let begun = std::time::Instant::now();
    let document = parse(text.as_bytes(), Scope::Whole).unwrap();
    println!("read: {:?}", begun.elapsed());
    let (_, gate) = broker.import(&document, &ImportOptions::default()).unwrap();
    println!("imported: {:?}", begun.elapsed());
    assert!(broker.journal.wait_durable(gate.durable));
    println!("durable: {:?}", begun.elapsed());
    drop(broker);
    let broker = open(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    println!("open again: {:?}", begun.elapsed());
    assert_eq!(broker.vhost("/").unwrap().queues().len(), 100_000);
}
