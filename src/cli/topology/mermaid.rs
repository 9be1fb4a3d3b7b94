//! As a Mermaid flowchart.

use std::fmt::Write as _;

use super::{Graph, Kind, Why};

pub(super) fn write(graph: &Graph) -> String {
    let mut out = String::from("flowchart LR\n");
    for (number, node) in graph.nodes.iter().enumerate() {
        let text = quoted([&node.name, &node.detail]);
        let _ = match node.kind {
            Kind::Exchange => writeln!(out, "  n{number}([{text}])"),
            Kind::Queue => writeln!(out, "  n{number}[{text}]"),
        };
    }
    for edge in &graph.edges {
        let arrow = if edge.why == Why::Bound { "-->" } else { "-.->" };
        let lines = edge.lines();
        let label = if lines.is_empty() { String::new() } else { format!("|{}|", quoted(lines)) };
        let _ = writeln!(out, "  n{} {arrow}{label} n{}", edge.from, edge.to);
    }
    out
}

/// Lines in quotes. All that might mean something to Mermaid or to a browser becomes a number.
fn quoted(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut out = String::from("\"");
    for (number, line) in lines.into_iter().enumerate() {
        if number > 0 {
            out.push_str("<br/>");
        }
        for letter in line.as_ref().chars() {
            if letter.is_alphanumeric()
                || matches!(letter, ' ' | '.' | '-' | '_' | '*' | '/' | ':' | '=' | ',')
            {
                out.push(letter);
            } else {
                let _ = write!(out, "#{};", u32::from(letter));
            }
        }
    }
    out.push('"');
    out
}
