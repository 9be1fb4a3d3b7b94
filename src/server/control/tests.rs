//! The control socket as a client sees it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use super::*;
use crate::broker::options::BrokerOptions;
use crate::storage::options::JournalOptions;
use crate::storage::simulated_disk::SimulatedDisk;

/// A control socket in a directory, and a broker whose data are elsewhere.
struct Running {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Running {
    fn start_in(below: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join(below);
        std::fs::create_dir_all(&data_dir).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let disk = Arc::new(SimulatedDisk::new(1));
        let broker = Broker::open(BrokerOptions::default(), disk, JournalOptions::default(), |_| {}).unwrap();
        let stop = CancellationToken::new();
        let _inside = runtime.enter();
        let control = Control::bind(broker, &data_dir).unwrap();
        let running = runtime.spawn(control.run(stop.clone()));
        Self { directory, runtime, stop, running }
    }

    fn start() -> Self {
        Self::start_in("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// All that is answered to `request`.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = connect(&self.path("data")).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.runtime.block_on(self.running).unwrap();
        self.directory
    }
}

fn backup_to(path: &Path) -> Vec<u8> {
    [b"backup ", path.as_os_str().as_bytes(), b"\n"].concat()
}

#[test]
fn a_backup_is_made_and_refused() {
    let running = Running::start();
    let answer = running.ask(&backup_to(&running.path("copy")));
    let files = std::fs::read_dir(running.path("copy")).unwrap().count();
    assert!(answer.starts_with(&format!("ok {files} ")), "{answer}");
    let within = running.ask(&backup_to(&running.path("data/copy")));
    assert!(within.starts_with("error ") && within.contains(" is in "), "{within}");
    std::fs::write(running.path("copy/file"), "").unwrap();
    let occupied = running.ask(&backup_to(&running.path("copy")));
    assert!(occupied.starts_with("error ") && occupied.ends_with("is not empty\n"), "{occupied}");
    running.stop();
}

#[test]
fn policies_and_limits_are_set_listed_and_cleared() {
    let running = Running::start();
    let ask = |json: &str| running.ask(format!("ctl {json}\n").as_bytes());
    assert_eq!(ask(r#"{"do":"list_vhost_limits"}"#), "ok []\n");
    let set = r#"{"do":"set_policy","whose":"user","vhost":"/","name":"p","value":
        {"pattern":"","definition":{"max-length":1,"max-age":"1D"}}}"#;
    assert_eq!(ask(&set.replace('\n', "")), "ok {\"unheeded\":[\"max-age\"]}\n");
    let listed = ask(r#"{"do":"list_policies","whose":"user","vhost":"/"}"#);
    assert!(listed.starts_with("ok [{") && listed.contains("\"name\":\"p\""), "{listed}");
    assert_eq!(ask(r#"{"do":"list_policies","whose":"operator","vhost":"/"}"#), "ok []\n");
    let clear = r#"{"do":"clear_policy","whose":"user","vhost":"/","name":"p"}"#;
    assert_eq!((&*ask(clear), &*ask(clear)), ("ok {}\n", "error there is no policy \"p\" that was set\n"));
    let limits = r#"{"do":"set_vhost_limits","vhost":"/","value":{"max-queues":1}}"#;
    assert_eq!(ask(limits), "ok {}\n");
    let listed = ask(r#"{"do":"list_vhost_limits"}"#);
    assert_eq!(listed, "ok [{\"value\":{\"max-queues\":1},\"vhost\":\"/\"}]\n");
    for wrong in [
        "",
        "{",
        "[]",
        r#"{"do":"permissions","permit":{"do":"list","vhost":"/","user":"guest"}}"#,
        r#"{"do":"shutdown"}"#,
        r#"{"do":"list_vhost_limits","x":1}"#,
    ] {
        let told = ask(wrong);
        assert!(told.starts_with("error not understood: ") && told.lines().count() == 1, "{told}");
    }
    running.stop();
}

#[test]
fn permissions_are_set_listed_and_cleared() {
    let running = Running::start();
    let ask =
        |json: &str| running.ask(format!("ctl {{\"do\":\"permissions\",\"permit\":{json}}}\n").as_bytes());
    let own = r#"ok [{"configure":".*","read":".*","user":"guest","vhost":"/","write":".*"}]"#;
    assert_eq!(ask(r#"{"do":"list","vhost":"/"}"#), format!("{own}\n"));
    let set = r#"{"do":"set","vhost":"/","user":"guest","configure":"^a","write":"","read":".*"}"#;
    assert_eq!(ask(set), "ok {}\n");
    let changed = own.replacen(".*", "^a", 1).replace(r#""write":".*""#, r#""write":"""#);
    assert_eq!(ask(r#"{"do":"list","user":"guest"}"#), format!("{changed}\n"));
    let clear = r#"{"do":"clear","vhost":"/","user":"guest"}"#;
    assert_eq!((&*ask(clear), &*ask(clear)), ("ok {}\n", "ok {}\n"), "nothing need be there");
    assert_eq!(ask(r#"{"do":"list","vhost":"/"}"#), "ok []\n");
    let set = |exchange: &str, write: &str| {
        ask(&format!(
            r#"{{"do":"set_topic","vhost":"/","user":"guest","exchange":"{exchange}","write":"{write}","read":""}}"#
        ))
    };
    assert_eq!((&*set("x", "^{username}"), &*set("y", "")), ("ok {}\n", "ok {}\n"));
    let of_x = r#"{"exchange":"x","read":"","user":"guest","vhost":"/","write":"^{username}"}"#;
    let listed = ask(r#"{"do":"list_topic","vhost":"/"}"#);
    assert!(listed.starts_with(&format!("ok [{of_x},")), "{listed}");
    assert_eq!(ask(r#"{"do":"clear_topic","vhost":"/","user":"guest","exchange":"y"}"#), "ok {}\n");
    assert_eq!(ask(r#"{"do":"list_topic","user":"guest"}"#), format!("ok [{of_x}]\n"));
    assert_eq!(ask(r#"{"do":"clear_topic","vhost":"/","user":"guest"}"#), "ok {}\n");
    assert_eq!(ask(r#"{"do":"list_topic","user":"guest"}"#), "ok []\n");
    for (wrong, told) in [
        (set("x", "("), "error the pattern"),
        (set(&"x".repeat(256), ""), "error an exchange has a name of at most 255 bytes"),
        (ask(r#"{"do":"clear","vhost":"/","user":"nobody"}"#), "error there is no user \"nobody\""),
        (ask(r#"{"do":"clear","vhost":"x","user":"guest"}"#), "error there is no vhost \"x\""),
        (ask(r#"{"do":"list","user":"nobody"}"#), "error there is no user"),
        (ask(r#"{"do":"list_topic","vhost":"x"}"#), "error there is no vhost"),
    ] {
        assert!(wrong.starts_with(told) && wrong.lines().count() == 1, "{wrong}");
    }
    running.stop();
}

#[test]
fn what_is_no_request_is_refused_in_one_line() {
    let running = Running::start();
    for request in
        [&b"\n"[..], b"backup\n", b"backup \n", b"backup copy\n", b"restore /copy\n", b"BACKUP /x\n"]
    {
        assert_eq!(running.ask(request), "error unknown request\n", "{request:?}");
    }
    let longest = [&b"backup /"[..], &[b'x'; LONGEST_REQUEST - 8]].concat();
    assert_eq!(running.ask(&longest), "error the request is too long\n");
    let odd = running.ask(&backup_to(&running.path("data/\r\x1b[2J")));
    assert!(
        odd.starts_with("error ") && odd.lines().count() == 1 && !odd.contains(['\r', '\x1b']),
        "{odd:?}"
    );
    running.stop();
}

#[test]
fn a_request_that_ends_early_is_refused() {
    let running = Running::start();
    let mut stream = connect(&running.path("data")).unwrap();
    stream.write_all(b"backup /x").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "error the request is not complete\n");
    running.stop();
}

#[test]
fn more_clients_than_a_few_are_turned_away_and_the_end_waits_for_none() {
    let running = Running::start();
    let silent: Vec<_> = (0..MOST_CLIENTS).map(|_| connect(&running.path("data")).unwrap()).collect();
    let mut answer = String::new();
    connect(&running.path("data")).unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "");
    running.stop();
    drop(silent);
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_at_the_end() {
    let running = Running::start();
    let path = running.path("data/control");
    let metadata = std::fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    let directory = running.stop();
    assert!(std::fs::symlink_metadata(&path).is_err());
    assert_eq!(connect(&directory.path().join("data")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn one_that_was_left_is_replaced_and_something_else_is_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(connect(directory.path()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let control = Control::bind(Broker::new(BrokerOptions::default()), directory.path()).unwrap();
    connect(directory.path()).unwrap();
    drop(control);
    std::fs::write(&path, "mine").unwrap();
    let refused = Control::bind(Broker::new(BrokerOptions::default()), directory.path());
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_may_have_a_longer_path_than_a_socket() {
    let below = ["a"; 3].map(|part| part.repeat(80)).join("/");
    let running = Running::start_in(&below);
    let mut stream = connect(&running.path(&below)).unwrap();
    stream.write_all(b"?\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "error unknown request\n");
    assert!(running.path(&below).join("control").exists());
    running.stop();
}

/// Work that goes on until it is stopped.
fn endless(watch: &Arc<Watch>) -> JoinHandle<io::Result<Report>> {
    let watch = watch.clone();
    tokio::task::spawn_blocking(move || {
        loop {
            watch.check()?;
            std::thread::yield_now();
        }
    })
}

#[test]
fn a_client_that_goes_stops_what_it_asked_for_and_so_does_the_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (stop, watch) = (CancellationToken::new(), Arc::new(Watch::default()));
        let (mut stream, client) = UnixStream::pair().unwrap();
        drop(client);
        let gone = accompany(endless(&watch), &watch, &mut stream, &stop).await;
        assert_eq!(gone.unwrap_err().to_string(), "it was stopped");

        let watch = Arc::new(Watch::default());
        let (mut stream, mut client) = UnixStream::pair().unwrap();
        let accompanied = accompany(endless(&watch), &watch, &mut stream, &stop);
        let told = async {
            let mut line = [0; 13];
            client.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"progress 0 0\n");
            stop.cancel();
        };
        let (ended, ()) = futures_lite::future::zip(accompanied, told).await;
        assert_eq!(ended.unwrap_err().to_string(), "it was stopped");
    });
}
