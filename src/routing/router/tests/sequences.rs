//! Random sequences of declarations, bindings and removals, compared with the model after each step.

use proptest::prelude::*;

use super::super::super::model::Model;
use super::*;

const EXCHANGES: u8 = 6;
const QUEUES: u8 = 5;
const KEYS: [&str; 6] = ["", "a", "a.b", "*.b", "#", "a.#.b"];

#[derive(Clone, Debug)]
enum Step {
    Declare {
        spec: ExchangeSpec,
    },
    Delete {
        exchange: String,
    },
    Bind(BindingSpec<u8>),
    Unbind(BindingSpec<u8>),
    /// Unbinds one of the bindings there are.
    UnbindExisting(prop::sample::Index),
    RemoveQueue(u8),
}

fn exchange() -> impl Strategy<Value = String> {
    (0..EXCHANGES).prop_map(|n| format!("x{n}"))
}

fn declaration() -> impl Strategy<Value = ExchangeSpec> {
    let kind = prop::sample::select(vec![Direct, Fanout, Topic, Headers]);
    (exchange(), kind, any::<bool>(), prop::option::of(exchange())).prop_map(
        |(name, kind, auto_delete, alternate)| ExchangeSpec { auto_delete, alternate, ..spec(&name, kind) },
    )
}

fn table() -> impl Strategy<Value = Table> {
    let name = prop::sample::select(vec!["a", "b"]);
    let value = prop::sample::select(vec![Value::I8(1), Value::I64(1), Value::LongStr(b"1"), Value::Void]);
    let entries = prop::collection::vec((name, value), 0..3);
    (any::<bool>(), entries).prop_map(|(any, entries)| {
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table.value(name, value);
        }
        if any {
            table.long_str("x-match", "any");
        }
        table.finish()
    })
}

fn binding() -> impl Strategy<Value = BindingSpec<u8>> {
    let destination =
        prop_oneof![(0..QUEUES).prop_map(Destination::Queue), exchange().prop_map(Destination::Exchange),];
    (exchange(), destination, prop::sample::select(KEYS.to_vec()), table()).prop_map(
        |(source, destination, key, arguments)| BindingSpec {
            source,
            destination,
            key: key.into(),
            arguments,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => declaration().prop_map(|spec| Step::Declare { spec }),
        1 => exchange().prop_map(|exchange| Step::Delete { exchange }),
        9 => binding().prop_map(Step::Bind),
        1 => binding().prop_map(Step::Unbind),
        2 => any::<prop::sample::Index>().prop_map(Step::UnbindExisting),
        1 => (0..QUEUES).prop_map(Step::RemoveQueue),
    ]
}

/// Texts that sort, since tables do not.
fn texts<T: Debug>(things: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut texts: Vec<String> = things.into_iter().map(|thing| format!("{thing:?}")).collect();
    texts.sort();
    texts
}

fn unbind(router: &mut Router<u8>, model: &mut Model, binding: &BindingSpec<u8>) -> Removed<u8> {
    let arguments = sorted(&binding.arguments);
    let binding = BindingSpec { arguments, ..binding.clone() };
    model.remove(|other| *other == binding);
    router.unbind(&binding.source, &binding.destination, &binding.key, &binding.arguments)
}

/// Takes one step in both; the removals must be told completely.
fn take(step: &Step, router: &mut Router<u8>, model: &mut Model) {
    let before = model.clone();
    let removed = match step {
        Step::Declare { spec } => {
            if router.exchange(&spec.name).is_none() {
                router.declare(spec.clone());
                model.exchanges.push(spec.clone());
            }
            return;
        }
        Step::Bind(binding) => {
            let bound = router.bind(&binding.source, &binding.destination, &binding.key, &binding.arguments);
            assert_eq!(bound, model.bind(binding.clone()));
            return;
        }
        Step::Delete { exchange } => {
            model.delete(exchange);
            router.delete(exchange).unwrap_or_default()
        }
        Step::Unbind(binding) => unbind(router, model, binding),
        Step::UnbindExisting(index) => {
            if before.bindings.is_empty() {
                return;
            }
            unbind(router, model, index.get(&before.bindings))
        }
        Step::RemoveQueue(queue) => {
            model.remove(|binding| binding.destination == Destination::Queue(*queue));
            router.remove_queue(*queue)
        }
    };
    let bindings = before.bindings.iter().filter(|binding| !model.bindings.contains(binding));
    assert_eq!(texts(&removed.bindings), texts(bindings));
    let exchanges = before.exchanges.iter().filter(|exchange| !model.exchanges.contains(exchange));
    assert_eq!(texts(&removed.exchanges), texts(exchanges));
}

fn compare_lists(router: &Router<u8>, model: &Model) {
    assert_eq!(texts(router.exchanges()), texts(&model.exchanges));
    assert_eq!(router.len(), model.exchanges.len());
    assert_eq!(texts(router.bindings()), texts(&model.bindings));
    let of = |want: &dyn Fn(&BindingSpec<u8>) -> bool| {
        texts(model.bindings.iter().filter(|binding| want(binding)))
    };
    for n in 0..EXCHANGES {
        let name = format!("x{n}");
        let from = of(&|binding| binding.source == name);
        assert_eq!(router.is_source(&name), !from.is_empty());
        assert_eq!(texts(router.bindings_from(&name)), from);
        assert_eq!(
            texts(router.bindings_to_exchange(&name)),
            of(&|binding| binding.destination == to(&name))
        );
        if router.exchange(&name).is_some() {
            assert_eq!(router.headers_matter(&name), model.headers_matter(&name));
        }
    }
    for n in 0..QUEUES {
        assert_eq!(texts(router.bindings_of_queue(n)), of(&|binding| binding.destination == queue(n)));
    }
}

fn compare_routes(router: &Router<u8>, model: &Model, headers: &Table, scratch: &mut Scratch<u8>) {
    for n in 0..EXCHANGES {
        let name = format!("x{n}");
        for key in ["", "a", "a.b", "b.b", "a.x.y.b"] {
            let expected = model.route(&name, key, headers);
            let found = router.route(&name, &[key], Some(headers.as_ref()), scratch).map(<[u8]>::to_vec);
            assert_eq!(found, expected, "{name} {key:?} {headers:?} {model:#?}");
            if expected.is_some() && !router.headers_matter(&name) {
                assert_eq!(router.route(&name, &[key], None, scratch).map(<[u8]>::to_vec), expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_sequence_leaves_what_the_model_says(
        steps in prop::collection::vec(step(), 1..60),
        headers in prop::collection::vec(table(), 2),
    ) {
        let (mut router, mut model) = (Router::new(), Model::default());
        let mut scratch = Scratch::new();
        for step in &steps {
            take(step, &mut router, &mut model);
            compare_lists(&router, &model);
        }
        for headers in &headers {
            compare_routes(&router, &model, headers, &mut scratch);
        }
        for binding in model.bindings.clone() {
            unbind(&mut router, &mut model, &binding);
        }
        compare_lists(&router, &model);
        assert_unbound(&router);
        for n in 0..EXCHANGES {
            router.delete(&format!("x{n}"));
        }
        prop_assert!(router.is_empty() && router.exchanges.len() == 0);
    }
}
