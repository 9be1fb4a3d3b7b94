use crate::broker::events::INTERNAL;
use std::sync::mpsc::Receiver;

use super::*;
use crate::broker::Broker;
use crate::broker::key_ring::Job;
use crate::broker::options::{BrokerOptions, PasswordOptions};
use crate::identity::password::{PasswordHash, Scheme};
use crate::identity::tags::Tags;

fn attempt(user: &str, password: &str) -> Attempt {
    let password = Zeroizing::new(password.as_bytes().to_vec());
    Attempt { user: user.to_owned(), password, from_loopback: true, now: Now::at(0) }
}

#[test]
fn without_threads_the_answer_is_there_at_once_and_only_once() {
    let broker = Broker::new(BrokerOptions::default());
    let outlet = Outlet::new();
    let ticket = broker.logins.begin(attempt("guest", "guest"), &outlet);
    assert_eq!(ticket.take().unwrap().unwrap().name, "guest");
    assert!(ticket.take().is_none());
    let ticket = broker.logins.begin(attempt("guest", "wrong"), &outlet);
    assert_eq!(ticket.take().unwrap().unwrap_err(), LoginError::Credentials);
}

/// Waits for the answer as a connection's task does.
fn wait(broker: &Broker, attempt: Attempt) -> Answer {
    let outlet = Outlet::new();
    let thread = std::thread::current();
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    outlet.register(&std::task::Waker::from(Arc::new(Unpark(thread))));
    let ticket = broker.logins.begin(attempt, &outlet);
    loop {
        if let Some(answer) = ticket.take() {
            return answer;
        }
        std::thread::park_timeout(Duration::from_secs(10));
    }
}

#[test]
fn a_password_of_the_configuration_is_hashed_before_the_end() {
    let passwords = PasswordOptions { scheme: Scheme::Argon2id, min_length: 0 };
    let broker =
        Broker::ephemeral(BrokerOptions { login_threads: 1, passwords, ..BrokerOptions::default() }).unwrap();
    assert!(broker.users.login("guest", b"guest", true).is_ok());
    broker.close();
    assert!(format!("{:?}", broker.users.find("guest").unwrap()).contains("PasswordHash(***)"));
    assert!(broker.users.login("guest", b"guest", true).is_ok());
}

#[test]
fn with_threads_the_connection_is_woken() {
    let passwords = PasswordOptions { scheme: Scheme::Argon2id, min_length: 0 };
    let broker =
        Broker::ephemeral(BrokerOptions { login_threads: 2, passwords, ..BrokerOptions::default() }).unwrap();
    assert!(wait(&broker, attempt("guest", "guest")).is_ok());
    assert!(wait(&broker, attempt("guest", "wrong")).is_err());
    assert!(wait(&broker, attempt("nobody", "guest")).is_err());
}

#[test]
fn a_password_is_known_again_until_anything_changes_of_its_user() {
    let broker = Broker::new(BrokerOptions::default());
    let is_known = || known(&broker.logins.backends, &attempt("guest", "guest")).is_some();
    assert!(!is_known());
    assert!(broker.logins.check(attempt("guest", "guest")).is_ok() && is_known());
    assert!(known(&broker.logins.backends, &attempt("guest", "wrong")).is_none());
    let from_afar = Attempt { from_loopback: false, ..attempt("guest", "guest") };
    assert_eq!(known(&broker.logins.backends, &from_afar).unwrap().unwrap_err(), LoginError::NotLoopback);
    broker.users.set_tags("guest", Tags::default(), INTERNAL).unwrap();
    assert!(!is_known());
    assert!(broker.logins.check(attempt("guest", "guest")).is_ok() && is_known());
    broker.users.set_password("guest", PasswordHash::none(), INTERNAL).unwrap();
    assert!(!is_known() && broker.logins.check(attempt("guest", "guest")).is_err());
    broker.users.set_password("guest", broker.users.hash_new(b"guest").unwrap(), INTERNAL).unwrap();
    assert!(broker.logins.check(attempt("guest", "guest")).is_ok() && is_known());
    broker.delete_user("guest", INTERNAL).unwrap();
    assert!(!is_known() && broker.logins.check(attempt("guest", "guest")).is_err());
}

/// Knows one user, or nobody, or neither before a job is done.
#[derive(Debug)]
struct Fixed {
    verdict: fn() -> Verdict,
    ring: Option<Arc<KeyRing>>,
}

impl Backend for Fixed {
    fn recall(&self, _: &Attempt) -> Option<Verdict> {
        None
    }

    fn verify(&self, _: &Attempt) -> Verdict {
        (self.verdict)()
    }

    fn when_known(&self, job: Job) -> Result<(), Job> {
        match &self.ring {
            Some(ring) => ring.after_fetch(job),
            None => Err(job),
        }
    }
}

/// What such backends come to, once it is told.
fn chain(all: &[fn() -> Verdict], ring: Option<&Arc<KeyRing>>) -> Receiver<Result<String, LoginError>> {
    let backend = |verdict: &fn() -> Verdict| -> Arc<dyn Backend> {
        Arc::new(Fixed { verdict: *verdict, ring: ring.cloned() })
    };
    let (sender, receiver) = sync_channel(1);
    let told = move |answer: Answer| sender.send(answer.map(|user| user.name.clone())).unwrap();
    Asking::new(all.iter().map(backend).collect(), attempt("u", "x"), None, told, || true).go_on();
    receiver
}

#[test]
fn nobody_is_asked_about_who_has_gone() {
    let backend = Fixed { verdict: || panic!("it is asked"), ring: None };
    let told = |_| panic!("it is told");
    Asking::new(Arc::from([Arc::new(backend) as Arc<dyn Backend>]), attempt("u", "x"), None, told, || false)
        .go_on();
}

fn accepts() -> Verdict {
    Verdict::Accept(User::foreign("u", Tags::default()))
}

#[test]
fn backends_are_asked_in_order_and_the_first_refusal_that_says_something_is_told() {
    let chain = |all: &[fn() -> Verdict]| chain(all, None).try_recv().unwrap();
    let refuses = || Verdict::Refuse(LoginError::NotLoopback);
    let cannot = || Verdict::Refuse(LoginError::Credentials);
    let not_mine = || Verdict::NotMine;
    assert_eq!(chain(&[not_mine, refuses, accepts]), Ok("u".to_owned()));
    assert_eq!(chain(&[not_mine, refuses, cannot]), Err(LoginError::NotLoopback));
    assert_eq!(chain(&[cannot, refuses]), Err(LoginError::NotLoopback));
    assert_eq!(chain(&[not_mine]), Err(LoginError::Credentials));
    assert_eq!(chain(&[]), Err(LoginError::Credentials));
    let not_yet = || Verdict::NotYet(LoginError::Busy);
    assert_eq!(chain(&[not_yet, not_mine]), Err(LoginError::Busy), "there is nothing to wait for");
    assert_eq!(chain(&[not_yet, accepts]), Ok("u".to_owned()));
}

#[test]
fn a_backend_that_does_not_know_yet_is_asked_again_once() {
    let ring = Arc::new(KeyRing::new(true));
    let not_yet = || Verdict::NotYet(LoginError::Busy);
    let (refused, accepted) = (chain(&[not_yet], Some(&ring)), chain(&[not_yet, accepts], Some(&ring)));
    assert!(refused.try_recv().is_err() && accepted.try_recv().is_err(), "they wait");
    ring.put(None);
    assert_eq!(refused.try_recv().unwrap(), Err(LoginError::Busy));
    assert_eq!(accepted.try_recv().unwrap(), Ok("u".to_owned()));
}

#[test]
fn an_attempt_does_not_show_its_password() {
    assert_eq!(format!("{:?}", attempt("u", "s3cret")), "Attempt { user: \"u\", .. }");
}
