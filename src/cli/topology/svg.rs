//! As a picture: in columns from left to right, as messages go.

use std::fmt::Write as _;

use super::layers::{Layers, Slot};
use super::{Graph, Kind, Node, Why};

/// Sizes in pixels.
const ROW: f64 = 64.0;
const BOX: f64 = 40.0;
const MARGIN: f64 = 24.0;
/// Between two columns, where labels stand.
const GAP: f64 = 220.0;
/// About how wide a letter is.
const LETTER: f64 = 7.4;
const SMALL_LETTER: f64 = 6.2;
const LINE: f64 = 13.0;

/// Letters of a name that are shown; all of it is shown to who points at it.
const MOST_LETTERS: usize = 36;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1c2430}.d,.l{font-size:11px;fill:#5b6675}\
rect{fill:#fff;stroke:#4a6fa5;stroke-width:1.5}.e rect{fill:#eef3fa}.m rect{stroke-dasharray:4 3;stroke:#b3423a}\
path{fill:none;stroke:#7b8794;stroke-width:1.4}.x{stroke:#b3423a;stroke-dasharray:5 4}.a{stroke-dasharray:2 4}\
.l{paint-order:stroke;stroke:#fff;stroke-width:4px}.bg{fill:#fff;stroke:none}\
@media(prefers-color-scheme:dark){text{fill:#e6ebf2}.d,.l{fill:#9aa7b8}rect{fill:#1d2530;stroke:#7aa2da}\
.e rect{fill:#243246}.l{stroke:#12171e}.bg{fill:#12171e}path{stroke:#8593a5}}";

pub(super) fn write(graph: &Graph, vhost: &str) -> String {
    let layout = Layout::of(graph);
    let (width, height) = layout.size();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto-start-reverse\"><path d=\"M0 0L8 4L0 8\"/></marker></defs>\n\
         <rect class=\"bg\" width=\"100%\" height=\"100%\"/>\n",
        escaped(&format!("Exchanges and queues of the vhost {vhost}"))
    );
    let mut labels = String::new();
    for number in 0..graph.edges.len() {
        layout.write_edge(&mut out, &mut labels, number);
    }
    for (number, node) in graph.nodes.iter().enumerate() {
        layout.write_node(&mut out, number, node);
    }
    out.push_str(&labels);
    out.push_str("</svg>\n");
    out
}

/// Where everything is.
struct Layout<'a> {
    graph: &'a Graph,
    layers: Layers,
    /// The left edge of each column, and how wide its nodes are.
    columns: Vec<(f64, f64)>,
    rows: usize,
}

impl<'a> Layout<'a> {
    fn of(graph: &'a Graph) -> Self {
        let layers = Layers::of(graph);
        let rows = layers.columns.iter().map(Vec::len).max().unwrap_or(0);
        let mut left = MARGIN;
        let columns = layers.columns.iter().map(|slots| {
            let widths = slots.iter().map(|slot| match slot {
                Slot::Node(node) => width_of(&graph.nodes[*node]),
                Slot::Edge(_) => 0.0,
            });
            let width = widths.fold(80.0, f64::max);
            let column = (left, width);
            left += width + GAP;
            column
        });
        Self { graph, columns: columns.collect(), layers, rows }
    }

    fn size(&self) -> (f64, f64) {
        let right = self.columns.last().map_or(0.0, |(left, width)| left + width);
        (right + MARGIN + 60.0, 2.0 * MARGIN + self.rows.max(1) as f64 * ROW)
    }

    /// The middle of the height at which something stands in a column.
    fn middle(&self, column: usize, slot: Slot) -> f64 {
        let slots = &self.layers.columns[column];
        let row = slots.iter().position(|other| *other == slot).unwrap_or(0);
        let above = (self.rows - slots.len()) as f64 / 2.0;
        MARGIN + (above + row as f64) * ROW + ROW / 2.0
    }

    /// The left edge of a node, its width, and the middle of its height.
    fn frame(&self, node: usize) -> (f64, f64, f64) {
        let column = self.layers.column_of[node];
        let (left, width) = self.columns[column];
        (left, width, self.middle(column, Slot::Node(node)))
    }

    fn write_node(&self, out: &mut String, number: usize, node: &Node) {
        let (left, width, middle) = self.frame(number);
        let kind = if node.kind == Kind::Exchange { "e" } else { "q" };
        let missing = if node.detail == "missing" { " m" } else { "" };
        let round = if node.kind == Kind::Exchange { BOX / 2.0 } else { 5.0 };
        let (center, top) = (left + width / 2.0, middle - BOX / 2.0);
        let _ = writeln!(
            out,
            "<g class=\"{kind}{missing}\"><title>{}</title><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
             height=\"{BOX}\" rx=\"{round}\"/><text x=\"{center:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"d\" x=\"{center:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
            escaped(&node.name),
            middle - 2.0,
            escaped(&shortened(&node.name)),
            middle + 13.0,
            escaped(&node.detail),
        );
    }

    fn write_edge(&self, out: &mut String, labels: &mut String, number: usize) {
        let edge = &self.graph.edges[number];
        let ((left, width, from), (to_left, to_width, to)) = (self.frame(edge.from), self.frame(edge.to));
        let mut way = format!("M{:.1} {from:.1}", left + width);
        let (x, y);
        if self.layers.back.contains(&number) {
            // It leaves and comes in at the right, in a bow around what is between.
            let (start, end) = (left + width, to_left + to_width);
            let bow = start.max(end) + 60.0;
            let _ = write!(way, "C{bow:.1} {from:.1} {bow:.1} {to:.1} {end:.1} {to:.1}");
            (x, y) = ((start + end + 6.0 * bow) / 8.0, f64::midpoint(from, to));
        } else {
            let (mut at, mut before) = (left + width, from);
            let between = self.layers.column_of[edge.from] + 1..self.layers.column_of[edge.to];
            for column in between {
                let (left, width) = self.columns[column];
                let middle = self.middle(column, Slot::Edge(number));
                curve(&mut way, (at, before), (left, middle));
                let _ = write!(way, "H{:.1}", left + width);
                (at, before) = (left + width, middle);
            }
            curve(&mut way, (at, before), (to_left, to));
            // Near the end, where curves from one node have parted.
            (x, y) = (at + 0.68 * (to_left - at), before + 0.81 * (to - before));
        }
        let class = match edge.why {
            Why::Bound => "b",
            Why::Alternate => "a",
            Why::DeadLetter => "x",
        };
        let _ = writeln!(out, "<path class=\"{class}\" d=\"{way}\" marker-end=\"url(#to)\"/>");
        let lines = edge.lines();
        let first = y - LINE * (lines.len() as f64 - 1.0) / 2.0 - 3.0;
        for (number, line) in lines.iter().enumerate() {
            let _ = writeln!(
                labels,
                "<text class=\"l\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                first + number as f64 * LINE,
                escaped(&shortened(line)),
            );
        }
    }
}

/// Goes on from one point to another, level at both.
fn curve(way: &mut String, (from_x, from_y): (f64, f64), (to_x, to_y): (f64, f64)) {
    let half = f64::midpoint(from_x, to_x);
    let _ = write!(way, "C{half:.1} {from_y:.1} {half:.1} {to_y:.1} {to_x:.1} {to_y:.1}");
}

fn width_of(node: &Node) -> f64 {
    let name = shortened(&node.name).chars().count() as f64 * LETTER;
    let detail = shortened(&node.detail).chars().count() as f64 * SMALL_LETTER;
    name.max(detail) + 28.0
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= MOST_LETTERS {
        return text.to_owned();
    }
    text.chars().take(MOST_LETTERS - 1).chain(['…']).collect()
}

/// Text in XML. Letters that may not stand there at all are left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
