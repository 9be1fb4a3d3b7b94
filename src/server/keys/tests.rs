//! Key servers that answer, and others.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::server::clock;

/// A server on loopback that has `answer` for each request, which it is given.
fn serve(answer: impl Fn(&str, &str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let own = url.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut request = [0; 2048];
            let length = stream.read(&mut request).unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..length]);
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = stream.write_all(answer(&own, &path).as_bytes());
        }
    });
    url
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn source(place: KeyPlace) -> KeySource {
    let second = Duration::from_secs(1);
    KeySource {
        place,
        authorities: Vec::new(),
        timeout: Duration::from_millis(500),
        refresh: second,
        rest: second,
    }
}

fn from_set(answer: impl Fn(&str, &str) -> String + Send + 'static) -> Result<KeySet, String> {
    fetch(&source(KeyPlace::Set(serve(answer))))
}

#[test]
fn a_key_set_is_fetched() {
    let keys = from_set(|_, _| ok(KEYS)).unwrap();
    assert_eq!(keys.ids().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn an_issuer_says_where_its_key_set_is() {
    let by_issuer = |name: fn(&str) -> String, keys: &'static str| {
        let url = serve(move |own, path| match path {
            "/realms/x/.well-known/openid-configuration" => {
                ok(&format!(r#"{{"issuer":"{}","jwks_uri":"{own}{keys}"}}"#, name(own)))
            }
            "/certs" => ok(KEYS),
            _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        });
        fetch(&source(KeyPlace::Issuer(format!("{url}/realms/x/"))))
    };
    assert!(by_issuer(|own| format!("{own}/realms/x"), "/certs").is_ok());
    let error = by_issuer(|_| "https://another".to_owned(), "/certs").unwrap_err();
    assert!(error.contains("calls itself https://another"), "{error}");
    let error = by_issuer(|own| format!("{own}/realms/x"), "/elsewhere").unwrap_err();
    assert!(error.contains("404"), "{error}");
}

#[test]
fn what_is_wrong_is_told() {
    let told = |answer: fn() -> String, why: &str| {
        let error = from_set(move |_, _| answer()).unwrap_err();
        assert!(error.contains(why) && error.len() < 200, "{error}");
    };
    told(|| ok("<html>"), "not a JSON Web Key Set");
    told(|| "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(), "500");
    told(
        || "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "elsewhere",
    );
    told(|| ok(&" ".repeat(300 << 10)), "");
    told(|| "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{".to_owned(), "");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(fetch(&source(KeyPlace::Set(format!("http://{nobody}/")))).is_err());
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = KeyPlace::Set(format!("http://{}/", listener.local_addr().unwrap()));
    let before = clock::now().moment;
    let error = fetch(&source(place)).unwrap_err();
    assert!(error.contains("timeout"), "{error}");
    assert!(clock::now().moment.since(before) < Duration::from_secs(5));
}

#[test]
fn keys_outlive_a_change_of_times_but_not_of_places() {
    let one = source(KeyPlace::Set("https://one.example".to_owned()));
    let slower = KeySource { refresh: Duration::from_secs(60), ..one.clone() };
    let believing = KeySource { authorities: b"others".to_vec(), ..one.clone() };
    let other = source(KeyPlace::Issuer("https://one.example".to_owned()));
    for (before, now, expected) in [
        (Some(&one), Some(&one), Fetched::Stay),
        (None, None, Fetched::Stay),
        (Some(&one), Some(&slower), Fetched::StayForNow),
        (Some(&one), Some(&believing), Fetched::Go),
        (Some(&one), Some(&other), Fetched::Go),
        (Some(&one), None, Fetched::Go),
        (None, Some(&one), Fetched::Go),
    ] {
        assert_eq!(KeySource::after(before, now), expected, "{before:?} {now:?}");
    }
}
