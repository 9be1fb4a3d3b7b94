use super::*;
use crate::broker::Broker;
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
    assert!(broker.logins.check(&attempt("guest", "guest")).is_ok() && is_known());
    assert!(known(&broker.logins.backends, &attempt("guest", "wrong")).is_none());
    let from_afar = Attempt { from_loopback: false, ..attempt("guest", "guest") };
    assert_eq!(known(&broker.logins.backends, &from_afar).unwrap().unwrap_err(), LoginError::NotLoopback);
    broker.users.set_tags("guest", Tags::default()).unwrap();
    assert!(!is_known());
    assert!(broker.logins.check(&attempt("guest", "guest")).is_ok() && is_known());
    broker.users.set_password("guest", PasswordHash::none()).unwrap();
    assert!(!is_known() && broker.logins.check(&attempt("guest", "guest")).is_err());
    broker.users.set_password("guest", broker.users.hash_new(b"guest").unwrap()).unwrap();
    assert!(broker.logins.check(&attempt("guest", "guest")).is_ok() && is_known());
    broker.delete_user("guest").unwrap();
    assert!(!is_known() && broker.logins.check(&attempt("guest", "guest")).is_err());
}

/// Knows one user, or nobody.
#[derive(Debug)]
struct Fixed(fn() -> Verdict);

impl Backend for Fixed {
    fn recall(&self, _: &Attempt) -> Option<Verdict> {
        None
    }

    fn verify(&self, _: &Attempt) -> Verdict {
        (self.0)()
    }
}

#[test]
fn backends_are_asked_in_order_and_the_first_refusal_is_told() {
    let accepts = || Verdict::Accept(User::foreign("u", Tags::default()));
    let refuses = || Verdict::Refuse(LoginError::NotLoopback);
    let cannot = || Verdict::Refuse(LoginError::Credentials);
    let chain = |all: &[fn() -> Verdict]| -> Result<String, LoginError> {
        let backends: Vec<Box<dyn Backend>> =
            all.iter().map(|verdict| Box::new(Fixed(*verdict)) as Box<dyn Backend>).collect();
        ask(&backends, &attempt("u", "x")).map(|user| user.name.clone())
    };
    let not_mine = || Verdict::NotMine;
    assert_eq!(chain(&[not_mine, refuses, accepts]), Ok("u".to_owned()));
    assert_eq!(chain(&[not_mine, refuses, cannot]), Err(LoginError::NotLoopback));
    assert_eq!(chain(&[not_mine]), Err(LoginError::Credentials));
    assert_eq!(chain(&[]), Err(LoginError::Credentials));
}

#[test]
fn an_attempt_does_not_show_its_password() {
    assert_eq!(format!("{:?}", attempt("u", "s3cret")), "Attempt { user: \"u\", .. }");
}
