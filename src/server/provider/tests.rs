//! Where browsers are sent to. tests/python/oauth has what is had for a code.

use super::*;

fn provider(authorization_url: &str, scope: &str) -> Provider {
    let second = Duration::from_secs(1);
    Provider::new(ProviderOptions {
        client_id: "mq & more".to_owned(),
        client_secret: Zeroizing::new("hush".to_owned()),
        url: String::new(),
        authorization_url: authorization_url.to_owned(),
        token_url: "https://login.example/token".to_owned(),
        scope: scope.to_owned(),
        authorities: Vec::new(),
        timeout: second,
        refresh: second,
        rest: second,
    })
}

#[test]
fn a_browser_is_sent_with_all_that_is_needed() {
    let url =
        |at: &str, scope: &str| provider(at, scope).authorization("http://mq/back", "s&t", "c").unwrap();
    assert_eq!(
        url("https://login.example/auth", "openid mq.read:*/*"),
        "https://login.example/auth?response_type=code&client_id=mq+%26+more&redirect_uri=http%3A%2F%2Fmq%2Fback\
         &state=s%26t&code_challenge=c&code_challenge_method=S256&scope=openid+mq.read%3A*%2F*"
    );
    let with_query = url("https://login.example/auth?tenant=1", "");
    assert!(
        with_query.starts_with("https://login.example/auth?tenant=1&response_type=code&"),
        "{with_query}"
    );
    assert!(!with_query.contains("scope"), "{with_query}");
}

#[test]
fn the_secret_is_encoded_and_does_not_show() {
    // "a%2B%3A:%26+b" in base64.
    assert_eq!(&*basic("a+:", "& b"), "Basic YSUyQiUzQTolMjYrYg==");
    let shown = format!("{:?}", provider("https://login.example/auth", "").options);
    assert!(shown.contains("login.example") && !shown.contains("hush"), "{shown}");
}
