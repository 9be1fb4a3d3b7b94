use std::sync::Arc;

use super::*;
use crate::broker::Broker;
use crate::broker::definitions::{ImportOptions, Scope, parse};
use crate::broker::events::INTERNAL;
use crate::broker::options::{BrokerOptions, UserOptions};
use crate::identity::password::Scheme;
use crate::identity::tags::Tags;
use crate::storage::disk::Disk;
use crate::storage::options::{JournalOptions, Sync};
use crate::storage::simulated_disk::{Crash, SimulatedDisk};

fn said(name: &str, password: &str) -> UserOptions {
    UserOptions {
        name: name.to_owned(),
        password: password.to_owned(),
        vhosts: vec!["/".to_owned()],
        tags: None,
        max_connections: None,
        max_channels: None,
        only_first: false,
    }
}

fn open(disk: &SimulatedDisk, options: BrokerOptions) -> Arc<Broker> {
    let journal = JournalOptions { sync: Sync::Always, ..JournalOptions::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Broker::open(options, disk, journal, |error| panic!("{error}")).unwrap()
}

/// The same disk after a power cut that takes all that is not synced.
fn restarted(disk: &SimulatedDisk, broker: Arc<Broker>) -> SimulatedDisk {
    assert!(broker.journal.wait_durable(broker.journal.end()));
    let after = disk.after_crash(Crash::DropUnsynced);
    drop(broker);
    after
}

fn logs_in(broker: &Broker, name: &str, password: &str) -> bool {
    broker.users.login(name, password.as_bytes(), true).is_ok()
}

fn hash_of(broker: &Broker, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(&broker.globals.get(COMPONENT, name)?).unwrap();
    Some(value["password_hash"].as_str().unwrap().to_owned())
}

#[test]
fn guest_is_let_in_from_loopback_only() {
    let broker = Broker::new(BrokerOptions::default());
    let users = &broker.users;
    let guest = users.login("guest", b"guest", true).unwrap();
    assert_eq!(guest.details().tags, Tags::parse(["administrator"]).unwrap());
    assert_eq!(users.login("guest", b"guest", false).unwrap_err(), LoginError::NotLoopback);
    assert_eq!(users.login("guest", b"Guest", true).unwrap_err(), LoginError::Credentials);
    assert_eq!(users.login("guest", b"Guest", false).unwrap_err(), LoginError::Credentials);
    assert_eq!(users.login("nobody", b"guest", true).unwrap_err(), LoginError::Credentials);
}

#[test]
fn an_empty_password_never_logs_in() {
    let broker = Broker::new(BrokerOptions { users: vec![said("ci", "")], ..BrokerOptions::default() });
    assert!(!logs_in(&broker, "ci", "") && !logs_in(&broker, "nobody", ""));
    assert_eq!(broker.users.hash_new(b""), Err(UserError::EmptyPassword));
    broker.users.set_password("ci", broker.users.hash_new(b"x").unwrap(), INTERNAL).unwrap();
    assert!(logs_in(&broker, "ci", "x"));
    broker.users.set_password("ci", PasswordHash::none(), INTERNAL).unwrap();
    assert!(!logs_in(&broker, "ci", "x") && !logs_in(&broker, "ci", ""));
}

#[test]
fn changes_survive_a_power_cut() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk, BrokerOptions::default());
    let users = &broker.users;
    users.add("alice", users.hash_new(b"one").unwrap(), INTERNAL).unwrap();
    users.add("bob", users.hash_new(b"two").unwrap(), INTERNAL).unwrap();
    users.add("carol", PasswordHash::none(), INTERNAL).unwrap();
    assert_eq!(users.add("bob", PasswordHash::none(), INTERNAL), Err(UserError::Exists("bob".to_owned())));
    let limits = UserLimits { max_connections: Some(3), max_channels: None };
    users.set_limits("alice", |all| *all = limits, INTERNAL).unwrap();
    users.set_tags("alice", Tags::parse(["ops", "impersonator"]).unwrap(), INTERNAL).unwrap();
    users.set_password("alice", users.hash_new(b"three").unwrap(), INTERNAL).unwrap();
    broker.delete_user("bob", INTERNAL).unwrap();
    assert_eq!(broker.delete_user("bob", INTERNAL).unwrap_err(), UserError::Missing("bob".to_owned()));
    assert!(matches!(users.set_tags("bob", Tags::default(), INTERNAL), Err(UserError::Missing(_))));
    let disk = restarted(&disk, broker);
    let broker = open(&disk, BrokerOptions::default());
    let names: Vec<_> = broker.users.all().iter().map(|user| user.name.clone()).collect();
    assert_eq!(names, ["alice", "carol", "guest"]);
    assert!(logs_in(&broker, "alice", "three") && !logs_in(&broker, "alice", "one"));
    let alice = broker.users.find("alice").unwrap();
    assert_eq!(alice.details().limits, limits);
    assert!(alice.may_publish_as(b"anybody"));
}

#[test]
fn the_default_user_is_made_once() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk, BrokerOptions::default());
    assert!(logs_in(&broker, "guest", "guest"));
    broker.users.add("alice", broker.users.hash_new(b"one").unwrap(), INTERNAL).unwrap();
    broker.delete_user("guest", INTERNAL).unwrap();
    let disk = restarted(&disk, broker);
    let broker = open(&disk, BrokerOptions::default());
    assert!(!logs_in(&broker, "guest", "guest") && logs_in(&broker, "alice", "one"));
}

#[test]
fn the_default_user_may_open_a_vhost_that_comes_later() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk, BrokerOptions::default());
    let disk = restarted(&disk, broker);
    let names = ["/", "later"].map(str::to_owned);
    let mut options = BrokerOptions { vhosts: names.to_vec(), ..BrokerOptions::default() };
    options.users[0].vhosts = names.to_vec();
    let broker = open(&disk, options);
    assert!(broker.vhost("later").unwrap().admits("guest"));
}

#[test]
fn there_is_no_default_user_where_definitions_bring_users() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk, BrokerOptions { brings_users: true, ..BrokerOptions::default() });
    assert!(broker.users.all().is_empty() && !broker.vhost("/").unwrap().admits("guest"));
    let document = br#"{"users": [{"name": "a", "password": "one", "tags": ""}]}"#;
    let document = parse(document, Scope::Whole).unwrap();
    broker.import(&document, &ImportOptions::default()).unwrap();
    let disk = restarted(&disk, broker);
    let broker = open(&disk, BrokerOptions::default());
    assert!(logs_in(&broker, "a", "one") && broker.users.find("guest").is_none());
    broker.delete_user("a", INTERNAL).unwrap();
    let disk = restarted(&disk, broker);
    assert!(open(&disk, BrokerOptions::default()).users.all().is_empty());
}

#[test]
fn the_default_password_is_that_of_the_first_start() {
    let disk = SimulatedDisk::new(1);
    let with = |password: &str| {
        let users = vec![UserOptions { only_first: true, ..said("root", password) }];
        BrokerOptions { users, ..BrokerOptions::default() }
    };
    let broker = open(&disk, with("first"));
    let disk = restarted(&disk, broker);
    let broker = open(&disk, with("second"));
    assert!(logs_in(&broker, "root", "first") && !logs_in(&broker, "root", "second"));
}

#[test]
fn the_configuration_counts_for_what_it_names() {
    let disk = SimulatedDisk::new(1);
    let with = |password: &str, tags: Option<&str>, max: Option<u32>| {
        let tags = tags.map(|tag| Tags::parse([tag]).unwrap());
        let users = vec![UserOptions { tags, max_connections: max, ..said("ci", password) }];
        BrokerOptions { users, ..BrokerOptions::default() }
    };
    let broker = open(&disk, with("one", Some("a"), Some(1)));
    let first = hash_of(&broker, "ci").unwrap();
    let disk = restarted(&disk, broker);
    let end = |broker: &Broker| broker.journal.end();
    let broker = open(&disk, with("one", None, None));
    assert_eq!(hash_of(&broker, "ci").unwrap(), first, "it was not hashed again");
    let details = broker.users.find("ci").unwrap().details();
    assert_eq!(
        (details.tags.clone(), details.limits.max_connections),
        (Tags::parse(["a"]).unwrap(), Some(1))
    );
    broker.users.set_password("ci", broker.users.hash_new(b"other").unwrap(), INTERNAL).unwrap();
    let disk = restarted(&disk, broker);
    let broker = open(&disk, with("one", Some("b"), None));
    assert!(logs_in(&broker, "ci", "one") && !logs_in(&broker, "ci", "other"));
    assert_ne!(hash_of(&broker, "ci").unwrap(), first);
    let disk = restarted(&disk, broker);
    // Not named any more it stays as it is.
    let broker = open(&disk, BrokerOptions { users: Vec::new(), ..BrokerOptions::default() });
    let before = end(&broker);
    assert!(logs_in(&broker, "ci", "one"));
    assert_eq!(broker.users.find("ci").unwrap().details().tags, Tags::parse(["b"]).unwrap());
    assert_eq!(end(&broker), before);
}

#[test]
fn hashes_of_another_scheme_stay_until_the_password_changes() {
    let passwords = |scheme| PasswordOptions { scheme, min_length: 3 };
    let disk = SimulatedDisk::new(1);
    let with = |scheme| BrokerOptions { passwords: passwords(scheme), ..BrokerOptions::default() };
    let broker = open(&disk, with(Scheme::RabbitSha256));
    let disk = restarted(&disk, broker);
    let broker = open(&disk, with(Scheme::Argon2id));
    assert!(logs_in(&broker, "guest", "guest"));
    assert_eq!(broker.users.hash_new("äö".as_bytes()), Err(UserError::ShortPassword(3)));
    broker.users.set_password("guest", broker.users.hash_new("äöü".as_bytes()).unwrap(), INTERNAL).unwrap();
    assert!(hash_of(&broker, "guest").unwrap().starts_with("$argon2id$"));
    assert!(logs_in(&broker, "guest", "äöü"));
}

#[test]
fn a_stored_user_that_is_not_understood_is_kept_and_cannot_log_in() {
    let disk = SimulatedDisk::new(1);
    let broker = open(&disk, BrokerOptions::default());
    let later = r#"{"password_hash":"x","hashing_algorithm":"of tomorrow"}"#;
    broker.globals.set(COMPONENT, "future", later.to_owned());
    let disk = restarted(&disk, broker);
    let broker = open(&disk, BrokerOptions::default());
    assert!(!logs_in(&broker, "future", "x"));
    assert_eq!(broker.globals.get(COMPONENT, "future").as_deref(), Some(later));
}

#[test]
fn a_certificate_stands_for_the_user_of_exactly_its_name() {
    let broker = Broker::new(BrokerOptions::default());
    assert_eq!(broker.users.by_certificate("guest", true).unwrap().name, "guest");
    assert_eq!(broker.users.by_certificate("guest", false).unwrap_err(), LoginError::NotLoopback);
    for name in ["", "Guest", "guest ", "guest\0"] {
        assert_eq!(broker.users.by_certificate(name, true).unwrap_err(), LoginError::Certificate, "{name:?}");
    }
}
