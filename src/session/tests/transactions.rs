//! Transactions, as the channel keeps them.

use super::*;

#[test]
fn a_queue_that_was_got_from_is_forgotten_when_all_of_it_is_settled() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.send(&tx::Select {});
    for name in ["a", "b"] {
        client.declare(name, false).publish(name, false).send(&tx::Commit {});
        client.send(&basic::Get { queue: name, ..Default::default() });
    }
    client.received();
    let getters = |client: &Client| {
        let State::Open(open) = &client.session.state else { panic!("it is open") };
        open.channels[&1].getters.len()
    };
    assert_eq!(getters(&client), 2);
    client.send(&basic::Ack { delivery_tag: 2, multiple: true }).send(&tx::Commit {});
    assert_eq!(client.received(), ["tx.commit-ok"]);
    assert_eq!(getters(&client), 0);
}
