//! Routing one message, by exchange type and number of bindings. Each benchmark also counts allocations: with a warm
//! scratch the router makes none. What a connection remembers of routes is part of `path`, where topics come with one
//! routing key and with many.

mod client;

use client::{feed, open};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::broker::vhost::RouteScratch;
use leveret::protocol::field::{Table, TableBuilder};
use leveret::protocol::method::{exchange, queue, write_method};
use leveret::routing::{Destination, ExchangeKind, ExchangeSpec, Router, Scratch};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const BINDINGS: [u64; 3] = [1, 100, 10_000];
const EXCHANGE: &str = "exchange";

fn main() {
    divan::main();
}

/// One exchange whose n-th queue is bound with the n-th key and arguments.
fn router(kind: ExchangeKind, bindings: u64, binding: impl Fn(u64) -> (String, Table)) -> Router<u64> {
    let mut router = Router::new();
    router.declare(ExchangeSpec {
        name: EXCHANGE.into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
        alternate: None,
    });
    for queue in 0..bindings {
        let (key, arguments) = binding(queue);
        let bound = router.bind(EXCHANGE, &Destination::Queue(queue), &key, &arguments);
        assert_eq!(bound, Ok(true));
    }
    router
}

/// Routes one message again and again and checks how many queues it reaches.
fn route(bencher: Bencher<'_, '_>, router: &Router<u64>, key: &str, headers: &Table, reached: usize) {
    let mut scratch = Scratch::new();
    let mut route = || {
        let headers = Some(black_box(headers).as_ref());
        router.route(black_box(EXCHANGE), &[black_box(key)], headers, &mut scratch).map_or(0, <[u64]>::len)
    };
    assert_eq!(route(), reached);
    bencher.counter(ItemsCount::new(reached)).bench_local(route);
}

/// All keys differ; one queue is reached.
#[divan::bench(args = BINDINGS)]
fn direct(bencher: Bencher<'_, '_>, bindings: u64) {
    let router = router(ExchangeKind::Direct, bindings, |n| (format!("orders.eu.{n}"), Table::default()));
    route(bencher, &router, &format!("orders.eu.{}", bindings / 2), &Table::default(), 1);
}

/// Every queue is reached.
#[divan::bench(args = BINDINGS)]
fn fanout(bencher: Bencher<'_, '_>, bindings: u64) {
    let router = router(ExchangeKind::Fanout, bindings, |_| (String::new(), Table::default()));
    route(bencher, &router, "orders", &Table::default(), bindings as usize);
}

/// Patterns with `*` and `#` in turn; one queue is reached.
#[divan::bench(args = BINDINGS)]
fn topic(bencher: Bencher<'_, '_>, bindings: u64) {
    let router = router(ExchangeKind::Topic, bindings, |n| {
        let pattern = if n % 2 == 0 { format!("orders.*.{n}") } else { format!("orders.#.{n}.late") };
        (pattern, Table::default())
    });
    let even = bindings / 4 * 2;
    route(bencher, &router, &format!("orders.eu.{even}"), &Table::default(), 1);
}

/// Patterns of many `#` against a key of empty words, which all of them match.
#[divan::bench(args = BINDINGS)]
fn topic_hostile(bencher: Bencher<'_, '_>, bindings: u64) {
    let router = router(ExchangeKind::Topic, bindings, |n| {
        (vec!["#"; (n % 64) as usize + 1].join("."), Table::default())
    });
    route(bencher, &router, &".".repeat(127), &Table::default(), bindings as usize);
}

/// Two conditions each, one shared by all; one queue is reached.
#[divan::bench(args = BINDINGS)]
fn headers(bencher: Bencher<'_, '_>, bindings: u64) {
    let wanted = |n: u64| {
        let mut table = TableBuilder::new();
        table.long_str("region", "eu").long_str("tenant", n.to_string());
        table
    };
    let router = router(ExchangeKind::Headers, bindings, |n| (String::new(), wanted(n).finish()));
    let headers = wanted(bindings / 2).int64("retries", 3).long_str("trace", "5f2c").finish();
    route(bencher, &router, "", &headers, 1);
}

/// What a publish of an unknown route asks for: the vhost's lock, the router, and a list of queues that is kept.
#[divan::bench]
fn cold_topic_of_100_bindings_in_a_vhost(bencher: Bencher<'_, '_>) {
    let broker = Broker::new(BrokerOptions::default());
    let mut session = open(&broker);
    let mut bytes = Vec::new();
    write_method(&mut bytes, 1, &queue::Declare { queue: "q", ..Default::default() });
    write_method(
        &mut bytes,
        1,
        &exchange::Declare { exchange: EXCHANGE, kind: "topic", ..Default::default() },
    );
    for n in 0..100 {
        let routing_key = &format!("orders.*.{n}");
        write_method(
            &mut bytes,
            1,
            &queue::Bind { queue: "q", exchange: EXCHANGE, routing_key, ..Default::default() },
        );
    }
    feed(&mut session, &bytes);
    let vhost = broker.vhost("/");
    let mut scratch = RouteScratch::default();
    let mut route = || {
        let vhost = vhost.as_ref()?;
        let routed = vhost.route(black_box(EXCHANGE), black_box("orders.eu.50"), None, &mut scratch).ok()?;
        Some(routed.route.queues.len())
    };
    assert_eq!(route(), Some(1));
    bencher.counter(ItemsCount::new(1u64)).bench_local(route);
}
