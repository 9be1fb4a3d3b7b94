//! The acknowledgement timeout, on a made-up clock.

use super::*;
use crate::protocol::field::{Table, TableBuilder, Value};
use crate::queue::rules::Rules;

const MINUTE: u64 = 60_000;

impl Client {
    /// Lives until `until` as a driver would have it: every deadline is met. Returns what was received, and when.
    fn live(&mut self, until: u64) -> Vec<(u64, &'static str)> {
        let mut all = Vec::new();
        loop {
            let now = self.now;
            all.extend(self.received().into_iter().map(|name| (now, name)));
            match self.session.poll_timeout() {
                Some(Moment(due)) if due <= until => {
                    assert!(due > self.now || now == self.now, "time goes on");
                    self.now = self.now.max(due);
                    self.session.handle_timeout(Now::at(self.now));
                }
                _ => break,
            }
        }
        self.now = until;
        all
    }

    fn consume_within(&mut self, queue: &str, timeout: Option<u64>) -> &mut Self {
        let mut arguments = TableBuilder::new();
        timeout.iter().for_each(|ms| {
            arguments.int64("x-consumer-timeout", *ms as i64);
        });
        let arguments = arguments.finish();
        self.send(&basic::Consume { queue, arguments: arguments.as_ref(), ..Default::default() })
    }
}

fn broker_with(messages: usize) -> (Arc<Broker>, Client) {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    client.declare("q", false);
    for _ in 0..messages {
        client.publish("q", false);
    }
    client.received();
    (broker, client)
}

#[test]
fn a_channel_ends_when_a_delivery_is_not_acknowledged_in_half_an_hour() {
    let (broker, mut client) = broker_with(2);
    client.consume_within("q", None);
    assert_eq!(client.received(), ["basic.consume-ok", "basic.deliver", "basic.deliver"]);
    client.send(&basic::Ack { delivery_tag: 2, multiple: false });
    assert_eq!(client.live(1000 + 30 * MINUTE - 1), []);
    client.now += 1;
    client.session.handle_timeout(Now::at(client.now));
    let (bytes, names) = client.received_bytes();
    assert_eq!(names, ["channel.close"]);
    let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. \
                This timeout value can be configured, see consumers doc guide to learn more";
    assert!(String::from_utf8_lossy(&bytes).contains(text), "{}", bytes.escape_ascii());
    assert_eq!(ready(&broker, "q"), [(0, true)], "back in its place, flagged");
    client.send(&channel::CloseOk {}).send(&channel::Open::default());
    assert_eq!(client.received(), ["channel.open-ok"], "the connection lives");
    assert_eq!(client.live(1000 + 300 * MINUTE), []);
    assert_eq!(client.session.poll_timeout(), None, "nothing is out, nothing is looked at");
}

#[test]
fn what_was_taken_by_get_counts_as_well() {
    let (broker, mut client) = broker_with(1);
    client.send(&basic::Get { queue: "q", ..Default::default() });
    assert_eq!(client.received(), ["basic.get-ok"]);
    assert_eq!(client.live(1000 + 31 * MINUTE), [(1000 + 30 * MINUTE, "channel.close")]);
    assert_eq!(ready(&broker, "q"), [(0, true)]);
}

#[test]
fn what_needs_no_acknowledgement_never_times_out() {
    let (_broker, mut client) = broker_with(3);
    client.send(&basic::Get { queue: "q", no_ack: true, ..Default::default() }).consume("q", "t", true);
    assert_eq!(client.received().len(), 4);
    assert_eq!(client.session.poll_timeout(), None, "and nobody looks");
}

#[test]
fn a_consumer_that_acknowledges_in_time_goes_on_for_ever() {
    let (broker, mut client) = broker_with(0);
    let mut publisher = Client::new(&broker);
    client.consume_within("q", Some(1000)).received();
    for tag in 1..=500 {
        publisher.publish("q", false);
        assert_eq!(client.received(), ["basic.deliver"]);
        assert_eq!(client.live(client.now + 400), []);
        // One is always out, never the same.
        if tag > 1 {
            client.send(&basic::Ack { delivery_tag: tag - 1, multiple: false });
        }
        if tag % 100 == 0 {
            client.send(&basic::Ack { delivery_tag: 0, multiple: true });
            assert_eq!(client.live(client.now + 5 * MINUTE), []);
            publisher.publish("q", false);
            assert_eq!(client.received(), ["basic.deliver"]);
            client.send(&basic::Ack { delivery_tag: 0, multiple: true });
            break;
        }
    }
    assert_eq!(client.live(client.now + MINUTE), []);
}

#[test]
fn the_consumer_decides_before_the_queue_and_the_queue_before_the_configuration() {
    let cases = [
        (None, None, Some(30 * MINUTE)),
        (None, Some(10_000), Some(10_000)),
        (Some(20_000), Some(10_000), Some(20_000)),
        (Some(5_000), Some(10_000), Some(5_000)),
        (Some(0), Some(10_000), None),
        (None, Some(0), None),
        (Some(7_000), Some(0), Some(7_000)),
        (Some(7_000), None, Some(7_000)),
    ];
    for (consumer, queue, expected) in cases {
        let (broker, mut client) = broker_with(1);
        cell(&broker, "q").set_rules(Rules { consumer_timeout: queue, ..Rules::default() });
        client.consume_within("q", consumer).received();
        let got = client.live(1000 + 60 * MINUTE);
        let expected: Vec<_> = expected.map(|after| (1000 + after, "channel.close")).into_iter().collect();
        assert_eq!(got, expected, "{consumer:?} {queue:?}");
    }
}

#[test]
fn a_queue_says_it_by_an_argument() {
    let broker = broker(Journal::in_memory());
    let mut client = Client::new(&broker);
    let arguments = TableBuilder::new().int32("x-consumer-timeout", 9000).finish();
    client.send(&queue::Declare { queue: "q", arguments: arguments.as_ref(), ..Default::default() });
    client.publish("q", false).consume_within("q", None).received();
    assert_eq!(client.live(MINUTE), [(10_000, "channel.close")]);
}

#[test]
fn the_configured_timeout_may_be_none() {
    let broker = broker(Journal::in_memory());
    let limits = SessionLimits { consumer_timeout: Duration::ZERO, ..SessionLimits::default() };
    let mut client = Client::new(&broker);
    client.session.wire.limits = Arc::new(limits);
    client.declare("q", false).publish("q", false).consume_within("q", None);
    assert_eq!(client.received(), ["queue.declare-ok", "basic.consume-ok", "basic.deliver"]);
    assert_eq!(client.live(1000 + 1000 * MINUTE), []);
    // A rule that comes later holds for what is out already.
    cell(&broker, "q").set_rules(Rules { consumer_timeout: Some(MINUTE), ..Rules::default() });
    let [(when, "channel.close")] = client.live(client.now + 2 * MINUTE)[..] else { panic!("no timeout") };
    assert!(when <= 1000 + 1001 * MINUTE, "{when}");
}

#[test]
fn a_short_timeout_is_met_beside_deliveries_that_may_wait_for_ever() {
    let (broker, mut client) = broker_with(20);
    client.send(&basic::Qos { prefetch_count: 10, ..Default::default() });
    client.consume_within("q", Some(0)).received();
    assert_eq!(client.live(1000 + 40 * MINUTE), []);
    let begin = client.now;
    client.consume_within("q", Some(2000));
    assert_eq!(client.received().len(), 11);
    client.send(&basic::Ack { delivery_tag: 20, multiple: false });
    let [(when, "channel.close")] = client.live(begin + MINUTE)[..] else { panic!("no timeout") };
    assert!((begin + 2000..=begin + 2500).contains(&when), "{when} after {begin}");
    assert_eq!(ready(&broker, "q").len(), 19);
}

#[test]
fn a_channel_that_ends_leaves_the_others_alone() {
    let (_broker, mut client) = broker_with(2);
    client.batch(|out| {
        write_method(out, 2, &channel::Open::default());
        for number in [1, 2] {
            write_method(out, number, &basic::Qos { prefetch_count: 1, ..Default::default() });
        }
        let arguments = TableBuilder::new().int32("x-consumer-timeout", 1000).finish();
        let late = basic::Consume { queue: "q", arguments: arguments.as_ref(), ..Default::default() };
        write_method(out, 1, &late);
        write_method(out, 2, &basic::Consume { queue: "q", ..Default::default() });
    });
    assert_eq!(client.received().len(), 7);
    let got = client.live(1000 + 20 * MINUTE);
    assert_eq!(got, [(2000, "channel.close")]);
    client.batch(|out| write_method(out, 2, &basic::Ack { delivery_tag: 1, multiple: false }));
    assert_eq!(client.received(), ["basic.deliver"], "the one that came back");
}

#[test]
fn a_late_delivery_is_found_within_a_quarter_of_the_timeout() {
    for offset in (0..2000).step_by(37) {
        let (broker, mut client) = broker_with(1);
        let mut publisher = Client::new(&broker);
        client.consume_within("q", Some(2000)).received();
        // Looks go on because of the first one, and the second comes somewhere between two of them.
        assert_eq!(client.live(1000 + offset), []);
        publisher.publish("q", false);
        assert_eq!(client.received(), ["basic.deliver"]);
        client.send(&basic::Ack { delivery_tag: 1, multiple: false });
        let [(when, "channel.close")] = client.live(20_000)[..] else { panic!("no timeout at {offset}") };
        assert!((offset + 3000..=offset + 3500).contains(&when), "{when} for {offset}");
    }
}

#[test]
fn a_timeout_that_is_no_number_of_milliseconds_is_refused() {
    let refused: [(&str, Table); 3] = [
        ("unacceptable_type,longstr", TableBuilder::new().long_str("x-consumer-timeout", "1000").finish()),
        ("unacceptable_type,bool", TableBuilder::new().bool("x-consumer-timeout", true).finish()),
        ("value_negative,-1", TableBuilder::new().value("x-consumer-timeout", Value::I8(-1)).finish()),
    ];
    for (why, arguments) in refused {
        let (_broker, mut client) = broker_with(0);
        client.send(&basic::Consume { queue: "q", arguments: arguments.as_ref(), ..Default::default() });
        let (bytes, names) = client.received_bytes();
        assert_eq!(names, ["channel.close"]);
        let text = format!("invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': {{{why}}}");
        assert!(String::from_utf8_lossy(&bytes).contains(&text), "{}", bytes.escape_ascii());
    }
}
