//! Where the nodes of a picture stand: in columns from left to right, as messages go.

use std::collections::BTreeSet;

use super::{Graph, Kind};

/// What takes a row of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// A node.
    Node(usize),
    /// An edge on its way to a column behind.
    Edge(usize),
}

/// Columns with what stands in them, from top to bottom.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) columns: Vec<Vec<Slot>>,
    /// The column of each node.
    pub(super) column_of: Vec<usize>,
    /// Edges that lead back: without them there is no circle.
    pub(super) back: BTreeSet<usize>,
}

impl Layers {
    pub(super) fn of(graph: &Graph) -> Self {
        let back = back_edges(graph);
        let column_of = columns_of(graph, &back);
        let count = column_of.iter().max().map_or(0, |last| last + 1);
        let mut columns: Vec<Vec<Slot>> = vec![Vec::new(); count];
        column_of.iter().enumerate().for_each(|(node, &column)| columns[column].push(Slot::Node(node)));
        for (number, edge) in graph.edges.iter().enumerate().filter(|(number, _)| !back.contains(number)) {
            for column in &mut columns[column_of[edge.from] + 1..column_of[edge.to]] {
                column.push(Slot::Edge(number));
            }
        }
        let mut layers = Self { columns, column_of, back };
        for _ in 0..4 {
            (1..count).for_each(|column| layers.sort(graph, column, column - 1));
            (0..count.saturating_sub(1)).rev().for_each(|column| layers.sort(graph, column, column + 1));
        }
        layers
    }

    /// Puts what stands in `column` near what it is joined with in the one beside it.
    fn sort(&mut self, graph: &Graph, column: usize, beside: usize) {
        let rows = &self.columns[beside];
        // From the middle of a column, for they are not equally high.
        let height = |at: usize, of: usize| at as f64 - (of as f64 - 1.0) / 2.0;
        let row_of =
            |slot: Slot| rows.iter().position(|other| *other == slot).map(|at| height(at, rows.len()));
        let own = &self.columns[column];
        let wanted = |at: usize, slot: Slot| {
            let joined = graph.edges.iter().enumerate().filter(|(number, _)| !self.back.contains(number));
            let others = joined.filter_map(|(number, edge)| {
                let is_here = match slot {
                    Slot::Node(node) => edge.from == node || edge.to == node,
                    Slot::Edge(own) => own == number,
                };
                if !is_here {
                    return None;
                }
                [Slot::Node(edge.from), Slot::Node(edge.to), Slot::Edge(number)].into_iter().find_map(row_of)
            });
            let (sum, count) = others.fold((0.0, 0u32), |(sum, count), row| (sum + row, count + 1));
            if count == 0 { height(at, own.len()) } else { sum / f64::from(count) }
        };
        let mut keyed: Vec<_> = own.iter().enumerate().map(|(at, &slot)| (wanted(at, slot), slot)).collect();
        keyed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        self.columns[column] = keyed.into_iter().map(|(_, slot)| slot).collect();
    }
}

/// The edges that close circles, found by walking from the nodes that nothing leads to.
fn back_edges(graph: &Graph) -> BTreeSet<usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    let mut has_source = vec![false; graph.nodes.len()];
    for (number, edge) in graph.edges.iter().enumerate() {
        out[edge.from].push(number);
        has_source[edge.to] = true;
    }
    let mut starts: Vec<usize> = (0..graph.nodes.len()).collect();
    starts.sort_by_key(|&node| (has_source[node], node));
    let (mut marks, mut back) = (vec![Mark::New; graph.nodes.len()], BTreeSet::new());
    for start in starts {
        // Nodes on the way, with how many of their edges were gone along.
        let mut way = vec![(start, 0)];
        while let Some((node, next)) = way.last_mut() {
            let node = *node;
            if *next == 0 && marks[node] == Mark::Done {
                way.pop();
                continue;
            }
            marks[node] = Mark::Open;
            let Some(&edge) = out[node].get(*next) else {
                marks[node] = Mark::Done;
                way.pop();
                continue;
            };
            *next += 1;
            let to = graph.edges[edge].to;
            match marks[to] {
                Mark::New => way.push((to, 0)),
                Mark::Open => {
                    back.insert(edge);
                }
                Mark::Done => {}
            }
        }
    }
    back
}

/// The column of each node: behind all that lead to it. One that nothing leads to stands as near to what follows as it may.
fn columns_of(graph: &Graph, back: &BTreeSet<usize>) -> Vec<usize> {
    let ahead =
        || graph.edges.iter().enumerate().filter(|(number, _)| !back.contains(number)).map(|(_, edge)| edge);
    let mut columns = vec![0usize; graph.nodes.len()];
    // There is no circle, so each round settles one more step of the longest way.
    for _ in 0..graph.nodes.len() {
        let mut moved = false;
        for edge in ahead() {
            if columns[edge.to] <= columns[edge.from] {
                columns[edge.to] = columns[edge.from] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    for node in 0..columns.len() {
        if ahead().any(|edge| edge.to == node) {
            continue;
        }
        let nearest = ahead().filter(|edge| edge.from == node).map(|edge| columns[edge.to]).min();
        columns[node] = match (nearest, graph.nodes[node].kind) {
            (Some(nearest), _) => nearest.saturating_sub(1),
            // A queue that nothing is bound to stands with the other queues.
            (None, Kind::Queue) => 1.min(columns.iter().max().copied().unwrap_or(0)),
            (None, Kind::Exchange) => 0,
        };
    }
    columns
}
