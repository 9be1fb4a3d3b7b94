// What leads where: exchanges and queues as nodes, and between them bindings, alternate exchanges and dead letters.

// Bindings of one pair that are told one by one.
const MOST_LINES = 4;

// Names a node among others: no name of a queue is that of an exchange too.
export const idOf = (kind, name) => `${kind}:${name}`;

export class Graph {
  nodes = new Map();
  edges = new Map();

  // A node; what is known of it by now is kept. `detail` is its type, or that it is missing.
  add(kind, name, detail = '') {
    const id = idOf(kind, name);
    const known = this.nodes.get(id);
    if (known === undefined) this.nodes.set(id, { id, kind, name, detail });
    else if (detail !== '') known.detail = detail;
    return id;
  }

  // `why` is `bound`, `alternate` or `dead`.
  join(from, to, why, label) {
    const id = JSON.stringify([from, to, why]);
    const edge = this.edges.get(id) ?? { from, to, why, labels: [] };
    this.edges.set(id, edge);
    if (label !== '') edge.labels.push(label);
  }

  // A binding, but for those of the default exchange: every queue has one by its name.
  bind({ source, destination_type: kind, destination, routing_key: key, arguments: given }) {
    if (source === '') return;
    const from = this.add('exchange', source);
    const to = this.add(kind, destination);
    const pairs = Object.entries(given ?? {}).map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
    this.join(from, to, 'bound', [key, ...pairs].filter(Boolean).join(' '));
  }

  // Where messages of an exchange go that no binding took.
  addAlternate(exchange) {
    const to = rule(exchange, 'alternate-exchange', 'alternate-exchange');
    if (to) this.join(this.add('exchange', exchange.name), this.add('exchange', to), 'alternate', 'unroutable');
  }

  // Where messages of a queue go that died. By the default exchange and their own keys that is nobody knows where.
  addDeadLetters(queue) {
    const exchange = rule(queue, 'x-dead-letter-exchange', 'dead-letter-exchange');
    const key = rule(queue, 'x-dead-letter-routing-key', 'dead-letter-routing-key');
    if (exchange === null || (exchange === '' && key === null)) return;
    const to = exchange === '' ? this.add('queue', key) : this.add('exchange', exchange);
    this.join(this.add('queue', queue.name), to, 'dead', exchange === '' || key === null ? 'dead' : `dead: ${key}`);
  }

  // The node that most leads to or from.
  get busiest() {
    const counts = new Map();
    const count = (id) => counts.set(id, (counts.get(id) ?? 0) + 1);
    for (const { from, to } of this.edges.values()) [from, to].forEach(count);
    let found = null;
    for (const id of this.nodes.keys()) if (found === null || (counts.get(id) ?? 0) > (counts.get(found) ?? 0)) found = id;
    return found;
  }

  // The nodes nearest to one, `most` of them, with what is between them.
  around(id, most) {
    const beside = new Map([...this.nodes.keys()].map((node) => [node, []]));
    for (const { from, to } of this.edges.values()) {
      beside.get(from).push(to);
      beside.get(to).push(from);
    }
    const near = new Set([id]);
    // A set is walked in the order in which it grows: what is nearer comes first.
    for (const node of near) {
      for (const other of beside.get(node)) if (near.size < most) near.add(other);
    }
    const part = new Graph();
    for (const [node, of] of this.nodes) if (near.has(node)) part.nodes.set(node, of);
    for (const [key, edge] of this.edges) if (near.has(edge.from) && near.has(edge.to)) part.edges.set(key, edge);
    return part;
  }
}

// All of a vhost. Exchanges that are always there are left out unless something leads to or from them.
export function ofVhost({ exchanges, queues, bindings }) {
  const graph = new Graph();
  for (const { name, type } of exchanges) if (name !== '' && !name.startsWith('amq.')) graph.add('exchange', name, type);
  for (const { name, type } of queues) graph.add('queue', name, type);
  bindings.forEach((binding) => graph.bind(binding));
  exchanges.forEach((exchange) => graph.addAlternate(exchange));
  queues.forEach((queue) => graph.addDeadLetters(queue));
  const types = new Map(exchanges.map(({ name, type }) => [name, type]));
  for (const node of graph.nodes.values()) {
    if (node.detail === '') node.detail = (node.kind === 'exchange' && types.get(node.name)) || 'missing';
  }
  return graph;
}

// The lines that tell of an edge, few of them.
export function linesOf({ labels }) {
  if (labels.length <= MOST_LINES) return labels;
  const told = labels.slice(0, MOST_LINES - 1);
  return [...told, `and ${labels.length - told.length} more`];
}

// What holds for something by its own argument, or else by its policies; null if nothing does.
function rule({ arguments: given, effective_policy_definition: policy }, argument, key) {
  const held = [[given, argument], [policy, key]].filter(([of, name]) => Object.hasOwn(of ?? {}, name)).map(([of, name]) => of[name]);
  return held.find((value) => typeof value === 'string') ?? null;
}
