//! Access tokens: what they need is asked for at the start, and secrets do not show.

use super::*;
use crate::broker::options::BackendKind;
use crate::identity::oauth::ResourceServer;
use crate::identity::oauth::keys::ConfiguredKey;
use crate::server::keys::KeyPlace;

const SECRET: &str = "a secret of thirty-two bytes or more";

fn with(section: &str) -> Run {
    Run::default().file(&format!("[auth]\nbackends = [\"oauth2\", \"internal\"]\n{section}"))
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let own = "[auth.oauth2]\nresource_server_id = \"rabbitmq\"\n";
    let named = |rest: &str| with(&format!("{own}{rest}")).error();
    for (error, told) in [
        (with("").error(), "`auth.oauth2.resource_server_id`: access tokens are taken"),
        (named(""), "no key can be known without one of issuer, jwks_url, signing_keys and hmac_secrets"),
        (named("jwks_url = \"keys.example\"\n"), "does not begin with https://"),
        (named("issuer = \"ftp://keys.example\"\n"), "`auth.oauth2.issuer`: it does not begin"),
        (named("algorithms = [\"none\"]\n"), "expected one or more of \"RS256\""),
        (named("[auth.oauth2.signing_keys]\nk = \"/nowhere/k.pem\"\n"), "/nowhere/k.pem: No such file"),
        (named("[auth.oauth2.hmac_secrets]\nk = \"short\"\n"), "shorter than 32 bytes"),
        (named("[auth.oauth2.hmac_secrets]\nk = 7\n"), "expected a text"),
    ] {
        assert!(error.contains(told) && error.lines().count() == 1 && !error.contains("short\""), "{error}");
    }
    // Who takes none may leave it all half done.
    assert!(Run::default().file("[auth.oauth2]\nissuer = \"x\"\n").config().broker.tokens.is_none());
}

#[test]
fn the_section_means_what_it_says() {
    let config = with(&format!(
        "[auth.oauth2]\nresource_server_id = \"nost\"\nissuer = \"https://keys.example\"\n\
         additional_scopes_key = [\"realm_access.roles\", \"a b\"]\nleeway = 0\n\
         further_resource_servers = [\"b\", \"nost\", \"a\", \"b\"]\n\
         [auth.oauth2.hmac_secrets]\n\"k.1\" = \"{SECRET}\"\n\
         [auth.oauth2.scope_aliases]\none = \"nost.read:*/* nost.tag:x\"\nother = [\"nost.write:*/*\"]\n"
    ))
    .config();
    let tokens = config.broker.tokens.unwrap();
    assert_eq!(config.broker.backends, [BackendKind::OAuth2, BackendKind::Internal]);
    assert_eq!((&tokens.rules.server, tokens.rules.leeway), (&ResourceServer::new("nost"), 0));
    assert_eq!(tokens.rules.further_servers, ["a", "b"].map(ResourceServer::new));
    assert_eq!(tokens.rules.additional_scopes_keys, ["realm_access.roles", "a", "b"]);
    assert_eq!(tokens.rules.scope_aliases["one"], ["nost.read:*/*", "nost.tag:x"]);
    assert_eq!(tokens.rules.scope_aliases["other"], ["nost.write:*/*"]);
    assert_eq!(tokens.keys["k.1"], ConfiguredKey::secret(SECRET));
    assert!(tokens.are_fetched);
    assert_eq!(config.server.keys.unwrap().place, KeyPlace::Issuer("https://keys.example".to_owned()));
}

#[test]
fn secrets_do_not_show_and_aliases_do() {
    let loaded = with(&format!(
        "[auth.oauth2]\nresource_server_id = \"rabbitmq\"\n[auth.oauth2.hmac_secrets]\nk = \"{SECRET}\"\n\
         [auth.oauth2.scope_aliases]\none = \"rabbitmq.read:*/*\"\n"
    ))
    .loaded();
    let shown = format!("{}{loaded:?}{:?}", render(&loaded), loaded.config());
    assert!(!shown.contains(SECRET) && shown.contains("\nk = \"***\" #"), "{shown}");
    assert!(shown.contains("\none = [\"rabbitmq.read:*/*\"] #"), "{shown}");
}

#[test]
fn what_has_changed_is_named_table_by_table() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("authority.pem");
    std::fs::write(&path, "one").unwrap();
    let options = |tables: &str| {
        let section = "[auth.oauth2]\nresource_server_id = \"rabbitmq\"\njwks_url = \"https://keys.example\"";
        with(&format!("{section}\nhttps_ca_file = {path:?}\n{tables}")).loaded().options
    };
    let before = options("");
    let names = |other: &Options| before.changes(other).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let tables =
        format!("[auth.oauth2.hmac_secrets]\nk = \"{SECRET}\"\n[auth.oauth2.scope_aliases]\na = \"b\"\n");
    assert!(names(&options("")).is_empty());
    assert_eq!(names(&options(&tables)), ["auth.oauth2.hmac_secrets", "auth.oauth2.scope_aliases"]);
    std::fs::write(&path, "another").unwrap();
    let after = options("");
    assert_eq!(before.changes(&after), [("auth.oauth2.https_ca_file", Effect::Reload)]);
}
