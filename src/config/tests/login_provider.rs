//! Logging in at a provider: what is missing is told, and the secret does not show.

use super::*;

const TOKENS: &str =
    "[auth]\nbackends = [\"internal\", \"oauth2\"]\n[auth.oauth2]\nresource_server_id = \"mq\"\n";
const ISSUER: &str = "issuer = \"https://login.example\"\n";
const JWKS: &str = "jwks_url = \"https://keys.example\"\n";

fn with(tokens: &str, section: &str) -> Run {
    Run::default().file(&format!("{TOKENS}{tokens}[http.oauth]\nenabled = true\n{section}"))
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let named = |rest: &str| with(ISSUER, &format!("client_id = \"mq\"\n{rest}")).error();
    let alone = |rest: &str| with(JWKS, &format!("client_id = \"mq\"\n{rest}")).error();
    for (error, told) in [
        (
            Run::default().set("http.oauth.enabled", "true").error(),
            "`http.oauth.enabled`: access tokens are not taken",
        ),
        (with(ISSUER, "").error(), "`http.oauth.client_id`: the provider must be told which client asks"),
        (alone(""), "`http.oauth.authorization_url`: it is not known without one of provider_url"),
        (
            alone("authorization_url = \"https://a.example\"\n"),
            "`http.oauth.token_url`: it is not known without",
        ),
        (
            alone("token_url = \"https://a.example\"\n"),
            "`http.oauth.authorization_url`: it is not known without",
        ),
        (
            named("provider_url = \"login.example\"\n"),
            "`http.oauth.provider_url`: it does not begin with https://",
        ),
        (named("token_url = \"ftp://a.example\"\n"), "`http.oauth.token_url`: it does not begin"),
        (named("authorization_url = \"https://a.example/#x\"\n"), "or has a #"),
        (
            named("origin = \"https://mq.example/\"\n"),
            "`http.oauth.origin`: it is not like https://mq.example.org",
        ),
        (named("origin = \"mq.example\"\n"), "without a path"),
        (named("label = \"\"\n"), "expected a name"),
        (named("client_secret = 7\n"), "expected a text"),
        (named("redirect = \"x\"\n"), "unknown key `http.oauth.redirect`"),
    ] {
        assert!(error.contains(told) && error.lines().count() == 1, "{error}");
    }
    // Who does not use it may leave it half done.
    let config = Run::default().file("[http.oauth]\nprovider_url = \"x\"\n").config();
    assert!(config.login_provider.is_none() && config.management.code_flow.is_none());
}

#[test]
fn the_section_means_what_it_says() {
    let config = with(ISSUER, "client_id = \"mq\"\n").config();
    let (provider, flow) = (config.login_provider.unwrap(), config.management.code_flow.unwrap());
    assert_eq!((&*provider.url, &*provider.scope), ("https://login.example", "openid profile"));
    assert_eq!((&*flow.label, flow.origin), ("OAuth 2", None));
    let section = "client_id = \"mq\"\nprovider_url = \"https://other.example\"\nscopes = [\"openid\", \"mq.tag:management\"]\n\
                   token_url = \"https://t.example\"\nlabel = \"Keycloak\"\norigin = \"https://[::1]:8443\"\n";
    let config = with(ISSUER, section).config();
    let (provider, flow) = (config.login_provider.unwrap(), config.management.code_flow.unwrap());
    assert_eq!((&*provider.url, &*provider.token_url), ("https://other.example", "https://t.example"));
    assert_eq!(provider.scope, "openid mq.tag:management");
    assert_eq!((&*flow.label, flow.origin.as_deref()), ("Keycloak", Some("https://[::1]:8443")));
    // With both addresses nobody has to tell them.
    let given =
        "client_id = \"mq\"\nauthorization_url = \"https://a.example\"\ntoken_url = \"https://t.example\"\n";
    assert_eq!(with(JWKS, given).config().login_provider.unwrap().url, "");
}

#[test]
fn the_secret_does_not_show() {
    let loaded = with(ISSUER, "client_id = \"mq\"\nclient_secret = \"hush\"\n").loaded();
    let config = loaded.config();
    assert_eq!(&**config.login_provider.as_ref().unwrap().client_secret, "hush");
    let shown = format!("{}{loaded:?}{config:?}{:?}", render(&loaded), loaded.values());
    assert!(!shown.contains("hush") && shown.contains("client_secret = \"***\" #"), "{shown}");
    assert!(loaded.file_with_secrets().is_some(), "the file is looked at for who may read it");
    assert!(render(&with(ISSUER, "client_id = \"mq\"\n").loaded()).contains("client_secret = \"\"\n"));
}
