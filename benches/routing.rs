//! Routing one message, by exchange type and number of bindings. Each benchmark also counts allocations: with a warm
//! scratch there are none.

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use leveret::protocol::field::{Table, TableBuilder};
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
