//! Samples of a broker with a made-up clock.

use std::sync::Arc;

use super::*;
use crate::broker::events::INTERNAL;
use crate::broker::options::BrokerOptions;
use crate::broker::queue_cell::QueueCell;
use crate::broker::vhost::QueueDeclare;
use crate::broker::vhosts::Metadata;
use crate::ids::{ConnectionId, QueueId};
use crate::message::{Body, MessageBuilder};
use crate::protocol::properties::Properties;
use crate::queue::rules::Rules;

const SECOND: u64 = 1000;

struct Bench {
    broker: Arc<Broker>,
    vhost: Arc<VHost>,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        let broker = Broker::new(BrokerOptions::default());
        let vhost = broker.vhost("/").unwrap();
        Self { broker, vhost, now: 0 }
    }

    fn queue(&self, name: &str) -> Arc<QueueCell> {
        let request = QueueDeclare { name, ..Default::default() };
        self.vhost.declare_queue(request, ConnectionId(1)).unwrap().cell
    }

    /// The next sample, five seconds after the one before.
    fn sample(&mut self) {
        self.now += 5 * SECOND;
        self.broker.statistics.sample(&self.broker, Now::at(self.now));
    }

    fn trend(&self, queue: &str, measure: Measure, age: u64, step: u64) -> Vec<u64> {
        let trend = self.broker.queue_trend(&self.vhost, queue, measure, Range { age, step });
        trend.unwrap_or_default().samples.iter().map(|sample| sample.value).collect()
    }

    fn rate(&self, queue: &str, measure: Measure) -> f64 {
        self.broker.queue_view(&self.vhost, queue).unwrap().rates.of(measure)
    }
}

fn publish(cell: &QueueCell, count: usize) {
    let properties = Properties::parse(&[0, 0]).unwrap();
    let message = MessageBuilder::default().build("", "q", properties, Body::Borrowed(b"x"));
    cell.publish(std::iter::repeat_n(message, count)).unwrap();
}

#[test]
fn a_queue_has_rates_and_a_past() {
    let mut bench = Bench::new();
    let cell = bench.queue("q");
    for count in [10, 20, 0, 0, 50] {
        if count > 0 {
            publish(&cell, count);
        }
        bench.sample();
    }
    assert_eq!(bench.rate("q", Measure::Publish), 10.0);
    assert_eq!(bench.trend("q", Measure::Publish, 25, 5), [80, 30, 30, 30, 10, 0]);
    assert_eq!(bench.trend("q", Measure::Ready, 20, 10), [80, 30, 10]);
    assert_eq!(bench.trend("q", Measure::MemoryUsed, 20, 10), [0; 0], "not of a queue");
    let trend = bench.broker.queue_trend(&bench.vhost, "q", Measure::Publish, Range { age: 20, step: 5 });
    let trend = trend.unwrap();
    assert_eq!((trend.average(), trend.average_rate()), ((80 + 30 + 30 + 30 + 10) as f64 / 5.0, 3.5));
    assert_eq!(trend.samples[0].unix_ms, Now::at(bench.now).unix_ms);
    assert_eq!(trend.samples[4].unix_ms, Now::at(bench.now).unix_ms - 20 * SECOND);
    bench.sample();
    assert_eq!(bench.rate("q", Measure::Publish), 0.0);
}

#[test]
fn a_late_sample_tells_the_true_rate() {
    let mut bench = Bench::new();
    let cell = bench.queue("q");
    bench.sample();
    publish(&cell, 100);
    bench.now += 5 * SECOND;
    bench.sample();
    assert_eq!(bench.rate("q", Measure::Publish), 10.0);
}

#[test]
fn a_queue_is_idle_when_nothing_happened_between_two_samples() {
    let mut bench = Bench::new();
    let cell = bench.queue("q");
    let idle_since = |bench: &Bench| bench.broker.queue_view(&bench.vhost, "q").unwrap().idle_since;
    publish(&cell, 1);
    assert_eq!(idle_since(&bench), None);
    bench.sample();
    let sampled_at = Now::at(bench.now).unix_ms;
    assert_eq!(idle_since(&bench), None, "something happened before the sample");
    bench.sample();
    assert_eq!(idle_since(&bench), Some(sampled_at));
    publish(&cell, 1);
    assert_eq!(idle_since(&bench), None);
}

#[test]
fn a_channel_has_rates_for_each_exchange_and_queue() {
    let mut bench = Bench::new();
    let channel = OpenChannel::new(1);
    let (to, from) = (channel.published_to("x").unwrap(), channel.delivered_from(QueueId(1), "q").unwrap());
    let idle = channel.published_to("idle").unwrap();
    let mut sample = || {
        bench.sample();
        sampling::sample_channel(&bench.broker.statistics, &channel, bench.broker.statistics.moments());
        let broker = &bench.broker;
        let delivered = broker.delivered_rates(&from);
        (
            broker.published_rates(&to).of(Measure::Publish),
            [Measure::Deliver, Measure::Ack, Measure::Get].map(|measure| delivered.of(measure)),
        )
    };
    channel.counters.publish.add(20);
    to.publish.add(20);
    assert_eq!(sample(), (4.0, [0.0; 3]));
    channel.counters.deliver.add(15);
    from.deliver.add(15);
    from.ack.add(5);
    assert_eq!(sample(), (0.0, [3.0, 1.0, 0.0]));
    assert_eq!(sample(), (0.0, [0.0; 3]));
    assert!(idle.history.lock().is_none(), "what counts nothing has none");
    assert!(to.history.lock().as_ref().unwrap().memory() < 128, "nothing of the past is in it");
}

#[test]
fn sums_are_those_of_all_queues_that_there_are() {
    let mut bench = Bench::new();
    let cells: Vec<_> = ["a", "b", "c"].into_iter().map(|name| bench.queue(name)).collect();
    let ready = |bench: &Bench| bench.vhost.message_totals().ready;
    cells.iter().for_each(|cell| publish(cell, 5));
    assert_eq!(ready(&bench), 15, "before any sample");
    bench.sample();
    cells[0].purge();
    assert_eq!(ready(&bench), 10);
    bench.vhost.delete_queue("b", false, false, ConnectionId(1)).unwrap();
    assert_eq!(ready(&bench), 5);
    bench.sample();
    assert_eq!(ready(&bench), 5);
    let trend = bench.broker.vhost_trend(&bench.vhost, Measure::Ready, Range { age: 5, step: 5 }).unwrap();
    assert_eq!(trend.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [5, 15]);
    assert_eq!(bench.broker.trend(Measure::Ready, Range { age: 5, step: 5 }), Some(trend));
}

#[test]
fn what_is_idle_costs_a_sample_nothing() {
    let mut bench = Bench::new();
    let cells: Vec<_> = (0..100).map(|number| bench.queue(&number.to_string())).collect();
    bench.sample();
    publish(&cells[7], 1);
    assert_eq!(bench.vhost.activity().listed().len(), 1);
    bench.sample();
    assert!(bench.vhost.activity().listed().is_empty());
}

#[test]
fn what_is_idle_has_no_history() {
    let mut bench = Bench::new();
    let cells: Vec<_> = (0..10).map(|number| bench.queue(&number.to_string())).collect();
    bench.sample();
    cells.iter().for_each(|cell| cell.set_rules(Rules::default()));
    bench.sample();
    assert!(!cells.iter().any(|cell| cell.has_history()) && !bench.vhost.history.lock().is_kept());
    assert_eq!(bench.trend("7", Measure::Ready, 10, 5), [0, 0, 0]);
    publish(&cells[7], 1);
    bench.sample();
    assert_eq!(cells.iter().filter(|cell| cell.has_history()).count(), 1);
    assert!(bench.vhost.history.lock().is_kept());
    assert_eq!(bench.trend("7", Measure::Publish, 10, 5), [1, 0, 0]);
    // Twice as long as an object's history goes back.
    (0..2 * 3900 / 5).for_each(|_| bench.sample());
    assert!(!cells[7].has_history());
    assert_eq!(bench.trend("7", Measure::Publish, 10, 5), [1, 1, 1]);
}

#[test]
fn a_busy_queue_takes_less_than_five_kilobytes_and_a_new_one_much_less() {
    let steps = {
        let options = StatisticsOptions::default();
        options.steps(&options.objects)
    };
    let mut history = QUEUE.history::<u32>(0, &steps);
    (1..12).for_each(|tick| history.tell(tick, [tick; 10]));
    assert!(history.memory() < 2000, "{} bytes", history.memory());
    (12..2000).for_each(|tick| history.tell(tick, [tick; 10]));
    assert!(history.memory() < 5000, "{} bytes", history.memory());
}

/// Five seconds apart are ticks. The page asks for a sample every 10 seconds of ten minutes, and every two minutes of an hour.
#[test]
fn a_queue_s_charts_have_a_point_of_its_own_for_each_sample() {
    let steps = {
        let options = StatisticsOptions::default();
        options.steps(&options.objects)
    };
    let mut history = QUEUE.history::<u32>(0, &steps);
    // A burst of every fourth tick, and depths that are told apart.
    (1..=1440).for_each(|tick| history.tell(tick, [if tick % 4 == 0 { tick } else { tick - tick % 4 }; 10]));
    let at = Moments { tick: 1440, unix_ms: 1440 * 5000, elapsed_ms: 5000, interval_ms: 5000 };
    for (age, step) in [(60, 5), (600, 10), (3600, 120)] {
        for measure in [Measure::Publish, Measure::Ready] {
            let trend = QUEUE.trend(Some(&history), at, measure, Range { age, step }).unwrap();
            assert_eq!(trend.samples.len() as u64, age / step + 1);
            for Sample { unix_ms, value } in trend.samples {
                let tick = unix_ms / 5000;
                assert_eq!(value, tick - tick % 4, "{measure:?} every {step} s at {tick}");
            }
        }
    }
}

#[test]
fn a_reset_forgets_the_past_and_goes_on() {
    let mut bench = Bench::new();
    let cell = bench.queue("q");
    publish(&cell, 10);
    bench.sample();
    bench.broker.statistics.reset(&bench.broker);
    assert_eq!(bench.rate("q", Measure::Publish), 0.0);
    assert_eq!(bench.trend("q", Measure::Publish, 60, 5), [10]);
    publish(&cell, 5);
    bench.sample();
    assert_eq!(
        (bench.rate("q", Measure::Publish), bench.trend("q", Measure::Publish, 60, 5)),
        (1.0, vec![15, 10])
    );
}

#[test]
fn what_happened_in_a_deleted_vhost_stays_in_the_sum_of_all() {
    let mut bench = Bench::new();
    bench.broker.add_vhost("other", &Metadata::default(), INTERNAL).unwrap();
    let other = bench.broker.vhost("other").unwrap();
    let mut tally = crate::broker::totals::Tally::default();
    tally.count(crate::broker::totals::Event::Received, 30);
    other.totals.take(&mut tally, ConnectionId(1));
    bench.sample();
    assert_eq!(bench.broker.rates().of(Measure::Publish), 6.0);
    assert_eq!(bench.broker.vhost_rates(&other).of(Measure::Publish), 6.0);
    assert_eq!(bench.broker.vhost_rates(&bench.vhost).of(Measure::Publish), 0.0);
    bench.broker.delete_vhost("other", INTERNAL).unwrap();
    drop(other);
    bench.sample();
    let trend = bench.broker.trend(Measure::Publish, Range { age: 10, step: 5 }).unwrap();
    assert_eq!(trend.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [30, 30, 0]);
}
