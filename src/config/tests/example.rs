//! The example file shows every option, and with its default.

use super::*;

const EXAMPLE: &str = include_str!("../../../config/leveret.toml");

#[test]
fn the_example_has_every_option_at_its_default() {
    let loaded = Run::default().file(EXAMPLE).loaded();
    assert_eq!(loaded.options, Options::default());
    for row in TABLE {
        assert!(loaded.origins.contains_key(row.name), "{} is missing in config/leveret.toml", row.name);
    }
    assert_eq!(loaded.origins.len(), TABLE.len());
}

#[test]
fn the_example_says_which_settings_can_be_reloaded() {
    let mut comment = String::new();
    let mut section = "";
    for line in EXAMPLE.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            comment.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            let row = TABLE.iter().find(|row| row.name == format!("{section}.{key}")).expect("a row");
            assert_eq!(comment.contains("(reload)"), row.effect == Effect::Reload, "{}", row.name);
            assert!(!comment.is_empty(), "{} has no comment", row.name);
            comment.clear();
        }
    }
}

#[test]
fn the_user_in_the_comments_is_valid_once_uncommented() {
    let at = EXAMPLE.find("# [auth.users.alice]").expect("the section");
    let end = at + EXAMPLE[at..].find("# ----").expect("its end");
    let users = Run::default().file(&uncommented(&EXAMPLE[at..end])).config().broker.users;
    assert_eq!(users[1].name, "alice");
    assert_eq!(users[1].vhosts, ["/", "orders"]);
    assert_eq!(users[1].tags, Tags::parse(["impersonator"]).ok());
    assert_eq!((users[1].max_connections, users[1].max_channels), (Some(100), Some(1000)));
}

#[test]
fn the_operator_policy_in_the_comments_is_valid_once_uncommented() {
    let at = EXAMPLE.find("# [policies.operator.stale]").expect("the section");
    let text = uncommented(&EXAMPLE[at..]);
    let loaded = Run::default().file(&text).loaded();
    assert_eq!(loaded.config().broker.operators.len(), 1);
    let rendered = render(&loaded);
    let section = &rendered[rendered.find("[policies.operator.stale]").expect("the section")..];
    for line in
        ["expires = \"168h\"", "message_ttl = \"24h\"", "max_length_bytes = 1073741824", "priority = 0"]
    {
        assert!(section.contains(line), "{section}");
    }
    assert_eq!(Run::default().file(section).loaded().options.operators, loaded.options.operators);
    let keys = text.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key);
    assert!(keys.eq(crate::config::operators::key_names()), "the example has every key");
}

fn uncommented(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect()
}

#[test]
fn every_option_is_documented_in_a_sentence() {
    for row in TABLE {
        let doc = row.doc.join("");
        assert!(doc.ends_with('.') && doc.starts_with(' '), "{}: {doc:?}", row.name);
        assert!(!(row.expected)().is_empty());
    }
}

#[test]
fn the_host_in_the_comments_is_valid_once_uncommented() {
    let at = EXAMPLE.find("# [tls.sni.").expect("the section");
    let end = at + EXAMPLE[at..].find("# ----").expect("its end");
    let own = "[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";
    let loaded = Run::default().file(&format!("{own}{}", uncommented(&EXAMPLE[at..end]))).loaded();
    let tls = loaded.config().server.tls.expect("it has a certificate");
    assert_eq!(
        tls.hosts["mq.example.com"].chain.as_deref(),
        Some(std::path::Path::new("/etc/letsencrypt/live/mq.example.com/chain.pem"))
    );
    assert_eq!(Run::default().file(&render(&loaded)).loaded().options.hosts, loaded.options.hosts);
}
