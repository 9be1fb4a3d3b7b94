//! Events as a queue that is bound to their exchange gets them.

mod imports;

use serde_json::json;

use super::*;
use crate::broker::Broker;
use crate::broker::limits::VHostLimits;
use crate::broker::options::BrokerOptions;
use crate::broker::outlet::Outlet;
use crate::broker::permissions::TopicRow;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::queue_cell::{GetResult, QueueCell};
use crate::broker::vhost::{BindRequest, BindTarget, ExchangeDeclare, QueueDeclare};
use crate::broker::vhosts::Metadata;
use crate::identity::access::Permissions;
use crate::identity::password::PasswordHash;
use crate::identity::tags::Tags;
use crate::message::Message;
use crate::protocol::field::{Table, TableBuilder, TableRef};
use crate::protocol::properties::Properties;
use crate::storage::disk::Disk;
use crate::storage::options::JournalOptions;
use crate::storage::simulated_disk::SimulatedDisk;

const WATCHER: ConnectionId = ConnectionId(1);
const ME: Actor<'_> = Actor { connection: ConnectionId(2), user: "hare" };

/// A broker, and a queue that gets all its events.
struct Watched {
    broker: Arc<Broker>,
    queue: Arc<QueueCell>,
}

fn to_queue<'a>(source: &'a str, queue: &'a str, key: &'a str) -> BindRequest<'a> {
    BindRequest { source, target: BindTarget::Queue(queue), key, arguments: TableRef::EMPTY }
}

fn exchange<'a>(name: &'a str, auto_delete: bool) -> ExchangeDeclare<'a> {
    ExchangeDeclare {
        name,
        kind: "fanout",
        durable: false,
        auto_delete,
        internal: false,
        arguments: TableRef::EMPTY,
        objection: None,
        by: ME.user,
    }
}

impl Watched {
    fn new() -> Self {
        Self::on(Broker::new(BrokerOptions::default()))
    }

    fn on(broker: Arc<Broker>) -> Self {
        let queue = declared(&broker, QueueDeclare { name: "events", ..QueueDeclare::default() });
        home(&broker).bind(to_queue(EXCHANGE, "events", "#"), WATCHER).unwrap();
        let watched = Self { broker, queue };
        watched.messages();
        watched
    }

    fn messages(&self) -> Vec<Message> {
        let outlet = Outlet::new();
        let next = || match self.queue.get(true, &outlet) {
            GetResult::Got(got) => Some(got.message),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    /// The events since the last call, as key and headers.
    fn seen(&self) -> Vec<String> {
        let shown = |message: Message| {
            let properties = Properties::assume_valid(message.raw_properties());
            let mut headers = TableBuilder::new();
            for (key, value) in properties.headers().unwrap().iter() {
                if key != "timestamp_in_ms" {
                    headers.value(key, value);
                }
            }
            format!("{} {:?}", message.routing_key(), headers.finish())
        };
        self.messages().into_iter().map(shown).collect()
    }
}

fn home(broker: &Broker) -> Arc<VHost> {
    broker.vhost("/").unwrap()
}

fn declared(broker: &Broker, request: QueueDeclare<'_>) -> Arc<QueueCell> {
    home(broker).declare_queue(request, ME).unwrap().cell
}

fn hash() -> PasswordHash {
    PasswordHash::none()
}

#[test]
fn a_message_is_empty_persistent_and_says_when() {
    let watched = Watched::new();
    declared(&watched.broker, QueueDeclare { name: "q", ..QueueDeclare::default() });
    let messages = watched.messages();
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(
        (message.exchange(), message.routing_key(), message.body()),
        (EXCHANGE, "queue.created", &[][..])
    );
    let properties = Properties::parse(message.raw_properties()).unwrap();
    assert_eq!((properties.delivery_mode(), properties.timestamp()), (Some(2), Some(1_700_000_000)));
    let at = properties.headers().unwrap().get("timestamp_in_ms").and_then(|at| at.as_int());
    assert_eq!(at, Some(1_700_000_000_000));
}

#[test]
fn queues_and_bindings_come_and_go() {
    let watched = Watched::new();
    let vhost = home(&watched.broker);
    let arguments = TableBuilder::new().int32("x-max-length", 5).finish();
    let request =
        QueueDeclare { name: "q", durable: true, arguments: arguments.as_ref(), ..QueueDeclare::default() };
    declared(&watched.broker, request);
    declared(&watched.broker, request);
    let own = QueueDeclare { name: "own", exclusive: true, auto_delete: true, ..QueueDeclare::default() };
    let own = declared(&watched.broker, own);
    let started = 1_700_000_000_000_u64;
    assert_eq!(
        watched.seen(),
        [
            r#"queue.created {name: "q", vhost: "/", durable: true, auto_delete: false, arguments: {x-max-length: 5}, owner_pid: "", exclusive: false, user_who_performed_action: "hare"}"#.to_owned(),
            format!(r#"queue.created {{name: "own", vhost: "/", durable: false, auto_delete: true, arguments: {{}}, owner_pid: "<leveret@localhost.{started}.2>", exclusive: true, user_who_performed_action: "hare"}}"#),
        ]
    );
    vhost.bind(to_queue("amq.topic", "q", "a.#"), ME).unwrap();
    vhost.bind(to_queue("amq.topic", "q", "a.#"), ME).unwrap();
    vhost.bind(to_queue("amq.topic", "q", "b"), ME).unwrap();
    vhost.unbind(to_queue("amq.topic", "q", "b"), ME).unwrap();
    let binding = |what: &str, key: &str, by: &str| {
        format!(
            r#"binding.{what} {{source_name: "amq.topic", source_kind: "exchange", destination_name: "q", destination_kind: "queue", routing_key: "{key}", arguments: {{}}, vhost: "/", user_who_performed_action: "{by}"}}"#
        )
    };
    let [made, more, less] = [("created", "a.#"), ("created", "b"), ("deleted", "b")]
        .map(|(what, key)| binding(what, key, "hare"));
    assert_eq!(watched.seen(), [made, more, less]);
    vhost.delete_queue("q", false, false, ME).unwrap();
    vhost.delete_owned(&own);
    vhost.delete_owned(&own);
    assert_eq!(
        watched.seen(),
        [
            binding("deleted", "a.#", "rmq-internal"),
            r#"queue.deleted {name: "q", vhost: "/", user_who_performed_action: "hare"}"#.to_owned(),
            r#"queue.deleted {name: "own", vhost: "/", user_who_performed_action: "rmq-internal"}"#
                .to_owned(),
        ]
    );
}

#[test]
fn exchanges_go_with_their_bindings_and_those_before_them() {
    let watched = Watched::new();
    let vhost = home(&watched.broker);
    vhost.declare_exchange(exchange("first", true)).unwrap();
    vhost.declare_exchange(exchange("second", false)).unwrap();
    vhost.declare_exchange(exchange("second", false)).unwrap();
    let target = BindTarget::Exchange("second");
    let request = BindRequest { source: "first", target, key: "k", arguments: TableRef::EMPTY };
    vhost.bind(request, ME).unwrap();
    vhost.delete_exchange("second", false, ME.user).unwrap();
    vhost.delete_exchange("second", false, ME.user).unwrap();
    let made = |name: &str, auto_delete: bool| {
        format!(
            r#"exchange.created {{name: "{name}", vhost: "/", type: "fanout", durable: false, auto_delete: {auto_delete}, internal: false, arguments: {{}}, policy: "", user_who_performed_action: "hare"}}"#
        )
    };
    let gone = |name: &str| {
        format!(r#"exchange.deleted {{name: "{name}", vhost: "/", user_who_performed_action: "hare"}}"#)
    };
    let binding = |what: &str| {
        format!(
            r#"binding.{what} {{source_name: "first", source_kind: "exchange", destination_name: "second", destination_kind: "exchange", routing_key: "k", arguments: {{}}, vhost: "/", user_who_performed_action: "hare"}}"#
        )
    };
    assert_eq!(
        watched.seen(),
        [
            made("first", true),
            made("second", false),
            binding("created"),
            gone("second"),
            gone("first"),
            binding("deleted")
        ]
    );
}

#[test]
fn policies_are_told_with_the_queues_they_hold_for() {
    let watched = Watched::new();
    let vhost = home(&watched.broker);
    declared(&watched.broker, QueueDeclare { name: "q", ..QueueDeclare::default() });
    watched.messages();
    let policy = |kind| {
        let value =
            json!({"pattern": "^q", "definition": {"max-length": 5}, "priority": 2, "apply-to": "queues"});
        Policy::from_value("p", &value, kind).unwrap()
    };
    let said = r#"apply-to: "queues", definition: {max-length: 5}, pattern: "^q", priority: 2"#;
    let by = r#"user_who_performed_action: "hare""#;
    vhost.set_policy(PolicyKind::User, policy(PolicyKind::User), ME.user);
    vhost.clear_policy(PolicyKind::User, "p", ME.user).unwrap();
    assert!(vhost.clear_policy(PolicyKind::User, "p", ME.user).is_none());
    assert_eq!(
        watched.seen(),
        [
            format!(
                r#"queue.policy.updated {{name: "q", vhost: "/", type: "rabbit_classic_queue", {said}, {by}}}"#
            ),
            format!(r#"policy.set {{name: "p", vhost: "/", {said}, {by}}}"#),
            format!(r#"queue.policy.cleared {{name: "q", vhost: "/", type: "rabbit_classic_queue", {by}}}"#),
            format!(r#"policy.cleared {{name: "p", vhost: "/", {by}}}"#),
        ]
    );
    vhost.set_policy(PolicyKind::Operator, policy(PolicyKind::Operator), ME.user);
    vhost.clear_policy(PolicyKind::Operator, "p", ME.user).unwrap();
    assert_eq!(
        watched.seen(),
        [
            format!(
                r#"parameter.set {{component: "operator_policy", name: "p", vhost: "/", value: {{{said}}}, {by}}}"#
            ),
            format!(
                r#"queue.policy.updated {{name: "q", vhost: "/", type: "rabbit_classic_queue", {said}, {by}}}"#
            ),
            format!(r#"policy.set {{name: "p", vhost: "/", {said}, {by}}}"#),
            format!(r#"parameter.cleared {{component: "operator_policy", name: "p", vhost: "/", {by}}}"#),
            format!(r#"queue.policy.cleared {{name: "q", vhost: "/", type: "rabbit_classic_queue", {by}}}"#),
            format!(r#"operator.policy.cleared {{name: "p", vhost: "/", {by}}}"#),
        ]
    );
}

#[test]
fn users_and_permissions_are_told_without_secrets() {
    let watched = Watched::new();
    let (broker, vhost) = (&watched.broker, home(&watched.broker));
    let users = &broker.users;
    let secret =
        PasswordHash::new(Default::default(), b"geheim", &[7; crate::identity::password::SALT]).unwrap();
    users.add("u", secret.clone(), CLI).unwrap();
    assert!(users.add("u", hash(), CLI).is_err());
    users.set_password("u", secret.clone(), CLI).unwrap();
    users.set_password("u", hash(), CLI).unwrap();
    users.set_tags("u", Tags::parse(["management", "x"]).unwrap(), CLI).unwrap();
    users.set_limits("u", |limits| limits.max_channels = Some(3), CLI).unwrap();
    users.set_limits("u", |limits| limits.max_channels = None, CLI).unwrap();
    vhost.set_permissions("u", Permissions::new("a", "b", "c").unwrap(), CLI);
    vhost.clear_permissions("u", CLI);
    vhost.clear_permissions("u", CLI);
    let [user, exchange, write, read] = ["u", "amq.topic", "w", "r"].map(str::to_owned);
    let row = TopicRow { user, exchange, write, read };
    vhost.set_topic_permission(row.clone(), CLI).unwrap();
    vhost.clear_topic_permissions("u", Some("amq.topic"), CLI);
    vhost.set_topic_permission(row, CLI).unwrap();
    vhost.clear_topic_permissions("u", None, CLI);
    vhost.clear_topic_permissions("u", None, CLI);
    vhost.set_permissions("u", Permissions::nothing(), CLI);
    broker.delete_user("u", CLI).unwrap();
    let seen = watched.seen();
    assert!(!seen.iter().any(|event| event.contains("geheim") || event.contains(secret.text())), "{seen:?}");
    let expected = [
        r#"user.created {name: "u""#,
        r#"user.password.changed {name: "u""#,
        r#"user.password.cleared {name: "u""#,
        r#"user.tags.set {name: "u", tags: ["management", "x"]"#,
        r#"user.limits.set {name: "limits", username: "u", max-channels: 3"#,
        r#"user.limits.cleared {name: "limits", username: "u""#,
        r#"permission.created {user: "u", vhost: "/", configure: "a", write: "b", read: "c""#,
        r#"permission.deleted {user: "u", vhost: "/""#,
        r#"topic.permission.created {user: "u", vhost: "/", exchange: "amq.topic", write: "w", read: "r""#,
        r#"topic.permission.deleted {user: "u", vhost: "/", exchange: "amq.topic""#,
        r#"topic.permission.created {user: "u", vhost: "/", exchange: "amq.topic", write: "w", read: "r""#,
        r#"topic.permission.deleted {user: "u", vhost: "/""#,
        // What an unset permission is depends on what nothing is written as.
        r#"permission.created {user: "u", vhost: "/", configure: ""#,
        r#"user.deleted {name: "u""#,
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.starts_with(expected), "{seen} {expected}");
        assert!(seen.ends_with(r#", user_who_performed_action: "rmq-cli"}"#), "{seen}");
    }
}

#[test]
fn vhosts_are_told_with_what_is_in_them() {
    let watched = Watched::new();
    let broker = &watched.broker;
    let metadata =
        Metadata { description: "d".to_owned(), tags: vec!["t".to_owned()], ..Metadata::default() };
    broker.add_vhost("v", &metadata, CLI).unwrap();
    let seen = watched.seen();
    let (made, exchanges) = seen.split_last().unwrap();
    assert_eq!(exchanges.len(), 6);
    assert!(exchanges[0].starts_with(r#"exchange.created {name: "amq.direct", vhost: "v", type: "direct""#));
    for part in [
        r#"vhost.created {name: "v""#,
        r#"description: "d""#,
        r#"tags: ["t"]"#,
        r#"cluster_state: {leveret@localhost: "running"}"#,
    ] {
        assert!(made.contains(part), "{made}");
    }
    broker.set_vhost_metadata("v", |metadata| metadata.description = "e".to_owned(), CLI).unwrap();
    let seen = watched.seen();
    assert_eq!(seen.len(), 1);
    for part in [r#"vhost.updated {name: "v""#, r#"description: "e""#, r#"tags: ["t"]"#, "tracing: false"] {
        assert!(seen[0].contains(part), "{}", seen[0]);
    }
    let vhost = broker.vhost("v").unwrap();
    let limits = VHostLimits { max_connections: Some(5), max_queues: None };
    vhost.set_limits(limits, CLI);
    vhost.set_limits(VHostLimits::default(), CLI);
    let by = r#"user_who_performed_action: "rmq-cli"}"#;
    assert_eq!(
        watched.seen(),
        [
            format!(
                r#"parameter.set {{component: "vhost-limits", name: "limits", vhost: "v", value: {{max-connections: 5}}, {by}"#
            ),
            format!(r#"vhost.limits.set {{name: "limits", vhost: "v", max-connections: 5, {by}"#),
            format!(r#"parameter.cleared {{component: "vhost-limits", name: "limits", vhost: "v", {by}"#),
            format!(r#"vhost.limits.cleared {{name: "limits", vhost: "v", {by}"#),
        ]
    );
    vhost.declare_queue(QueueDeclare { name: "q", ..QueueDeclare::default() }, ME).unwrap();
    vhost.bind(to_queue("amq.topic", "q", "k"), ME).unwrap();
    vhost.set_permissions("guest", Permissions::everything(), CLI);
    watched.messages();
    broker.delete_vhost("v", CLI).unwrap();
    let keys: Vec<String> = watched.messages().iter().map(|event| event.routing_key().to_owned()).collect();
    let mut expected = vec!["permission.deleted", "binding.deleted", "queue.deleted"];
    expected.extend(["exchange.deleted"; 6]);
    expected.push("vhost.deleted");
    assert_eq!(keys, expected);
}

#[test]
fn alarms_are_told_when_they_change() {
    let watched = Watched::new();
    for on in [true, true, false] {
        watched.broker.set_memory_alarm(on);
        watched.broker.set_disk_alarm(on);
    }
    assert_eq!(
        watched.seen(),
        [
            r#"alarm.set {source: "memory", node: "leveret@localhost"}"#,
            r#"alarm.set {source: "disk", node: "leveret@localhost"}"#,
            r#"alarm.cleared {source: "memory", node: "leveret@localhost"}"#,
            r#"alarm.cleared {source: "disk", node: "leveret@localhost"}"#,
        ]
    );
}

#[test]
fn nobody_pays_for_events_that_nobody_wants() {
    let broker = Broker::new(BrokerOptions::default());
    let events = &broker.events;
    events.note(|| panic!("it is made"));
    let watched = Watched::on(broker.clone());
    assert!(events.are_wanted());
    home(&broker).unbind(to_queue(EXCHANGE, "events", "#"), WATCHER).unwrap();
    assert!(!events.are_wanted());
    home(&broker).bind(to_queue(EXCHANGE, "events", "queue.#"), WATCHER).unwrap();
    assert!(events.are_wanted());
    home(&broker).delete_queue("events", false, false, WATCHER).unwrap();
    events.note(|| panic!("it is made"));
    drop(watched);
    // Neither an alternate exchange, as long as it is there.
    let value = json!({"pattern": "event$", "definition": {"alternate-exchange": "amq.fanout"}});
    let policy = Policy::from_value("p", &value, PolicyKind::User).unwrap();
    home(&broker).set_policy(PolicyKind::User, policy, ME.user);
    assert!(events.are_wanted());
    home(&broker).clear_policy(PolicyKind::User, "p", ME.user).unwrap();
    assert!(!events.are_wanted());
}

#[test]
fn the_exchange_is_there_again_in_another_vhost_of_the_same_name() {
    let watched = Watched::new();
    let broker = watched.broker;
    broker.delete_vhost("/", CLI).unwrap();
    assert!(!broker.events.are_wanted());
    broker.add_vhost("/", &Metadata::default(), CLI).unwrap();
    let watched = Watched::on(broker);
    declared(&watched.broker, QueueDeclare { name: "q", ..QueueDeclare::default() });
    assert_eq!(watched.messages().len(), 1);
}

#[test]
fn clients_cannot_publish_to_the_exchange_or_delete_it() {
    let vhost = home(&Broker::new(BrokerOptions::default()));
    let published = vhost.route(EXCHANGE, "k", None, &mut RouteScratch::default());
    assert!(published.is_err_and(|error| error.text.starts_with("cannot publish to internal exchange")));
    assert!(vhost.delete_exchange(EXCHANGE, false, ME.user).is_err());
    let request =
        ExchangeDeclare { kind: "topic", durable: true, internal: true, ..exchange(EXCHANGE, false) };
    assert!(vhost.declare_exchange(request).is_ok(), "it is as it is to be");
}

/// A broker on a disk; `events` is whether there are any.
fn open(disk: &SimulatedDisk, events: bool) -> Arc<Broker> {
    let options = BrokerOptions { events, ..BrokerOptions::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Broker::open(options, disk, JournalOptions::default(), |error| panic!("{error}")).unwrap()
}

#[test]
fn bindings_outlive_restarts_which_are_silent_and_times_without_events() {
    let disk = SimulatedDisk::new(1);
    let has_exchange = |broker: &Broker| home(broker).find_exchange(EXCHANGE).is_ok();
    let broker = open(&disk, false);
    assert!(!has_exchange(&broker));
    broker.close();
    drop(broker);
    let broker = open(&disk, true);
    declared(&broker, QueueDeclare { name: "kept", durable: true, ..QueueDeclare::default() });
    declared(&broker, QueueDeclare { name: "events", durable: true, ..QueueDeclare::default() });
    home(&broker).bind(to_queue(EXCHANGE, "events", "#"), ME).unwrap();
    let ready = |broker: &Broker| home(broker).find_queue("events", ME.connection).unwrap().counts().0.ready;
    assert_eq!(ready(&broker), 1, "the binding itself");
    broker.close();
    drop(broker);
    for (events, before, after) in [(true, 1, 2), (false, 2, 2), (true, 2, 3)] {
        let broker = open(&disk, events);
        assert!(has_exchange(&broker));
        assert_eq!(ready(&broker), before);
        declared(&broker, QueueDeclare { name: "new", ..QueueDeclare::default() });
        assert_eq!(ready(&broker), after);
        broker.close();
    }
}

#[test]
fn what_clients_say_at_length_is_left_out() {
    let long = |length: usize| TableBuilder::new().long_str("x", "y".repeat(length)).finish();
    let told = |table: Table| Event::new("k").table("arguments", table.as_ref()).headers();
    assert_eq!(format!("{:?}", told(long(3))), r#"{arguments: {x: "yyy"}}"#);
    assert_eq!(format!("{:?}", told(long(17_000))), "{arguments: {}}");
    let said = Event::new("k").json("value", &json!({"a": [1, -2.5, null, true], "b": {"c": "d"}}));
    assert_eq!(format!("{:?}", said.headers()), r#"{value: {a: [1, -2.5, void, true], b: {c: "d"}}}"#);
}

#[test]
fn created_comes_before_deleted_whoever_publishes() {
    let watched = Watched::new();
    let rounds = 200;
    std::thread::scope(|scope| {
        for number in 0..4 {
            let broker = &watched.broker;
            scope.spawn(move || {
                for _ in 0..rounds {
                    let name = format!("q{}", number % 2);
                    let _ = home(broker)
                        .declare_queue(QueueDeclare { name: &name, ..QueueDeclare::default() }, ME);
                    let _ = home(broker).delete_queue(&name, false, false, ME);
                }
            });
        }
    });
    let mut there = std::collections::BTreeMap::new();
    for event in watched.messages() {
        let headers = Properties::assume_valid(event.raw_properties()).headers().unwrap();
        let name = headers.get("name").unwrap().as_str().unwrap().to_owned();
        let is_new = event.routing_key() == "queue.created";
        let was_there = there.insert(name, is_new).unwrap_or_default();
        assert_eq!(was_there, !is_new);
    }
    assert_eq!(there.into_values().collect::<Vec<_>>(), [false, false]);
}
