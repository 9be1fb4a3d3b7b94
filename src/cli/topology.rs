//! A picture of how a vhost's messages go: exchanges, queues, and what leads from one to the other.

mod dot;
mod layers;
mod mermaid;
mod svg;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use clap::ValueEnum;
use serde_json::Value;

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For Markdown: GitHub, GitLab and others draw it
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture, drawn here
    Svg,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exchange,
    Queue,
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    kind: Kind,
    name: String,
    /// The type, or that it does not exist.
    detail: String,
}

/// Why messages go along an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// They are bound.
    Bound,
    /// No binding took them.
    Alternate,
    /// They died.
    DeadLetter,
}

#[derive(Debug, PartialEq, Eq)]
struct Edge {
    from: usize,
    to: usize,
    why: Why,
    /// A line for each binding.
    label: Vec<String>,
}

/// Exchanges and queues with what leads from one to another.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

/// Bindings of one pair that are told one by one.
const MOST_LINES: usize = 4;

impl Graph {
    /// Of what the management API lists of a vhost. Exchanges that are always there are left out unless something leads
    /// to them or from them, and so is the default exchange, to which every queue is bound by its name.
    pub(super) fn new(exchanges: &Value, queues: &Value, bindings: &Value) -> Self {
        let mut drawing = Drawing::default();
        for exchange in rows(exchanges) {
            let name = text(exchange, "name");
            drawing.types.insert(name, text(exchange, "type"));
            if !name.is_empty() && !name.starts_with("amq.") {
                drawing.node(Kind::Exchange, name);
            }
        }
        for queue in rows(queues) {
            let node = drawing.node(Kind::Queue, text(queue, "name"));
            text(queue, "type").clone_into(&mut drawing.graph.nodes[node].detail);
        }
        for binding in rows(bindings).filter(|binding| !text(binding, "source").is_empty()) {
            let from = drawing.node(Kind::Exchange, text(binding, "source"));
            let kind =
                if text(binding, "destination_type") == "queue" { Kind::Queue } else { Kind::Exchange };
            let to = drawing.node(kind, text(binding, "destination"));
            drawing.edge(from, to, Why::Bound, &label(binding));
        }
        for exchange in rows(exchanges) {
            if let Some(alternate) = rule(exchange, "alternate-exchange", "alternate-exchange") {
                let from = drawing.node(Kind::Exchange, text(exchange, "name"));
                let to = drawing.node(Kind::Exchange, alternate);
                drawing.edge(from, to, Why::Alternate, "unroutable");
            }
        }
        for queue in rows(queues) {
            if let Some(exchange) = rule(queue, "x-dead-letter-exchange", "dead-letter-exchange") {
                let from = drawing.node(Kind::Queue, text(queue, "name"));
                let key = rule(queue, "x-dead-letter-routing-key", "dead-letter-routing-key");
                let to = match (exchange, key) {
                    ("", Some(key)) => drawing.node(Kind::Queue, key),
                    // By the keys that messages had, which nobody knows here.
                    ("", None) => continue,
                    _ => drawing.node(Kind::Exchange, exchange),
                };
                let key = key.filter(|_| !exchange.is_empty());
                drawing.edge(
                    from,
                    to,
                    Why::DeadLetter,
                    &key.map_or_else(|| "dead".into(), |key| format!("dead: {key}")),
                );
            }
        }
        drawing.graph
    }

    /// The picture of `vhost`.
    pub(super) fn write(&self, format: Format, vhost: &str) -> String {
        match format {
            Format::Mermaid => mermaid::write(self),
            Format::Dot => dot::write(self, vhost),
            Format::Svg => svg::write(self, vhost),
        }
    }
}

impl Edge {
    /// The lines of its label, few of them.
    fn lines(&self) -> Vec<String> {
        let Self { label, .. } = self;
        if label.len() <= MOST_LINES {
            return label.clone();
        }
        let mut lines = label[..MOST_LINES - 1].to_vec();
        lines.push(format!("and {} more", label.len() - lines.len()));
        lines
    }
}

/// A graph that comes to be.
#[derive(Default)]
struct Drawing<'a> {
    graph: Graph,
    known: BTreeMap<(Kind, &'a str), usize>,
    edges: BTreeMap<(usize, usize, Why), usize>,
    types: BTreeMap<&'a str, &'a str>,
}

impl<'a> Drawing<'a> {
    fn node(&mut self, kind: Kind, name: &'a str) -> usize {
        let new = self.graph.nodes.len();
        let at = *self.known.entry((kind, name)).or_insert(new);
        if at == new {
            let detail = match kind {
                Kind::Exchange => self.types.get(name).copied().unwrap_or("missing"),
                // Those that exist say what they are.
                Kind::Queue => "missing",
            };
            self.graph.nodes.push(Node { kind, name: name.to_owned(), detail: detail.to_owned() });
        }
        at
    }

    fn edge(&mut self, from: usize, to: usize, why: Why, label: &str) {
        let new = self.graph.edges.len();
        let at = match self.edges.entry((from, to, why)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(entry) => {
                entry.insert(new);
                self.graph.edges.push(Edge { from, to, why, label: Vec::new() });
                new
            }
        };
        if !label.is_empty() {
            self.graph.edges[at].label.push(label.to_owned());
        }
    }
}

/// What a binding asks for: its key, or its arguments.
fn label(binding: &Value) -> String {
    let arguments = binding["arguments"].as_object().filter(|arguments| !arguments.is_empty());
    let pairs = arguments.into_iter().flatten().map(|(key, value)| match value.as_str() {
        Some(value) => format!("{key}={value}"),
        None => format!("{key}={value}"),
    });
    let key = text(binding, "routing_key");
    let words: Vec<String> =
        Some(key.to_owned()).filter(|key| !key.is_empty()).into_iter().chain(pairs).collect();
    words.join(" ")
}

/// What holds for something by its own argument, or else by its policies.
fn rule<'a>(thing: &'a Value, argument: &str, key: &str) -> Option<&'a str> {
    let own = thing["arguments"].get(argument).and_then(Value::as_str);
    own.or_else(|| thing["effective_policy_definition"].get(key).and_then(Value::as_str))
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
