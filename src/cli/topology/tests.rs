use serde_json::json;

use super::*;

fn sample() -> Graph {
    let exchanges = json!([
        {"name": "", "type": "direct", "arguments": {}},
        {"name": "amq.topic", "type": "topic", "arguments": {}},
        {"name": "amq.fanout", "type": "fanout", "arguments": {}},
        {"name": "orders", "type": "topic", "arguments": {"alternate-exchange": "lost"}},
        {"name": "lost", "type": "fanout", "arguments": {}, "effective_policy_definition": {"alternate-exchange": "amq.fanout"}},
    ]);
    let queues = json!([
        {"name": "bills", "type": "classic", "arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}},
        {"name": "dead", "type": "quorum", "arguments": {}},
        {"name": "later", "type": "classic", "arguments": {}, "effective_policy_definition": {"dead-letter-exchange": "gone"}},
    ]);
    let binding = |source: &str, kind: &str, to: &str, key: &str| json!({"source": source, "destination_type": kind, "destination": to, "routing_key": key, "arguments": {}});
    let bindings = json!([
        binding("", "queue", "bills", "bills"),
        binding("orders", "queue", "bills", "a.*"),
        binding("orders", "queue", "bills", "b.#"),
        binding("orders", "exchange", "amq.topic", "#"),
        binding("amq.topic", "exchange", "orders", "back"),
    ]);
    Graph::new(&exchanges, &queues, &bindings)
}

#[test]
fn what_leads_where_is_in_the_graph_and_the_default_exchange_is_not() {
    let graph = sample();
    let name = |node: usize| (graph.nodes[node].kind, &graph.nodes[node].name[..]);
    let names: Vec<_> = (0..graph.nodes.len()).map(name).collect();
    use Kind::{Exchange, Queue};
    assert_eq!(
        names,
        [
            (Exchange, "orders"),
            (Exchange, "lost"),
            (Queue, "bills"),
            (Queue, "dead"),
            (Queue, "later"),
            (Exchange, "amq.topic"),
            (Exchange, "amq.fanout"),
            (Exchange, "gone"),
        ]
    );
    assert_eq!(graph.nodes[7].detail, "missing");
    let edges: Vec<_> =
        graph.edges.iter().map(|edge| (edge.from, edge.to, edge.why, edge.label.join("|"))).collect();
    assert_eq!(
        edges,
        [
            (0, 2, Why::Bound, "a.*|b.#".to_owned()),
            (0, 5, Why::Bound, "#".to_owned()),
            (5, 0, Why::Bound, "back".to_owned()),
            (0, 1, Why::Alternate, "unroutable".to_owned()),
            (1, 6, Why::Alternate, "unroutable".to_owned()),
            (2, 3, Why::DeadLetter, "dead".to_owned()),
            (4, 7, Why::DeadLetter, "dead".to_owned()),
        ]
    );
}

#[test]
fn many_bindings_are_counted() {
    let label = (0..9).map(|number| number.to_string()).collect();
    let edge = Edge { from: 0, to: 1, why: Why::Bound, label };
    assert_eq!(edge.lines(), ["0", "1", "2", "and 6 more"]);
}

#[test]
fn pictures_are_as_they_were() {
    let graph = sample();
    let mermaid = graph.write(Format::Mermaid, "/");
    assert!(mermaid.starts_with("flowchart LR\n  n0([\"orders<br/>topic\"])\n"), "{mermaid}");
    assert!(mermaid.contains("  n0 -->|\"a.*<br/>b.#35;\"| n2\n"), "{mermaid}");
    assert!(mermaid.contains("  n2 -.->|\"dead\"| n3\n"), "{mermaid}");
    let dot = graph.write(Format::Dot, "/");
    assert!(dot.contains("  n0 -> n2 [style=solid, label=\"a.*\\nb.#\"];\n"), "{dot}");
    let svg = graph.write(Format::Svg, "/");
    assert_eq!(svg.matches("<rect x=").count(), 8);
    assert_eq!(svg.matches("marker-end").count(), 7);
    assert_eq!(svg.matches("class=\"x\"").count(), 2);
}

#[test]
fn names_cannot_break_out() {
    let hostile = "<script>alert(1)</script>\"]; evil -> \\ & | `\u{1}\n#";
    let exchanges = json!([{"name": hostile, "type": "fanout", "arguments": {}}]);
    let queues = json!([{"name": hostile, "type": "classic", "arguments": {}}]);
    let bindings = json!([{"source": hostile, "destination_type": "queue", "destination": hostile, "routing_key": hostile, "arguments": {}}]);
    let graph = Graph::new(&exchanges, &queues, &bindings);
    for format in [Format::Mermaid, Format::Dot, Format::Svg] {
        let picture = graph.write(format, hostile);
        assert!(format == Format::Dot || !picture.contains("<script"), "{picture}");
        assert!(!picture.contains('\u{1}'), "{picture}");
        // Nothing of a name begins a line.
        assert!(!picture.lines().any(|line| line.trim_start().starts_with(['#', '`'])), "{picture}");
    }
    let dot = graph.write(Format::Dot, "/");
    let unescaped = dot.replace("\\\\", "").replace("\\\"", "");
    let quotes = unescaped.lines().map(|line| line.matches('"').count() % 2);
    assert_eq!(quotes.sum::<usize>(), 0, "each string ends on its line: {dot}");
}

#[test]
fn an_empty_vhost_and_circles_are_drawn_too() {
    let nothing = Graph::new(&json!([]), &json!([]), &json!([]));
    assert!(nothing.write(Format::Svg, "/").ends_with("</svg>\n"));
    let exchanges: Vec<_> = (0..40)
        .map(|number| json!({"name": format!("e{number}"), "type": "fanout", "arguments": {}}))
        .collect();
    let bindings: Vec<_> = (0..40)
        .map(|number| json!({"source": format!("e{number}"), "destination_type": "exchange", "destination": format!("e{}", (number + 1) % 40), "routing_key": "", "arguments": {}}))
        .collect();
    let graph = Graph::new(&json!(exchanges), &json!([]), &json!(bindings));
    assert_eq!(graph.write(Format::Svg, "/").matches("<rect x=").count(), 40);
}
