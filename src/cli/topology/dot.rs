//! As a graph for Graphviz.

use std::fmt::Write as _;

use super::{Graph, Kind, Why};

pub(super) fn write(graph: &Graph, vhost: &str) -> String {
    let mut out = format!("digraph {} {{\n", quoted(&[vhost]));
    out.push_str("  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n");
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=9];\n");
    for (number, node) in graph.nodes.iter().enumerate() {
        let shape = match node.kind {
            Kind::Exchange => "ellipse",
            Kind::Queue => "box",
        };
        let label = quoted(&[&node.name, &node.detail]);
        let _ = writeln!(out, "  n{number} [shape={shape}, label={label}];");
    }
    for edge in &graph.edges {
        let style = if edge.why == Why::Bound { "solid" } else { "dashed" };
        let label = quoted(&edge.lines());
        let _ = writeln!(out, "  n{} -> n{} [style={style}, label={label}];", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

/// Lines as one string. A backslash begins an escape there, so none of a name's is left alone.
fn quoted(lines: &[impl AsRef<str>]) -> String {
    let mut out = String::from("\"");
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            out.push_str("\\n");
        }
        for letter in line.as_ref().chars() {
            match letter {
                '"' | '\\' => out.extend(['\\', letter]),
                letter if letter.is_control() => out.push(' '),
                letter => out.push(letter),
            }
        }
    }
    out.push('"');
    out
}
