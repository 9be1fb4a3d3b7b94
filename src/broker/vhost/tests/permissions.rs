//! Who may open a vhost and what they may do in it: set, cleared, and given by the configuration.

use super::*;
use crate::broker::events::INTERNAL;
use crate::broker::options::{BrokerOptions, UserOptions};
use crate::broker::permissions::TopicRow;
use crate::identity::access::{Permissions, Right};

/// A user of the configuration who may open these vhosts.
fn user(vhosts: &[&str]) -> UserOptions {
    let [guest] = &BrokerOptions::default().users[..] else { unreachable!("one user") };
    let vhosts = vhosts.iter().map(|&name| name.to_owned()).collect();
    UserOptions { name: "u".into(), vhosts, ..guest.clone() }
}

fn patterns(configure: &str) -> Permissions {
    Permissions::new(configure, "", "").unwrap()
}

/// The pattern of what the user may configure, if there are permissions.
fn held(vhost: &VHost) -> Option<String> {
    let rows = vhost.permissions();
    let row = rows.iter().find(|(user, _)| user == "u");
    row.map(|(_, permissions)| permissions.pattern(Right::Configure).to_owned())
}

#[test]
fn the_configuration_gives_once_and_has_no_say_over_what_was_changed() {
    let vhost = vhost();
    let (in_it, elsewhere) = (user(&["/"]), user(&["other"]));
    vhost.give_permissions(std::slice::from_ref(&elsewhere), &patterns("a"));
    assert_eq!((held(&vhost), vhost.admits("u")), (None, false));
    vhost.give_permissions(std::slice::from_ref(&in_it), &patterns("a"));
    assert_eq!((held(&vhost).as_deref(), vhost.admits("u")), (Some("a"), true));
    vhost.give_permissions(std::slice::from_ref(&in_it), &patterns("b"));
    assert_eq!(held(&vhost).as_deref(), Some("b"), "nobody has changed them");
    vhost.give_permissions(&[], &patterns("b"));
    assert_eq!(held(&vhost).as_deref(), Some("b"), "the user may have been made otherwise");
    vhost.give_permissions(std::slice::from_ref(&elsewhere), &patterns("b"));
    assert_eq!(held(&vhost), None, "it was said that the user may not");
    vhost.give_permissions(std::slice::from_ref(&in_it), &patterns("b"));
    vhost.set_permissions("u", patterns("c"), INTERNAL);
    for configured in [&in_it, &elsewhere, &in_it] {
        vhost.give_permissions(std::slice::from_ref(configured), &patterns("b"));
        assert_eq!(held(&vhost).as_deref(), Some("c"));
    }
    vhost.clear_permissions("u", INTERNAL);
    vhost.give_permissions(std::slice::from_ref(&in_it), &patterns("b"));
    assert_eq!(held(&vhost), None, "what was cleared stays so");
}

#[test]
fn a_change_is_durable_when_its_gate_opens_and_raises_both_epochs() {
    let journal = Arc::new(Journal::stepped());
    let vhost = VHost::empty("/", journal.clone());
    let mut seen = (vhost.access_epoch(), vhost.epoch());
    let mut is_news = |vhost: &VHost, gate: Gate| {
        let now = (vhost.access_epoch(), vhost.epoch());
        let is_news = now.0 > seen.0 && now.1 > seen.1 && gate == Gate::durable(journal.end());
        seen = now;
        is_news
    };
    assert!(is_news(&vhost, vhost.set_permissions("u", patterns(""), INTERNAL)));
    let row = |write: &str| TopicRow {
        user: "u".into(),
        exchange: "x".into(),
        write: write.into(),
        read: String::new(),
    };
    assert!(is_news(&vhost, vhost.set_topic_permission(row("^{vhost}$"), INTERNAL).unwrap()));
    assert!(vhost.access_of("u").allows_topic(Right::Write, "x", "/"));
    assert!(vhost.set_topic_permission(row("("), INTERNAL).is_err());
    assert_eq!(vhost.topic_permissions(), [row("^{vhost}$")]);
    assert!(is_news(&vhost, vhost.clear_topic_permissions("u", None, INTERNAL)));
    assert!(is_news(&vhost, vhost.clear_permissions("u", INTERNAL)));
    let end = journal.end();
    assert_eq!(vhost.clear_permissions("u", INTERNAL), Gate::durable(end), "when it is known to be gone");
    assert_eq!(journal.end(), end, "and nothing is written for it");
}
