//! The configuration as a whole: sources, precedence, errors, the example file.

mod environment;
mod errors;
mod example;
mod login_provider;
mod oauth;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::broker::options::PasswordOptions;
use crate::server::options::FreeLimit;
use crate::session::limits::Stamp;
use crate::time::Clock;

pub(super) const MACHINE: fn() -> Machine =
    || Machine { host_name: "hare".to_owned(), memory: Some(1_000_000_000), open_files: None };

/// The sources of a run, put together step by step.
#[derive(Default)]
pub(super) struct Run {
    sources: Sources,
    directory: Option<tempfile::TempDir>,
}

impl Run {
    pub(super) fn file(mut self, text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("leveret.toml");
        std::fs::write(&path, text).expect("a file");
        self.sources.file = Some(path);
        self.directory = Some(directory);
        self
    }

    pub(super) fn env(mut self, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        self.sources.environment = Environment::new(variables).expect("UTF-8");
        self
    }

    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        let value = Value::Raw(value.to_owned());
        self.sources.flags.push(Assignment { name: name.to_owned(), value, flag: "--set" });
        self
    }

    pub(super) fn loaded(&self) -> Loaded {
        self.sources.load(MACHINE()).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn config(&self) -> Config {
        self.loaded().config()
    }

    /// The error, with the directory of the file cut off.
    pub(super) fn error(&self) -> String {
        let error = self.sources.load(MACHINE()).expect_err("this must be refused").to_string();
        let directory = self.directory.as_ref().map(|directory| format!("{}/", directory.path().display()));
        assert!(!error.contains('\n'), "one line: {error}");
        directory.map_or(error.clone(), |directory| error.replace(&directory, ""))
    }
}

#[test]
fn defaults_are_those_of_the_layers() {
    let config = Run::default().config();
    assert_eq!(config.session, SessionLimits::default());
    let server = ServerOptions {
        memory_watermark: 600_000_000,
        machine_memory: Some(1_000_000_000),
        message_budget: 400_000_000,
        ..ServerOptions::default()
    };
    assert_eq!(config.server, server);
    let broker = BrokerOptions {
        cluster_name: "hare".to_owned(),
        node_name: "leveret@hare".to_owned(),
        clock: Clock::Read(|| 0),
        // Of the layers' own the cheapest.
        passwords: PasswordOptions::default(),
        login_threads: 2,
        ..BrokerOptions::default()
    };
    assert_eq!(config.broker, broker);
    assert_eq!(config.log, LogOptions { level: LevelFilter::INFO, format: LogFormat::Text, file: None });
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.definitions, DefinitionsOptions::default());
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let file = "[amqp]\nheartbeat = 10\nchannel_max = 10\nframe_max = 8192\n";
    let run = Run::default()
        .file(file)
        .env(&[("LEVERET_AMQP_HEARTBEAT", "20"), ("LEVERET_AMQP_CHANNEL_MAX", "20")])
        .set("amqp.heartbeat", "30");
    let session = run.config().session;
    assert_eq!((session.heartbeat, session.channel_max, session.frame_max), (30, 20, 8192));
    assert_eq!(session.initial_frame_max, 8192);
}

#[test]
fn connections_and_handshakes_fit_into_the_limit_of_open_files() {
    let places = |open_files: Option<u64>, connections: &str, handshakes: &str| {
        let run = Run::default().set("limits.connections", connections).set("limits.handshakes", handshakes);
        let mut loaded = run.loaded();
        loaded.machine.open_files = open_files;
        let broker = loaded.config().broker;
        (broker.max_connections, broker.max_handshakes)
    };
    assert_eq!(places(None, "0", "512"), (0, 512));
    assert_eq!(places(Some(20_000), "0", "512"), (20_000 - 256 - 512, 512));
    assert_eq!(places(Some(1024), "0", "512"), (384, 384));
    assert_eq!(places(Some(1024), "0", "100"), (668, 100));
    assert_eq!(places(Some(1024), "0", "0"), (384, 384));
    assert_eq!(places(Some(10), "0", "512"), (1, 1));
    assert_eq!(places(Some(u64::MAX), "0", "512"), (u32::MAX - 512, 512));
    assert_eq!(places(Some(1024), "5000", "0"), (5000, 0));
}

#[test]
fn it_is_said_what_does_not_fit_into_the_limit_of_open_files() {
    let note = |open_files: Option<u64>, connections: &str| {
        let mut loaded = Run::default().set("limits.connections", connections).loaded();
        loaded.machine.open_files = open_files;
        meaning::note_on_files(&loaded.options, &loaded.machine).unwrap_or_default()
    };
    assert_eq!(note(Some(1024), "0"), "limits.handshakes is 384 instead of 512: only 1024 files may be open");
    assert!(note(Some(1024), "300").contains("may need 1068 open files"));
    for (open_files, connections) in [(None, "5000"), (Some(1280), "0"), (Some(1068), "300")] {
        assert_eq!(note(open_files, connections), "");
    }
}

#[test]
fn the_last_flag_counts() {
    let run = Run::default().set("amqp.heartbeat", "1").set("amqp.heartbeat", "2");
    assert_eq!(run.config().session.heartbeat, 2);
}

#[test]
fn units_are_understood_in_the_file_and_outside() {
    let file = "[amqp]\nhandshake_timeout = 3\nmax_message_size = 1000\n[listen]\nwrite_timeout = \"1h\"\n\
                user_timeout = 0.5\n[memory]\nhigh_watermark = \"2 GiB\"\n";
    let config = Run::default().file(file).set("memory.check_interval", "500ms").config();
    assert_eq!(config.session.handshake_timeout.as_secs(), 3);
    assert_eq!(config.session.max_message_size, 1000);
    assert_eq!(config.server.write_timeout.as_secs(), 3600);
    assert_eq!(config.server.user_timeout.as_millis(), 500);
    assert_eq!(config.server.memory_watermark, 2 << 30);
    assert_eq!(config.server.memory_check_interval.as_millis(), 500);
}

#[test]
fn the_watermark_is_a_fraction_a_size_or_never() {
    let bytes =
        |text: &str| Run::default().set("memory.high_watermark", text).config().server.memory_watermark;
    assert_eq!(bytes("0.25"), 250_000_000);
    assert_eq!(bytes("1"), 1_000_000_000);
    assert_eq!(bytes("0"), 0);
    assert_eq!(bytes("131072"), 131_072);
    let unknown = Machine { memory: None, ..MACHINE() };
    assert_eq!(Sources::default().load(unknown).expect("defaults").config().server.memory_watermark, 0);
}

#[test]
fn the_message_budget_is_a_fraction_a_size_or_never() {
    let bytes = |text: &str| Run::default().set("memory.messages", text).config().server.message_budget;
    assert_eq!(bytes("0.25"), 250_000_000);
    assert_eq!(bytes("64 MiB"), 64 << 20);
    assert_eq!(bytes("0"), 0);
    let unknown = Machine { memory: None, ..MACHINE() };
    assert_eq!(Sources::default().load(unknown).expect("defaults").config().server.message_budget, 0);
}

#[test]
fn the_free_limit_is_a_fraction_of_the_disk_a_size_or_never() {
    let on = |text: &str, total: u64| {
        Run::default().set("disk.free_limit", text).config().server.free_limit.bytes(total)
    };
    assert_eq!(on("auto", 1 << 40), 2 << 30);
    assert_eq!(on("auto", 20_000_000), 1_000_000);
    assert_eq!(on("auto", 0), 0);
    assert_eq!(on("0.25", 1000), 250);
    assert_eq!(on("5 GiB", 1000), 5 << 30);
    assert_eq!(on("0", u64::MAX), 0);
    let printed = render(&Run::default().set("disk.free_limit", "7").loaded());
    assert_eq!(Run::default().file(&printed).config().server.free_limit, FreeLimit::Bytes(7));
}

#[test]
fn keepalive_and_mechanisms_and_addresses() {
    let config = Run::default()
        .set("listen.keepalive", "off")
        .set("amqp.mechanisms", "AMQPLAIN")
        .set("listen.amqp", "0.0.0.0:1,[::1]:2,localhost:3")
        .config();
    assert_eq!(config.server.keepalive, None);
    assert_eq!(config.session.mechanisms.iter().map(|one| one.name()).collect::<Vec<_>>(), ["AMQPLAIN"]);
    let addresses: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["0.0.0.0:1", "[::1]:2", "127.0.0.1:3"]);
}

#[test]
fn users_and_vhosts_come_from_their_sections() {
    let file = "[auth]\ndefault_user = \"root\"\ndefault_pass = \"toor\"\ndefault_vhost = \"main\"\n\
                [vhosts]\nnames = [\"extra\", \"main\"]\n\
                [auth.users.alice]\npassword = \"secret\"\nvhosts = [\"/\", \"extra\"]\n\
                [auth.users.\"b.c\"]\npassword = \"x\"\n";
    let broker = Run::default().file(file).config().broker;
    assert_eq!(broker.vhosts, ["main", "extra", "/"]);
    let users: Vec<(&str, &str, Vec<&str>)> = broker
        .users
        .iter()
        .map(|user| {
            (&*user.name, &*user.password, user.vhosts.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        users,
        [
            ("root", "toor", vec!["main", "extra"]),
            ("alice", "secret", vec!["/", "extra"]),
            ("b.c", "x", vec!["main"])
        ]
    );
    assert_eq!(broker.loopback_users, ["guest"]);
}

#[test]
fn words_are_those_of_their_options() {
    let file = "[interceptors]\ntimestamp = \"keep\"\nrouting_node = \"Overwrite\"\n[vhosts]\ntraced = [\"/\", \"x\"]\n";
    let config = Run::default().file(file).config();
    assert_eq!((config.session.stamp_time, config.session.stamp_node), (Stamp::Keep, Stamp::Overwrite));
    assert_eq!(config.broker.traced, ["/", "x"]);
    assert_eq!(config.session.consumer_timeout, Duration::from_secs(1800));
    let error = Run::default().file("[interceptors]\ntimestamp = \"sometimes\"\n").error();
    let expected = "expected \"off\", \"keep\" or \"overwrite\", found \"sometimes\"";
    assert!(error.ends_with(expected), "{error}");
    let error = Run::default().file("[auth.users.a]\npassword = \"x\"\ntags = [\"imper sonator\"]\n").error();
    let expected = "expected a list of at most 32 tags, such as \"administrator\", found";
    assert!(
        error.starts_with("leveret.toml:3: `auth.users.a.tags`: ") && error.contains(expected),
        "{error}"
    );
}

#[test]
fn a_section_takes_the_place_of_the_default_user() {
    let file = "[auth.users.guest]\npassword = \"better\"\n";
    let broker = Run::default().file(file).config().broker;
    assert_eq!(broker.users.len(), 1);
    assert_eq!(broker.users[0].password, "better");
    assert!(!broker.users[0].only_first);
}

#[test]
fn there_need_not_be_a_default_user() {
    let broker = Run::default().set("auth.default_user", "").config().broker;
    assert_eq!(broker.users, []);
    assert_eq!(broker.vhosts, ["/"]);
}

#[test]
fn what_is_printed_reads_back_but_for_secrets() {
    let run = Run::default()
        .file("[auth.users.\"a\\n'b\\\"= true\"]\npassword = \"hush\"\nvhosts = [\"x\"]\n")
        .set("memory.high_watermark", "3 GiB")
        .set("amqp.default_prefetch", "7")
        .set("auth.default_pass", "hush")
        .set("auth.users.carol.password", "hush")
        .set("log.file", "/tmp/a \"quoted\" name");
    let text = render(&run.loaded());
    assert!(!text.contains("hush"), "{text}");
    assert!(text.contains("default_pass = \"***\" # --set"), "{text}");
    assert!(text.contains("\n[auth.users.carol]\n"), "{text}");
    let again = Run::default().file(&text).loaded();
    for row in TABLE {
        assert!(again.origins.contains_key(row.name), "{} is not printed", row.name);
    }
    let (mut before, mut after) = (run.config(), again.config());
    for user in before.broker.users.iter_mut().chain(&mut after.broker.users) {
        user.password.clear();
    }
    assert_eq!(before, after);
}

#[test]
fn changes_tell_what_needs_a_restart() {
    let before = Run::default().loaded().options;
    let after = Run::default()
        .set("amqp.heartbeat", "5")
        .set("listen.amqp", "127.0.0.1:1")
        .set("auth.default_pass", "new")
        .set("auth.users.bob.password", "x")
        .loaded();
    let expected = [
        ("listen.amqp", Effect::Restart),
        ("amqp.heartbeat", Effect::Reload),
        ("auth.default_pass", Effect::Restart),
        ("auth.users", Effect::Restart),
    ];
    assert_eq!(before.changes(&after.options), expected);
    assert_eq!(before.changes(&before), []);
}

#[test]
fn a_file_with_secrets_is_known_as_one() {
    let is_one = |text: &str| Run::default().file(text).loaded().file_with_secrets().is_some();
    assert!(is_one("[auth]\ndefault_pass = \"hush\"\n"));
    assert!(is_one("[auth.users.bob]\npassword = \"hush\"\n"));
    assert!(is_one("[auth.oauth2.hmac_secrets]\nk = \"hush, hush, hush, hush, hush, hush, hush\"\n"));
    assert!(!is_one("[auth]\ndefault_user = \"bob\"\n"));
    let elsewhere = Run::default().file("[amqp]\nheartbeat = 5\n").set("auth.default_pass", "hush");
    assert!(elsewhere.loaded().file_with_secrets().is_none());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let run = Run::default().set("auth.default_pass", "hush").set("auth.users.bob.password", "hush");
    assert!(!format!("{:?} {:?}", run.loaded().options, run.config()).contains("hush"));
}
