use crate::broker::events::INTERNAL;
use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::broker::options::BrokerOptions;
use crate::broker::permissions::TopicRow;
use crate::broker::queue_cell::QueueCell;
use crate::broker::vhost::QueueDeclare;
use crate::identity::access::Permissions;
use crate::identity::password::PasswordHash;
use crate::ids::ConnectionId;
use crate::message::{Body, MessageBuilder};
use crate::protocol::properties::{Properties, PropertiesBuilder};
use crate::protocol::reply::AmqpError;
use crate::storage::options::JournalOptions;
use crate::storage::simulated_disk::{Crash, SimulatedDisk};

const ME: ConnectionId = ConnectionId(1);
const FILE: u64 = 32 * 1024;

/// A broker on a small journal.
fn open(disk: &SimulatedDisk) -> Arc<Broker> {
    let journal = JournalOptions { file_size: FILE, budget: 2 * FILE, ..JournalOptions::default() };
    Broker::open(BrokerOptions::default(), Arc::new(disk.clone()), journal, |error| panic!("{error}"))
        .unwrap()
}

fn declare(vhost: &VHost, name: &str) -> Result<Arc<QueueCell>, AmqpError> {
    let request = QueueDeclare { name, durable: true, ..Default::default() };
    vhost.declare_queue(request, ME).map(|declared| declared.cell)
}

fn publish(cell: &QueueCell, count: usize) {
    let raw = PropertiesBuilder::new().set_delivery_mode(2).finish();
    for _ in 0..count {
        let body = Body::Owned(vec![7; 3000]);
        let message = MessageBuilder::default().build("", "q", Properties::parse(&raw).unwrap(), body);
        cell.publish(std::iter::once(message)).unwrap();
    }
}

fn settle(broker: &Broker) {
    assert!(broker.journal.wait_durable(broker.journal.end()));
}

/// Fills the journal until every file that there was is retired.
fn turn_over(broker: &Broker) {
    let cell = declare(&broker.vhost("/").unwrap(), "other").unwrap();
    let oldest = broker.journal.oldest();
    while broker.journal.oldest() <= oldest + 3 {
        publish(&cell, 4);
        cell.purge();
        settle(broker);
        while broker.checkpoint(true).unfinished {}
    }
}

/// All queues with how many messages they have, by vhost.
fn content(broker: &Broker) -> BTreeMap<String, BTreeMap<String, u64>> {
    let queues = |vhost: Arc<VHost>| {
        vhost.queues().iter().map(|cell| (cell.spec.name.clone(), cell.counts().0.ready)).collect()
    };
    broker
        .vhost_names()
        .into_iter()
        .map(|name| (name.clone(), queues(broker.vhost(&name).unwrap())))
        .collect()
}

#[test]
fn what_is_deleted_leaves_the_catalogue_too() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk);
    broker.add_vhost("x", &Metadata::default(), INTERNAL).unwrap();
    publish(&declare(&broker.vhost("x").unwrap(), "q").unwrap(), 20);
    turn_over(&broker);
    settle(&broker);
    let disk = disk.after_crash(Crash::DropUnsynced);
    drop(broker);
    // Deleted by a process that has never written the catalogue.
    let broker = open(&disk);
    assert_eq!(content(&broker)["x"], BTreeMap::from([("q".to_owned(), 20)]));
    assert!(disk.snapshot().keys().any(|name| name.starts_with("segment-")));
    broker.delete_vhost("x", INTERNAL).unwrap();
    turn_over(&broker);
    assert!(!disk.snapshot().keys().any(|name| name.starts_with("segment-")), "its messages have gone");
    let disk = disk.after_crash(Crash::DropUnsynced);
    drop(broker);
    let broker = open(&disk);
    assert_eq!(broker.vhost_names(), ["/"]);
    broker.add_vhost("x", &Metadata::default(), INTERNAL).unwrap();
    assert_eq!(content(&broker)["x"], BTreeMap::new());
}

#[test]
fn a_vhost_is_not_taken_for_an_earlier_one_of_its_name() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk);
    // As many changes each time, between two checkpoints.
    for name in ["one", "two"] {
        broker.add_vhost("x", &Metadata::default(), INTERNAL).unwrap();
        declare(&broker.vhost("x").unwrap(), name).unwrap();
        turn_over(&broker);
        if name == "one" {
            broker.delete_vhost("x", INTERNAL).unwrap();
        }
    }
    let disk = disk.after_crash(Crash::DropUnsynced);
    drop(broker);
    assert_eq!(content(&open(&disk))["x"], BTreeMap::from([("two".to_owned(), 0)]));
}

#[test]
fn nothing_is_declared_in_a_deleted_vhost() {
    let broker = Broker::new(BrokerOptions::default());
    let vhost = broker.vhost("/").unwrap();
    let cell = declare(&vhost, "q").unwrap();
    let before = broker.limits.queues.used();
    broker.delete_vhost("/", INTERNAL).unwrap();
    assert_eq!((before, broker.limits.queues.used()), (1, 0));
    assert!(vhost.is_deleted() && broker.vhost("/").is_none() && vhost.queues().is_empty());
    let error = declare(&vhost, "q").unwrap_err();
    assert_eq!((error.code.code(), &*error.text), (320, "vhost '/' is deleted"));
    assert!(cell.publish(std::iter::empty()).is_err(), "it is closed");
    let end = broker.journal.end();
    vhost.set_limits(VHostLimits { max_queues: Some(1), ..VHostLimits::default() }, INTERNAL);
    assert_eq!(broker.journal.end(), end, "nothing of it is journaled");
    assert_eq!(broker.delete_vhost("/", INTERNAL).unwrap_err(), VHostError::Missing("/".to_owned()));
    assert_eq!(broker.add_vhost("", &Metadata::default(), INTERNAL).unwrap_err(), VHostError::BadName);
}

#[test]
fn a_connection_that_opens_a_vhost_while_it_goes_is_closed() {
    let broker = Broker::new(BrokerOptions::default());
    let outlet = crate::broker::outlet::Outlet::new();
    let id = broker.registry.accept(outlet.clone());
    broker.registry.open(id).unwrap();
    let user = broker.users.find("guest").unwrap();
    let (vhost, _seat) = broker.admit(id, "/", &user).unwrap();
    broker.delete_vhost("/", INTERNAL).unwrap();
    assert_eq!(outlet.close_requested(), Some(vhost.deleted_error()));
    broker.delete_user("guest", INTERNAL).unwrap();
    assert_eq!(&*outlet.close_requested().unwrap().text, "user 'guest' is deleted");
    broker.add_vhost("/", &Metadata::default(), INTERNAL).unwrap();
    broker.vhost("/").unwrap().set_permissions("guest", Permissions::everything(), INTERNAL);
    assert_eq!(&*broker.admit(id, "/", &user).unwrap_err().text, "user 'guest' is deleted");
}

#[test]
fn who_is_called_like_a_deleted_user_has_nothing_of_theirs() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk);
    let vhost = broker.vhost("/").unwrap();
    let row = |exchange: &str| TopicRow {
        user: "guest".to_owned(),
        exchange: exchange.to_owned(),
        write: ".*".to_owned(),
        read: ".*".to_owned(),
    };
    for exchange in ["a", "b"] {
        vhost.set_topic_permission(row(exchange), INTERNAL).unwrap();
    }
    assert!(vhost.admits("guest"));
    broker.delete_user("guest", INTERNAL).unwrap();
    assert!(!vhost.admits("guest") && vhost.topic_permissions().is_empty());
    drop((vhost, broker));
    let broker = open(&disk);
    assert!(broker.vhost("/").unwrap().topic_permissions().is_empty());
}

#[test]
fn the_default_user_does_not_come_back() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk);
    broker.delete_user("guest", INTERNAL).unwrap();
    drop(broker);
    let broker = open(&disk);
    assert!(broker.users.all().is_empty(), "though there is nobody else");
    assert!(!broker.vhost("/").unwrap().admits("guest"));
    broker.users.add("guest", PasswordHash::none(), INTERNAL).unwrap();
    drop(broker);
    let broker = open(&disk);
    assert!(broker.users.find("guest").is_some());
    assert!(!broker.vhost("/").unwrap().admits("guest"), "nobody gave anything to this one");
}

#[test]
fn exchanges_that_every_vhost_has_do_not_count_after_a_restart_either() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk);
    broker.add_vhost("x", &Metadata::default(), INTERNAL).unwrap();
    declare(&broker.vhost("x").unwrap(), "q").unwrap();
    turn_over(&broker);
    drop(broker);
    let broker = open(&disk);
    assert_eq!(broker.limits.exchanges.used(), 0);
    broker.delete_vhost("x", INTERNAL).unwrap();
    assert_eq!(broker.limits.exchanges.used(), 0);
}

#[test]
fn users_and_vhosts_are_what_they_were_after_any_crash() {
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = SimulatedDisk::new(seed);
        let mut vhosts = BTreeMap::from([("/".to_owned(), BTreeMap::new())]);
        let mut users: BTreeMap<String, ()> = BTreeMap::from([("guest".to_owned(), ())]);
        for life in 0..4 {
            let broker = open(&disk);
            let mut found = content(&broker);
            found.get_mut("/").unwrap().remove("other");
            let names: Vec<_> = broker.users.all().iter().map(|user| user.name.clone()).collect();
            assert_eq!((found, names), (vhosts.clone(), users.keys().cloned().collect()), "{seed}, {life}");
            for _ in 0..40 {
                let name = format!("n{}", random.random_range(0..4));
                match random.random_range(0..12) {
                    0..3 => {
                        let is_new = broker.add_vhost(&name, &Metadata::default(), INTERNAL).is_ok();
                        assert_eq!(
                            is_new,
                            vhosts
                                .insert(name.clone(), vhosts.get(&name).cloned().unwrap_or_default())
                                .is_none()
                        );
                    }
                    3 => assert_eq!(
                        broker.delete_vhost(&name, INTERNAL).is_ok(),
                        vhosts.remove(&name).is_some()
                    ),
                    4..8 => {
                        if let Some(queues) = vhosts.get_mut(&name) {
                            publish(&declare(&broker.vhost(&name).unwrap(), "q").unwrap(), 2);
                            *queues.entry("q".to_owned()).or_default() += 2;
                        }
                    }
                    8..10 => {
                        let is_new = broker.users.add(&name, PasswordHash::none(), INTERNAL).is_ok();
                        assert_eq!(is_new, users.insert(name, ()).is_none());
                    }
                    10 => {
                        assert_eq!(
                            broker.delete_user(&name, INTERNAL).is_ok(),
                            users.remove(&name).is_some()
                        );
                    }
                    _ => {
                        publish(&declare(&broker.vhost("/").unwrap(), "other").unwrap(), 10);
                        broker.vhost("/").unwrap().find_queue("other", ME).unwrap().purge();
                        broker.checkpoint(true);
                    }
                }
            }
            settle(&broker);
            let how = if random.random() { Crash::DropUnsynced } else { Crash::RandomSubset };
            disk = disk.after_crash(how);
        }
    }
}
