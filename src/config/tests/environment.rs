//! Variables: ours, RabbitMQ's, and those nobody wrote.

use super::*;

#[test]
fn every_option_has_a_variable_of_its_own() {
    let mut names: Vec<String> = TABLE.iter().map(OptionRow::variable).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), TABLE.len());
    for row in TABLE {
        // The default, as printed, is a value its variable takes.
        let shown = match (row.show)(&Options::default()) {
            toml::Value::String(text) if row.secret => format!("not {text}"),
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        let run = Run::default().env(&[(&row.variable(), &shown)]);
        let loaded = run.loaded();
        assert_eq!(loaded.origins.get(row.name), Some(&Origin::Variable(row.variable())));
        assert!(row.secret || (row.same)(&loaded.options, &Options::default()), "{}", row.name);
    }
}

#[test]
fn lists_are_comma_separated() {
    let run = Run::default()
        .env(&[("LEVERET_LISTEN_AMQP", "127.0.0.1:1, 127.0.0.1:2"), ("LEVERET_VHOSTS_NAMES", "a,b")]);
    let config = run.config();
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.broker.vhosts, ["/", "a", "b"]);
}

#[test]
fn users_can_come_from_variables() {
    let run = Run::default().file("[auth.users.alice]\nvhosts = [\"a\"]\n").env(&[
        ("LEVERET_AUTH_USERS_alice_PASSWORD", "x"),
        ("LEVERET_AUTH_USERS_bob_ross_PASSWORD", "y"),
        ("LEVERET_AUTH_USERS_alice_TAGS", "impersonator"),
    ]);
    let users = run.config().broker.users;
    let names: Vec<&str> = users.iter().map(|user| &*user.name).collect();
    assert_eq!(names, ["guest", "alice", "bob_ross"]);
    assert_eq!(users[1].password, "x");
    assert_eq!(users[1].vhosts, ["a"]);
    assert_eq!((&users[1].tags, &users[2].tags), (&Tags::parse(["impersonator"]).ok(), &None));
}

#[test]
fn what_leveret_ctl_reads_is_no_setting() {
    let of_ctl =
        [("LEVERET_URL", "http://broker"), ("LEVERET_USER", "alice"), ("LEVERET_PASSWORD", "secret")];
    assert!(Run::default().env(&of_ctl).loaded().origins.is_empty());
}

#[test]
fn an_unknown_variable_is_an_error_that_names_the_nearest() {
    let error = Run::default().env(&[("LEVERET_AMQP_HARTBEAT", "30")]).error();
    assert_eq!(
        error,
        "unknown variable LEVERET_AMQP_HARTBEAT; the nearest valid one is LEVERET_AMQP_HEARTBEAT"
    );
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_no_mistake() {
    let run = Run::default().env(&[
        ("LEVERET_SERVICE_HOST", "10.0.0.1"),
        ("LEVERET_SERVICE_PORT", "5672"),
        ("LEVERET_SERVICE_PORT_AMQP", "5672"),
        ("LEVERET_PORT", "tcp://10.0.0.1:5672"),
        ("LEVERET_PORT_5672_TCP", "tcp://10.0.0.1:5672"),
        ("LEVERET_PORT_5672_TCP_ADDR", "10.0.0.1"),
        ("LEVERET_METRICS_PORT_9090_TCP_PROTO", "tcp"),
    ]);
    assert_eq!(run.config(), Run::default().config());
    assert!(Run::default().env(&[("LEVERET_PORT", "5672")]).error().contains("LEVERET_PORT"));
}

#[test]
fn a_bad_value_names_the_variable() {
    assert_eq!(
        Run::default().env(&[("LEVERET_LIMITS_CONNECTIONS", "many")]).error(),
        "variable LEVERET_LIMITS_CONNECTIONS: `limits.connections`: expected a whole number from 0 to 4294967295, \
         found \"many\""
    );
}

#[test]
fn rabbitmqs_variables_work() {
    let run = Run::default().env(&[
        ("RABBITMQ_DEFAULT_USER", "alice"),
        ("RABBITMQ_DEFAULT_PASS", "secret"),
        ("RABBITMQ_DEFAULT_VHOST", "orders"),
        ("RABBITMQ_NODENAME", "rabbit@box"),
        ("RABBITMQ_NODE_PORT", "5673"),
        ("RABBITMQ_LOGS", "/var/log/leveret.log"),
        ("RABBITMQ_ERLANG_COOKIE", "x"),
        ("PATH", "/bin"),
    ]);
    let config = run.config();
    assert_eq!(config.broker.cluster_name, "rabbit@box");
    assert_eq!(config.broker.vhosts, ["orders"]);
    assert_eq!(config.broker.users.len(), 1, "guest is gone");
    assert_eq!((&*config.broker.users[0].name, &*config.broker.users[0].password), ("alice", "secret"));
    assert_eq!(config.server.listen, ["127.0.0.1:5673".parse().expect("an address")]);
    assert_eq!(config.log.file.as_deref(), Some(Path::new("/var/log/leveret.log")));
    let notes = run.loaded().notes;
    assert_eq!(notes, ["these variables mean nothing to Leveret: RABBITMQ_ERLANG_COOKIE"]);
}

#[test]
fn our_variables_beat_rabbitmqs_which_beat_the_file() {
    let file = "[auth]\ndefault_user = \"file\"\ndefault_pass = \"file\"\n[cluster]\nname = \"file\"\n\
                [listen]\namqp = [\"0.0.0.0:1\"]\n";
    let config = Run::default()
        .file(file)
        .env(&[
            ("RABBITMQ_DEFAULT_USER", "rabbit"),
            ("RABBITMQ_DEFAULT_PASS", "rabbit"),
            ("LEVERET_AUTH_DEFAULT_PASS", "ours"),
            ("RABBITMQ_NODENAME", "rabbit"),
            ("RABBITMQ_NODE_PORT", "2"),
        ])
        .config();
    assert_eq!((&*config.broker.users[0].name, &*config.broker.users[0].password), ("rabbit", "ours"));
    // A node name says little about the cluster, so a name that somebody wrote stays.
    assert_eq!(config.broker.cluster_name, "file");
    // The port changes, the interface does not.
    assert_eq!(config.server.listen, ["0.0.0.0:2".parse().expect("an address")]);

    let env = [("RABBITMQ_NODE_PORT", "2"), ("LEVERET_LISTEN_AMQP", "127.0.0.1:3")];
    let listen = Run::default().env(&env).config().server.listen;
    assert_eq!(listen, ["127.0.0.1:3".parse().expect("an address")]);
}

#[test]
fn a_dash_for_the_logs_is_the_console() {
    assert_eq!(Run::default().env(&[("RABBITMQ_LOGS", "-")]).config().log.file, None);
    let empty = Run::default().env(&[("RABBITMQ_DEFAULT_USER", ""), ("RABBITMQ_NODE_PORT", "")]);
    assert_eq!(empty.config(), Run::default().config());
}

#[test]
fn a_bad_port_is_refused() {
    let error = Run::default().env(&[("RABBITMQ_NODE_PORT", "70000")]).error();
    assert_eq!(
        error,
        "variable RABBITMQ_NODE_PORT: `listen.amqp`: expected a port from 0 to 65535, found \"70000\""
    );
}

#[test]
fn the_environment_may_name_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.toml");
    std::fs::write(&path, "[amqp]\nheartbeat = 11\n").expect("a file");
    let path = path.to_str().expect("UTF-8");
    for variable in ["RABBITMQ_CONFIG_FILE", "LEVERET_CONFIG_FILE"] {
        assert_eq!(Run::default().env(&[(variable, path)]).config().session.heartbeat, 11);
    }
    let run = Run::default().env(&[("RABBITMQ_CONFIG_FILE", "/nowhere"), ("LEVERET_CONFIG_FILE", path)]);
    assert_eq!(run.config().session.heartbeat, 11);
    let run = Run::default().file("[amqp]\nheartbeat = 12\n").env(&[("LEVERET_CONFIG_FILE", "/nowhere")]);
    assert_eq!(run.config().session.heartbeat, 12);
    let error = Run::default().env(&[("RABBITMQ_CONFIG_FILE", "/nowhere")]).error();
    assert!(error.starts_with("cannot read the configuration file /nowhere: "), "{error}");
}

#[test]
#[cfg(unix)]
fn bytes_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let value = std::ffi::OsString::from_vec(vec![0xff]);
    let error = Environment::new([("LEVERET_LOG_FILE".into(), value.clone())]).expect_err("not UTF-8");
    assert!(error.to_string().contains("LEVERET_LOG_FILE"), "{error}");
    assert!(Environment::new([("OTHER".into(), value)]).is_ok());
}
