use super::ExchangeKind::{Direct, Fanout, Headers, Topic};
use super::*;
use crate::protocol::field::{TableBuilder, Value};

mod sequences;

pub(super) fn spec(name: &str, kind: ExchangeKind) -> ExchangeSpec {
    ExchangeSpec {
        name: name.into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
        alternate: None,
    }
}

fn auto_delete(name: &str, kind: ExchangeKind) -> ExchangeSpec {
    ExchangeSpec { auto_delete: true, ..spec(name, kind) }
}

fn with_alternate(name: &str, kind: ExchangeKind, alternate: &str) -> ExchangeSpec {
    ExchangeSpec { alternate: Some(alternate.into()), ..spec(name, kind) }
}

fn router(exchanges: impl IntoIterator<Item = ExchangeSpec>) -> Router<u8> {
    let mut router = Router::new();
    exchanges.into_iter().for_each(|exchange| router.declare(exchange));
    router
}

fn to(exchange: &str) -> Destination<u8> {
    Destination::Exchange(exchange.into())
}

const fn queue(queue: u8) -> Destination<u8> {
    Destination::Queue(queue)
}

/// Binds by key alone.
fn bind(router: &mut Router<u8>, source: &str, destination: Destination<u8>, key: &str) {
    assert_eq!(router.bind(source, &destination, key, &Table::default()), Ok(true));
}

fn route(router: &Router<u8>, exchange: &str, key: &str) -> Option<Vec<u8>> {
    router.route(exchange, &[key], None, &mut Scratch::new()).map(<[u8]>::to_vec)
}

fn names(exchanges: &[ExchangeSpec]) -> Vec<&str> {
    exchanges.iter().map(|exchange| exchange.name.as_str()).collect()
}

/// Nothing is left of any binding.
pub(super) fn assert_unbound<Q>(router: &Router<Q>) {
    assert!(router.queues.is_empty());
    for &id in router.names.values() {
        let exchange = router.exchanges.get(id.0).unwrap();
        assert!(
            exchange.outgoing.is_empty() && exchange.incoming.is_empty() && exchange.downstream.is_empty()
        );
    }
}

#[test]
fn exchanges_are_found_and_listed_by_name() {
    let mut router = router([spec("b", Topic), spec("a", Direct)]);
    assert_eq!(router.exchanges().map(|x| x.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(router.exchange("b"), Some(&spec("b", Topic)));
    assert_eq!(router.exchange("c"), None);
    router.declare(spec("b", Fanout));
    assert_eq!(router.exchange("b").map(|x| x.kind), Some(Topic));
    assert_eq!((router.len(), router.is_empty()), (2, false));
}

#[test]
fn each_type_routes_by_its_rule() {
    let mut router = router([spec("d", Direct), spec("f", Fanout), spec("t", Topic), spec("h", Headers)]);
    for exchange in ["d", "f", "t", "h"] {
        bind(&mut router, exchange, queue(1), "a.*");
        bind(&mut router, exchange, queue(2), "a.b");
    }
    assert_eq!(route(&router, "d", "a.b"), Some(vec![2]));
    assert_eq!(route(&router, "f", "x"), Some(vec![1, 2]));
    assert_eq!(route(&router, "t", "a.b"), Some(vec![1, 2]));
    assert_eq!(route(&router, "t", "a.c"), Some(vec![1]));
    assert_eq!(route(&router, "h", "x"), Some(vec![1, 2]));
    assert_eq!(route(&router, "d", "x"), Some(vec![]));
    assert_eq!(route(&router, "none", "x"), None);
}

#[test]
fn headers_are_seen_through_other_exchanges() {
    let mut router = router([spec("f", Fanout), spec("h", Headers)]);
    let wanted = TableBuilder::new().long_str("kind", "a").finish();
    bind(&mut router, "f", to("h"), "");
    assert_eq!(router.bind("h", &queue(1), "", &wanted), Ok(true));
    let mut scratch = Scratch::new();
    let headers = TableBuilder::new().long_str("other", "").long_str("kind", "a").finish();
    assert_eq!(router.route("f", &[""], Some(headers.as_ref()), &mut scratch), Some(&[1][..]));
    assert_eq!(router.route("f", &[""], None, &mut scratch), Some(&[][..]));
}

#[test]
fn identity_is_source_destination_key_and_arguments_in_any_order() {
    let mut router = router([spec("d", Direct)]);
    let one = TableBuilder::new().int32("a", 1).long_str("b", "x").finish();
    let other_order = TableBuilder::new().long_str("b", "x").int32("a", 1).finish();
    let other_value = TableBuilder::new().int32("a", 2).long_str("b", "x").finish();
    assert_eq!(router.bind("d", &queue(1), "k", &one), Ok(true));
    assert_eq!(router.bind("d", &queue(1), "k", &other_order), Ok(false));
    assert_eq!(router.bind("d", &queue(1), "k", &other_value), Ok(true));
    assert_eq!(router.bind("d", &queue(1), "l", &one), Ok(true));
    assert_eq!(router.bind("d", &queue(2), "k", &one), Ok(true));
    assert_eq!(router.bindings().count(), 4);
    assert_eq!(route(&router, "d", "k"), Some(vec![1, 2]));
    assert_eq!(router.unbind("d", &queue(1), "k", &other_order).bindings.len(), 1);
    assert_eq!(route(&router, "d", "k"), Some(vec![1, 2]));
    assert_eq!(router.unbind("d", &queue(1), "k", &other_value).bindings.len(), 1);
    assert_eq!(route(&router, "d", "k"), Some(vec![2]));
}

#[test]
fn unknown_ends_are_told_source_first() {
    let mut router = router([spec("d", Direct)]);
    let none = Table::default();
    assert_eq!(router.bind("x", &to("y"), "", &none), Err(BindError::NoSource));
    assert_eq!(router.bind("d", &to("y"), "", &none), Err(BindError::NoDestination));
    assert!(router.unbind("x", &to("y"), "", &none).is_empty());
    assert!(router.unbind("d", &to("y"), "", &none).is_empty());
    assert!(router.unbind("d", &queue(1), "", &none).is_empty());
    assert!(router.remove_queue(1).is_empty());
    assert_eq!(router.delete("x"), None);
}

#[test]
fn wrong_headers_arguments_leave_no_trace_and_do_not_matter_elsewhere() {
    let mut router = router([spec("h", Headers), spec("d", Direct)]);
    let wrong = TableBuilder::new().value("x-match", Value::Bool(true)).finish();
    assert!(matches!(router.bind("h", &queue(1), "", &wrong), Err(BindError::InvalidArguments(_))));
    assert_unbound(&router);
    assert_eq!(router.bind("d", &queue(1), "", &wrong), Ok(true));
}

#[test]
fn a_topic_key_may_have_many_hashes() {
    let mut router = router([spec("t", Topic)]);
    bind(&mut router, "t", queue(1), "#.a.#.b.#.c.#");
    assert_eq!(route(&router, "t", "a.x.b.c"), Some(vec![1]));
}

#[test]
fn bindings_are_listed_from_every_side() {
    let mut router = router([spec("a", Direct), spec("b", Fanout)]);
    bind(&mut router, "b", queue(1), "");
    bind(&mut router, "a", to("b"), "k");
    bind(&mut router, "a", queue(1), "k");
    let listed = |source: &str, destination, key: &str| BindingSpec {
        source: source.into(),
        destination,
        key: key.into(),
        arguments: Table::default(),
    };
    let (aq, ab, bq) = (listed("a", queue(1), "k"), listed("a", to("b"), "k"), listed("b", queue(1), ""));
    assert_eq!(router.bindings().collect::<Vec<_>>(), [aq.clone(), ab.clone(), bq.clone()]);
    assert_eq!(router.bindings_from("a").collect::<Vec<_>>(), [aq.clone(), ab.clone()]);
    assert_eq!(router.bindings_to_exchange("b").collect::<Vec<_>>(), [ab]);
    assert_eq!(router.bindings_to_exchange("a").count(), 0);
    assert_eq!(router.bindings_from("none").chain(router.bindings_to_exchange("none")).count(), 0);
    let mut of_queue: Vec<_> = router.bindings_of_queue(1).collect();
    of_queue.sort_by(|a, b| a.source.cmp(&b.source));
    assert_eq!(of_queue, [aq, bq]);
    assert_eq!(router.bindings_of_queue(2).count(), 0);
    assert!(router.is_source("a") && !router.is_source("none"));
}

#[test]
fn bindings_are_listed_in_pieces_while_others_come_and_go() {
    let mut router = router([spec("a", Direct), spec("b", Fanout)]);
    for key in ["1", "2", "3", "4"] {
        bind(&mut router, "a", queue(1), key);
    }
    bind(&mut router, "a", to("b"), "5");
    let keys = |router: &Router<u8>, listed: &[Listed<u8>]| -> Vec<String> {
        listed.iter().filter_map(|listed| router.listed(listed)).map(|binding| binding.key).collect()
    };
    let first = router.piece(End::Source("a"), None, 2);
    assert_eq!(keys(&router, &first), ["1", "2"]);
    assert!(!router.unbind("a", &queue(1), "2", &Table::default()).is_empty());
    bind(&mut router, "a", queue(1), "0");
    let rest = router.piece(End::Source("a"), first.last(), 9);
    assert_eq!(keys(&router, &first), ["1"]);
    assert_eq!(keys(&router, &rest), ["3", "4", "5"]);
    assert!(router.piece(End::Source("a"), rest.last(), 9).is_empty());
    assert_eq!(keys(&router, &router.piece(End::Exchange("b"), None, 9)), ["5"]);
    let of_queue = router.piece(End::Queue(1), None, 9);
    assert_eq!(keys(&router, &of_queue), ["0", "1", "3", "4"]);
    assert_eq!(keys(&router, &router.piece(End::Queue(1), of_queue.get(1), 1)), ["3"]);
    assert!(router.piece(End::Queue(2), None, 9).is_empty());
    assert!(router.piece(End::Source("none"), None, 9).is_empty());
}

#[test]
fn cycles_end_and_give_one_copy() {
    let mut router = router([spec("a", Fanout), spec("b", Fanout)]);
    for (source, destination) in
        [("a", to("b")), ("b", to("a")), ("a", to("a")), ("a", queue(1)), ("b", queue(1))]
    {
        bind(&mut router, source, destination, "");
    }
    assert_eq!(route(&router, "a", ""), Some(vec![1]));
    assert_eq!(route(&router, "b", ""), Some(vec![1]));
}

#[test]
fn alternates_are_followed_until_one_matches() {
    let mut router =
        router([with_alternate("a", Direct, "b"), with_alternate("b", Direct, "c"), spec("c", Fanout)]);
    bind(&mut router, "a", queue(1), "k");
    bind(&mut router, "c", queue(3), "");
    assert_eq!(route(&router, "a", "k"), Some(vec![1]));
    assert_eq!(route(&router, "a", "x"), Some(vec![3]));
    bind(&mut router, "b", queue(2), "x");
    assert_eq!(route(&router, "a", "x"), Some(vec![2]));
}

#[test]
fn one_key_of_several_keeps_a_message_from_the_alternate() {
    let mut router = router([with_alternate("a", Topic, "b"), spec("b", Fanout)]);
    bind(&mut router, "a", queue(1), "k");
    bind(&mut router, "b", queue(2), "");
    let to = |keys: &[&str]| router.route("a", keys, None, &mut Scratch::new()).map(<[u8]>::to_vec);
    assert_eq!(to(&["x", "k", "k", "y"]), Some(vec![1]));
    assert_eq!(to(&["x", "y"]), Some(vec![2]));
}

#[test]
fn a_missing_alternate_is_no_route_and_one_declared_later_counts() {
    let mut router = router([with_alternate("a", Direct, "later")]);
    assert_eq!(route(&router, "a", "k"), Some(vec![]));
    router.declare(spec("later", Fanout));
    bind(&mut router, "later", queue(1), "");
    assert_eq!(route(&router, "a", "k"), Some(vec![1]));
    router.delete("later");
    assert_eq!(route(&router, "a", "k"), Some(vec![]));
}

#[test]
fn loops_of_alternates_are_cut() {
    let router = router([
        with_alternate("a", Direct, "b"),
        with_alternate("b", Direct, "a"),
        with_alternate("self", Direct, "self"),
    ]);
    assert_eq!(route(&router, "a", "k"), Some(vec![]));
    assert_eq!(route(&router, "self", "k"), Some(vec![]));
    assert!(!router.headers_matter("a"));
}

/// As RabbitMQ does it: every exchange decides by its own bindings, whatever happens further down.
#[test]
fn each_exchange_on_the_way_has_its_own_alternate() {
    let mut router = router([
        with_alternate("outer", Fanout, "outer-alternate"),
        with_alternate("inner", Direct, "inner-alternate"),
        spec("outer-alternate", Fanout),
        spec("inner-alternate", Fanout),
    ]);
    bind(&mut router, "outer-alternate", queue(1), "");
    bind(&mut router, "inner-alternate", queue(2), "");
    bind(&mut router, "outer", to("inner"), "");
    assert_eq!(route(&router, "outer", "k"), Some(vec![2]));
    bind(&mut router, "outer", queue(3), "");
    assert_eq!(route(&router, "outer", "k"), Some(vec![2, 3]));
    router.delete("inner-alternate");
    router.unbind("outer", &queue(3), "", &Table::default());
    assert_eq!(route(&router, "outer", "k"), Some(vec![]), "a binding to an exchange is a match");
}

#[test]
fn headers_matter_where_a_headers_exchange_can_be_reached() {
    let mut router = router([
        spec("d", Direct),
        spec("t", Topic),
        spec("h", Headers),
        with_alternate("a", Direct, "t"),
        with_alternate("m", Direct, "missing"),
    ]);
    assert!(router.headers_matter("h"));
    for exchange in ["d", "t", "a", "m", "none"] {
        assert!(!router.headers_matter(exchange), "{exchange}");
    }
    bind(&mut router, "d", to("t"), "k");
    bind(&mut router, "t", to("d"), "k");
    bind(&mut router, "t", to("h"), "k");
    bind(&mut router, "t", to("h"), "l");
    router.unbind("t", &to("h"), "k", &Table::default());
    assert!(["d", "t", "a"].iter().all(|exchange| router.headers_matter(exchange)));
    router.unbind("t", &to("h"), "l", &Table::default());
    assert!(!["d", "t", "a"].iter().any(|exchange| router.headers_matter(exchange)));
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_as_source() {
    let mut router = router([auto_delete("a", Fanout), spec("d", Direct)]);
    bind(&mut router, "d", to("a"), "");
    let removed = router.unbind("d", &to("a"), "", &Table::default());
    assert_eq!((removed.exchanges.len(), removed.bindings.len()), (0, 1), "it had no binding as source yet");
    bind(&mut router, "d", to("a"), "");
    bind(&mut router, "a", queue(1), "");
    bind(&mut router, "a", queue(2), "");
    assert_eq!(router.remove_queue(1).exchanges, []);
    let removed = router.unbind("a", &queue(2), "", &Table::default());
    assert_eq!(removed.exchanges, [auto_delete("a", Fanout)]);
    assert_eq!(removed.bindings.len(), 2);
    assert_eq!(router.len(), 1);
    assert_unbound(&router);
}

#[test]
fn auto_delete_goes_upstream_in_one_step() {
    for by_queue in [true, false] {
        let mut router =
            router([auto_delete("a", Fanout), auto_delete("b", Fanout), auto_delete("c", Fanout)]);
        bind(&mut router, "a", to("b"), "");
        bind(&mut router, "b", to("c"), "");
        bind(&mut router, "c", queue(1), "1");
        bind(&mut router, "c", queue(1), "2");
        let removed = if by_queue { router.remove_queue(1) } else { router.delete("c").unwrap() };
        assert_eq!(names(&removed.exchanges), ["c", "b", "a"]);
        assert_eq!(removed.bindings.len(), 4);
        assert!(router.is_empty());
        assert_unbound(&router);
    }
}

#[test]
fn deleting_removes_bindings_of_both_directions() {
    let mut router = router([auto_delete("up", Direct), spec("x", Fanout), spec("down", Fanout)]);
    bind(&mut router, "up", to("x"), "k");
    bind(&mut router, "up", queue(1), "k");
    bind(&mut router, "x", to("x"), "");
    bind(&mut router, "x", to("down"), "");
    bind(&mut router, "x", queue(1), "");
    let removed = router.delete("x").unwrap();
    assert_eq!(names(&removed.exchanges), ["x"]);
    assert_eq!(removed.bindings.len(), 4);
    assert_eq!(router.bindings().count(), 1);
    assert_eq!(router.bindings_to_exchange("down").count(), 0);
    assert_eq!(route(&router, "up", "k"), Some(vec![1]));
    assert_eq!(router.bind("up", &to("x"), "k", &Table::default()), Err(BindError::NoDestination));
}

#[test]
fn an_exchange_bound_to_itself_can_go() {
    let mut router = router([auto_delete("a", Fanout)]);
    bind(&mut router, "a", to("a"), "");
    bind(&mut router, "a", queue(1), "");
    assert_eq!(router.remove_queue(1).exchanges, []);
    let removed = router.unbind("a", &to("a"), "", &Table::default());
    assert_eq!((names(&removed.exchanges), removed.bindings.len()), (vec!["a"], 1));
    router.declare(auto_delete("a", Fanout));
    bind(&mut router, "a", to("a"), "");
    let removed = router.delete("a").unwrap();
    assert_eq!((names(&removed.exchanges), removed.bindings.len()), (vec!["a"], 1));
    assert!(router.is_empty());
}

#[test]
fn one_scratch_serves_routers_of_any_size() {
    let mut scratch = Scratch::new();
    let small = router([spec("f", Fanout)]);
    let mut large = router((0..50).map(|n| spec(&format!("x{n:02}"), Fanout)));
    for n in 0..49 {
        bind(&mut large, &format!("x{n:02}"), to(&format!("x{:02}", n + 1)), "");
    }
    bind(&mut large, "x49", queue(9), "");
    for _ in 0..3 {
        assert_eq!(small.route("f", &[""], None, &mut scratch), Some(&[][..]));
        assert_eq!(large.route("x00", &[""], None, &mut scratch), Some(&[9][..]));
    }
}
