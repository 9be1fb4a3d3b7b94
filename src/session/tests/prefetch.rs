//! How much a channel may have unacknowledged.

use super::*;

/// A client with a channel that may have ten deliveries unacknowledged.
fn bounded(broker: &Arc<Broker>) -> Client {
    let limits = Arc::new(SessionLimits { unacked_per_channel: 10, ..SessionLimits::default() });
    let peer = Peer { address: "test".into(), is_loopback: true, ..Peer::default() };
    let session = Session::new(broker.clone(), limits, peer, Duration::from_secs(30), Now::at(1000));
    let mut client = Client { session, now: 1000 };
    client.session.outlet().register(Waker::noop());
    client.session.handle_input(&handshake(0), Now::at(1000));
    client.received();
    client
}

/// How many deliveries come until none do any more.
fn delivered(client: &mut Client) -> usize {
    let mut count = 0;
    loop {
        match client.received().iter().filter(|name| **name == "basic.deliver").count() {
            0 => return count,
            more => count += more,
        }
    }
}

fn publish_each(client: &mut Client, count: usize) -> usize {
    (0..count).map(|_| delivered(client.publish("q", false))).sum()
}

#[test]
fn without_a_prefetch_deliveries_pause_at_the_bound_and_go_on_with_acknowledgements() {
    let broker = broker(Journal::in_memory());
    let mut client = bounded(&broker);
    client.declare("q", false).send(&basic::Consume { queue: "q", ..Default::default() });
    assert_eq!(publish_each(&mut client, 30), 10);
    client.send(&basic::Ack { delivery_tag: 4, multiple: true });
    assert_eq!(delivered(&mut client), 4);
    // It is no prefetch that basic.qos takes away.
    client.send(&basic::Qos { prefetch_count: 3, ..Default::default() });
    assert_eq!(delivered(&mut client), 0);
    client.send(&basic::Ack { delivery_tag: 0, multiple: true });
    assert_eq!(delivered(&mut client), 10);
}

#[test]
fn a_channel_wide_prefetch_counts_if_it_is_less() {
    let broker = broker(Journal::in_memory());
    let mut client = bounded(&broker);
    let global = |prefetch_count| basic::Qos { prefetch_count, global: true, ..Default::default() };
    client.declare("q", false).send(&global(3)).send(&basic::Consume { queue: "q", ..Default::default() });
    assert_eq!(publish_each(&mut client, 30), 3);
    client.send(&global(100));
    assert_eq!(delivered(&mut client), 7, "and not if it is more");
    client.send(&global(0));
    assert_eq!(delivered(&mut client), 0);
}

#[test]
fn consumers_that_do_not_acknowledge_are_free_of_it_and_a_get_is_refused() {
    let broker = broker(Journal::in_memory());
    let mut client = bounded(&broker);
    client.declare("q", false).send(&basic::Consume { queue: "q", no_ack: true, ..Default::default() });
    assert_eq!(publish_each(&mut client, 30), 30);
    let mut other = bounded(&broker);
    other.declare("r", false);
    for _ in 0..12 {
        other.publish("r", false);
    }
    let get = |no_ack| basic::Get { queue: "r", no_ack, ..Default::default() };
    other.received();
    for _ in 0..10 {
        other.send(&get(false));
    }
    assert_eq!(other.received(), ["basic.get-ok"; 10]);
    other.send(&get(true)).send(&get(false));
    assert_eq!(other.received(), ["basic.get-ok", "channel.close"]);
}
