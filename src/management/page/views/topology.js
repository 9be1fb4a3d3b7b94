// Exchanges, queues and what leads from one to the other, of one vhost, as a graph.

import { path } from '../api.js';
import { h, icon, put } from '../dom.js';
import { count, exchangeName } from '../format.js';
import { graphPlace } from '../graph/drawing.js';
import { Graph, idOf, ofVhost } from '../graph/model.js';
import { button, heading } from '../parts.js';
import { at, current, note } from '../place.js';
import { session } from '../session.js';

// Nodes that are drawn here, and on the view of one thing. More of them nobody reads.
const MOST = 200;
const MOST_NEAR = 40;

// Things that are offered to who searches.
const OFFERED = 8;

// Whole lists are asked for: less often than what is small, in milliseconds.
const EVERY = 10_000;

// What is asked for to draw a vhost: the fields that matter of each list.
const LISTS = {
  exchanges: 'columns=name,type,arguments,effective_policy_definition&disable_stats=true',
  queues: 'columns=name,type,arguments,effective_policy_definition&disable_stats=true',
  bindings: 'columns=source,destination,destination_type,routing_key,arguments',
};

export function topology({ scope }) {
  const { query } = current();
  const state = { vhost: firstVhost(query.get('vhost')), around: query.get('around'), graph: null, isNew: true };
  // What each list was, as it came: of thousands of things nothing is drawn anew as long as it is the same.
  const lists = {};
  const place = graphPlace('Graph of bindings');
  const said = h('p.said', { role: 'status' });
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;
  const offers = h('ul.offers');
  const show = () => {
    if (!Object.keys(LISTS).every((name) => name in lists)) return;
    state.graph = ofVhost(Object.fromEntries(Object.entries(lists).map(([name, { told }]) => [name, told])));
    draw(state, place, said);
  };
  const choose = (id) => {
    state.around = id;
    state.isNew = true;
    note({ around: id });
    put(offers);
    draw(state, place, said);
  };
  const failed = (error) => {
    trouble.textContent = error.message;
    trouble.hidden = false;
  };
  const asked = Object.entries(LISTS).map(([name, query]) => {
    const then = (text) => {
      trouble.hidden = true;
      if (lists[name]?.text === text) return;
      lists[name] = { text, told: JSON.parse(text) };
      show();
    };
    return scope.watch(() => `${name}/${path(state.vhost)}?${query}`, then, { every: EVERY, failed, take: (response) => response.text() });
  });
  const chooseVhost = (event) => {
    Object.assign(state, { vhost: event.target.value, around: null, graph: null, isNew: true });
    for (const name of Object.keys(lists)) delete lists[name];
    note({ vhost: state.vhost, around: null });
    place.say('');
    put(said, '');
    asked.forEach((anew) => anew());
  };
  const vhosts = h('select', { 'aria-label': 'Virtual host of the graph', onchange: chooseVhost }, session.vhosts.map((vhost) => h('option', { value: vhost }, vhost)));
  vhosts.value = state.vhost;
  // Where one vhost is chosen for all views, it is for this one.
  const head = heading('Topology', { actions: [session.vhost === '' && h('label.switch', 'vhost', vhosts)] });
  const bar = h('div.bar', search(state, offers, choose), said);
  return { title: 'Topology', content: [head.node, bar, offers, trouble, place.node, legend()] };
}

// The vhost that is looked at: the one that is chosen for all views or, without any, that in the address.
function firstVhost(noted) {
  const wanted = [session.vhost, noted, '/'].filter((vhost) => session.vhosts.includes(vhost));
  return wanted[0] ?? session.vhosts[0] ?? '/';
}

function draw(state, place, said) {
  const { graph, vhost } = state;
  if (graph === null) return;
  const all = graph.nodes.size;
  if (all === 0) {
    put(said, '');
    place.say('There are no exchanges and queues of its own yet.');
    return;
  }
  let marked = graph.nodes.has(state.around) ? state.around : null;
  if (all <= MOST) {
    put(said, `${count(all)} exchanges and queues`);
    place.show(graph, vhost, marked);
  } else {
    marked ??= graph.busiest;
    const part = graph.around(marked, MOST);
    const left = all - part.nodes.size;
    put(said, `${count(part.nodes.size)} of ${count(all)} exchanges and queues, those around ${graph.nodes.get(marked).name}; ${count(left)} are left out`);
    place.show(part, vhost, marked);
  }
  // Later the picture stays where somebody moved it.
  if (state.isNew && marked !== null) place.reveal(marked);
  state.isNew = false;
}

// What things have a text in their names; one that is chosen is what the graph is about.
function search(state, offers, choose) {
  const offer = () => {
    const text = input.value.toLowerCase();
    const found = [];
    for (const { id, kind, name } of text === '' ? [] : (state.graph?.nodes.values() ?? [])) {
      if (!name.toLowerCase().includes(text)) continue;
      found.push({ id, kind, name });
      if (found.length === OFFERED) break;
    }
    const chosen = (id) => () => {
      input.value = '';
      choose(id);
      input.focus();
    };
    offers.replaceChildren(...found.map(({ id, kind, name }) => h('li', button(`${kind} ${exchangeName(name)}`, chosen(id), { kind: 'small' }))));
  };
  const input = h('input', { type: 'search', placeholder: 'Look around an exchange or queue', 'aria-label': 'Look around an exchange or queue', 'data-search': true, spellcheck: 'false', oninput: offer });
  return h('div.search', icon('search'), input);
}

function legend() {
  const kinds = [['bound', 'Bindings'], ['alternate', 'Alternate exchanges'], ['dead', 'Dead letters']];
  const keys = kinds.map(([kind, text]) => h('li', h(`span.way.${kind}`), text));
  return h('ul.legend', keys, h('li', 'A click or Enter goes to what it is on, arrow keys walk along. The default exchange, to which every queue is bound, is left out.'));
}

// What leads to one thing and from it, at once, for the view of it. `update` takes what is new: what is told of the thing, the
// bindings that lead to it and, of an exchange, those from it.
export function neighbourhood(kind, vhost, name) {
  const id = idOf(kind, name);
  const place = graphPlace('What leads to it and from it');
  const said = h('p.said');
  const isQueue = kind === 'queue';
  const known = { told: null, to: null, ...(isQueue ? {} : { from: null }) };
  const update = (news) => {
    Object.assign(known, news);
    if (Object.values(known).includes(null)) return;
    const { told, to, from = [] } = known;
    const graph = new Graph();
    graph.add(kind, name, told.type);
    if (isQueue) graph.addDeadLetters(told);
    else graph.addAlternate(told);
    [...to, ...from].forEach((binding) => graph.bind(binding));
    const part = graph.around(id, MOST_NEAR);
    const left = graph.nodes.size - part.nodes.size;
    put(said, left > 0 && `${count(left)} more are left out. `, h('a', { href: `${at('topology')}?${new URLSearchParams({ vhost, around: id })}` }, 'The whole topology'));
    if (part.edges.size > 0) place.show(part, vhost, id);
    else place.say('Nothing leads to it or from it, but for the default exchange.');
  };
  return { node: h('div.near', place.node, said), update };
}
