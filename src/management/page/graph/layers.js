// Where the nodes of a graph stand: in columns from left to right, as messages go.

// How often columns are put in order by those beside them.
const ROUNDS = 4;

// `columns` has what stands in each from top to bottom: nodes by their ids, and steps of edges on their way to a column behind.
// `rowOf` has at which row each stands, which need not be a whole one, from 0 on; `rows` is how many there are.
// `ways` has what each edge passes from left to right, nodes at both ends: those that close circles begin with the node they lead
// to. Those that lead from a node to itself have none.
export function layersOf(graph) {
  const edges = [...graph.edges.values()];
  const back = backEdges(graph, edges);
  const ahead = edges.filter(({ from, to }) => from !== to).map((edge) => (back.has(edge) ? { edge, from: edge.to, to: edge.from } : { edge, from: edge.from, to: edge.to }));
  const columnOf = columnsOf(graph, ahead);
  const columns = Array.from({ length: Math.max(0, ...columnOf.values()) + 1 }, () => []);
  for (const node of graph.nodes.keys()) columns[columnOf.get(node)].push(node);
  // What each thing in a column is joined with in the columns beside it.
  const beside = new Map();
  const ways = new Map();
  const join = (one, other) => {
    for (const [from, to] of [[one, other], [other, one]]) beside.set(from, [...(beside.get(from) ?? []), to]);
  };
  for (const { edge, from, to } of ahead) {
    const way = [from];
    for (let column = columnOf.get(from) + 1; column < columnOf.get(to); column += 1) {
      const step = { edge };
      columns[column].push(step);
      way.push(step);
    }
    way.push(to);
    ways.set(edge, way);
    way.slice(1).forEach((step, index) => join(way[index], step));
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let column = 1; column < columns.length; column += 1) order(columns, column, column - 1, beside);
    for (let column = columns.length - 2; column >= 0; column -= 1) order(columns, column, column + 1, beside);
  }
  return { columns, ways, ...rowsOf(columns, beside) };
}

// The rows of all things: in the order of their columns, a whole row from each to the next, and as near as may be to what they are
// joined with.
function rowsOf(columns, beside) {
  const rowOf = new Map(columns.flatMap((things) => things.map((thing, row) => [thing, row - (things.length - 1) / 2])));
  const settle = (things) => {
    const wanted = things.map((thing) => {
      const joined = (beside.get(thing) ?? []).map((of) => rowOf.get(of));
      return joined.length === 0 ? rowOf.get(thing) : mean(joined);
    });
    apart(wanted).forEach((row, index) => rowOf.set(things[index], row));
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    columns.forEach(settle);
    columns.toReversed().forEach(settle);
  }
  const all = [...rowOf.values()];
  const [first, last] = [all.reduce((one, other) => Math.min(one, other), Infinity), all.reduce((one, other) => Math.max(one, other), -Infinity)];
  for (const [thing, row] of rowOf) rowOf.set(thing, row - first);
  return { rowOf, rows: last - first + 1 };
}

// The nearest to the wanted places that keep their order and a distance of one: those that would be too near move as one block.
function apart(wanted) {
  const blocks = [];
  wanted.forEach((place, index) => {
    let block = { sum: place - index, count: 1 };
    while (blocks.length > 0 && blocks.at(-1).sum / blocks.at(-1).count > block.sum / block.count) {
      const { sum, count } = blocks.pop();
      block = { sum: sum + block.sum, count: count + block.count };
    }
    blocks.push(block);
  });
  return blocks.flatMap(({ sum, count }) => Array(count).fill(sum / count)).map((place, index) => place + index);
}

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

// Puts what stands in a column near what it is joined with in the one at `other`.
function order(columns, column, other, beside) {
  // From the middle of a column, for they are not equally high.
  const heights = (things) => new Map(things.map((thing, row) => [thing, row - (things.length - 1) / 2]));
  const [own, rows] = [heights(columns[column]), heights(columns[other])];
  const wanted = new Map();
  for (const thing of columns[column]) {
    const joined = (beside.get(thing) ?? []).map((of) => rows.get(of)).filter((row) => row !== undefined);
    wanted.set(thing, joined.length === 0 ? own.get(thing) : mean(joined));
  }
  columns[column].sort((one, two) => wanted.get(one) - wanted.get(two));
}

// The edges that close circles, found by walking from the nodes that nothing leads to.
function backEdges(graph, edges) {
  const out = new Map([...graph.nodes.keys()].map((node) => [node, []]));
  const led = new Set();
  for (const edge of edges) {
    out.get(edge.from).push(edge);
    led.add(edge.to);
  }
  const nodes = [...graph.nodes.keys()];
  const starts = [...nodes.filter((node) => !led.has(node)), ...nodes.filter((node) => led.has(node))];
  const [open, done, back] = [new Set(), new Set(), new Set()];
  for (const start of starts) {
    if (done.has(start)) continue;
    open.add(start);
    // Nodes on the way, with the edges that were not gone along yet.
    const way = [[start, out.get(start).values()]];
    while (way.length > 0) {
      const [node, rest] = way.at(-1);
      const { value: edge, done: isLast } = rest.next();
      if (isLast) {
        open.delete(node);
        done.add(node);
        way.pop();
      } else if (open.has(edge.to)) back.add(edge);
      else if (!done.has(edge.to)) {
        open.add(edge.to);
        way.push([edge.to, out.get(edge.to).values()]);
      }
    }
  }
  return back;
}

// The column of each node: behind all that lead to it, if what closes circles is turned round. One that nothing leads to stands as near to what follows as it may.
function columnsOf(graph, ahead) {
  const columns = new Map([...graph.nodes.keys()].map((node) => [node, 0]));
  // There is no circle, so each round settles one more step of the longest way.
  for (let moved = true; moved; ) {
    moved = false;
    for (const { from, to } of ahead) {
      if (columns.get(to) > columns.get(from)) continue;
      columns.set(to, columns.get(from) + 1);
      moved = true;
    }
  }
  const nearest = new Map();
  for (const { from, to } of ahead) nearest.set(from, Math.min(nearest.get(from) ?? Infinity, columns.get(to)));
  const led = new Set(ahead.map(({ to }) => to));
  const last = Math.max(0, ...columns.values());
  for (const { id, kind } of graph.nodes.values()) {
    if (led.has(id)) continue;
    // A queue that nothing is bound to stands with the other queues.
    const alone = kind === 'queue' ? Math.min(1, last) : 0;
    columns.set(id, nearest.has(id) ? nearest.get(id) - 1 : alone);
  }
  return columns;
}
