//! Every mistake gets one line with its place, its key and what would have been right.

use super::*;

#[test]
fn an_unknown_key_names_file_line_key_and_the_nearest() {
    assert_eq!(
        Run::default().file("[amqp]\n\n# comment\nhartbeat = 30\n").error(),
        "leveret.toml:4: unknown key `amqp.hartbeat`; the nearest valid key is `amqp.heartbeat`"
    );
}

#[test]
fn keys_in_the_wrong_place_are_found_too() {
    for (text, nearest) in [
        ("data_dir = \"x\"", "storage.data_dir"),
        ("[ampq]\nheartbeat = 3", "amqp.heartbeat"),
        ("[amqp.heartbeat]\nseconds = 3", "amqp.heartbeat"),
        ("[logs]", "log"),
        ("log = \"debug\"", "log.file"),
        ("[auth.users]\nalice = \"x\"", "auth.users.alice.tags"),
        ("[auth.users.alice]\npasword = \"x\"", "auth.users.alice.password"),
    ] {
        let error = Run::default().file(text).error();
        assert!(error.contains("unknown key"), "{text}: {error}");
        assert!(error.contains(&format!("the nearest valid key is `{nearest}`")), "{text}: {error}");
    }
}

#[test]
fn what_rabbitmq_has_and_is_not_here_names_what_is() {
    let error = Run::default().file("[definitions.https]\nurl = \"https://x\"\n").error();
    assert_eq!(
        error,
        "leveret.toml:2: there is no `definitions.https.url` here: fetch the file before the start, and name it in \
         `definitions.load`"
    );
    let error = Run::default().file("[http]\ndisable_stats = true\n").error();
    assert!(
        error.contains("there is no `http.disable_stats` here") && error.contains("?disable_stats=true"),
        "{error}"
    );
    let error = Run::default().env(&[("LEVERET_HTTP_DISABLE_STATS", "true")]).error();
    assert!(error.contains("there is no `LEVERET_HTTP_DISABLE_STATS` here"), "{error}");
}

#[test]
fn the_first_mistake_from_the_top_is_named() {
    let error = Run::default().file("[shutdown]\ngrace = true\n[amqp]\nx = 1\n").error();
    assert!(error.starts_with("leveret.toml:2: `shutdown.grace`: expected a duration"), "{error}");
}

#[test]
fn a_bad_value_names_file_line_key_and_what_was_expected() {
    assert_eq!(
        Run::default().file("amqp.channel_max = \"lots\"\n").error(),
        "leveret.toml:1: `amqp.channel_max`: expected a whole number from 0 to 65535, found \"lots\""
    );
    assert_eq!(
        Run::default().file("[amqp]\nframe_max = 100\n").error(),
        "leveret.toml:2: `amqp.frame_max`: expected 0 or a size from 4096 to 4294967295 bytes, found 100"
    );
}

#[test]
fn values_out_of_range_are_refused() {
    for (name, value) in [
        ("amqp.heartbeat", "65536"),
        ("amqp.heartbeat", "1.5s"),
        ("amqp.heartbeat", "-1"),
        ("amqp.frame_max", "4095"),
        ("amqp.initial_frame_max", "0"),
        ("amqp.initial_frame_max", "1 GiB"),
        ("amqp.channel_max", "65536"),
        ("amqp.handshake_timeout", "0"),
        ("amqp.handshake_timeout", "25h"),
        ("amqp.max_message_size", "513 MiB"),
        ("amqp.max_message_size", "0"),
        ("amqp.mechanisms", ""),
        ("amqp.mechanisms", "PLAIN,PLAIN"),
        ("amqp.mechanisms", "ANONYMOUS"),
        ("listen.amqp", ""),
        ("listen.amqp", "5672"),
        ("listen.amqp", "example.org:5672"),
        ("listen.backlog", "0"),
        ("listen.nodelay", "perhaps"),
        ("listen.keepalive", "60:10"),
        ("listen.keepalive", "0:10:3"),
        ("listen.keepalive", "60:10:3:1"),
        ("memory.high_watermark", "-0.1"),
        ("memory.high_watermark", "nan"),
        ("memory.high_watermark", "1.5"),
        ("memory.check_interval", "0"),
        ("disk.free_limit", "-1"),
        ("disk.free_limit", "1.5"),
        ("disk.free_limit", "much"),
        ("storage.data_dir", ""),
        ("auth.default_vhost", ""),
        ("log.level", "loud"),
        ("log.format", "xml"),
        ("server.workers", "1025"),
    ] {
        let error = Run::default().set(name, value).error();
        assert!(error.starts_with(&format!("--set: `{name}`: expected ")), "{name}={value}: {error}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    for text in [
        "amqp.heartbeat = 1979-05-27",
        "amqp.heartbeat = [1]",
        "amqp.mechanisms = [[\"PLAIN\"]]",
        "amqp.mechanisms = [{ name = \"PLAIN\" }]",
        "listen.nodelay = \"true\"",
        "limits.connections = \"7\"",
        "auth.default_user = 7",
        "auth.default_pass = 7",
        "limits.connections = 99999999999999999999",
    ] {
        let error = Run::default().file(text).error();
        assert!(error.starts_with("leveret.toml:1: ") && error.contains("expected"), "{text}: {error}");
    }
}

#[test]
fn secrets_are_not_quoted() {
    let error = Run::default().file("[auth]\ndefault_pass = [\"hush\"]\n").error();
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_user_needs_a_password_and_a_name() {
    assert_eq!(
        Run::default().file("[auth]\n[auth.users.alice]\nvhosts = [\"/\"]\n").error(),
        "leveret.toml:3: user `alice` has no password; set `auth.users.alice.password`"
    );
    assert!(Run::default().file("[auth.users.alice]\n").error().contains("user `alice` has no password"));
    assert!(Run::default().file("[auth.users.\"\"]\npassword = \"x\"\n").error().contains("expected a name"));
}

#[test]
fn syntax_errors_have_a_line() {
    let error = Run::default().file("[amqp]\nheartbeat = \n").error();
    assert!(error.starts_with("leveret.toml:2: "), "{error}");
    let error = Run::default().file("[amqp]\nheartbeat = 1\nheartbeat = 2\n").error();
    assert!(error.starts_with("leveret.toml:3: ") && error.contains("duplicate key"), "{error}");
}

#[test]
fn deep_nesting_is_refused_like_any_unknown_key() {
    let deep = vec!["a"; 60].join(".");
    assert!(Run::default().file(&format!("{deep} = 1\n")).error().contains("unknown key"));
    let arrays = format!("amqp.heartbeat = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(!Run::default().file(&arrays).error().is_empty());
}

#[test]
fn rabbitmqs_own_format_is_named_as_such() {
    for text in [
        "# a comment\nlisteners.tcp.default = 5672\ndefault_user = guest\n",
        "listeners.tcp.default = 5672\n",
        "loopback_users.guest = false\n",
        "heartbeat = 60\n",
        "[{rabbit, [{tcp_listeners, [5672]}]}].\n",
        "[\n  {rabbit, []}\n].\n",
    ] {
        let error = Run::default().file(text).error();
        assert!(error.contains("RabbitMQ's own configuration format"), "{text}: {error}");
    }
    // Ours with a mistake stays ours.
    let error = Run::default().file("[amqp]\nheartbeats = 60\n").error();
    assert!(error.contains("unknown key"), "{error}");
}

#[test]
fn messages_stay_one_line_whatever_is_in_the_file() {
    let error = Run::default().file("\"a\\nb\" = 1\n").error();
    assert!(error.contains(r"`a\nb`"), "{error}");
}

#[test]
fn operator_policies_are_checked() {
    let policy = |keys: &str| format!("[policies.operator.cap]\n{keys}\n");
    for (keys, told) in [
        ("", "leveret.toml:1: `policies.operator.cap`: Validation failed: no policy provided"),
        ("queue_pattern = \"(\"\nmax_length = 1", "`policies.operator.cap`: the pattern \"(\" is not valid"),
        (
            "expires = 3600",
            "leveret.toml:2: `policies.operator.cap.expires`: expected a duration with its unit, such as \"7d\" or \
             \"1800000ms\", found 3600",
        ),
        ("overflow = \"drop\"", "\"drop\" is not a valid overflow value"),
        ("max_length = -1", "expected a number of messages, found -1"),
        ("max_lenght = 1", "the nearest valid key is `policies.operator.cap.max_length`"),
        ("apply_to = \"exchanges\"\nmax_length = 1", "`policies.operator.cap.apply_to`: expected \"queues\""),
    ] {
        let error = Run::default().file(&policy(keys)).error();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn what_tls_needs_is_asked_for_at_once() {
    let own = "[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";
    for (text, expected) in [
        ("[listen]\namqps = [\":1\"]", "leveret.toml:2: `listen.amqps`: expected a list of addresses"),
        (
            "[listen]\namqps = [\"[::]:5671\"]",
            "leveret.toml:2: `listen.amqps`: it needs both `tls.cert` and `tls.key`",
        ),
        ("[tls]\ncert = \"c.pem\"", "leveret.toml:2: `tls.cert`: it needs both `tls.cert` and `tls.key`"),
        (&format!("{own}verify = \"peer\""), "leveret.toml:4: `tls.verify`: \"peer\" needs `tls.ca`"),
        (
            &format!("{own}fail_if_no_peer_cert = true"),
            "leveret.toml:4: `tls.fail_if_no_peer_cert`: it needs `tls.verify` to be \"peer\"",
        ),
        (&format!("{own}versions = [\"1.1\"]"), "leveret.toml:4: `tls.versions`: expected one or both"),
        (
            &format!("{own}ciphers = [\"RC4-MD5\"]"),
            "leveret.toml:4: `tls.ciphers`: expected a list of cipher suites",
        ),
        (
            &format!("{own}[tls.sni.\"a.example\"]\ncert = \"a.pem\""),
            "leveret.toml:5: `tls.sni.a.example`: it needs both `cert` and `key`",
        ),
        (
            "[tls.sni.a]\ncrt = \"a.pem\"",
            "leveret.toml:2: unknown key `tls.sni.a.crt`; the nearest valid key is `tls.sni.a.cert`",
        ),
    ] {
        let error = Run::default().file(text).error();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}
