//! Numbers as RabbitMQ's clients read them: each with an object beside it that says how fast it changes, and, where a
//! request asks for a range, what it was.

use serde_json::{Map, Value, json};

use crate::broker::statistics::{Range, Sample, Trend};
use crate::broker::totals::{Counted, Event};
use crate::management::error::ApiError;
use crate::management::query::Query;
use crate::queue::Counts;

/// Most samples of one number that are told.
const MOST_SAMPLES: u64 = 2000;

/// The longest range and step, in seconds: a year. Nothing is kept for as long, so that longer ones find no more.
const LONGEST: u64 = 366 * 24 * 3600;

/// Kinds of numbers, each with its own range in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// How many messages there are.
    Lengths,
    /// What happens to messages.
    Messages,
    /// Bytes of connections.
    Data,
    /// Numbers of the node.
    Node,
}

impl Family {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Lengths, "lengths_age", "lengths_incr"),
        (Self::Messages, "msg_rates_age", "msg_rates_incr"),
        (Self::Data, "data_rates_age", "data_rates_incr"),
        (Self::Node, "node_stats_age", "node_stats_incr"),
    ];
}

/// What a request asks of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges([Option<Range>; Family::ALL.len()]);

impl Ranges {
    /// Those of a query.
    ///
    /// # Errors
    /// If one is no number, or has too many samples.
    pub(crate) fn of(query: &Query) -> Result<Self, ApiError> {
        let mut ranges = Self::default();
        for (family, age, step) in Family::ALL {
            let number = |key: &str| -> Result<Option<u64>, ApiError> {
                let Some(text) = query.get(key) else { return Ok(None) };
                let number = text.parse().ok().filter(|number| *number > 0);
                let wrong = || ApiError::bad(format!("{key} should be a number of seconds"));
                number.map(|number: u64| Some(number.min(LONGEST))).ok_or_else(wrong)
            };
            let (Some(age_of), Some(step_of)) = (number(age)?, number(step)?) else { continue };
            if age_of / step_of > MOST_SAMPLES {
                return Err(ApiError::bad(format!("{age} should be at most {MOST_SAMPLES} times {step}")));
            }
            ranges.0[family as usize] = Some(Range { age: age_of, step: step_of });
        }
        Ok(ranges)
    }

    fn get(&self, family: Family) -> Option<Range> {
        self.0[family as usize]
    }
}

/// What was known of an object's numbers before.
pub(crate) trait Past {
    /// How fast a number changes, each second; 0 if it is not followed.
    fn rate(&self, key: &str) -> f64;

    /// What it was; no samples if it is not followed.
    fn trend(&self, key: &str, range: Range) -> Trend;
}

/// An object that is filled with numbers.
pub(crate) struct Numbers<'a> {
    pub(crate) past: &'a dyn Past,
    pub(crate) ranges: &'a Ranges,
}

impl Numbers<'_> {
    /// Adds a number and, as `key_details`, how it changes.
    pub(crate) fn put(&self, object: &mut Map<String, Value>, family: Family, key: &str, number: u64) {
        object.insert(key.to_owned(), number.into());
        object.insert(format!("{key}_details"), self.details(family, key));
    }

    fn details(&self, family: Family, key: &str) -> Value {
        let rate = self.past.rate(key);
        let Some(range) = self.ranges.get(family) else { return json!({ "rate": rate }) };
        let trend = self.past.trend(key, range);
        let told = |sample: &Sample| json!({ "sample": sample.value, "timestamp": sample.unix_ms });
        let samples: Vec<Value> = trend.samples.iter().map(told).collect();
        json!({ "rate": rate, "samples": samples, "avg": trend.average(), "avg_rate": trend.average_rate() })
    }

    /// How many messages there are.
    pub(crate) fn lengths(&self, object: &mut Map<String, Value>, ready: u64, unacked: u64) {
        let numbers =
            [("messages", ready + unacked), ("messages_ready", ready), ("messages_unacknowledged", unacked)];
        for (key, number) in numbers {
            self.put(object, Family::Lengths, key, number);
        }
    }

    /// What happened to messages; nothing if nothing did yet.
    pub(crate) fn events(&self, counts: &[(&str, u64)]) -> Option<Map<String, Value>> {
        let any = counts.iter().any(|(_, number)| *number > 0);
        any.then(|| self.all_events(counts))
    }

    /// What happened to messages, also if nothing did yet.
    pub(crate) fn all_events(&self, counts: &[(&str, u64)]) -> Map<String, Value> {
        let mut object = Map::new();
        for (key, number) in counts {
            self.put(&mut object, Family::Messages, key, *number);
        }
        object
    }

    /// Adds what happened to messages as `message_stats`, if anything did.
    pub(crate) fn put_events(&self, object: &mut Map<String, Value>, counts: &[(&str, u64)]) {
        if let Some(events) = self.events(counts) {
            object.insert("message_stats".to_owned(), events.into());
        }
    }
}

/// What was counted for a vhost, or all, by RabbitMQ's names.
pub(crate) fn of_vhost(counted: &Counted) -> [(&'static str, u64); 12] {
    let of = |event| counted.of(event);
    [
        ("publish", of(Event::Received)),
        ("confirm", of(Event::Confirmed)),
        ("return_unroutable", of(Event::UnroutableReturned)),
        ("drop_unroutable", of(Event::UnroutableDropped)),
        ("deliver", of(Event::DeliveredManualAck)),
        ("deliver_no_ack", of(Event::DeliveredAutoAck)),
        ("get", of(Event::GotManualAck)),
        ("get_no_ack", of(Event::GotAutoAck)),
        ("get_empty", of(Event::GetEmpty)),
        ("deliver_get", counted.delivered()),
        ("redeliver", of(Event::Redelivered)),
        ("ack", of(Event::Acknowledged)),
    ]
}

/// What a queue counted.
pub(crate) fn of_queue(counts: &Counts) -> [(&'static str, u64); 9] {
    [
        ("publish", counts.publish),
        ("deliver", counts.deliver),
        ("deliver_no_ack", counts.deliver_no_ack),
        ("get", counts.get),
        ("get_no_ack", counts.get_no_ack),
        ("get_empty", counts.get_empty),
        ("deliver_get", counts.deliver_get()),
        ("redeliver", counts.redeliver),
        ("ack", counts.ack),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Past for Known {
        fn rate(&self, key: &str) -> f64 {
            if key == "messages" { 1.5 } else { 0.0 }
        }

        fn trend(&self, key: &str, range: Range) -> Trend {
            let sample = |seconds: u64, value| Sample { unix_ms: seconds * 1000, value };
            let all = [sample(range.age + 2, 7), sample(range.age, 3)];
            Trend { samples: if key == "messages" { all.to_vec() } else { Vec::new() } }
        }
    }

    fn lengths(query: &str) -> Value {
        let ranges = Ranges::of(&Query::from(query)).unwrap();
        let mut object = Map::new();
        Numbers { past: &Known, ranges: &ranges }.lengths(&mut object, 2, 3);
        object.into()
    }

    #[test]
    fn a_number_has_its_rate_beside_it() {
        let told = lengths("");
        assert_eq!((&told["messages"], &told["messages_ready"]), (&json!(5), &json!(2)));
        assert_eq!(told["messages_details"], json!({ "rate": 1.5 }));
        assert_eq!(told["messages_unacknowledged_details"], json!({ "rate": 0.0 }));
    }

    #[test]
    fn a_range_has_samples() {
        let told = lengths("lengths_age=60&lengths_incr=5");
        let samples = json!([{ "sample": 7, "timestamp": 62_000 }, { "sample": 3, "timestamp": 60_000 }]);
        let expected = json!({ "rate": 1.5, "samples": samples, "avg": 5.0, "avg_rate": 2.0 });
        assert_eq!(told["messages_details"], expected);
        let none = json!({ "rate": 0.0, "samples": [], "avg": 0.0, "avg_rate": 0.0 });
        assert_eq!(told["messages_ready_details"], none);
        assert_eq!(lengths("msg_rates_age=60&msg_rates_incr=5"), lengths(""));
        assert_eq!(lengths("lengths_age=60"), lengths(""));
    }

    #[test]
    fn ranges_have_bounds() {
        for wrong in [
            "lengths_age=x&lengths_incr=1",
            "lengths_age=1&lengths_incr=0",
            "lengths_age=9999&lengths_incr=1",
        ] {
            assert!(Ranges::of(&Query::from(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_no_longer_than_a_year() {
        let query = format!("lengths_age={0}&lengths_incr={0}", u64::MAX);
        let ranges = Ranges::of(&Query::from(&*query)).unwrap();
        assert_eq!(ranges.get(Family::Lengths), Some(Range { age: LONGEST, step: LONGEST }));
    }

    #[test]
    fn events_are_left_out_until_there_is_one() {
        let ranges = Ranges::default();
        let numbers = Numbers { past: &Known, ranges: &ranges };
        let mut counts = Counts::default();
        assert_eq!(numbers.events(&of_queue(&counts)), None);
        counts.get_no_ack = 2;
        counts.deliver = 1;
        let told = Value::from(numbers.events(&of_queue(&counts)).unwrap());
        assert_eq!(
            (&told["deliver_get"], &told["ack"], &told["ack_details"]["rate"]),
            (&json!(3), &json!(0), &json!(0.0))
        );
    }
}
